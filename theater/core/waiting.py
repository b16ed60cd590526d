"""What an actor waits for, read from its record, and who waits for whom: the graph of waits and its circles.

A host call is recorded before it has an effect, and its result when there is one. So the newest entries of a chain say
what its actor is doing: a call without an outcome runs, and a host call without a result is what it waits for. An actor
has one thread and waits for at most one thing at a time, so from each actor at most one wait leads to another one:
whoever follows them comes to an end, or goes round in a circle, and nothing but a timeout ends that.

Pure: what was recorded comes in as entries. What is not recorded (where a receiver is, that a process is stopped) is
added by who knows it (theater/server/why.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from theater.core.chain import Call, Ending, Entry, HostCall, Kind, Outcome
from theater.core.handlers import (
    FILESYSTEM,
    HTTP_CLIENT,
    HTTP_FRAMEWORK,
    LINKS,
    MESSAGE_SERVER_HOST,
    MONITORS,
    PROCESS,
    REGISTRY,
    REQUESTS,
    SUPERVISOR,
    TIMING,
    WEBSOCKETS,
)
from theater.core.ids import child_id

_MS: Final = 1_000_000
_LONGEST_WORDS = 120


class WaitKind(StrEnum):
    """What an actor waits for, if it is not idle."""

    REPLY = "reply"
    CHANNEL = "channel"
    RECEIVER = "receiver"
    CHILD = "child"
    SERVICE = "service"
    SLEEP = "sleep"
    SUPERVISOR = "supervisor"
    HOST = "host"
    GUEST = "guest"


class Activity(StrEnum):
    """What the record says that an actor is doing."""

    IDLE = "idle"
    COMPUTING = "computing"
    WAITING = "waiting"


class Fate(StrEnum):
    """What has become of a request, as far as the newest entries of who was asked say."""

    NOT_TAKEN = "not taken"
    AT_WORK = "at work"
    PROMISED = "promised"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Running:
    """A call that has no outcome yet: number of its entry, and when it began (ns since 1970)."""

    interface: str
    function: str
    entry: int
    since_ns: int
    sender: str | None = None
    cause: bytes | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """A host call that has no result yet.

    Args:
        on: the actor that it is about, as the guest named it: an id or a name; None if it is about none.
        until_ns: when it ends by itself, as far as its arguments say so.
        within_ns: how long a request waits whose arguments say so.
        words: what it wants, for a person: "the reply of b".
    """

    interface: str
    function: str
    entry: int
    since_ns: int
    digest: bytes
    kind: WaitKind
    words: str
    on: str | None = None
    until_ns: int | None = None
    within_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Doing:
    """What an actor is doing: nothing, computing, or waiting for its host."""

    call: Running | None = None
    asks: Asking | None = None

    @property
    def activity(self) -> Activity:
        if self.call is None:
            return Activity.IDLE
        return Activity.COMPUTING if self.asks is None else Activity.WAITING


def doing(newest: Sequence[Entry], call: Entry | None) -> Doing:
    """What the actor of a chain is doing.

    Args:
        newest: the last entries of the chain, oldest first; they may have been written after `call` was looked for.
        call: the entry of the call that has no outcome, if there was one.
    """
    running: Entry | None = call
    asked: Entry | None = None
    for entry in newest:
        match entry.kind:
            case Kind.CALL:
                running, asked = entry, None
            case Kind.OUTCOME | Kind.GENESIS | Kind.LIFECYCLE:
                if running is not None and entry.seq > running.seq:
                    running = asked = None
            case Kind.HOST_CALL:
                asked = entry
            case Kind.HOST_RESULT:
                asked = None
    return Doing(
        _running(running) if running is not None else None,
        _asking(asked) if running is not None and asked is not None and asked.seq > running.seq else None,
    )


def fate_of(newest: Sequence[Entry], question: bytes) -> Fate:
    """What the record of an actor that was asked says of a request.

    Args:
        newest: the last entries of its chain, oldest first.
        question: digest of the entry, in the other chain, that records the request.
    """
    fate = Fate.NOT_TAKEN
    handles = False
    for entry in newest:
        said = entry.read() if entry.kind in (Kind.CALL, Kind.OUTCOME) else None
        if isinstance(said, Call):
            handles = said.cause == question
            fate = Fate.AT_WORK if handles else fate
        elif isinstance(said, Outcome) and handles:
            handles = False
            gave_none = isinstance(said.value, (list, tuple)) and [*said.value] == [None]
            fate = Fate.PROMISED if said.ending == Ending.OK and gave_none else Fate.ANSWERED
    return fate


def _running(entry: Entry) -> Running | None:
    said = entry.read()
    if not isinstance(said, Call):
        return None
    return Running(said.interface, said.function, entry.seq, entry.time_ns, said.sender, said.cause)


def _asking(entry: Entry) -> Asking | None:
    said = entry.read()
    if not isinstance(said, HostCall):
        return None
    arguments: Sequence[Any] = said.args if isinstance(said.args, (list, tuple)) else ()
    made = _ASKINGS.get((said.interface, said.function)) or _BY_INTERFACE.get(said.interface, _of_host)
    kind, words, facts = made(entry, said.function, arguments)
    return Asking(said.interface, said.function, entry.seq, entry.time_ns, entry.digest, kind, words, **facts)


_Facts = tuple[WaitKind, str, Mapping[str, Any]]
_Made = Callable[[Entry, str, Sequence[Any]], _Facts]


def _text(arguments: Sequence[Any], at: int = 0) -> str | None:
    found = arguments[at] if len(arguments) > at else None
    return found if isinstance(found, str) else None


def _number(arguments: Sequence[Any], at: int = 0) -> int | None:
    found = arguments[at] if len(arguments) > at else None
    return found if type(found) is int else None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_WORDS else f"{text[: _LONGEST_WORDS - 1]}…"


def _about(arguments: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Whom the first argument names, for a person and for programs."""
    named = _text(arguments)
    return (_short(named), {"on": named}) if named is not None else ("an actor", {})


