"""An unbribable clerk: the books on one supervisor, kept from outside.

`Ledger` sees the events and the commands and nothing of the machine. It notes who lives, who was asked to end, who is
owed a restart and from when, and how many restarts were attempted in which second; and it raises `Broken` at the
first command that OTP, or a rule of ours, would not have allowed. What it knows of the rules it has written down for
itself: it shares no code with the machine but the values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import floor
from typing import Any, NamedTuple, TypeAlias

from theater.core.child_spec import AutoShutdown, ChildSpec, Restart, ShutdownRule, StopOrder, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision_commands import (
    Accepted,
    Answer,
    CancelTimer,
    ChildRef,
    ChildView,
    Command,
    Ended,
    Kill,
    Note,
    NoteKind,
    Refusal,
    Refused,
    Result,
    RetryLater,
    SetTimer,
    Shutdown,
    Start,
    Timer,
    Up,
)

BLINK = 1e-6
"""Seconds that are lost in adding and subtracting floats."""

NO_PASS = 1 << 30
"""No pass of a mass restart is under way: whatever the position of the next automatic start, it begins a new one."""

# In Python 3.11 looking a member up in its enum is slow.
PERMANENT, TRANSIENT, TEMPORARY = Restart
PROGRESS, CHILD_TERMINATED, START_ERROR, SHUTDOWN_ERROR, GAVE_UP, EXITED, UNKILLABLE = NoteKind
ORDINARY = (ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.GAVE_UP)


Call: TypeAlias = tuple[Any, str, tuple[Any, ...]]
"""Token, name, arguments."""


class Broken(AssertionError):
    """The machine gave a command, or failed to give one, against the specification."""


def demands_restart(restart: Restart, reason: ExitReason) -> bool:
    """The table of 1.4, written a second time on purpose."""
    if restart is PERMANENT:
        return True
    return restart is TRANSIENT and reason.kind not in ORDINARY


class Pending(NamedTuple):
    """A start that is under way.

    Args:
        second: in which the restart was decided of which it would be a part.
        newer_lived: when it was ordered, a child lived that is behind it in start order.
        was_due: when it was ordered, its own restart, or in a mass restart somebody's, was due.
        overdue_at: when its deadline is over.
    """

    child: ChildRef
    second: int
    newer_lived: bool
    was_due: bool
    overdue_at: float | None


class Ledger:
    """The books.

    The world reports facts (`came_up`, `died`, …) just before it feeds the event, and then the commands that the
    machine answered.

    Args:
        flags: of the supervisor.
        specs: of its first children.
        kill_limit: seconds that a killed worker has to die.
    """

    def __init__(self, flags: SupervisorFlags, specs: tuple[ChildSpec, ...], *, kill_limit: float = 10.0) -> None:
        self.kill_limit = kill_limit
        self._go_by(flags)
        self.spec: dict[str, ChildSpec] = {spec.id: spec for spec in specs}
        self.position: dict[str, int] = {spec.id: number for number, spec in enumerate(specs)}
        self.alive: dict[ChildRef, bool] = {}  # to whether it is up
        self.incarnation: dict[str, ChildRef] = {}  # of those alive
        self.up_since: dict[str, float] = {}
        self.asked: dict[ChildRef, float] = {}  # to when
        self.killed: set[ChildRef] = set()
        self.lost: set[ChildRef] = set()  # killed, and called unkillable
        self.timers: set[Timer] = set()
        self.waiting: deque[Call] = deque()
        self.owed: set[str] = set()
        self.pauses: dict[str, tuple[ChildRef, float]] = {}  # to who failed, and until when
        self.due: set[str] = set()  # of the owed, those that need not wait any longer
        self.failures: dict[str, int] = {}  # in a row
        self.rests: dict[ChildRef, float] = {}  # until when
        self.attempts: list[int] = []
        self._recent: deque[int] = deque()  # those within the window
        self.booted = False
        self.ending: str | None = None
        self.ending_since = 0.0
        self.end_limit: float | None = None
        self.ended = False
        self.last_gone: ChildSpec | None = None
        self.highest: dict[str, int] = {}
        self._pending: Pending | None = None
        self._resolved = False
        self._overdue: ChildRef | None = None
        self._undead_start: ChildRef | None = None
        self._last_position = NO_PASS
        self._admitted: int | None = None  # the second of the restart that is under way, before its first start
        self._cut_short: ChildRef | None = None
        self._time_is_up = False
        self._now = 0.0
        self._batch: list[Command] = []
        self._additions = len(specs)

    def _go_by(self, flags: SupervisorFlags) -> None:
        self.flags = flags
        self.mass = flags.strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE)
        self.at_once = flags.stop is StopOrder.PARALLEL or flags.strategy is Strategy.DYNAMIC

    # ---- facts, from the world

    def asked_by(self, token: object, call: str, arguments: tuple[Any, ...]) -> None:
        self.waiting.append((token, call, arguments))

    def told_to_end(self, how: str, now: float) -> None:
        if self.ending is None:
            self._ends(how, now)
            self._cut_short = self._pending.child if self._pending is not None else None
            if self._overdue is not None:
                self.asked[self._overdue] = now  # it has been killed already
        elif how == "kill":
            self.ending = how

    def _ends(self, how: str, now: float) -> None:
        self.ending = how
        self.ending_since = now

    def came_up(self, child: ChildRef) -> None:
        if child not in self.asked and child != self._overdue:  # then it is too late to matter
            self.alive[child] = True
            self._resolved = True

    def did_not_come_up(self, child: ChildRef) -> None:
        self._is_gone(child)
        self._resolved = True

    def died(self, child: ChildRef, reason: ExitReason, now: float) -> None:
        was_up = self.alive[child]
        if child in self.lost:
            self.lost.discard(child)
            self._falls_due(child.id)
        elif was_up:
            self._forgive(child.id, now)
            if child not in self.asked:
                self._died_by_itself(child, reason)
        elif child not in self.asked:
            self._resolved = True
        self._is_gone(child)

    def _is_gone(self, child: ChildRef) -> None:
        del self.alive[child]
        del self.incarnation[child.id]
        self.asked.pop(child, None)
        self.killed.discard(child)

    def _forgive(self, id: str, now: float) -> None:
        backoff = self.spec[id].backoff or self.flags.backoff
        if backoff is not None and now - self.up_since[id] >= (backoff.initial + backoff.max) / 2000:
            self.failures.pop(id, None)

    def _died_by_itself(self, child: ChildRef, reason: ExitReason) -> None:
        spec = self.spec[child.id]
        if demands_restart(spec.restart, reason):
            self.owed.add(child.id)
            if spec.backoff is None and self.flags.backoff is None:
                self.due.add(child.id)
        elif spec.significant:
            self.last_gone = spec

    def fired(self, timer: Timer) -> None:
        self.timers.discard(timer)
        self._time_is_up = timer.child is None

    def rests_if_it_dies(self, child: ChildRef, until: float) -> None:
        self.rests[child] = until

    def retried(self, child: ChildRef, now: float) -> None:
        failed, until = self.pauses.get(child.id, (None, 0.0))
        if failed == child and now >= until - BLINK:
            del self.pauses[child.id]
            self._falls_due(child.id)

    def _falls_due(self, id: str) -> None:
        if self.mass or id in self.owed:
            self.due.add(id)

    # ---- commands, from the machine

    def observe(self, now: float, commands: list[Command]) -> None:
        self._now = now
        self._batch = commands
        if self._resolved:
            self._resolved = False
            self._classify_start()
        if self.ended:
            self._judge_afterlife(commands)
        for command in commands:
            _CHECKS[type(command)](self, command)
        if self.ending is not None and not self.ended:
            self._judge_haste()

    def _judge_afterlife(self, commands: list[Command]) -> None:
        for command in commands:
            if type(command) is not Answer and not (type(command) is Note and command.kind is EXITED):
                raise Broken(f"a command after the end: {command}")

    def _judge_haste(self) -> None:
        """Once the end has begun, nobody is left waiting who needs not."""
        if self._cut_short in self.alive and self._cut_short not in self.asked:
            raise Broken(f"the supervisor ends, but waits for {self._cut_short} to start")
        if self.at_once and not self.alive.keys() <= self.asked.keys() | self.lost:
            raise Broken(f"it ends at once, but of {set(self.alive)} it has asked only {set(self.asked)}")
        if self._time_is_up and not self.alive.keys() <= self.killed | self.lost:
            raise Broken(f"its time is up, but {self.alive.keys() - self.killed} were not killed")
        self._time_is_up = False

    # ---- starts

    def _on_start(self, command: Start) -> None:
        child = command.child
        self._judge_start(child)
        self.highest[child.id] = child.incarnation
        self.spec[child.id] = command.spec
        if child.id not in self.position:
            self._place_last(child.id)
        self._pending = Pending(
            child,
            self._second_of_admission(),
            (self.mass or not self.booted) and self._newer_lives(child.id),
            bool(self.due) if self.mass else child.id in self.due,
            None if command.spec.start_deadline is None else self._now + command.spec.start_deadline / 1000,
        )
        if not self.booted and self._pending.newer_lived:
            raise Broken(f"{child} was not started in order")
        self._owes_no_more(child.id)
        self.alive[child] = False
        self.incarnation[child.id] = child

    def _judge_start(self, child: ChildRef) -> None:
        if self.ending is not None:
            raise Broken(f"{child} was started although the supervisor is ending")
        if child.id in self.incarnation:
            raise Broken(f"two incarnations of {child.id}")
        if child.incarnation <= self.highest.get(child.id, 0):
            raise Broken(f"{child} is no fresh incarnation")
        if self._pending is not None:
            raise Broken(f"{child} was started before the start of {self._pending.child} was done")
        if self.asked and not self.asked.keys() <= self.lost:
            raise Broken(f"{child} was started while {self.asked.keys() - self.lost} were being stopped")
        if not self.mass and self.booted and child.id not in self.owed and not self._a_caller_wants(child.id):
            raise Broken(f"{child} was started although nothing demanded it")

    def _place_last(self, id: str) -> None:
        self.position[id] = self._additions
        self._additions += 1

    def _newer_lives(self, id: str) -> bool:
        position = self.position
        mine = position[id]
        return any(position[other.id] > mine and other not in self.lost for other in self.alive)

    def _a_caller_wants(self, id: str) -> bool:
        if not self.waiting:
            return False
        call = self.waiting[0]
        return call[1] in ("start_child", "restart_child") and self._subject(call) == id

    @staticmethod
    def _subject(call: Call) -> str:
        argument = call[2][0] if call[2] else ""
        return argument.id if isinstance(argument, ChildSpec) else str(argument)

    def _classify_start(self) -> None:
        """Who wanted the start that has just been resolved: a caller, if his answer comes along; else the machine."""
        pending, self._pending = self._pending, None
        overdue, self._overdue = self._overdue, None
        if pending is None or self.ending is not None:
            return
        child = pending.child
        if child in self.alive:
            self.up_since[child.id] = self._now
        if overdue is not None:
            self._judge_why(child)
        if not self.booted:
            return
        if self._answers_a_start(child):
            self._wanted_by_caller(child)
            return
        self._judge_automatic_start(pending)
        if any(type(c) is Note and c.kind is START_ERROR and c.child == child for c in self._batch):
            self.owed.add(child.id)
            self._last_position = NO_PASS

    def _judge_why(self, child: ChildRef) -> None:
        """Whoever hears of a start that took too long hears that it was for that."""
        for command in self._batch:
            reason = None
            if type(command) is Note and command.kind is START_ERROR:
                reason = command.reason
            elif type(command) is Answer and type(command.result) is Refused:
                reason = command.result.reason
            if reason is not None and reason.kind is ExitKind.DEADLINE:
                return
        raise Broken(f"the start of {child} took too long, but nobody was told")

    def _answers_a_start(self, child: ChildRef) -> bool:
        if not self.waiting or self.waiting[0][1] not in ("start_child", "restart_child"):
            return False
        first = next((c for c in self._batch if type(c) is Answer), None)
        if first is None or first.token != self.waiting[0][0]:
            return False
        result = first.result
        if type(result) is Accepted:
            return result.child in (child, None) and self._subject(self.waiting[0]) == child.id
        return type(result) is Refused and result.why is Refusal.START_FAILED and result.id == child.id

    def _wanted_by_caller(self, child: ChildRef) -> None:
        if self.waiting[0][1] == "start_child":
            self._place_last(child.id)
            limit = self.flags.max_children
            if limit is not None and len(self.owed.union(self.incarnation.keys() - {c.id for c in self.lost})) > limit:
                raise Broken(f"{child} is one more than {limit} children")

    def _judge_automatic_start(self, pending: Pending) -> None:
        if self.mass and self.spec[pending.child.id].restart is TEMPORARY:
            raise Broken(f"{pending.child}, which is temporary, was restarted")
        if self.mass and pending.newer_lived:
            raise Broken(f"{pending.child} was restarted while a newer child was alive")
        self._belongs_to_pass(pending.child, pending.second, pending.was_due)

    def _belongs_to_pass(self, child: ChildRef, second: int, was_due: bool) -> None:
        """A start belongs to the pass before it if that is not over and its child is newer; else it begins one."""
        position = self.position[child.id]
        if not self.mass or position <= self._last_position:
            if not was_due:
                raise Broken(f"{child} was restarted before anybody's time had come")
            self._count_attempt(second)
        self._last_position = position

    # ---- 1.5

    def _count_attempt(self, second: int) -> None:
        self._admitted = None
        self.attempts.append(second)
        self._recent.append(second)
        if self._within(second) > self.flags.intensity:
            raise Broken(f"more than {self.flags.intensity} restarts in {self.flags.period} s: {self.attempts}")

    def _within(self, second: int) -> int:
        """How many attempts still count: none is remembered that did not when the last one was made."""
        while self._recent and self._recent[0] < second - self.flags.period:
            self._recent.popleft()
        return len(self._recent)

    def _second_of_admission(self) -> int:
        """A restart counts when it is decided: at the report of the death, or else at the first stop or start."""
        return floor(self._now) if self._admitted is None else self._admitted

    def _on_gave_up(self) -> None:
        if self._within(floor(self._now)) < self.flags.intensity:
            raise Broken(f"gave up at {self._now} after too few restarts: {self.attempts}")
        if self.ending is None:
            self._ends("gave up", self._now)

    # ---- pauses

    def _on_retry_later(self, command: RetryLater) -> None:
        child = command.child
        if child in self.alive:
            raise Broken(f"{child} is to be tried again, but is alive")
        backoff = self.spec[child.id].backoff or self.flags.backoff
        longest = shortest = 0.0
        if backoff is not None:
            row = self.failures.get(child.id, 0)
            self.failures[child.id] = row + 1
            longest = min(backoff.initial * 2.0 ** min(row, 99), backoff.max) / 1000
            shortest = longest * (1 - backoff.jitter)
        rest = max(0.0, self.rests.get(child, 0.0) - self._now)
        shortest, longest = max(shortest, rest), max(longest, rest)
        if not shortest - BLINK <= command.after <= longest + BLINK:
            raise Broken(f"{child} is to be tried again after {command.after} s, not {shortest} to {longest} s")
        self.pauses[child.id] = (child, self._now + command.after)
        self._admitted = None  # nothing is attempted before that

    # ---- stops

    def _on_stop(self, command: Shutdown | Kill) -> None:
        child = command.child
        if child not in self.alive:
            raise Broken(f"{child} was asked to end, but is not alive")
        if type(command) is Kill:
            self.killed.add(child)
        if child in self.asked:
            if type(command) is Shutdown:
                raise Broken(f"{child} was asked to end twice")
            self._judge_patience(child)
        elif self._pending is not None and child == self._pending.child and self.ending is None:
            self._judge_deadline(command, self._pending)
        else:
            self._is_stopped(command)

    def _judge_deadline(self, command: Shutdown | Kill, pending: Pending) -> None:
        limit = pending.overdue_at
        if type(command) is not Kill or limit is None or abs(self._now - limit) > BLINK or self._overdue is not None:
            raise Broken(f"{command} in its start, whose limit is {limit}, at {self._now}")
        self._overdue = pending.child

    def _is_stopped(self, command: Shutdown | Kill) -> None:
        child = command.child
        if type(command) is Kill and not self._may_kill_unasked(child):
            raise Broken(f"{child} was killed without having been asked")
        if self.ending is None and self._admitted is None:
            self._admitted = floor(self._now)
        if self.ending != "kill" and child != self._cut_short:
            self._judge_order(child)
        self.asked[child] = self._now
        if self.ending is None and not self._a_caller_terminates(child.id):
            self._stopped_with_others(child.id)

    def _may_kill_unasked(self, child: ChildRef) -> bool:
        return self._must_go(child) or self.spec[child.id].shutdown is ShutdownRule.BRUTAL_KILL

    def _must_go(self, child: ChildRef) -> bool:
        return self.ending == "kill" or (self.end_limit is not None and self._now >= self.end_limit - BLINK)

    def _stopped_with_others(self, id: str) -> None:
        """In a mass restart: it is to come back, unless it is temporary."""
        if self.spec[id].restart is not TEMPORARY:
            self.owed.add(id)

    def _judge_patience(self, child: ChildRef) -> None:
        rule = self.spec[child.id].shutdown
        waited = self._now - self.asked[child]
        if not self._must_go(child) and (isinstance(rule, ShutdownRule) or abs(waited - rule / 1000) > BLINK):
            raise Broken(f"{child} was killed after {waited} s, its rule is {rule}")

    def _judge_order(self, child: ChildRef) -> None:
        others = self.asked.keys() - self.lost
        if others and self.at_once and self.ending is None and self.last_gone is not None:
            self._ends("auto shutdown", self._now)
        if self.ending is not None and (self.at_once or self._must_go(child)):
            return
        if others:
            raise Broken(f"{child} was stopped while {others} were being stopped")
        if not self._a_caller_terminates(child.id) and self._newer_lives(child.id):
            raise Broken(f"{child} was stopped before another that is newer: {self.position}, {set(self.alive)}")

    def _a_caller_terminates(self, id: str) -> bool:
        return bool(self.waiting) and self.waiting[0][1:] == ("terminate_child", (id,))

    # ---- timers

    def _on_timer(self, command: SetTimer) -> None:
        self.timers.add(command.timer)
        if command.timer.child is None:
            self._judge_end_limit(command.at)

    def _judge_end_limit(self, at: float) -> None:
        allowed = self.flags.stop_deadline
        if allowed is None or self.end_limit is not None or abs(at - self._now - allowed / 1000) > BLINK:
            raise Broken(f"its end is limited to {at}, at {self._now}, where {allowed} ms are allowed")
        self.end_limit = at
        if self.ending is None:
            self._ends("auto shutdown", self._now)

    def _on_cancel(self, command: CancelTimer) -> None:
        self.timers.discard(command.timer)

    # ---- answers

    def _on_answer(self, command: Answer) -> None:
        if not self.waiting:
            raise Broken(f"an answer to nobody: {command}")
        call = self.waiting.popleft()
        self._admitted = None
        if call[0] != command.token:
            raise Broken(f"{command} was given before the answer to {call}")
        consequence = _CONSEQUENCES.get(call[1])
        if consequence is not None:
            consequence(self, call, command.result)
        self._last_position = NO_PASS

    def _terminated(self, call: Call, result: Result) -> None:
        """Also one that cannot be killed is to stay down."""
        id = self._subject(call)
        if type(result) is Accepted and id in self.incarnation:
            raise Broken(f"{id} is said to be terminated, but is alive")
        if type(result) is Refused and result.why is not Refusal.UNKILLABLE:
            return
        if self.mass:
            self.owed.clear()  # a cancelled retry leaves those it would have restarted where they are (1.7)
        self._owes_no_more(id)

    def _deleted(self, call: Call, result: Result) -> None:
        id = self._subject(call)
        if type(result) is not Accepted:
            return
        if self.incarnation.get(id, _NOBODY) not in self.lost | {_NOBODY}:
            raise Broken(f"{id} was deleted, but is alive")
        self.failures.pop(id, None)
        self._owes_no_more(id)  # it waited behind somebody else's retry

    def _begun_by_hand(self, call: Call, result: Result) -> None:
        """Whoever is started by a caller begins with a clean slate, even if the start fails."""
        if type(result) is Accepted or (type(result) is Refused and result.why is Refusal.START_FAILED):
            self.failures.pop(self._subject(call), None)

    def _owes_no_more(self, id: str) -> None:
        self.owed.discard(id)
        self.due.discard(id)
        self.pauses.pop(id, None)

    def _changed(self, call: Call, result: Result) -> None:
        """1.18: the listed in their order, then those that are listed no more."""
        if type(result) is not Accepted:
            return
        flags, specs = call[2]
        self._go_by(flags)
        if self.mass:
            self.owed.clear()  # whoever is to be tried again may have other children behind it now
        listed = {spec.id: spec for spec in specs}
        others = sorted(self.position.keys() - listed.keys(), key=self.position.__getitem__)
        self.position = {id: number for number, id in enumerate([*listed, *others])}
        self._additions = len(self.position)
        self.spec |= listed

    # ---- notes

    def _on_note(self, command: Note) -> None:
        kind = command.kind
        if kind is PROGRESS or kind is EXITED:
            return
        if kind is CHILD_TERMINATED:
            self._last_position = NO_PASS
            self._admitted = None if command.spec.restart is TEMPORARY else floor(self._now)
        elif kind is UNKILLABLE:
            self.lost.add(command.child)
            if command.child == self._overdue:
                self._undead_start = command.child
                self._classify_start()
        elif kind is START_ERROR:
            self._on_start_error(command.child)
        elif kind is GAVE_UP:
            self._on_gave_up()

    def _on_start_error(self, child: ChildRef) -> None:
        if not self.booted:
            self._ends("start failed", self._now)
        elif child == self._undead_start:
            self._undead_start = None  # its own start is what failed
        elif child in self.lost:
            self._start_is_in_the_way(child)

    def _start_is_in_the_way(self, child: ChildRef) -> None:
        """A start that was not even tried, since the last incarnation is not dead yet, is an attempt all the same."""
        self._belongs_to_pass(child, self._second_of_admission(), bool(self.due))
        self._last_position = NO_PASS
        self.owed.add(child.id)
        self.due.discard(child.id)

    # ---- up and down

    def _on_up(self, command: Up) -> None:
        if self.booted:
            raise Broken("up twice")
        self.booted = True
        self._last_position = NO_PASS

    def _on_ended(self, command: Ended) -> None:
        self.ended = True
        left = set(self.alive)
        if left != set(command.abandoned) or not left <= self.lost:
            raise Broken(f"{left} are left, {command.abandoned} were named")
        if self.timers:
            raise Broken(f"timers are left: {self.timers}")
        if self.waiting:
            raise Broken(f"callers are left: {self.waiting}")
        if self.ending in (None, "auto shutdown") and command.reason.kind is ExitKind.SHUTDOWN:
            self._judge_auto_shutdown()
        self._judge_time_taken()

    def _judge_auto_shutdown(self) -> None:
        if self.flags.auto_shutdown is AutoShutdown.NEVER or self.last_gone is None:
            raise Broken("it shut itself down without a reason")

    def _judge_time_taken(self) -> None:
        allowed = self.flags.stop_deadline
        if self.ending is None or allowed is None:
            return
        taken = self._now - self.ending_since
        if taken > allowed / 1000 + self.kill_limit + BLINK:
            raise Broken(f"its end took {taken} s, where {allowed} ms are allowed")

    # ---- at rest

    def settle_accounts(self) -> None:
        """Nothing is going on any more: everything owed has been paid.

        Raises:
            Broken: a demanded start, or an answer, is still outstanding.
        """
        if self.waiting:
            raise Broken(f"callers wait, but nothing is going on: {self.waiting}")
        if self.ended:
            return
        if not self.asked.keys() <= self.lost or self._pending is not None:
            raise Broken(f"nothing is going on, but {self.asked}, {self._pending} are not done")
        if self.ending is not None:
            raise Broken("nothing is going on, but it has not ended")
        if self.timers:
            raise Broken(f"nothing is going on, but timers are set: {self.timers}")
        owed = self.owed - {child.id for child in self.lost}
        if owed:
            raise Broken(f"{owed} should have been restarted")

    def judge_listing(self, views: tuple[ChildView, ...]) -> None:
        """The supervisor's own account of its children, newest first, when nothing is going on.

        Raises:
            Broken: it is not true.
        """
        running = {view.child for view in views if view.state == "running"}
        if running != {child for child, is_up in self.alive.items() if is_up and child not in self.lost}:
            raise Broken(f"{running} are said to run, {self.alive} do")
        if self.flags.strategy is Strategy.DYNAMIC and len(running) < len(views):
            raise Broken(f"a dynamic supervisor keeps who has ended: {views}")
        places = [self.position[view.id] for view in views]
        if places != sorted(places, reverse=True):
            raise Broken(f"{[view.id for view in views]} are not listed newest first")


_NOBODY = ChildRef("", 0)


_CONSEQUENCES: dict[str, Callable[[Ledger, Call, Result], None]] = {
    "start_child": Ledger._begun_by_hand,
    "restart_child": Ledger._begun_by_hand,
    "terminate_child": Ledger._terminated,
    "delete_child": Ledger._deleted,
    "change": Ledger._changed,
}

_CHECKS: dict[type, Callable[[Ledger, Any], None]] = {
    Start: Ledger._on_start,
    Shutdown: Ledger._on_stop,
    Kill: Ledger._on_stop,
    SetTimer: Ledger._on_timer,
    CancelTimer: Ledger._on_cancel,
    RetryLater: Ledger._on_retry_later,
    Answer: Ledger._on_answer,
    Note: Ledger._on_note,
    Up: Ledger._on_up,
    Ended: Ledger._on_ended,
}
