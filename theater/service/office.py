"""The middle of a service: the supervisor's admissions, the wants of workers, and calls into actors.

One asyncio loop. With each admission the supervisor hands over one end of a link whose other end the life's worker has,
so a worker is known by the link that it speaks over. It is heard a little at a time; one that wants too much at once
waits, and one that says what no worker says is hung up on. Everything that a service does for an actor is an operation
of a `Desk`; each `Want` ends in exactly one `Given`, each `invoke` in exactly one result or error, and the end of a
life ends both at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from theater.bus.ends import Full, Gone
from theater.bus.links import Allowance, Link
from theater.core.wire import (
    MAX_FRAME,
    Admit,
    Announce,
    Dismiss,
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
    WireError,
    from_wire,
)
from theater.log import Logger
from theater.service.admitted import Admitted

Operation = Callable[[Admitted, Sequence[Any], float], Awaitable[Any]]
"""Does something for a life with the given arguments until a moment (monotonic seconds); returns a WIT value."""

_QUEUE = 10_000
_AT_ONCE = 64
"""Frames of one link that are taken before the others have their turn."""

_WANTS_AT_ONCE = 1000
"""What one life may want at a time; it is not heard before some of that is done."""

_BEHIND = 1 << 20
"""Bytes that wait for a worker, beyond what the kernel holds for it, with which it is not heard any more."""

_LONG_FRAMES = 1 << 24
"""Bytes that half-read long frames of all workers may take, if there is more than one."""

_STALL_S = 10.0
"""How long a worker may take for the rest of a frame while others wait for the room it takes."""

_GOODBYE_S = 0.5
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
        link: to its worker; None if it was lost.
        calls: what waits for its answers, by number, and until when.
        outbox: calls that have not left: those of one turn of the loop leave together.
        wants: what is being done for it.
    """

    life: Admitted
    link: Link | None
    calls: dict[int, tuple[asyncio.Future[Any], float]] = field(default_factory=dict)
    outbox: list[list[Any]] = field(default_factory=list)
    wants: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def is_behind(self) -> bool:
        """Whether it wants more than it may at a time, or does not take what it wanted."""
        return len(self.wants) >= _WANTS_AT_ONCE or (self.link is not None and self.link.unsent_bytes > _BEHIND)


