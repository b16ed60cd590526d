"""What a server answers, as values.

Each class names the fields that Theater publishes and reads them from the plain values of the wire; `plain()`
gives the same object back for JSON. A field that a newer server adds is ignored, one that is missing is a
`WireError`: the program at the other end is not what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self, TypeVar

from theater.errors import WireError


@dataclass(frozen=True, slots=True)
class Answer:
    """An object of named fields, some of which `_READERS` make of what the wire holds.

    A field with a default may be missing.
    """

    _READERS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}

    @classmethod
    def read(cls, value: object) -> Self:
        """The answer in `value`.

        Raises:
            WireError: it is no object, or lacks a field.
        """
        found = _object(value, cls.__name__)
        given = {field.name: found[field.name] for field in fields(cls) if field.name in found}
        missing = [field.name for field in fields(cls) if field.name not in given and field.default is MISSING]
        if missing:
            raise WireError(f"the server's {cls.__name__} lacks {', '.join(missing)}; is it of another version?")
        return cls(**{name: cls._READERS.get(name, _as_it_is)(value) for name, value in given.items()})

    def plain(self) -> dict[str, Any]:
        """The answer as plain values under its published names."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


_A = TypeVar("_A", bound=Answer)


def read_list(cls: type[_A], value: object) -> tuple[_A, ...]:
    """The answers in the list `value`, or WireError."""
    if not isinstance(value, list):
        raise WireError(f"the server sent no list of {cls.__name__}; is it of another version?")
    return tuple(cls.read(item) for item in value)


@dataclass(frozen=True, slots=True)
class Hello(Answer):
    """Who answers: version of Theater and of the protocol, process, home, start (ms since 1970), how many actors
    it has, how many malformed messages it has refused, which processes it consists of, its public key (hex), and what
    control groups it has, or why none, and which walls stand around its workers."""

    version: str
    protocol: int
    pid: int
    home: str
    started_ms: int
    actors: int
    refused: int
    processes: Mapping[str, Any] | None = None
    key: str | None = None
    control_groups: str | None = None
    walls: str | None = None


@dataclass(frozen=True, slots=True)
class GivenCheckpoint(Answer):
    """A signed checkpoint to keep elsewhere: its text (core/signed_checkpoint.py), by whom (hex) and when."""

    text: bytes
    key: str
    time_ns: int


@dataclass(frozen=True, slots=True)
class LastExit(Answer):
    """How the last incarnation ended; `commanded` says that somebody wanted it to."""

    reason: str
    detail: str | None
    signal: int | None
    status: int | None
    commanded: bool


def _read_exit(value: object) -> LastExit | None:
    return None if value is None else LastExit.read(value)


@dataclass(frozen=True, slots=True)
class Row(Answer):
    """An actor in a listing. `head` is the digest of its last entry in hex, `mailbox` counts waiting messages."""

    id: str
    name: str
    state: str
    incarnation: int
    restarts: int
    pid: int | None
    parent: str | None
    supervisor: str | None
    mailbox: int
    head: str
    entries: int
    last_exit: LastExit | None

    _READERS: ClassVar = {"last_exit": _read_exit}


def _read_family(value: object) -> Supervisor | None:
    return None if value is None else Supervisor.read(value)


@dataclass(frozen=True, slots=True)
class Member(Row):
    """An actor in the tree.

    `due` says that its next life will have another manifest or component; `family` has the children of one that is a
    supervisor itself.
    """

    due: bool = False
    family: Supervisor | None = None

    _READERS: ClassVar = {"last_exit": _read_exit, "family": _read_family}


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that the server says of one actor: its row, and the rest by name."""

    row: Row
    facts: dict[str, Any]

    @classmethod
    def read(cls, value: object) -> Self:
        found = _object(value, "inspection")
        row = Row.read(found)
        in_row = {f.name for f in fields(Row)}
        return cls(row, {str(name): fact for name, fact in found.items() if name not in in_row})

    def plain(self) -> dict[str, Any]:
        return self.row.plain() | self.facts


@dataclass(frozen=True, slots=True)
class State(Answer):
    """An actor's committed state after entry `seq` of its chain; None if it has none."""

    id: str
    state: bytes | None
    digest: str | None
    seq: int


