"""The control socket: what clients ask for, answered from what the server knows.

Each operation is one small function in the table `OPERATIONS`. It gets its arguments and a `Caller`, and answers at
once or later, always exactly once. An error becomes the `Failure` that the client raises again as the same class.
Bytes that are no message are counted and dropped; they cannot stop the server.

Requests come by doors (theater/bus/doors.py), which know whose they are, and a guard lets each of them pass or not
(server/commands.py). Nothing is said to a client that may not ask any more.

An answer for which a client's connection has no room, since it reads more slowly than it asks, waits here. How much may
wait is bounded, for one and for all: beyond that requests of whoever does not read are refused, so nothing is done
whose answer would not be got. Long answers leave in pieces, so that the room in a connection, which ZeroMQ counts in
frames, is bytes, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from theater.bus.doors import Door, Heard
from theater.bus.sockets import Full, Gone
from theater.core.wire import Failure, Message, Progress, Reply, Request, StillThere, decode, encode, pieces
from theater.errors import InvalidInput, LimitExceeded, NotAuthorised, TheaterError, WireError
from theater.log import Logger
from theater.server.loop import Loop

_LARGEST_NUMBER = 1 << 53

_NO_LONGER = "you may not command this server any more"

_CATCH_UP_S = 0.005
"""How often it is tried to send to a client whose queue was full."""

_AT_ONCE = 64
_TURN_S = 0.01
"""Requests that are served in one turn of the loop, and for how long."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may leave unread.

    Args:
        queue: frames in a connection, of at most `wire.PIECE` bytes each.
        answers, size: of what waits beyond that for one client, count and bytes, when its further requests are refused.
        total: bytes of what waits for all clients, when those of whoever has not read are.
    """

    queue: int = 128
    answers: int = 10_000
    size: int = 64 << 20
    total: int = 256 << 20


@dataclass(slots=True)
class _Backlog:
    """Answers that wait until a client reads: frames, and whether one is the end of an answer."""

    frames: deque[tuple[bytes, bool]] = field(default_factory=deque)
    answers: int = 0
    size: int = 0


@dataclass(slots=True)
class Caller:
    """Whoever waits for the answer to one request.

    Args:
        wait_s: how long it listens, seconds.
    """

    _control: Control
    _peer: bytes
    _id: int
    wait_s: float
    _pass: Pass
    answered: bool = False

    @property
    def peer(self) -> bytes:
        """The connection that the request came by; nobody else has the same."""
        return self._peer

    def is_there(self) -> bool:
        """Whether that connection is open, and who has it may still ask; it is said something to find out."""
        return self._pass.may() and self._control.reaches(self._peer)

    def reply(self, value: Any) -> None:
        """The end of the request."""
        if not self.answered:
            self.answered = True
            self._pass.ended(None)
            self._say(Reply(self._id, value))

    def fail(self, error: TheaterError) -> None:
        """The other end of the request."""
        if not self.answered:
            self.answered = True
            self._pass.ended(error)
            self._say(Failure(self._id, error.to_wire()))

    def progress(self, text: str) -> None:
        if not self.answered:
            self._say(Progress(self._id, text))

    def _say(self, message: Message) -> None:
        if self._pass.may():
            self._control.send(self._peer, message)
        else:
            self._control.send(self._peer, Failure(self._id, NotAuthorised(_NO_LONGER).to_wire()))


class Arguments:
    """The arguments of a request, each checked when it is taken."""

    def __init__(self, op: str, values: Mapping[str, Any]) -> None:
        self._op = op
        self._values = values

    def text(self, name: str) -> str:
        return str(self._get(name, str))

    def text_or_none(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def data(self, name: str) -> bytes:
        return bytes(self._get(name, bytes))

    def data_or_none(self, name: str) -> bytes | None:
        return None if self._values.get(name) is None else self.data(name)

    def flag(self, name: str) -> bool:
        return bool(self._get(name, bool, False))

    def number(self, name: str, default: int) -> int:
        """Cut to what a position in a file, a count or a time in ms can be."""
        return min(max(int(self._get(name, int, default)), -_LARGEST_NUMBER), _LARGEST_NUMBER)

    def table(self, name: str) -> Arguments:
        """Arguments within an argument."""
        return Arguments(f"{self._op}, {name}", self._get(name, dict))

    def names(self) -> list[str]:
        """The names of all arguments."""
        if not all(isinstance(name, str) for name in self._values):
            raise InvalidInput(f"names in the request {self._op!r} must be str")
        return list(self._values)

    def items(self, name: str, kind: type) -> list[Any]:
        found: list[Any] = self._get(name, list, [])
        if not all(type(item) is kind for item in found):
            raise InvalidInput(f"{name} of the request {self._op!r} must be a list of {kind.__name__}")
        return found

    def _get(self, name: str, kind: type, default: Any = None) -> Any:
        value = self._values.get(name, default)
        if type(value) is not kind:
            raise InvalidInput(
                f"{name} of the request {self._op!r} must be {kind.__name__}, not {type(value).__name__}"
            )
        return value


Operation = Callable[[Arguments, Caller], None]


class Pass(Protocol):
    """The leave to carry out one request."""

    @property
    def may(self) -> Callable[[], bool]:
        """Whether who has asked may still be answered."""

    def ended(self, error: TheaterError | None) -> None:
        """It was carried out, or failed."""


class Guard(Protocol):
    """Lets requests pass."""

    def enter(self, user: str, address: str, request: Request) -> Pass:
        """Raises a TheaterError if a request may not be carried out.

        Args:
            user, address: who asks, as the door says.
        """


class Control:
    """The sockets.

    Args:
        doors: bound ones, by which clients come; closed by `close`.
        operations: by name.
        bounds: of what each client leaves unread.
    """

    def __init__(
        self,
        loop: Loop,
        doors: Sequence[Door],
        operations: Mapping[str, Operation],
        guard: Guard,
        log: Logger,
        bounds: Bounds = Bounds(),
    ) -> None:
        self._loop = loop
        self._doors = doors
        self._operations = operations
        self._guard = guard
        self._log = log
        self._bounds = bounds
        self._backlogs: dict[bytes, _Backlog] = {}
        self._unread = 0
        self.refused = 0
        for number, door in enumerate(doors):
            loop.drain(door.fileno(), partial(self._drain, number, door))

    def _send(self, peer: bytes, frame: bytes) -> None:
        """Connections of different doors may have the same name, so the number of the door stands before it."""
        self._doors[peer[0]].send(peer[1:], frame)

    def send(self, peer: bytes, message: Message) -> None:
        """Answers a client, behind the answers before; one that is gone needs none, and one that does not read gets it
        when it does, but hears of no progress."""
        backlog, waiting = self._backlogs.get(peer), deque(pieces(encode(message)))
        if backlog is None:
            whole = len(waiting)
            try:
                while waiting:
                    self._send(peer, waiting[0])
                    waiting.popleft()
                return
            except Gone:
                return
            except Full:
                if type(message) is Progress and len(waiting) == whole:
                    return
                backlog = self._backlogs[peer] = _Backlog()
                self._loop.after(_CATCH_UP_S, lambda: self._catch_up(peer))
        elif type(message) is Progress:
            return
        backlog.frames += ((frame, number == len(waiting)) for number, frame in enumerate(waiting, 1))
        backlog.answers += 1
        self._count(backlog, sum(map(len, waiting)))

    def _count(self, backlog: _Backlog, size: int) -> None:
        backlog.size += size
        self._unread += size

    def _catch_up(self, peer: bytes) -> None:
        backlog = self._backlogs[peer]
        try:
            while backlog.frames:
                frame, is_end = backlog.frames[0]
                self._send(peer, frame)
                backlog.frames.popleft()
                backlog.answers -= is_end
                self._count(backlog, -len(frame))
        except Full:
            self._loop.after(_CATCH_UP_S, lambda: self._catch_up(peer))
            return
        except Gone:
            self._count(backlog, -backlog.size)
        del self._backlogs[peer]

    def reaches(self, peer: bytes) -> bool:
        """Whether a client is still connected."""
        try:
            self._send(peer, encode(StillThere()))
        except Gone:
            return False
        except Full:
            pass
        return True

    def close(self) -> None:
        for door in self._doors:
            self._loop.forget(door.fileno())
            door.close(linger_ms=500)

    def _drain(self, number: int, door: Door) -> bool:
        worked = False
        until = self._loop.now() + _TURN_S
        for _ in range(_AT_ONCE):
            if self._loop.now() > until:
                return True  # Some requests take long, and a client may have sent many of them.
            heard = door.receive()
            if heard is None:
                return worked
            worked = True
            try:
                message = decode(heard.frame)
            except WireError as error:
                self._refuse(error)
                continue
            if type(message) is Request:
                self._serve(bytes((number,)) + heard.peer, heard, message)
            else:
                self._refuse(WireError(f"a {type(message).__name__} from a client"))
        return worked

    def _refuse(self, error: WireError) -> None:
        self.refused += 1
        self._log.debug("refused on the control socket", why=error.message)

    def _serve(self, peer: bytes, heard: Heard, request: Request) -> None:
        backlog = self._backlogs.get(peer)
        if backlog is not None and not self._may_ask(peer, backlog, request):
            return
        operation = self._operations.get(request.op)
        try:
            if operation is None:
                raise InvalidInput(f"this server does not know the request {request.op[:100]!r}")
            granted = self._guard.enter(heard.user, heard.address, request)
        except TheaterError as error:
            self.send(peer, Failure(request.id, error.to_wire()))
            return
        caller = Caller(self, peer, request.id, min(max(request.wait_ms, 0), 86_400_000) / 1000, granted)
        try:
            operation(Arguments(request.op, request.args), caller)
        except TheaterError as error:
            caller.fail(error)
        except Exception as error:
            self._log.exception("a defect in the server", op=request.op)
            caller.fail(TheaterError(f"the server has a defect: {type(error).__name__}: {error}"))

    def _may_ask(self, peer: bytes, backlog: _Backlog, request: Request) -> bool:
        """Whether a client may be given more to read. It is told that it may not, as long as there is room to tell it;
        who goes on asking without reading hears nothing, and nothing is done for it."""
        bounds = self._bounds
        if backlog.answers < bounds.answers and backlog.size < bounds.size and self._unread < bounds.total:
            return True
        self.refused += 1
        if backlog.answers < 2 * bounds.answers:
            error = LimitExceeded(
                f"this connection has {backlog.answers} answers of {backlog.size} bytes that were not read, so "
                f"{request.op!r} was not done: read them, then ask again"
            )
            self.send(peer, Failure(request.id, error.to_wire()))
        return False
