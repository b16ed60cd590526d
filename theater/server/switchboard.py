"""Signals between the supervisor and its workers: the directory's questions, messages from outside, downs.

The supervisor is the directory, not the post office (D5): it tells a worker once where another lives, and tells it
when that one is dead. Only messages from outside the system pass through here. Each of those ends in exactly one
of handled, error, timeout, down.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from theater.bus.sockets import Context, Full, Gone
from theater.config import Home
from theater.core.exit_reason import ExitReason
from theater.core.manifest import MailPolicy
from theater.core.routing import Directory
from theater.core.wire import (
    Deliver,
    Down,
    FindLife,
    Forget,
    Found,
    Grown,
    Handled,
    Lookup,
    Message,
    Missing,
    Named,
    Ready,
    Register,
    Undelivered,
    Unregister,
    Whereis,
    decode,
    encode,
)
from theater.errors import (
    ActorDown,
    MailboxFull,
    MessageTooLarge,
    TheaterError,
    TimedOut,
    UnknownActor,
    WireError,
    from_wire,
)
from theater.log import Logger
from theater.server.cast import COMING, Actor, Cast, State
from theater.server.dead_letters import DeadLetters
from theater.server.loop import Alarm, Loop
from theater.server.stage import Stage, Worker

_SIGNAL_MAX = 64 << 20

Answer = Callable[[bytes | None, TheaterError | None], None]
_UNDECIDED_S = 1.0
"""How long a question about a name may wait until it is known whether its dead owner comes back."""

_BACKLOG_S = 0.05
"""How often it is tried to send to a worker whose queue was full."""

_SOON_NS = 1800 * 1_000_000_000
"""Whoever asks where an actor is and has more time than this does not stand still meanwhile (worker/mail.py)."""

Signal = TypeVar("Signal", bound=tuple[Any, ...])


@dataclass(slots=True, eq=False)
class Delivery:
    """A message from outside on its way.

    Args:
        answer: called exactly once with the reply (None for a message without one) or an error.
        message: makes the signal of its number and deadline; None for a `Deliver`.
    """

    actor: Actor
    body: bytes
    ask: bool
    deadline_ns: int
    answer: Answer
    message: Callable[[int, int], Message] | None = None
    alarm: Alarm | None = None
    over: bool = False

    def end(self, value: bytes | None, error: TheaterError | None) -> None:
        if self.over:
            return
        self.over = True
        if self.alarm is not None:
            self.alarm.cancel()
        self.answer(value, error)


@dataclass(slots=True)
class _Waiting:
    """A worker that wants to know where an actor lives that is not up yet."""

    asker: Worker
    question: Lookup


class Switchboard:
    """One socket for all workers."""

    def __init__(
        self,
        home: Home,
        context: Context,
        loop: Loop,
        cast: Cast,
        stage: Stage,
        dead_letters: DeadLetters,
        log: Logger,
    ) -> None:
        self._home = home
        self._loop = loop
        self._cast = cast
        self._stage = stage
        self._dead_letters = dead_letters
        self._log = log
        self._number = 0
        self._waiting: dict[str, list[_Waiting]] = {}
        self._pending: dict[str, list[Delivery]] = {}
        self._actions: dict[type, Callable[[Worker, Any], None]] = {}
        self._undecided: dict[str, list[Callable[[], None]]] = {}
        self._backlogs: dict[Worker, deque[Message]] = {}
        self.directory = Directory()
        self.refused = 0
        self.on_grown: Callable[[str], None] = lambda actor: None
        self.on_up: Callable[[Actor], None] = lambda actor: None
        self.on_dead: Callable[[Worker, ExitReason], None] = lambda worker, reason: None
        self.on_silence: Callable[[Worker, ExitReason], None] = lambda worker, reason: None
        self.on_down: Callable[[Actor], None] = lambda actor: None
        address = f"ipc://{home.run / 'signals'}"
        self._router = context.router(address, largest=_SIGNAL_MAX, queue=10_000)
        stage.signals_address = address
        self.on(Ready, self._on_ready)
        self.on(Grown, self._on_grown)
        self.on(Handled, self._on_handled)
        self.on(Undelivered, self._on_undelivered)
        self.on(Lookup, self._on_lookup)
        self.on(FindLife, self._on_find_life)
        self.on(Whereis, self._on_whereis)
        self.on(Register, self._on_register)
        self.on(Unregister, self._on_unregister)
        loop.drain(self._router.fileno(), self._drain)

    def close(self) -> None:
        self._loop.forget(self._router.fileno())
        self._router.close()

    # ---- to workers

    def tell(self, worker: Worker, message: Message) -> None:
        """Sends a signal, behind those before it; to one whose queue is full as soon as it has room. A worker that is
        gone needs none: its end is under way or coming."""
        backlog = self._backlogs.get(worker)
        if backlog is not None:
            backlog.append(message)
            return
        try:
            self._router.send(worker.identity, encode(message))
        except Gone:
            pass
        except Full:
            self._backlogs[worker] = deque([message])
            self._loop.after(_BACKLOG_S, lambda: self._catch_up(worker))

    def _catch_up(self, worker: Worker) -> None:
        """Sends what had to wait. It is no more than what the worker has asked for: it asks nothing while it reads
        nothing."""
        backlog = self._backlogs[worker]
        try:
            while backlog and worker.actor.worker is worker:
                self._router.send(worker.identity, encode(backlog[0]))
                backlog.popleft()
        except Full:
            self._loop.after(_BACKLOG_S, lambda: self._catch_up(worker))
            return
        except Gone:
            pass
        del self._backlogs[worker]

    # ---- from workers

    def on(self, kind: type[Signal], action: Callable[[Worker, Signal], None]) -> None:
        """Has `action` called, from the loop, with every signal of this kind and the living worker that sent it."""
        self._actions[kind] = action

    def _drain(self) -> bool:
        worked = False
        for _ in range(256):
            received = self._router.receive()
            if received is None:
                return worked
            worked = True
            worker = self._stage.by_identity(received[0])
            try:
                message = decode(received[1])
            except WireError:
                self.refused += 1
                continue
            action = self._actions.get(type(message))
            if worker is None or action is None:
                self.refused += 1
            else:
                action(worker, message)
        return worked

    def _on_ready(self, worker: Worker, message: Ready) -> None:
        self._stage.ready(worker)
        actor = worker.actor
        self.comes_back(actor)
        self.on_up(actor)
        for waiting in self._waiting.pop(actor.id, []):
            self._tell_where(waiting.asker, waiting.question, actor)
        for delivery in self._pending.pop(actor.id, []):
            self._hand_over(delivery)

    def _on_grown(self, worker: Worker, message: Grown) -> None:
        self.on_grown(worker.actor.id)

    def _on_handled(self, worker: Worker, message: Handled) -> None:
        delivery = worker.outstanding.pop(message.number, None)
        if delivery is not None:
            delivery.end(message.value, from_wire(message.error) if message.error else None)

    def _on_undelivered(self, worker: Worker, message: Undelivered) -> None:
        for letter in message.letters:
            match letter:
                case [str() | None as sender, str() as receiver, bytes() as body, bytes() as cause, str() as why]:
                    self._dead_letters.add(sender, receiver, body, cause, why)
                case _:
                    self.refused += 1

    # ---- the directory

    def find(self, words: str) -> Actor | None:
        """The actor that another one means: by id, or by a registered name."""
        return self._cast.get(self.directory.owner(words) or words)

    def _on_lookup(self, worker: Worker, message: Lookup) -> None:
        actor = self.find(message.words)
        if actor is None:
            error = UnknownActor(f"no actor has the id or registered name {message.words!r}")
            self.tell(worker, Missing(message.number, error.to_wire()))
        elif _refuses_meanwhile(actor):
            self.tell(worker, Missing(message.number, _down(actor).to_wire()))
        elif actor.state in COMING:
            self._waiting.setdefault(actor.id, []).append(_Waiting(worker, message))
            self._loop.at(message.deadline_ns / 1e9, lambda: self._lookup_overdue(actor.id, worker, message))
        else:
            self._tell_where(worker, message, actor)

    def _on_find_life(self, worker: Worker, message: FindLife) -> None:
        """The life may be in its init: it has spoken first, so it can be reached."""
        actor = self._cast.get(message.actor)
        life = actor.worker if actor is not None else None
        if actor is None or life is None or life.incarnation != message.incarnation:
            gone = ActorDown(f"life {message.incarnation} of actor {message.actor} is over")
            self.tell(worker, Missing(message.number, gone.to_wire()))
        else:
            self._tell_address(worker, message.number, message.actor, actor, life)

    def _tell_where(self, asker: Worker, question: Lookup, actor: Actor) -> None:
        worker = actor.worker
        if worker is None or not worker.ready or actor.state is not State.RUNNING:
            self.tell(asker, Missing(question.number, _down(actor).to_wire()))
        else:
            self._tell_address(asker, question.number, question.words, actor, worker)

    def _tell_address(self, asker: Worker, number: int, words: str, actor: Actor, worker: Worker) -> None:
        """Tells an address; from now on the asker will be told when that life is over."""
        self.directory.watch(asker.actor.id, actor.id, words)
        limits = actor.manifest.limits
        endpoint = f"ipc://{self._home.inbox(actor.id, worker.incarnation)}"
        keep = actor.manifest.supervision.mail is MailPolicy.KEEP
        self.tell(asker, Found(number, actor.id, worker.incarnation, endpoint, limits.message, limits.mailbox, keep))

    def _lookup_overdue(self, actor: str, asker: Worker, question: Lookup) -> None:
        waiting = self._waiting.get(actor, [])
        for entry in waiting:
            if entry.asker is asker and entry.question is question:
                waiting.remove(entry)
                error = TimedOut(f"{question.words} is being started and was not up in time")
                self.tell(asker, Missing(question.number, error.to_wire()))
                return

    def _on_whereis(self, worker: Worker, message: Whereis) -> None:
        if not self.waits_for_fate(worker, message.name, lambda: self._on_whereis(worker, message)):
            self.tell(worker, Named(message.number, self.directory.owner(message.name)))

    def _on_register(self, worker: Worker, message: Register) -> None:
        if self.waits_for_fate(worker, message.name, lambda: self._on_register(worker, message)):
            return
        try:
            self.directory.register(message.name, worker.actor.id)
        except TheaterError as error:
            self.tell(worker, Missing(message.number, error.to_wire()))
        else:
            self.tell(worker, Named(message.number, worker.actor.id))

    def _on_unregister(self, worker: Worker, message: Unregister) -> None:
        try:
            watchers = self.directory.unregister(message.name, worker.actor.id)
        except TheaterError as error:
            self.tell(worker, Missing(message.number, error.to_wire()))
        else:
            self._forget(message.name, watchers)
            self.tell(worker, Named(message.number, None))

    def waits_for_fate(self, asker: Worker, name: str, ask_again: Callable[[], None]) -> bool:
        """Whether a question about a name has to wait: its owner is dead, and may stay so.

        Names outlive lives, and are free before a death is announced if there is no further life (OTP 1.13, 7). It is
        announced before its supervisor has decided about that, so whoever has heard of it and asks for the name is
        answered after the decision.
        """
        waiting = self._undecided.get(self.directory.owner(name) or "")
        if waiting is None:
            return False
        waiting.append(lambda: ask_again() if asker.actor.worker is asker else None)
        return True

    def _leave_undecided(self, actor: Actor) -> None:
        waiting = self._undecided.setdefault(actor.id, [])
        self._loop.after(
            _UNDECIDED_S, lambda: self.comes_back(actor) if self._undecided.get(actor.id) is waiting else None
        )

    def comes_back(self, actor: Actor) -> None:
        """It is decided that the actor has a further life, or that its names are free: questions about them are
        answered."""
        for ask_again in self._undecided.pop(actor.id, ()):
            ask_again()

    # ---- messages from outside

    def deliver(
        self,
        actor: Actor,
        body: bytes,
        *,
        ask: bool,
        timeout: float,
        answer: Answer,
        message: Callable[[int, int], Message] | None = None,
    ) -> None:
        """Brings a message to an actor, which may be on its way up.

        Args:
            timeout: seconds until the sender gives up.
            answer: called exactly once: with the reply when `ask`, without one when the message has been recorded,
                or with an error.
            message: as of `Delivery`.
        """
        if _refuses_meanwhile(actor):
            answer(None, _down(actor))
            return
        limits = actor.manifest.limits
        if len(body) > limits.message:
            answer(None, MessageTooLarge(f"the message has {len(body)} bytes, {actor.id} accepts {limits.message}"))
            return
        waiting = len(self._pending.get(actor.id, ())) + (len(actor.worker.outstanding) if actor.worker else 0)
        if waiting >= limits.mailbox:
            answer(None, MailboxFull(f"the mailbox of {actor.id} is full: {waiting} messages wait there already"))
            return
        delivery = Delivery(actor, body, ask, time.monotonic_ns() + int(timeout * 1e9), answer, message)
        delivery.alarm = self._loop.after(timeout, lambda: self._overdue(delivery))
        if actor.state in COMING:
            self._pending.setdefault(actor.id, []).append(delivery)
        else:
            self._hand_over(delivery)

    def _hand_over(self, delivery: Delivery) -> None:
        worker = delivery.actor.worker
        if worker is None or not worker.ready or delivery.over:
            delivery.end(None, _down(delivery.actor))
            return
        self._number += 1
        worker.outstanding[self._number] = delivery
        message: Message = Deliver(self._number, delivery.ask, delivery.body, delivery.deadline_ns)
        if delivery.message is not None:
            message = delivery.message(self._number, delivery.deadline_ns)
        try:
            if worker in self._backlogs:
                raise Full
            self._router.send(worker.identity, encode(message))
        except Full:
            del worker.outstanding[self._number]
            delivery.end(None, MailboxFull(f"the mailbox of {delivery.actor.id} is full: its queue takes no more"))
        except Gone:
            pass  # It is dying; `worker_is_dead` ends the delivery.

    def expect(self, worker: Worker, answer: Answer) -> int:
        """The number of a signal that the worker will answer with `Handled`; `answer` is called once, also if the
        worker dies before that."""
        self._number += 1
        worker.outstanding[self._number] = Delivery(worker.actor, b"", True, 0, answer)
        return self._number

    def _overdue(self, delivery: Delivery) -> None:
        pending = self._pending.get(delivery.actor.id, [])
        if delivery in pending:
            pending.remove(delivery)
        what = "did not answer" if delivery.ask else "did not take the message"
        delivery.end(None, TimedOut(f"{delivery.actor.manifest.name} {what} in time; it may still handle it"))

    def waiting_for(self, actor: Actor) -> int:
        """Messages that wait for this actor, as far as the supervisor can see."""
        count = len(self._pending.get(actor.id, ()))
        worker = actor.worker
        if worker is not None and worker.pulse is not None:
            in_call = worker.pulse.call_since() is not None
            count += max(worker.pulse.read_gauges()[0], len(worker.outstanding) - int(in_call))
        return max(count, 0)

    def from_outside(self, actor: Actor) -> int:
        """Messages from outside that this actor has not ended, be they on their way or at work."""
        worker = actor.worker
        return len(self._pending.get(actor.id, ())) + (len(worker.outstanding) if worker is not None else 0)

    def sought_by(self, worker: Worker) -> list[str]:
        """The actors, not up yet, that a worker waits for to tell them something now."""
        soon = time.monotonic_ns() + _SOON_NS
        return [
            actor
            for actor, waiting in self._waiting.items()
            if any(entry.asker is worker and entry.question.deadline_ns < soon for entry in waiting)
        ]

    # ---- ends

    def worker_is_dead(self, worker: Worker, reason: ExitReason) -> None:
        """Takes in everything that it had sent, then tells everyone who had to do with it."""
        actor = worker.actor
        self._leave_undecided(actor)
        while self._drain():
            pass
        because = reason.describe()
        for watcher in self.directory.dead(actor.id):
            watching = self._cast.get(watcher)
            if watching is not None and watching.worker is not None:
                self.tell(watching.worker, Down(actor.id, worker.incarnation, because))
        self._settle_outstanding(worker, reason)
        self.on_silence(worker, reason)
        for waiting in self._waiting.values():
            waiting[:] = [entry for entry in waiting if entry.asker is not worker]
        self.on_dead(worker, reason)

    def _settle_outstanding(self, worker: Worker, reason: ExitReason) -> None:
        """What a dead worker had not answered: a message that it had recorded is taken, whoever sent it may have not
        heard of that; another one goes to its next life if the manifest says so, before those that came since."""
        actor = worker.actor
        recorded = 0
        if worker.pulse is not None and actor.head is not None:
            recorded = worker.pulse.last_delivery(actor.head.offset)
        keeps = actor.manifest.supervision.mail is MailPolicy.KEEP
        kept = []
        for number, delivery in worker.outstanding.items():
            if not delivery.ask and number <= recorded:
                delivery.end(None, None)
            elif keeps and not delivery.ask and not delivery.over and not self._is_poison(actor, delivery.body):
                kept.append(delivery)
            else:
                because = f"{actor.manifest.name} went down: it {reason.describe()}"
                delivery.end(None, ActorDown(because, **reason.to_dict()))
        worker.outstanding.clear()
        if kept:
            self._pending[actor.id] = kept + self._pending.get(actor.id, [])

    def _is_poison(self, actor: Actor, body: bytes) -> bool:
        return bool(actor.poison) and self._stage.known_as(actor, body) in actor.poison

    def actor_is_down(self, actor: Actor) -> None:
        """Nobody is about to start it again: its names are free, who waits for it is told."""
        for name, watchers in self.directory.release(actor.id).items():
            self._forget(name, watchers)
        self.comes_back(actor)
        for delivery in self._pending.pop(actor.id, []):
            delivery.end(None, _down(actor))
        for waiting in self._waiting.pop(actor.id, []):
            self.tell(waiting.asker, Missing(waiting.question.number, _down(actor).to_wire()))
        self.on_down(actor)

    def _forget(self, name: str, watchers: set[str]) -> None:
        for watcher in watchers:
            watching = self._cast.get(watcher)
            if watching is not None and watching.worker is not None:
                self.tell(watching.worker, Forget(name))


def _refuses_meanwhile(actor: Actor) -> bool:
    """Whether nothing waits for this actor, which is being restarted."""
    return actor.state is State.RESTARTING and actor.manifest.supervision.mail is MailPolicy.FAIL


def _down(actor: Actor) -> ActorDown:
    state = "being restarted" if actor.state is State.RESTARTING else actor.state.value
    because = f": it {actor.last_exit.describe()}" if actor.last_exit is not None else ""
    return ActorDown(f"{actor.manifest.name} ({actor.id}) is {state}{because}")