def _of_request(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    who, facts = _about(arguments)
    wait = _number(arguments, 2)
    return WaitKind.REPLY, f"the reply of {who}", facts | ({"within_ns": wait * _MS} if wait is not None else {})


def _of_channel(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    who, facts = _about(arguments)
    return WaitKind.CHANNEL, f"{who} to accept a channel", facts


def _of_send(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    who, facts = _about(arguments)
    return WaitKind.RECEIVER, f"{who}, to which it sends, to be up", facts


def _of_spawn(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    return WaitKind.CHILD, "a child to start", {"on": child_id(entry.digest, entry.seq)}


def _of_child(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    who, facts = _about(arguments)
    what = {"stop-child": "end", "restart-child": "start again"}.get(function)
    if what is None:
        return WaitKind.SUPERVISOR, f"what the supervisor knows of its children ({function})", {}
    return WaitKind.CHILD, f"its child {who} to {what}", facts


def _of_sleep(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    number = _number(arguments)
    if number is None:
        return WaitKind.SLEEP, "a time to pass", {}
    until = number * _MS if function == "deadline" else entry.time_ns + number * _MS
    return WaitKind.SLEEP, "a time to pass that it asked for", {"until_ns": until}


def _of_http(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    request = arguments[0] if arguments and isinstance(arguments[0], Mapping) else {}
    method, address = request.get("method"), request.get("uri")
    what = "an HTTP request"
    if isinstance(method, str) and isinstance(address, str):
        what = f"{method} {address.partition('?')[0]}"  # What is behind it may be a key that nobody has declared.
    return WaitKind.SERVICE, _short(f"the answer to {what}"), {}


def _of_program(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    return WaitKind.SERVICE, f"the launcher, which runs programs ({function})", {}


def _of_gateway(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    return WaitKind.SERVICE, f"the gateway, which serves HTTP for it ({function})", {}


def _of_supervisor(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    return WaitKind.SUPERVISOR, f"the server's answer to {function}", {}


def _of_host(entry: Entry, function: str, arguments: Sequence[Any]) -> _Facts:
    return WaitKind.HOST, f"its host to carry out {function}", {}


_ASKINGS: Final[Mapping[tuple[str, str], _Made]] = {
    (MESSAGE_SERVER_HOST, "request"): _of_request,
    (REQUESTS, "request-timeout"): _of_request,
    (MESSAGE_SERVER_HOST, "open-channel"): _of_channel,
    (MESSAGE_SERVER_HOST, "send"): _of_send,
    (SUPERVISOR, "spawn"): _of_spawn,
    (SUPERVISOR, "resume"): _of_spawn,
    (TIMING, "sleep"): _of_sleep,
    (TIMING, "deadline"): _of_sleep,
    (FILESYSTEM, "execute-command"): _of_program,
    (FILESYSTEM, "execute-nix-command"): _of_program,
}
_BY_INTERFACE: Final[Mapping[str, _Made]] = {
    SUPERVISOR: _of_child,
    HTTP_CLIENT: _of_http,
    PROCESS: _of_program,
    HTTP_FRAMEWORK: _of_gateway,
    WEBSOCKETS: _of_gateway,
    REGISTRY: _of_supervisor,
    MONITORS: _of_supervisor,
    LINKS: _of_supervisor,
}


# ---- who waits for whom


@dataclass(frozen=True, slots=True)
class Wait:
    """An actor waits.

    Args:
        who: its id.
        on: id of the actor that it waits for; None if that is none.
        entry: number of the entry of its chain that says so.
        since_ns, until_ns: wall time; until None if nothing ends it by itself.
        fate: of a request, what has become of it.
    """

    who: str
    kind: WaitKind
    words: str
    on: str | None = None
    entry: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    fate: Fate | None = None


@dataclass(frozen=True, slots=True)
class Circle:
    """Actors each of which waits for the next, and the last for the first: none of them goes on by itself.

    Args:
        members: beginning with the one whose id is the smallest, so that a circle is always told the same way.
    """

    members: tuple[Wait, ...]

    @property
    def until_ns(self) -> int | None:
        """When the first timeout breaks it; None if none does."""
        return min((wait.until_ns for wait in self.members if wait.until_ns is not None), default=None)

    @property
    def breaker(self) -> Wait | None:
        """The wait whose timeout breaks it."""
        timed = (wait for wait in self.members if wait.until_ns is not None)
        return min(timed, key=lambda wait: (wait.until_ns, wait.who), default=None)


class Waits:
    """The graph: for each actor at most one wait."""

    def __init__(self, waits: Iterable[Wait]) -> None:
        self._waits = {wait.who: wait for wait in waits}
        self._waiters: dict[str, list[Wait]] = {}
        for wait in self._waits.values():
            if wait.on is not None:
                self._waiters.setdefault(wait.on, []).append(wait)

    def __iter__(self) -> Iterator[Wait]:
        return iter(self._waits.values())

    def of(self, who: str) -> Wait | None:
        """What this actor waits for."""
        return self._waits.get(who)

    def path(self, who: str) -> list[Wait]:
        """From wait to wait, beginning with that of `who`; where it goes round, each is there once."""
        found: list[Wait] = []
        seen: set[str] = set()
        wait = self._waits.get(who)
        while wait is not None and wait.who not in seen:
            seen.add(wait.who)
            found.append(wait)
            wait = self._waits.get(wait.on) if wait.on is not None else None
        return found

    def circle(self, who: str) -> Circle | None:
        """The circle that the path of `who` ends in, be `who` a member or not."""
        path = self.path(who)
        back = path[-1].on if path else None
        at = next((at for at, wait in enumerate(path) if wait.who == back), None)
        return None if at is None else _circle(path[at:])

    def circles(self) -> list[Circle]:
        """All circles, each once."""
        found: dict[str, Circle] = {}
        done: set[str] = set()
        for who in self._waits:
            if who in done:
                continue
            circle = self.circle(who)
            done.update(wait.who for wait in self.path(who))
            if circle is not None:
                found.setdefault(circle.members[0].who, circle)
        return list(found.values())

    def waiters(self, actor: str) -> list[Wait]:
        """Who waits for this actor, the longest first."""
        return sorted(self._waiters.get(actor, ()), key=lambda wait: (wait.since_ns or 0, wait.who))

    def held_up(self, actor: str) -> int:
        """How many actors would go on sooner if this one did: all from which waits lead to it."""
        seen = {actor}
        queue = [actor]
        while queue:
            for wait in self._waiters.get(queue.pop(), ()):
                if wait.who not in seen:
                    seen.add(wait.who)
                    queue.append(wait.who)
        return len(seen) - 1


def _circle(members: Sequence[Wait]) -> Circle:
    first = min(range(len(members)), key=lambda at: members[at].who)
    return Circle((*members[first:], *members[:first]))
