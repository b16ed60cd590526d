"""What the supervisor's chain says of commands: who gave them, and what of their arguments. Pure.

Lifecycle entries of the supervisor's chain, all with `who`:

    command           number, op, args     before it is carried out
    command-ended     number, op, error    after it; `error` is nil, or the class of the error that it ended with
    command-refused   op, why, times       somebody who may not; `times` counts those like it that have no own entry
    commands-read     counts               how often what changes nothing was asked for, by operation, since the last

`number` counts from 1 with each start of the server. A command without its `command-ended` was under way when the
server ended, or is of those whose outcome is in an actor's chain (core/roles.py). Bodies, contents, states and long
texts are not copied: their size and digest stand for them, by which they can be found in the actor's chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core.chain import INLINE_MAX
from theater.core.codec import content_digest, pack
from theater.core.roles import Role

COMMAND: Final = "command"
ENDED: Final = "command-ended"
REFUSED: Final = "command-refused"
READ: Final = "commands-read"
EVENTS: Final = frozenset({COMMAND, ENDED, REFUSED, READ})

_LONGEST_TEXT = 200
_MOST_ITEMS = 20
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who commands.

    Args:
        name: for people: a user of this machine, or the name of a key.
        role: what that one may.
        facts: plain values that a record has of that one, `name` among them.
    """

    name: str
    role: Role
    facts: Mapping[str, Any]


def local_user(uid: int, pid: int, user: str, role: Role) -> Who:
    """Somebody on this machine, as the kernel says."""
    return Who(user, role, {"by": "local", "name": user, "uid": uid, "pid": pid})


def key_holder(name: str, fingerprint: str, address: str, role: Role) -> Who:
    """Somebody who has proved to have a key.

    Args:
        address: where the connection comes from.
    """
    return Who(name, role, {"by": "key", "name": name, "key": fingerprint, "address": address})


def summary(args: Mapping[str, Any]) -> dict[str, Any]:
    """What a record keeps of the arguments of a command; nil ones are left out, and of very many only a digest is."""
    found = {str(name)[:_LONGEST_TEXT]: _short(value, 1) for name, value in _first(args) if value is not None}
    packed = pack(found)
    return found if len(packed) <= INLINE_MAX else _digest(packed)


def _first(args: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    return sorted(args.items(), key=lambda item: str(item[0]))[:_MOST_ITEMS]


def _short(value: Any, depth: int) -> Any:
    if isinstance(value, bytes):
        return _digest(value)
    if isinstance(value, str):
        is_short = len(value) <= _LONGEST_TEXT and value.isprintable()
        return value if is_short else _digest(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return (
            {str(name)[:_LONGEST_TEXT]: _short(item, depth + 1) for name, item in _first(value)}
            if depth < _DEEPEST
            else len(value)
        )
    if isinstance(value, list | tuple):
        return _several(list(value), depth)
    return value if value is None or isinstance(value, bool | int) else str(value)[:_LONGEST_TEXT]


def _several(items: list[Any], depth: int) -> Any:
    if items and all(isinstance(item, bytes) for item in items):
        return {"count": len(items), **_digest(b"".join(items))}
    if depth >= _DEEPEST or len(items) > _MOST_ITEMS:
        return {"count": len(items)}
    return [_short(item, depth + 1) for item in items]


def _digest(data: bytes) -> dict[str, Any]:
    return {"size": len(data), "digest": content_digest(data).hex()}
