"""The middle of a service: the supervisor's admissions, the wants of workers, and calls into actors.

One asyncio loop. A worker is known by the token that the supervisor gave it; what it says before that is kept for a
moment, since the two come by different ways, and then refused. Everything that a service does for an actor is an
operation of a `Desk`; each `Want` ends in exactly one `Given`, each `invoke` in exactly one result or error, and the
end of a life ends both at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from theater.bus.sockets import Context, Dealer, Full, Gone, Router
from theater.core.wire import (
    Admit,
    Announce,
    Dismiss,
    Enter,
    Entered,
    Given,
    Invoke,
    Message,
    Returned,
    Serving,
    Want,
    decode,
    encode,
)
from theater.errors import (
    ActorDown,
    InvalidInput,
    MailboxFull,
    TheaterError,
    TimedOut,
    UnknownActor,
    WireError,
    from_wire,
)
from theater.log import Logger
from theater.service.admitted import Admitted

Operation = Callable[[Admitted, Sequence[Any], float], Awaitable[Any]]
"""Does something for a life with the given arguments until a moment (monotonic seconds); returns a WIT value."""

_QUEUE = 10_000
_STRANGERS = 1000
"""Frames that are kept of workers whom the supervisor has not named yet."""

_STRANGE_S = 5.0
_AT_ONCE = 256
_SWEEP_S = 0.05
"""How often it is looked whose time is over."""


class Desk(Protocol):
    """A part of a service."""

    @property
    def ops(self) -> Mapping[str, Operation]:
        """Its operations, by name."""

    def admitted(self, life: Admitted) -> None:
        """A life begins; one before it of the same actor is over."""

    def dismissed(self, life: Admitted, for_good: bool) -> None:
        """A life is over; `for_good` if no further one is coming."""

    async def close(self) -> None:
        """The service ends: finishes what can be finished soon."""


@dataclass(slots=True, eq=False)
class _Guest:
    """A life, and what is going on with it.

    Attributes:
        peer: its worker's connection, once that is known.
        calls: what waits for its answers, by number, and until when.
        outbox: calls that have not left: those of one turn of the loop leave together.
        wants: what is being done for it.
    """

    life: Admitted
    peer: bytes | None = None
    calls: dict[int, tuple[asyncio.Future[Any], float]] = field(default_factory=dict)
    outbox: list[list[Any]] = field(default_factory=list)
    wants: set[asyncio.Task[None]] = field(default_factory=set)


class Office:
    """One service.

    Args:
        name: of the service.
        context: the process' ZeroMQ context.
        endpoint: where workers find it.
        supervisor: the supervisor's address for services.
        log: the process' log.
    """

    def __init__(self, name: str, context: Context, endpoint: str, supervisor: str, log: Logger) -> None:
        self.name = name
        self.log = log
        self._loop = asyncio.get_running_loop()
        self._router: Router = context.router(endpoint, queue=_QUEUE)
        self._supervisor: Dealer = context.dealer(supervisor, identity=name.encode(), queue=_QUEUE, linger_ms=500)
        self._desks: list[Desk] = []
        self._ops: dict[str, Operation] = {}
        self._guests: dict[str, _Guest] = {}
        self._last: dict[str, Admitted] = {}
        self._known: dict[bytes, _Guest] = {}
        self._strangers: dict[bytes, list[Message]] = {}
        self._number = 0
        self._is_due = False
        self._is_posting = False
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        self.refused = 0

    def open(self, *desks: Desk) -> None:
        """Begins to serve."""
        self._desks.extend(desks)
        for desk in desks:
            self._ops.update(desk.ops)
        self._loop.add_reader(self._router.fileno(), self._drain)
        self._loop.add_reader(self._supervisor.fileno(), self._hear_out)
        self._supervisor.send(encode(Serving(self.name)))
        self._hear_out()
        self._drain()

    async def close(self) -> None:
        """Ends all desks, then the sockets."""
        await asyncio.gather(*(desk.close() for desk in self._desks), return_exceptions=True)
        self._sweeper.cancel()
        self._loop.remove_reader(self._router.fileno())
        self._loop.remove_reader(self._supervisor.fileno())
        self._router.close(linger_ms=500)
        self._supervisor.close(linger_ms=500)

    # ---- for desks

    def life(self, actor: str) -> Admitted | None:
        """The present life of an actor, if it has one."""
        guest = self._guests.get(actor)
        return guest.life if guest is not None else None

    async def invoke(
        self, actor: str, interface: str, function: str, params: Sequence[Any], timeout: float | None = None
    ) -> Any:
        """Has a handler of an actor called; it waits in the actor's mailbox like a message.

        Args:
            params: WIT values without the state.
            timeout: seconds; None for the actor's request timeout.

        Returns:
            the handler's extra results, a list.

        Raises:
            ActorFailed: it answered with an err.
            ActorDown: it has no life, or that ended before the answer.
            TimedOut: no answer in time.
            MailboxFull: as many calls wait for it as its mailbox holds.
        """
        guest = self._guests.get(actor)
        if guest is None:
            raise ActorDown("the actor is not running")
        limits = guest.life.limits
        if len(guest.calls) >= limits.mailbox:
            raise MailboxFull(f"the mailbox of {guest.life.name} is full: {len(guest.calls)} calls wait there already")
        seconds = limits.request_timeout if timeout is None else timeout
        self._number += 1
        number = self._number
        answer: asyncio.Future[Any] = self._loop.create_future()
        guest.calls[number] = answer, self._loop.time() + seconds
        deadline = time.monotonic_ns() + int(seconds * 1e9)
        guest.outbox.append([number, interface, function, list(params), deadline])
        if not self._is_posting:
            self._is_posting = True
            self._loop.call_soon(self._post)
        try:
            return await answer
        finally:
            del guest.calls[number]

    def announce(self, actor: str, facts: Mapping[str, Any]) -> None:
        """Says to people what is done for an actor: shown by `theater inspect`, replaces what was said before."""
        self._tell(Announce(self.name, actor, dict(facts)))

    # ---- sending

    def _post(self) -> None:
        """Sends all calls whose worker has connected; it does so when it has something to say, or to hear."""
        self._is_posting = False
        for guest in self._guests.values():
            if guest.outbox and guest.peer is not None:
                calls, guest.outbox = guest.outbox, []
                self._send(guest, guest.peer, calls)
        self._soon()

    def _send(self, guest: _Guest, peer: bytes, calls: list[list[Any]]) -> None:
        try:
            self._router.send(peer, encode(Invoke(calls)))
        except (Full, Gone):
            error = MailboxFull(f"the mailbox of {guest.life.name} is full: its queue takes no more")
            for number, *_ in calls:
                if number in guest.calls:
                    _fail(guest.calls[number][0], error)

    def _sweep(self) -> None:
        """Ends the calls whose time is over. One timer for all: most calls end long before."""
        now = self._loop.time()
        for guest in self._guests.values():
            for answer, until in guest.calls.values():
                if until < now:
                    _fail(answer, TimedOut(f"{guest.life.name} did not answer in time"))
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _tell(self, message: Message) -> None:
        try:
            self._supervisor.send(encode(message))
        except Full:
            self.refused += 1
        self._loop.call_soon(self._hear_out)

    def _answer(self, peer: bytes, message: Message) -> None:
        try:
            self._router.send(peer, encode(message))
        except (Full, Gone):
            self.refused += 1
        self._soon()

    # ---- receiving

    def _soon(self) -> None:
        """ZeroMQ's descriptors tell of a change once, and a send may have used that up: one more look is due."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._is_due = False
        for _ in range(_AT_ONCE):
            received = self._router.receive() if self._router.has_frames else None
            if received is None:
                return
            self._hear_worker(*received)
        self._soon()

    def _hear_out(self) -> None:
        """Takes in what the supervisor says; after a word to it, too, as in `_soon`."""
        for _ in range(_AT_ONCE):
            frame = self._supervisor.receive()
            if frame is None:
                return
            self._hear_supervisor(frame)
        self._loop.call_soon(self._hear_out)

    def _hear_supervisor(self, frame: bytes) -> None:
        try:
            message = decode(frame)
            if type(message) is Admit:
                self._admit(Admitted.from_wire(message))
            elif type(message) is Dismiss:
                self._dismiss(message)
            else:
                self.refused += 1
        except TheaterError as error:
            self.refused += 1
            self.log.error("cannot do what the supervisor says", service=self.name, why=error.message)

    def _admit(self, life: Admitted) -> None:
        before = self._guests.get(life.actor)
        if before is not None:
            if before.life.incarnation >= life.incarnation:
                return
            self._end(before, for_good=False)
        self._last.pop(life.actor, None)
        guest = self._guests[life.actor] = _Guest(life)
        for desk in self._desks:
            desk.admitted(life)
        for peer, kept in list(self._strangers.items()):
            if type(kept[0]) is Enter and self._is(guest, kept[0]):
                del self._strangers[peer]
                for message in kept:
                    self._take(peer, message)

    def _dismiss(self, message: Dismiss) -> None:
        guest = self._guests.get(message.actor)
        if guest is not None and guest.life.incarnation == message.incarnation:
            del self._guests[message.actor]
            if not message.for_good:
                self._last[message.actor] = guest.life
            self._end(guest, message.for_good)
        elif guest is None and message.for_good and (last := self._last.pop(message.actor, None)) is not None:
            # Its last life was over before it was known that no other one is coming.
            for desk in self._desks:
                desk.dismissed(last, for_good=True)

    def _end(self, guest: _Guest, for_good: bool) -> None:
        if guest.peer is not None:
            self._known.pop(guest.peer, None)
        down = ActorDown(f"{guest.life.name} went down before it answered")
        for answer, _ in guest.calls.values():
            _fail(answer, down)
        for task in guest.wants:
            task.cancel()
        for desk in self._desks:
            desk.dismissed(guest.life, for_good)

    def _hear_worker(self, peer: bytes, frame: bytes) -> None:
        try:
            self._take(peer, decode(frame))
        except WireError:
            self.refused += 1

    def _take(self, peer: bytes, message: Message) -> None:
        guest = self._known.get(peer)
        if type(message) is Enter:
            self._enter(peer, message)
        elif guest is None:
            self._keep(peer, message)
        elif type(message) is Returned:
            self._returned(guest, message)
        elif type(message) is Want:
            task = self._loop.create_task(self._carry_out(guest, peer, message))
            guest.wants.add(task)
            task.add_done_callback(guest.wants.discard)
        else:
            self.refused += 1

    def _enter(self, peer: bytes, message: Enter) -> None:
        guest = self._guests.get(message.actor)
        if guest is None or not self._is(guest, message):
            # Admissions and workers come by different ways: this one may be early.
            self._strangers[peer] = [message]
            self._loop.call_later(_STRANGE_S, self._turn_away, peer)
            return
        if guest.peer is not None:
            self._known.pop(guest.peer, None)
        guest.peer = peer
        self._known[peer] = guest
        self._answer(peer, Entered(self.name))
        self._post()

    def _keep(self, peer: bytes, message: Message) -> None:
        kept = self._strangers.get(peer)
        if kept is not None and sum(map(len, self._strangers.values())) < _STRANGERS:
            kept.append(message)
        else:
            self.refused += 1

    def _turn_away(self, peer: bytes) -> None:
        for message in self._strangers.pop(peer, ()):
            self.refused += 1
            if type(message) is Want:
                error = UnknownActor(f"the {self.name} does not serve this life of the actor")
                self._answer(peer, Given(message.number, None, error.to_wire()))

    @staticmethod
    def _is(guest: _Guest, message: Enter) -> bool:
        return (guest.life.actor, guest.life.incarnation, guest.life.token) == message

    @staticmethod
    def _returned(guest: _Guest, message: Returned) -> None:
        for end in message.ends:
            number, value, error, _ = end
            answer, _ = guest.calls.get(number, (None, 0))
            if answer is None or answer.done():
                continue  # Whoever wanted it has given up.
            if error is not None:
                answer.set_exception(from_wire(error))
            else:
                answer.set_result(value)

    async def _carry_out(self, guest: _Guest, peer: bytes, want: Want) -> None:
        left = (want.deadline_ns - time.monotonic_ns()) / 1e9
        error: TheaterError | None = None
        value: Any = None
        try:
            operation = self._ops.get(want.op)
            if operation is None:
                raise InvalidInput(f"the {self.name} does not know {want.op!r}")
            async with asyncio.timeout(max(left, 0.0)):
                value = await operation(guest.life, want.args, self._loop.time() + left)
        except TimeoutError:
            error = TimedOut(f"the {self.name} did not finish {want.op} in time")
        except TheaterError as no:
            error = no
        except Exception as defect:
            self.log.exception("a defect of a service", service=self.name, op=want.op)
            error = TheaterError(f"the {self.name} has a defect: {type(defect).__name__}: {defect}")
        try:
            answer = encode(Given(want.number, value, error.to_wire() if error is not None else None))
        except (TypeError, ValueError) as defect:
            text = f"the {self.name} has a defect: what {want.op} answers cannot be sent: {defect}"
            answer = encode(Given(want.number, None, TheaterError(text).to_wire()))
        try:
            self._router.send(peer, answer)
        except (Full, Gone):
            self.refused += 1
        self._soon()


def _fail(future: asyncio.Future[Any], error: TheaterError) -> None:
    if not future.done():
        future.set_exception(error)