class Office:
    """One service.

    Args:
        name: of the service.
        supervisor: the link to it.
        log: the process' log.
    """

    def __init__(self, name: str, supervisor: Link, log: Logger) -> None:
        self.name = name
        self.log = log
        self._loop = asyncio.get_running_loop()
        self._supervisor = supervisor
        self._allowance = Allowance(_LONG_FRAMES)
        self._held: dict[_Guest, float] = {}
        self._desks: list[Desk] = []
        self._ops: dict[str, Operation] = {}
        self._guests: dict[str, _Guest] = {}
        self._last: dict[str, Admitted] = {}
        self._number = 0
        self._is_posting = False
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        self.refused = 0

    def open(self, *desks: Desk) -> None:
        """Begins to serve."""
        self._desks.extend(desks)
        for desk in desks:
            self._ops.update(desk.ops)
        self._supervisor.on_unsent = self._let_out_later
        self._loop.add_reader(self._supervisor.fileno(), self._hear_out)
        self._tell(Serving(self.name))
        self._hear_out()

    async def close(self) -> None:
        """Ends all desks, then the links."""
        await asyncio.gather(*(desk.close() for desk in self._desks), return_exceptions=True)
        self._sweeper.cancel()
        until = time.monotonic() + _GOODBYE_S
        for link in (*(guest.link for guest in self._guests.values()), self._supervisor):
            if link is not None:
                self._let_go(link, max(0, int((until - time.monotonic()) * 1000)))

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
        """Sends the calls of this turn."""
        self._is_posting = False
        for guest in self._guests.values():
            if guest.outbox:
                calls, guest.outbox = guest.outbox, []
                self._send(guest, calls)

    def _send(self, guest: _Guest, calls: list[list[Any]]) -> None:
        try:
            if guest.link is None:
                raise Gone
            guest.link.send(encode(Invoke(calls)))
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
        if self._held:
            self._go_on_with_held(now)

    def _tell(self, message: Message) -> None:
        try:
            self._supervisor.send(encode(message))
        except (Full, Gone):
            self.refused += 1

    def _let_out_later(self, link: Link) -> None:
        """Sends what waits as soon as the other end takes it."""
        self._loop.add_writer(link.fileno(), self._let_out, link)

    def _let_out(self, link: Link) -> None:
        if link.flush():
            self._loop.remove_writer(link.fileno())

    def _let_go(self, link: Link, linger_ms: int = 0) -> None:
        if link.fileno() >= 0:
            self._loop.remove_reader(link.fileno())
            self._loop.remove_writer(link.fileno())
            link.close(linger_ms)

    # ---- receiving

    def _hear_out(self) -> None:
        """Takes in what the supervisor says."""
        for _ in range(_AT_ONCE):
            frame = self._supervisor.receive()
            if frame is None:
                break
            self._hear_supervisor(frame, self._supervisor.take_descriptor())
        if self._supervisor.ended:
            self._loop.remove_reader(self._supervisor.fileno())  # It is dead, and this process about to be.
        elif self._supervisor.has_frames:
            self._loop.call_soon(self._hear_out)

    def _hear(self, guest: _Guest, link: Link) -> None:
        """Takes in some of what a worker says."""
        if guest.link is not link:
            return
        reads = heard = 0
        while heard < _AT_ONCE and not guest.is_behind:
            frame = link.next()
            if frame is not None:
                heard += 1
                try:
                    self._take(guest, decode(frame))
                except WireError as error:
                    link.hang_up(error.message)
            elif reads < _AT_ONCE and link.read():
                reads += 1
            else:
                break
        if link.ended:
            self._hang_up(guest, link)
        elif link.held or guest.is_behind:
            self._loop.remove_reader(link.fileno())
            self._held.setdefault(guest, self._loop.time())
        elif link.has_frames:
            self._loop.call_soon(self._hear, guest, link)

    def _go_on_with_held(self, now: float) -> None:
        """Hears again whoever has been kept waiting, by itself or by long frames of others."""
        waiting, self._held = self._held, {}
        for guest, since in waiting.items():
            link = guest.link
            if link is None:
                continue
            if guest.is_behind:
                self._held[guest] = since
                continue
            if link.held and now - since > _STALL_S:
                for other in list(self._guests.values()):
                    if other.link is not None and other.link in self._allowance.holders:
                        other.link.hang_up(f"half a frame, and nothing more of it for {_STALL_S:g} s")
                        self._hang_up(other, other.link)
            self._loop.add_reader(link.fileno(), self._hear, guest, link)
            self._hear(guest, link)
            if guest in self._held:
                self._held[guest] = since

    def _hang_up(self, guest: _Guest, link: Link) -> None:
        """A worker has ended, or broken the rules; whoever waits for it is told when the supervisor says so."""
        if link.fault is not None:
            self.refused += 1
            self.log.error("a worker broke the rules of the bus", service=self.name, actor=guest.life.actor)
        self._let_go(link)
        guest.link = None

    def _hear_supervisor(self, frame: bytes, descriptor: int | None) -> None:
        try:
            message = decode(frame)
            if type(message) is Admit:
                life, descriptor, given = Admitted.from_wire(message), None, descriptor
                self._admit(life, given)
            elif type(message) is Dismiss:
                self._dismiss(message)
            else:
                self.refused += 1
        except TheaterError as error:
            self.refused += 1
            self.log.error("cannot do what the supervisor says", service=self.name, why=error.message)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _admit(self, life: Admitted, descriptor: int | None) -> None:
        before = self._guests.get(life.actor)
        if before is not None:
            if before.life.incarnation >= life.incarnation:
                if descriptor is not None:
                    os.close(descriptor)
                return
            self._end(before, for_good=False)
        self._last.pop(life.actor, None)
        link: Link | None = None
        if descriptor is not None:
            link = Link(descriptor, largest=MAX_FRAME, frames=_QUEUE, allowance=self._allowance)
            link.on_unsent = self._let_out_later
        guest = self._guests[life.actor] = _Guest(life, link)
        for desk in self._desks:
            desk.admitted(life)
        if link is not None:
            self._loop.add_reader(link.fileno(), self._hear, guest, link)

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
        if guest.link is not None:
            self._let_go(guest.link)
            guest.link = None
        self._held.pop(guest, None)
        down = ActorDown(f"{guest.life.name} went down before it answered")
        for answer, _ in guest.calls.values():
            _fail(answer, down)
        for task in guest.wants:
            task.cancel()
        for desk in self._desks:
            desk.dismissed(guest.life, for_good)

    def _take(self, guest: _Guest, message: Message) -> None:
        if type(message) is Returned:
            self._returned(guest, message)
        elif type(message) is Want:
            task = self._loop.create_task(self._carry_out(guest, message))
            guest.wants.add(task)
            task.add_done_callback(guest.wants.discard)
        else:
            raise WireError(f"a worker does not say {type(message).__name__}")

    @staticmethod
    def _returned(guest: _Guest, message: Returned) -> None:
        for end in message.ends:
            match end:
                case [int() as number, value, dict() | None as error, bytes()]:
                    answer, _ = guest.calls.get(number, (None, 0))
                    if answer is None or answer.done():
                        continue  # Whoever wanted it has given up.
                    if error is not None:
                        answer.set_exception(from_wire(error))
                    else:
                        answer.set_result(value)
                case _:
                    raise WireError("what stands among ends is none")

    async def _carry_out(self, guest: _Guest, want: Want) -> None:
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
            if guest.link is None:
                raise Gone
            guest.link.send(answer)
        except (Full, Gone):
            self.refused += 1


def _fail(future: asyncio.Future[Any], error: TheaterError) -> None:
    if not future.done():
        future.set_exception(error)