@dataclass(frozen=True, slots=True)
class Event(Answer):
    """One entry of a chain; `digest` and `previous` in hex, `data` its payload as plain values."""

    seq: int
    type: str
    time_ns: int
    digest: str
    previous: str
    data: Any


def _read_events(value: object) -> tuple[Event, ...]:
    return read_list(Event, value)


@dataclass(frozen=True, slots=True)
class Events(Answer):
    """A page of a chain; `next` is the sequence number to ask for next."""

    id: str
    events: tuple[Event, ...]
    next: int

    _READERS: ClassVar = {"events": _read_events}


@dataclass(frozen=True, slots=True)
class LogLine(Answer):
    """One line of an actor's log; `stream` is log, stdout, stderr or system."""

    time_ns: int
    incarnation: int
    stream: str
    text: str


def _read_lines(value: object) -> tuple[LogLine, ...]:
    return read_list(LogLine, value)


@dataclass(frozen=True, slots=True)
class Logs(Answer):
    """A page of a log; `next` is the position to ask for next."""

    id: str
    lines: tuple[LogLine, ...]
    next: int

    _READERS: ClassVar = {"lines": _read_lines}


@dataclass(frozen=True, slots=True)
class Delivery(Answer):
    """The actor that took a message, and its reply if one was asked for."""

    id: str
    reply: bytes | None


@dataclass(frozen=True, slots=True)
class Opened(Answer):
    """A channel that an actor (`id`) has accepted: how many messages, and bytes of them, may be on their way to it, and
    how long one of them may be."""

    id: str
    channel: str
    window: int
    window_bytes: int
    message_limit: int


@dataclass(frozen=True, slots=True)
class ChannelRow(Answer):
    """A channel between a client and an actor: since when (ms since 1970), and how many messages are on their way to
    the actor, and wait to be fetched by the client."""

    channel: str
    id: str
    name: str
    since_ms: int
    to_actor: int
    to_client: int


@dataclass(frozen=True, slots=True)
class DeadLetter(Answer):
    """A message that could not be delivered, and why."""

    number: int
    time_ns: int
    sender: str | None
    receiver: str
    why: str
    size: int
    body: bytes


def _read_children(value: object) -> tuple[Supervisor | Member, ...]:
    if not isinstance(value, list):
        raise WireError("the server sent no list of children; is it of another version?")
    return tuple((Supervisor if "children" in _object(child, "child") else Member).read(child) for child in value)


@dataclass(frozen=True, slots=True)
class Supervisor(Answer):
    """A supervisor of the tree with its children in start order.

    `incarnation` is how often it was started, `restarts` how often it has restarted children in this life, and `recent`
    how many of these attempts count against its intensity now. The `name` of an actor's is the actor's id.
    """

    name: str
    state: str
    children: tuple[Supervisor | Member, ...]
    strategy: str | None = None
    intensity: int | None = None
    period: int | None = None
    auto_shutdown: str | None = None
    backoff: Mapping[str, Any] | None = None
    max_children: int | None = None
    stop: str | None = None
    stop_deadline: int | None = None
    restart: str | None = None
    incarnation: int | None = None
    restarts: int | None = None
    recent: int | None = None
    last_exit: LastExit | None = None

    _READERS: ClassVar = {"children": _read_children, "last_exit": _read_exit}


def _read_strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise WireError("the server sent no list of keys; is it of another version?")
    return tuple(map(str, value))


@dataclass(frozen=True, slots=True)
class AppliedRow(Answer):
    """What an apply did with a row of the tree.

    `done` is added, changed, moved, restarted, started, kept, pruned or unchanged, `changed` what has become another,
    and `error` why it is not as it should be.
    """

    name: str
    kind: str
    under: str | None
    id: str | None
    done: str
    changed: tuple[str, ...]
    error: Mapping[str, Any] | None

    _READERS: ClassVar = {"changed": _read_strings}


def _read_applied(value: object) -> tuple[AppliedRow, ...]:
    return read_list(AppliedRow, value)


@dataclass(frozen=True, slots=True)
class Applied(Answer):
    """What an apply did, or after a dry run would do: the root, all rows in starting order, then what was pruned."""

    dry_run: bool
    rows: tuple[AppliedRow, ...]

    _READERS: ClassVar = {"rows": _read_applied}


def _object(value: object, what: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise WireError(f"the server sent no {what}; is it of another version?")
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.plain() if isinstance(value, Answer) else value
