"""Who may do what on the control socket: one table, of each operation the least role and what is recorded of it.

Three roles, each with all that the one before may. `read` sees whatever is recorded, which is everything but secrets:
rows, chains with the messages in them, states, logs. `operate` uses the actors that are there: speaks to them, stops
them and starts them again. `admin` decides what runs: new components, trees, the end of the server.

An operation that changes something is *recorded*: the supervisor's chain says who gave it before it is carried out.
What changes nothing is *counted*. An operation without a row here can be given by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple

from theater.errors import InvalidInput, RoleRequired


class Role(IntEnum):
    """What somebody may do; each role includes those before it."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Trace(Enum):
    """What the supervisor's chain says of an operation.

    COUNTED: how often each who may was answered, from time to time.
    BEGUN: an entry before it is carried out, and one after it if it failed: what came of it is in an actor's chain.
    BOTH: an entry before it is carried out, and one after it.
    """

    COUNTED = "counted"
    BEGUN = "begun"
    BOTH = "both"


class Rule(NamedTuple):
    """A row of the table.

    Args:
        role: the least that may give the operation.
        trace: what is recorded.
        more: values of arguments for which another role is the least.
    """

    role: Role
    trace: Trace
    more: Mapping[tuple[str, Any], tuple[Role, Trace]] = {}


_READ = Rule(Role.READ, Trace.COUNTED)

RULES: Final[Mapping[str, Rule]] = {
    "hello": _READ,
    "list": _READ,
    "inspect": _READ,
    "why": _READ,
    "state": _READ,
    "events": _READ,
    "logs": _READ,
    "tree": _READ,
    "channels": _READ,
    "dead_letters": Rule(
        Role.OPERATE,
        Trace.BOTH,
        {("action", "list"): (Role.READ, Trace.COUNTED)},
    ),
    "message": Rule(Role.OPERATE, Trace.BEGUN),
    "channel_open": Rule(Role.OPERATE, Trace.BEGUN),
    "channel_send": Rule(Role.OPERATE, Trace.BEGUN),
    "channel_receive": Rule(Role.OPERATE, Trace.COUNTED),
    "channel_close": Rule(Role.OPERATE, Trace.BEGUN),
    "checkpoint": Rule(Role.OPERATE, Trace.BEGUN),
    "restart": Rule(Role.OPERATE, Trace.BOTH),
    "stop": Rule(Role.OPERATE, Trace.BOTH, {("remove", True): (Role.ADMIN, Trace.BOTH)}),
    "have": Rule(Role.ADMIN, Trace.COUNTED),
    "put": Rule(Role.ADMIN, Trace.BEGUN),
    "put_part": Rule(Role.ADMIN, Trace.COUNTED),
    "put_end": Rule(Role.ADMIN, Trace.BEGUN),
    "start": Rule(Role.ADMIN, Trace.BOTH),
    "tree_apply": Rule(Role.ADMIN, Trace.BOTH),
    "reload": Rule(Role.ADMIN, Trace.BOTH),
    "adopt": Rule(Role.ADMIN, Trace.BOTH),
    "stop_server": Rule(Role.ADMIN, Trace.BOTH),
}


def role_of(label: str) -> Role:
    """The role of this name. Raises InvalidInput."""
    for role in Role:
        if role.label == label:
            return role
    raise InvalidInput(f"{label!r} is no role; allowed: {', '.join(role.label for role in Role)}")


def judge(role: Role, op: str, args: Mapping[str, Any]) -> Trace:
    """What is to be recorded of an operation that somebody of this role wants.

    Args:
        args: as they came, of any type.

    Raises:
        InvalidInput: there is no such operation.
        RoleRequired: it takes a higher role.
    """
    rule = RULES.get(op)
    if rule is None:
        raise InvalidInput(f"this server does not know the request {op!r}")
    least, trace = rule.role, rule.trace
    for (name, value), other in rule.more.items():
        found = args.get(name)
        if type(found) is type(value) and found == value:
            least, trace = other
    if role < least:
        raise RoleRequired(
            f"{op!r} takes the role {least.label}, and you have {role.label}; an admin of the server gives roles",
            op=op,
            role=role.label,
            needed=least.label,
        )
    return trace
