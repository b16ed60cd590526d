"""Signals between the supervisor and its workers: the directory's questions, messages from outside, downs.

Each worker has a link of its own, the line that it is born with, so who says something is known by where it arrives.
No worker is trusted: each is heard a few messages at a time, so that one which floods keeps nobody waiting; one that
does not read what it has asked for is not heard until it does; and one that says what no worker says is ended.
The supervisor is the directory, not the post office (D5): it tells a worker once where another lives, and tells it
when that one is dead. Only messages from outside the system pass through here. Each of those ends in exactly one
of handled, error, timeout, down.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from theater.bus.ends import Gone
from theater.bus.links import Allowance, Link, pair
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
    Meet,
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
    LimitExceeded,
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

Answer = Callable[[bytes | None, TheaterError | None], None]
_UNDECIDED_S = 1.0
"""How long a question about a name may wait until it is known whether its dead owner comes back."""

_AT_ONCE = 16
_SLICE_S = 0.002
"""Messages of one worker that are heard before the others are, and how long that may take."""

_LOOKUPS_MOST = 100
"""Questions of one worker that wait for the same actor. One of ours has two at most."""

_LAST_WORDS_S = 0.5
"""How long a dead worker is heard out; after that only the ends of messages from outside are taken."""

_READS_AT_ONCE = 4
_BEHIND = 1 << 16
"""Bytes that wait for a worker, beyond what the kernel holds for it, with which it is not heard any more: so what it
asks for does not pile up here."""

_DELIVERED_AHEAD = 1 << 24
_DELIVERED_FRAMES = 10_000
"""Bytes and messages that wait for a worker with which nothing from outside is taken for it any more."""

_ENVELOPE = 1 << 20
"""Bytes that a signal may have around a message or a state: a manifest, a report of dead letters."""

_LONG_FRAMES = 1 << 22
"""Bytes that half-read long frames of all workers may take, if there is more than one."""

_STALL_S = 10.0
"""How long a worker may take for the rest of a frame while others wait for the room it takes."""

_LAST_FRAMES = 1 << 16
_HANDLED = encode(Handled(0, None, None))[:4]
_GOODBYE_S = 2.0
"""How long after it has closed its line a worker's process may live."""

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
    """The lines of all workers."""

    def __init__(
        self,
        loop: Loop,
        cast: Cast,
        stage: Stage,
        dead_letters: DeadLetters,
        log: Logger,
    ) -> None:
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
        self._allowance = Allowance(_LONG_FRAMES)
        self._held: dict[Worker, None] = {}
        self.directory = Directory()
        self.refused = 0
        self.on_grown: Callable[[str], None] = lambda actor: None
        self.on_up: Callable[[Actor], None] = lambda actor: None
        self.on_dead: Callable[[Worker, ExitReason], None] = lambda worker, reason: None
        self.on_silence: Callable[[Worker, ExitReason], None] = lambda worker, reason: None
        self.on_down: Callable[[Actor], None] = lambda actor: None
        self.on(Ready, self._on_ready)
        self.on(Grown, self._on_grown)
        self.on(Handled, self._on_handled)
        self.on(Undelivered, self._on_undelivered)
        self.on(Lookup, self._on_lookup)
        self.on(FindLife, self._on_find_life)
        self.on(Whereis, self._on_whereis)
        self.on(Register, self._on_register)
        self.on(Unregister, self._on_unregister)

    def close(self) -> None:
        """Lets go of the lines of workers that are left."""
        for worker in self._stage.live_workers():
            self._hang_up(worker)

    def attend(self, worker: Worker) -> None:
        """A worker has been told who it is: from now on it is heard."""
        line = worker.line
        assert line is not None
        limits = worker.actor.manifest.limits
        line.allow(max(limits.message, limits.state) + _ENVELOPE, self._allowance)
        line.on_unsent = lambda _: self._loop.writer(line.fileno(), lambda: self._let_out(worker, line))
        self._loop.reader(line.fileno(), lambda: self._hear(worker, line))
        if line.has_unsent:
            line.on_unsent(line)

    def _let_out(self, worker: Worker, line: Link) -> None:
        """Sends what has waited for a worker, which is heard again when all has left: first what has been read of it
        already, which no descriptor tells of."""
        if line.flush():
            self._loop.writer(line.fileno(), None)
            self._loop.heed(line.fileno(), True)
            self._hear(worker, line)

    def _hang_up(self, worker: Worker) -> None:
        line, worker.line = worker.line, None
        if line is not None:
            self._held.pop(worker, None)
            self._loop.forget(line.fileno())
            line.close()

    # ---- to workers

    def tell(self, worker: Worker, message: Message, descriptor: int | None = None) -> None:
        """Sends a signal, behind those before it; to a worker that is behind as soon as it has room. A worker that is
        gone needs none: its end is under way or coming.

        Args:
            descriptor: goes with it, and is not the caller's any more.
        """
        try:
            if worker.line is None:
                if descriptor is not None:
                    os.close(descriptor)
                return
            worker.line.send(encode(message), descriptor=descriptor)
        except Gone:
            pass

    # ---- from workers

    def on(self, kind: type[Signal], action: Callable[[Worker, Signal], None]) -> None:
        """Has `action` called, from the loop, with every signal of this kind and the living worker that sent it."""
        self._actions[kind] = action

    def _hear(self, worker: Worker, line: Link) -> None:
        """Takes in some of what a worker has said."""
        if not worker.is_due:
            self._hear_some(worker, line)

    def _hear_some(self, worker: Worker, line: Link) -> None:
        reads = heard = 0
        until = time.monotonic() + _SLICE_S
        while heard < _AT_ONCE and line.unsent_bytes <= _BEHIND and time.monotonic() < until:
            frame = line.next()
            if frame is not None:
                heard += 1
                self._take(worker, frame)
            elif reads < _READS_AT_ONCE and line.read():
                reads += 1
            else:
                break
        if worker.line is not line:
            return
        if line.held:
            self._hold(worker, line)
        elif line.ended:
            self._line_is_over(worker, line)
        elif line.unsent_bytes > _BEHIND:
            self._loop.heed(line.fileno(), False)
        elif line.has_frames:
            worker.is_due = True
            self._loop.soon(lambda: self._hear_rest(worker, line))
        if self._held and not line.held:
            self._hear_held()

    def _hear_rest(self, worker: Worker, line: Link) -> None:
        worker.is_due = False
        if worker.line is line:
            self._hear_some(worker, line)

    def _take(self, worker: Worker, frame: bytes) -> None:
        try:
            message = decode(frame)
        except WireError as error:
            self.refuse(worker, error.message)
            return
        action = self._actions.get(type(message))
        if action is None:
            self.refuse(worker, f"a worker does not say {type(message).__name__}")
        else:
            action(worker, message)

    def refuse(self, worker: Worker, why: str) -> None:
        """A worker has said what none of ours says: its process is not ours any more, and is ended."""
        self.refused += 1
        if worker.line is not None:
            worker.line.hang_up(why)
        self._stage.end_at_fault(worker, why)

    def _line_is_over(self, worker: Worker, line: Link) -> None:
        """Nothing more comes from a worker; it is ending, or is to end."""
        self._loop.forget(line.fileno())
        if line.fault is not None:
            if worker.overdue is None:
                self.refused += 1
            self._stage.end_at_fault(worker, line.fault)
        else:
            fault = "it closed its line to the server and went on"
            self._loop.after(
                _GOODBYE_S, lambda: self._stage.end_at_fault(worker, fault) if worker.line is line else None
            )

    def _hold(self, worker: Worker, line: Link) -> None:
        """A long frame waits until others have arrived. Nobody keeps it waiting by sending half of one."""
        self._loop.heed(line.fileno(), False)
        if worker in self._held:
            return
        self._held[worker] = None
        holders = self._allowance.holders

        def stalled() -> None:
            if worker not in self._held or worker.line is not line:
                return
            for other in self._stage.live_workers():
                if other.line in holders and other.line in self._allowance.holders:
                    self.refuse(other, f"half a frame, and nothing more of it for {_STALL_S:g} s")
            self._hear_held()

        self._loop.after(_STALL_S, stalled)

    def _hear_held(self) -> None:
        """Goes on with those whose long frames had to wait, in the order in which they came."""
        waiting, self._held = self._held, {}
        for worker in waiting:
            line = worker.line
            if line is not None and not line.ended:
                self._loop.heed(line.fileno(), True)

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
                case [str() | None as sender, str() as receiver, bytes() as body, bytes() as cause, str() as why] if (
                    worker.actor.id in (sender, receiver)
                ):
                    self._dead_letters.add(sender, receiver, body, cause, why)
                case _:
                    self.refuse(worker, "what it says was not delivered is no letter of its own")
                    return

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
        elif sum(waiting.asker is worker for waiting in self._waiting.get(actor.id, ())) >= _LOOKUPS_MOST:
            busy = LimitExceeded(f"{_LOOKUPS_MOST} questions of this actor wait for {message.words} already")
            self.tell(worker, Missing(message.number, busy.to_wire()))
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
        keep = actor.manifest.supervision.mail is MailPolicy.KEEP
        try:
            end = self._introduce(asker, worker)
        except OSError as error:
            failed = ActorDown(f"the server has no link to {words} for another actor: {error.strerror}")
            self.tell(asker, Missing(number, failed.to_wire()))
            return
        if asker.line is not None:
            asker.line.allow(limits.message + _ENVELOPE, self._allowance)  # It may have to report what it sends there.
        self.tell(asker, Found(number, actor.id, worker.incarnation, limits.message, limits.mailbox, keep), end)

    def _introduce(self, asker: Worker, worker: Worker) -> int | None:
        """Gives a life the link over which another will write to it; returns the end for that one. There is one link
        from each life to each other, so that nobody can have many made."""
        life = worker.actor.id, worker.incarnation
        if worker is asker or life in asker.met:
            return None
        theirs, ours = pair()
        asker.met.add(life)
        self.tell(worker, Meet(asker.actor.id, asker.incarnation), theirs)
        return ours

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
        line = worker.line
        if line is not None and (line.unsent_bytes > _DELIVERED_AHEAD or line.unsent_frames > _DELIVERED_FRAMES):
            del worker.outstanding[self._number]
            delivery.end(None, MailboxFull(f"the mailbox of {delivery.actor.id} is full: its queue takes no more"))
            return
        self.tell(worker, message)  # If it is dying, `worker_is_dead` ends the delivery.

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
        self._hear_out(worker)
        because = reason.describe()
        for watcher in self.directory.dead(actor.id):
            watching = self._cast.get(watcher)
            if watching is not None and watching.worker is not None:
                watching.worker.met.discard((actor.id, worker.incarnation))
                self.tell(watching.worker, Down(actor.id, worker.incarnation, because))
        self._settle_outstanding(worker, reason)
        self.on_silence(worker, reason)
        for waiting in self._waiting.values():
            waiting[:] = [entry for entry in waiting if entry.asker is not worker]
        self.on_dead(worker, reason)

    def _hear_out(self, worker: Worker) -> None:
        """Takes in what a dead worker had sent, which is no more than the kernel holds, and closes its line."""
        line = worker.line
        if line is None:
            return
        line.allow(0)
        until = time.monotonic() + _LAST_WORDS_S
        for _ in range(_LAST_FRAMES):
            frame = line.receive()
            if frame is None:
                break
            if time.monotonic() < until or frame.startswith(_HANDLED):
                self._take(worker, frame)
        self._hang_up(worker)
        if self._held:
            self._hear_held()

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
