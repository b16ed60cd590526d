"""A supervisor as a pure machine: events with their time go in, commands come out. OTP's rules, nothing else.

It starts nothing, waits for nothing and reads no clock; whether a child is a process or a further supervisor is the
shell's business, save for who bounds its end. One object is one supervisor in OTP's sense, from `start` to `Ended`.

OTP's supervisor is a process that does one thing at a time and lets everything else wait in its mailbox. This machine
has the same three parts:

* the *plan*: the stops and starts, one after another, that are under way. An event about the child that the plan
  waits for goes to the child's table of transitions and may let the plan take its next step;
* the *mailbox*: exits of other children, retries and calls, which are handled in order of arrival, each when the plan
  before it is done. An exit that a stop meets in the mailbox is used up there, as OTP does it, and causes no restart;
* the *children* in start order, each with a spec and a `Life`.

Where this differs from OTP, and why:

* `stop` and `kill` overtake the mailbox and cut short a start that is under way. OTP's parent would have to wait for a
  start that never ends; and since order between different senders is promised nowhere, no caller can tell. Calls that
  were overtaken, and those that come later, are refused as `down` at once.
* A worker that was killed and is not dead after `KILL_LIMIT_S` (a process in uninterruptible sleep) is *unkillable*:
  there is a note, whoever asked for its end is told, and the plan goes on without it. Its next incarnation does not
  start before it is dead: an automatic start counts as failed, and is tried again when the exit arrives. A supervisor
  that ends before that names it in `Ended.abandoned`. A child supervisor has no such limit, since it keeps its own.
* A retry belongs to the incarnation that failed, so one that was cancelled cannot reach a later failure.

As in OTP a start has no time limit; the shell may impose one (see `Start`).

Numbers in parentheses, here and in the tests, are clauses of the specification: 1.1 flags, 1.2 child specs, 1.3 the
initial start, 1.4 normal ends, 1.5 intensity, 1.6 strategies, 1.7 restarts that fail, 1.8 stopping a child, 1.9 the
end of the supervisor, 1.10 auto_shutdown, 1.11 calls, 1.12 odd messages, 1.17 reports, 1.25 processes of an operating
system.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, TypeAlias

from theater.core.child_spec import (
    AutoShutdown,
    ChildSpec,
    ChildType,
    Restart,
    ShutdownRule,
    Strategy,
    SupervisorFlags,
    check_child_specs,
    check_significance,
)
from theater.core.exit_reason import ExitReason
from theater.core.intensity import RestartIntensity
from theater.core.supervision_commands import (
    Accepted,
    Answer,
    CancelTimer,
    ChildCounts,
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
    Token,
    Up,
)
from theater.errors import SpecError

__all__ = [
    "KILL_LIMIT_S",
    "Accepted",
    "Answer",
    "CancelTimer",
    "ChildCounts",
    "ChildRef",
    "ChildView",
    "Command",
    "Ended",
    "Kill",
    "Life",
    "Note",
    "NoteKind",
    "Phase",
    "Refusal",
    "Refused",
    "Result",
    "RetryLater",
    "SetTimer",
    "Shutdown",
    "Start",
    "Supervisor",
    "Timer",
    "Token",
    "Up",
    "is_expected",
    "is_reported",
    "is_restarted",
]

KILL_LIMIT_S: Final = 10.0
"""Seconds between a kill and calling the child unkillable. A kill that works takes milliseconds."""


class Phase(StrEnum):
    """Where a supervisor is in its own life."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"


class Life(StrEnum):
    """Where a child is. Between plans only `undefined`, `running` and `restarting` are to be seen, as in OTP."""

    UNDEFINED = "undefined"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    KILLING = "killing"
    RESTARTING = "restarting"


class _Event(StrEnum):
    STARTED = "started"
    IGNORED = "ignored"
    START_FAILED = "start_failed"
    EXITED = "exited"
    TIMER = "timer"


class _Purpose(StrEnum):
    """What a plan is for; decides what a failed start means and what is done at the end."""

    BOOT = "boot"
    RESTART = "restart"
    ADD = "add"
    RESUME = "resume"
    TERMINATE = "terminate"
    END = "end"


@dataclass(frozen=True, slots=True)
class _News:
    """What an event brings along."""

    reason: ExitReason | None = None
    info: object = None

    @property
    def why(self) -> ExitReason:
        """The reason, of an event that has one."""
        assert self.reason is not None, "exits and failed starts come with a reason"
        return self.reason


@dataclass(slots=True, eq=False)
class _Child:
    """One spec and what became of it."""

    spec: ChildSpec
    ref: ChildRef
    life: Life = Life.UNDEFINED
    exit: ExitReason | None = None  # arrived, but not handled yet: the process is gone, the mail is waiting
    timer: Timer | None = None
    restarts: int = 0
    last_exit: ExitReason | None = None


_Step: TypeAlias = tuple[Callable[[_Child], None], str]


@dataclass(slots=True)
class _Plan:
    """Stops and starts in order; for a call also the child it is about, and who waits for the answer."""

    purpose: _Purpose
    steps: deque[_Step]
    subject: str = ""
    caller: _Caller | None = None


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who waits for an answer; any token is one, None too."""

    token: Token


@dataclass(frozen=True, slots=True)
class _Mail:
    """Something to handle when its turn comes, and who waits for the answer, if somebody does."""

    handle: Callable[[], None]
    caller: _Caller | None = None


class Supervisor:
    """One supervisor. Every method that takes `now` returns the commands to carry out, in their order.

    Args:
        flags: strategy, intensity, period, auto_shutdown.
        specs: the children to start, in order.
        last_incarnations: by child id, the number of the last incarnation it ever had. Numbering goes on from there
            and is kept here, so a mapping that outlives the supervisor lets its successor go on. An id is never taken
            out: that is for the owner of the mapping, when nothing of the child can be heard of any more.
        kill_limit: seconds after which a killed worker that does not die is called unkillable.

    Raises:
        SpecError: the specs are at odds with each other or with the flags.

    `now` is monotonic time in seconds and never goes back. Events about unknown or past incarnations are ignored.
    """

    def __init__(
        self,
        flags: SupervisorFlags,
        specs: Iterable[ChildSpec] = (),
        *,
        last_incarnations: MutableMapping[str, int] | None = None,
        kill_limit: float = KILL_LIMIT_S,
    ) -> None:
        specs = tuple(specs)
        check_child_specs(specs, flags.auto_shutdown)
        self._flags = flags
        self._incarnations = {} if last_incarnations is None else last_incarnations
        self._children = {spec.id: self._new_child(spec) for spec in specs}
        self._kill_limit = kill_limit
        self._intensity = RestartIntensity(flags.intensity, flags.period)
        self._phase = Phase.NEW
        self._ending: ExitReason | None = None
        self._plan: _Plan | None = None
        self._awaited: set[str] = set()
        self._mailbox: deque[_Mail] = deque()
        self._unreaped: dict[ChildRef, ChildSpec] = {}
        self._timers = 0
        self._now = 0.0
        self._out: list[Command] = []

    # ---- looking in, at any moment and without waiting for a turn

    @property
    def flags(self) -> SupervisorFlags:
        """As given."""
        return self._flags

    @property
    def phase(self) -> Phase:
        """Where the supervisor is in its own life."""
        return self._phase

    @property
    def busy(self) -> bool:
        """Whether a plan is under way, so that calls wait."""
        return self._plan is not None

    def snapshot(self) -> tuple[ChildView, ...]:
        """The children as they stand this instant, in start order; `which_children` waits for its turn instead."""
        return tuple(self._view(child) for child in self._children.values())

    # ---- events of the supervisor itself

    def start(self, now: float) -> list[Command]:
        """Begin: start the children in order. Ends in `Up`, or in `Ended` if one of them fails (1.3)."""
        if self._phase is Phase.NEW:
            self._phase = Phase.STARTING
            self._plan = _Plan(_Purpose.BOOT, deque((self._start_step, id) for id in self._children))
        return self._settle(now)

    def stop(self, now: float, reason: ExitReason | None = None) -> list[Command]:
        """The parent says stop: end all children, newest first, each by its rule, then `Ended(reason)` (1.9)."""
        self._now = now
        if self._ending is None:
            self._cut_start_short()
            self._end(reason or ExitReason.shutdown())
        return self._settle(now)

    def kill(self, now: float) -> list[Command]:
        """The parent's patience is over: kill everything at once, then `Ended(killed)`. Also while stopping (1.9)."""
        self._now = now
        if self._phase is not Phase.ENDED:
            self._end(ExitReason.killed())
            self._kill_all()
        return self._settle(now)

    # ---- events of children

    def started(self, child: ChildRef, now: float, info: object = None) -> list[Command]:
        """The incarnation is up and ready; `info` goes to the caller of start_child or restart_child, if any."""
        return self._happens(_Event.STARTED, child, now, info=info)

    def ignored(self, child: ChildRef, now: float) -> list[Command]:
        """The start succeeded without leaving a process."""
        return self._happens(_Event.IGNORED, child, now)

    def start_failed(self, child: ChildRef, reason: ExitReason, now: float) -> list[Command]:
        """The start failed and nothing of the incarnation is left."""
        return self._happens(_Event.START_FAILED, child, now, reason=reason)

    def exited(self, child: ChildRef, reason: ExitReason, now: float) -> list[Command]:
        """The incarnation is dead and reaped. To be reported once, and after everything it had sent."""
        self._now = now
        if child in self._unreaped:
            self._reap(child, reason)
            return self._settle(now)
        return self._happens(_Event.EXITED, child, now, reason=reason)

    def timer(self, timer: Timer, now: float) -> list[Command]:
        """A timer of `SetTimer` has fired."""
        record = self._children.get(timer.child.id)
        if record is None or record.timer != timer:
            return []
        record.timer = None
        return self._happens(_Event.TIMER, timer.child, now)

    def retry(self, child: ChildRef, now: float) -> list[Command]:
        """A `RetryLater` comes back."""
        self._post(partial(self._try_again, child))
        return self._settle(now)

    # ---- calls

    def start_child(self, token: Token, spec: ChildSpec, now: float, *, last_incarnation: int = 0) -> list[Command]:
        """Add a child, last in order, and start it. Answer: `Accepted(child, info)` or `Refused`.

        Args:
            token: comes back in the answer.
            spec: the child.
            now: monotonic seconds.
            last_incarnation: of a child that lived before, elsewhere: its last number. What is known here, if it is
                more, holds.
        """
        return self._call(token, now, self._start_child, spec, last_incarnation)

    def terminate_child(self, token: Token, id: str, now: float) -> list[Command]:
        """Stop a child, or cancel its restart; the spec stays unless it is temporary. `Accepted()` or `Refused`."""
        return self._call(token, now, self._terminate_child, id)

    def restart_child(self, token: Token, id: str, now: float) -> list[Command]:
        """Start a child that is not running from its spec. `Accepted(child, info)` or `Refused`."""
        return self._call(token, now, self._restart_child, id)

    def delete_child(self, token: Token, id: str, now: float) -> list[Command]:
        """Forget the spec of a child that is not running. `Accepted()` or `Refused`."""
        return self._call(token, now, self._delete_child, id)

    def which_children(self, token: Token, now: float) -> list[Command]:
        """All children, newest first. Answer: a tuple of `ChildView`, or `Refused`."""
        return self._call(token, now, self._which_children)

    def which_child(self, token: Token, id: str, now: float) -> list[Command]:
        """One child. Answer: `ChildView`, or `Refused`."""
        return self._call(token, now, self._which_child, id)

    def count_children(self, token: Token, now: float) -> list[Command]:
        """How many children there are. Answer: `ChildCounts`, or `Refused`."""
        return self._call(token, now, self._count_children)

    def get_childspec(self, token: Token, id: str, now: float) -> list[Command]:
        """The spec of a child. Answer: `ChildSpec`, or `Refused`."""
        return self._call(token, now, self._get_childspec, id)

    # ---- the engine: events, plan, mailbox

    def _happens(
        self, event: _Event, child: ChildRef, now: float, *, reason: ExitReason | None = None, info: object = None
    ) -> list[Command]:
        self._now = now
        record = self._children.get(child.id)
        if record is not None and record.ref == child:
            transition = _TRANSITIONS[record.life].get(event)
            if transition is not None:
                transition(self, record, _News(reason, info))
        return self._settle(now)

    def _call(self, token: Token, now: float, handle: Callable[..., None], *arguments: object) -> list[Command]:
        caller = _Caller(token)
        if self._ending is not None:
            self._answer(caller, self._down())
        else:
            self._post(partial(handle, caller, *arguments), caller)
        return self._settle(now)

    def _post(self, handle: Callable[[], None], caller: _Caller | None = None) -> None:
        if self._ending is None:
            self._mailbox.append(_Mail(handle, caller))

    def _settle(self, now: float) -> list[Command]:
        """Go on until something outside has to happen."""
        self._now = now
        while not self._awaited and self._phase is not Phase.NEW:
            if self._plan is not None:
                self._advance(self._plan)
            elif self._mailbox:
                self._mailbox.popleft().handle()
            else:
                break
        out, self._out = self._out, []
        return out

    def _advance(self, plan: _Plan) -> None:
        if not plan.steps:
            self._plan = None
            _WHEN_DONE[plan.purpose](self, plan)
            return
        step, id = plan.steps.popleft()
        record = self._children.get(id)
        if record is not None:
            step(record)

    def _emit(self, command: Command) -> None:
        self._out.append(command)

    def _note(
        self, kind: NoteKind, record: _Child, reason: ExitReason | None = None, *, commanded: bool = False
    ) -> None:
        self._emit(Note(kind, record.ref, record.spec, reason, commanded))

    def _answer(self, caller: _Caller | None, result: Result) -> None:
        if caller is not None:
            self._emit(Answer(caller.token, result))

    # ---- 1.3 initial start

    def _boot_done(self, plan: _Plan) -> None:
        self._phase = Phase.RUNNING
        self._emit(Up())

    def _boot_failed(self, plan: _Plan, record: _Child, reason: ExitReason) -> None:
        self._note(NoteKind.START_ERROR, record, reason)
        self._end(ExitReason.start_failed(record.spec.id, reason))

    # ---- starting one child: the step, and what may come of it

    def _start_step(self, record: _Child) -> None:
        leftover = self._leftover(record.spec.id)
        if leftover is not None:
            self._start_failed_by_plan(record, _still_dying(leftover))
            return
        record.ref = self._next_incarnation(record.spec.id)
        record.life = Life.STARTING
        self._awaited.add(record.spec.id)
        self._emit(Start(record.ref, record.spec))

    def _is_up(self, record: _Child, news: _News) -> None:
        record.life = Life.RUNNING
        self._awaited.discard(record.spec.id)
        plan = self._plan_under_way()
        if plan.purpose is _Purpose.RESTART:
            record.restarts += 1
        self._note(NoteKind.PROGRESS, record, commanded=plan.caller is not None)
        self._answer(plan.caller, Accepted(record.ref, news.info))

    def _declined(self, record: _Child, news: _News) -> None:
        self._gone(record)
        self._answer(self._plan_under_way().caller, Accepted(None))

    def _did_not_start(self, record: _Child, news: _News) -> None:
        record.life = Life.UNDEFINED
        record.last_exit = news.reason
        self._awaited.discard(record.spec.id)
        self._start_failed_by_plan(record, news.why)

    def _start_failed_by_plan(self, record: _Child, reason: ExitReason) -> None:
        plan = self._plan_under_way()
        _WHEN_START_FAILED[plan.purpose](self, plan, record, reason)

    # ---- 1.4 a child ends by itself

    def _remember_exit(self, record: _Child, news: _News) -> None:
        if record.exit is None:
            record.exit = record.last_exit = news.why
            self._note(NoteKind.EXITED, record, news.why)
            self._post(partial(self._handle_exit, record.ref))

    def _handle_exit(self, child: ChildRef) -> None:
        record = self._children.get(child.id)
        if record is None or record.ref != child or record.exit is None:
            return  # a stop has used it up
        reason, record.exit = record.exit, None
        record.life = Life.UNDEFINED
        if is_reported(record.spec.restart, reason):
            self._note(NoteKind.CHILD_TERMINATED, record, reason)
        if is_restarted(record.spec.restart, reason):
            self._restart(record, reason)
        else:
            self._keep_or_remove(record)
            self._consider_auto_shutdown(record.spec)

    def _keep_or_remove(self, record: _Child) -> None:
        """The child is not running: a temporary one is forgotten, of others the spec stays."""
        record.life = Life.UNDEFINED
        if record.spec.restart is Restart.TEMPORARY:
            del self._children[record.spec.id]

    # ---- 1.5 intensity, 1.6 strategies

    def _restart(self, record: _Child, reason: ExitReason | None) -> None:
        if self._admit_restart():
            self._plan = _Plan(_Purpose.RESTART, self._restart_steps(record))
        else:
            self._give_up(record, reason)

    def _admit_restart(self) -> bool:
        return self._intensity.admit(self._now)

    def _give_up(self, record: _Child, reason: ExitReason | None) -> None:
        self._note(NoteKind.GAVE_UP, record, reason)
        self._keep_or_remove(record)
        self._end(ExitReason.gave_up())

    def _restart_steps(self, pivot: _Child) -> deque[_Step]:
        """Stop the concerned, newest first; then start them in order, all that are not temporary."""
        concerned = _CONCERNED[self._flags.strategy](self, pivot)
        stops: list[_Step] = [(self._stop_step, record.spec.id) for record in reversed(concerned)]
        starts: list[_Step] = [
            (self._start_step, record.spec.id) for record in concerned if record.spec.restart is not Restart.TEMPORARY
        ]
        return deque(stops + starts)

    def _only(self, pivot: _Child) -> list[_Child]:
        return [pivot]

    def _all(self, pivot: _Child) -> list[_Child]:
        return list(self._children.values())

    def _rest(self, pivot: _Child) -> list[_Child]:
        records = self._all(pivot)
        return records[records.index(pivot) :]

    # ---- 1.7 a restart that fails

    def _restart_failed(self, plan: _Plan, record: _Child, reason: ExitReason) -> None:
        """Those started before it in this pass run on, those after it stay as they are; it will be the next pivot."""
        self._note(NoteKind.START_ERROR, record, reason)
        record.life = Life.RESTARTING
        plan.steps.clear()
        if self._leftover(record.spec.id) is None:
            self._emit(RetryLater(record.ref))

    def _try_again(self, child: ChildRef) -> None:
        record = self._children.get(child.id)
        if record is not None and record.ref == child and record.life is Life.RESTARTING:
            self._restart(record, record.last_exit)

    # ---- 1.8 stopping one child: the step, and what may come of it

    def _stop_step(self, record: _Child) -> None:
        if record.exit is not None:
            self._use_up_exit(record, record.exit)
        elif record.life in (Life.RUNNING, Life.STARTING):
            self._ask_to_end(record)
        elif record.life is Life.RESTARTING:
            record.life = Life.UNDEFINED

    def _use_up_exit(self, record: _Child, reason: ExitReason) -> None:
        """It ended before its turn came. That end is the outcome of the stop."""
        record.exit = None
        self._judge_stop(record, reason)
        self._gone(record)

    def _ask_to_end(self, record: _Child) -> None:
        self._awaited.add(record.spec.id)
        rule = record.spec.shutdown
        if rule is ShutdownRule.BRUTAL_KILL:
            self._kill(record)
            return
        record.life = Life.STOPPING
        self._emit(Shutdown(record.ref))
        if rule == 0:
            self._kill(record)
        elif not isinstance(rule, ShutdownRule):
            self._set_timer(record, rule / 1000)

    def _kill(self, record: _Child, news: _News | None = None) -> None:
        record.life = Life.KILLING
        self._cancel_timer(record)
        self._emit(Kill(record.ref))
        if record.spec.type is ChildType.WORKER:
            self._set_timer(record, self._kill_limit)

    def _stopped(self, record: _Child, news: _News) -> None:
        reason = news.why.as_killed() if record.life is Life.KILLING else news.why.as_commanded()
        record.last_exit = reason
        self._note(NoteKind.EXITED, record, reason, commanded=True)
        self._judge_stop(record, reason)
        self._gone(record)

    def _start_cut_short(self, record: _Child, news: _News) -> None:
        self._gone(record)

    def _judge_stop(self, record: _Child, reason: ExitReason) -> None:
        if not is_expected(record.spec, reason):
            self._note(NoteKind.SHUTDOWN_ERROR, record, reason, commanded=True)

    def _gone(self, record: _Child) -> None:
        self._cancel_timer(record)
        self._awaited.discard(record.spec.id)
        self._keep_or_remove(record)

    # ---- a process that outlives its kill

    def _unkillable(self, record: _Child, news: _News) -> None:
        self._note(NoteKind.UNKILLABLE, record, commanded=True)
        self._unreaped[record.ref] = record.spec
        self._gone(record)

    def _reap(self, child: ChildRef, reason: ExitReason) -> None:
        spec = self._unreaped.pop(child)
        reason = reason.as_killed()
        self._emit(Note(NoteKind.EXITED, child, spec, reason, commanded=True))
        record = self._children.get(child.id)
        if record is not None and record.life is Life.RESTARTING:
            record.last_exit = reason
            self._post(partial(self._try_again, record.ref))

    def _leftover(self, id: str) -> ChildRef | None:
        return next((child for child in self._unreaped if child.id == id), None)

    # ---- 1.9 the end of the supervisor

    def _end(self, reason: ExitReason) -> None:
        """Drop what was planned, refuse who waits, and stop all children, once a stop that is under way is done."""
        self._ending = reason
        self._phase = Phase.STOPPING
        self._refuse_all()
        self._plan = _Plan(_Purpose.END, deque((self._stop_step, id) for id in reversed(self._children)))

    def _cut_start_short(self) -> None:
        for id in self._awaited:
            if self._children[id].life is Life.STARTING:
                self._ask_to_end(self._children[id])

    def _refuse_all(self) -> None:
        if self._plan is not None:
            self._answer(self._plan.caller, self._down())
        for mail in self._mailbox:
            self._answer(mail.caller, self._down())
        self._mailbox.clear()

    def _kill_all(self) -> None:
        """All at once, in no order; whoever is dying already is not asked again."""
        for record in self._children.values():
            if record.exit is None and record.life in (Life.STARTING, Life.RUNNING, Life.STOPPING):
                self._awaited.add(record.spec.id)
                self._kill(record)

    def _ended(self, plan: _Plan) -> None:
        self._phase = Phase.ENDED
        assert self._ending is not None, "only `_end` makes a plan of this purpose"
        self._emit(Ended(self._ending, tuple(self._unreaped)))

    def _down(self) -> Refused:
        return Refused(Refusal.DOWN, reason=self._ending)

    # ---- 1.10 auto_shutdown

    def _consider_auto_shutdown(self, spec: ChildSpec) -> None:
        if spec.significant and _SHUTS_DOWN[self._flags.auto_shutdown](self):
            self._end(ExitReason.shutdown())

    def _never(self) -> bool:
        return False

    def _any(self) -> bool:
        return True

    def _no_significant_left(self) -> bool:
        return not any(
            record.spec.significant and record.life is not Life.UNDEFINED for record in self._children.values()
        )

    # ---- 1.11 calls

    def _start_child(self, caller: _Caller, spec: ChildSpec, last_incarnation: int) -> None:
        try:
            check_significance(spec, self._flags.auto_shutdown)
        except SpecError as fault:
            self._answer(caller, Refused(Refusal.BAD_SPEC, spec.id, fault=fault))
            return
        record = self._children.get(spec.id)
        if record is not None:
            why = Refusal.ALREADY_STARTED if record.life is Life.RUNNING else Refusal.ALREADY_PRESENT
            self._answer(caller, Refused(why, spec.id, self._view(record).child))
            return
        self._incarnations[spec.id] = max(last_incarnation, self._incarnations.get(spec.id, 0))
        self._children[spec.id] = self._new_child(spec)
        self._plan = _Plan(_Purpose.ADD, deque([(self._start_step, spec.id)]), spec.id, caller)

    def _add_failed(self, plan: _Plan, record: _Child, reason: ExitReason) -> None:
        del self._children[record.spec.id]
        self._answer(plan.caller, Refused(Refusal.START_FAILED, record.spec.id, reason=reason))

    def _terminate_child(self, caller: _Caller, id: str) -> None:
        if id in self._children:
            self._plan = _Plan(_Purpose.TERMINATE, deque([(self._stop_step, id)]), id, caller)
        else:
            self._answer(caller, Refused(Refusal.NOT_FOUND, id))

    def _terminated(self, plan: _Plan) -> None:
        leftover = self._leftover(plan.subject)
        refused = Refused(Refusal.UNKILLABLE, plan.subject, leftover)
        self._answer(plan.caller, Accepted() if leftover is None else refused)

    def _restart_child(self, caller: _Caller, id: str) -> None:
        obstacle = self._unless_undefined(id)
        if obstacle is None:
            self._plan = _Plan(_Purpose.RESUME, deque([(self._start_step, id)]), id, caller)
        else:
            self._answer(caller, obstacle)

    def _resume_failed(self, plan: _Plan, record: _Child, reason: ExitReason) -> None:
        self._answer(plan.caller, Refused(Refusal.START_FAILED, record.spec.id, reason=reason))

    def _delete_child(self, caller: _Caller, id: str) -> None:
        obstacle = self._unless_undefined(id)
        if obstacle is None:
            del self._children[id]
        self._answer(caller, obstacle or Accepted())

    def _unless_undefined(self, id: str) -> Refused | None:
        record = self._children.get(id)
        if record is None:
            return Refused(Refusal.NOT_FOUND, id)
        why = _IN_THE_WAY[record.life]
        return None if why is None else Refused(why, id, self._view(record).child)

    def _which_children(self, caller: _Caller) -> None:
        self._answer(caller, tuple(self._view(record) for record in reversed(self._children.values())))

    def _which_child(self, caller: _Caller, id: str) -> None:
        record = self._children.get(id)
        self._answer(caller, Refused(Refusal.NOT_FOUND, id) if record is None else self._view(record))

    def _count_children(self, caller: _Caller) -> None:
        records = self._children.values()
        active = sum(record.life is Life.RUNNING and record.exit is None for record in records)
        supervisors = sum(record.spec.type is ChildType.SUPERVISOR for record in records)
        self._answer(caller, ChildCounts(len(records), active, supervisors, len(records) - supervisors))

    def _get_childspec(self, caller: _Caller, id: str) -> None:
        record = self._children.get(id)
        self._answer(caller, Refused(Refusal.NOT_FOUND, id) if record is None else record.spec)

    def _view(self, record: _Child) -> ChildView:
        child = None if record.life in (Life.UNDEFINED, Life.RESTARTING) else record.ref
        return ChildView(record.spec, record.life.value, child, record.restarts, record.last_exit)

    # ---- small change

    def _new_child(self, spec: ChildSpec) -> _Child:
        return _Child(spec, ChildRef(spec.id, self._incarnations.get(spec.id, 0)))

    def _next_incarnation(self, id: str) -> ChildRef:
        number = self._incarnations[id] = self._incarnations.get(id, 0) + 1
        return ChildRef(id, number)

    def _plan_under_way(self) -> _Plan:
        assert self._plan is not None, "a child starts only as a step of a plan"
        return self._plan

    def _set_timer(self, record: _Child, seconds: float) -> None:
        self._timers += 1
        record.timer = Timer(record.ref, self._timers)
        self._emit(SetTimer(record.timer, self._now + seconds))

    def _cancel_timer(self, record: _Child) -> None:
        if record.timer is not None:
            self._emit(CancelTimer(record.timer))
            record.timer = None

    def _nothing_more(self, plan: _Plan) -> None:
        """The plan's caller, if there was one, has been answered on the way."""


# ---- the tables


def is_restarted(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child that ended by itself for this reason is to be restarted (1.4)."""
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and not reason.is_normal)


def is_reported(restart: Restart, reason: ExitReason) -> bool:
    """Whether that end is worth a report: every end of a permanent child, the abnormal ones of others (1.4, 1.17)."""
    return restart is Restart.PERMANENT or not reason.is_normal


def is_expected(spec: ChildSpec, reason: ExitReason) -> bool:
    """Whether a child that was stopped ended as it should have (1.8)."""
    if spec.restart is not Restart.PERMANENT and reason.is_normal:
        return True
    if spec.shutdown is ShutdownRule.BRUTAL_KILL:
        return reason.is_kill
    return reason.is_bare_shutdown


def _still_dying(leftover: ChildRef) -> ExitReason:
    return ExitReason.error(f"its incarnation {leftover.incarnation} was killed, but is not dead yet")


# What an event means for a child. What is not in the table is stale, or a repetition, and changes nothing: a `started`
# that crosses a stop on its way, an exit reported twice, a timer that had been cancelled.
_TRANSITIONS: Final[dict[Life, dict[_Event, Callable[[Supervisor, _Child, _News], None]]]] = {
    Life.UNDEFINED: {},
    Life.RESTARTING: {},
    Life.STARTING: {
        _Event.STARTED: Supervisor._is_up,
        _Event.IGNORED: Supervisor._declined,
        _Event.START_FAILED: Supervisor._did_not_start,
        _Event.EXITED: Supervisor._did_not_start,
    },
    Life.RUNNING: {
        _Event.EXITED: Supervisor._remember_exit,
    },
    Life.STOPPING: {
        _Event.IGNORED: Supervisor._start_cut_short,
        _Event.START_FAILED: Supervisor._start_cut_short,
        _Event.EXITED: Supervisor._stopped,
        _Event.TIMER: Supervisor._kill,
    },
    Life.KILLING: {
        _Event.IGNORED: Supervisor._start_cut_short,
        _Event.START_FAILED: Supervisor._start_cut_short,
        _Event.EXITED: Supervisor._stopped,
        _Event.TIMER: Supervisor._unkillable,
    },
}

_WHEN_START_FAILED: Final[dict[_Purpose, Callable[[Supervisor, _Plan, _Child, ExitReason], None]]] = {
    _Purpose.BOOT: Supervisor._boot_failed,
    _Purpose.RESTART: Supervisor._restart_failed,
    _Purpose.ADD: Supervisor._add_failed,
    _Purpose.RESUME: Supervisor._resume_failed,
}

_WHEN_DONE: Final[dict[_Purpose, Callable[[Supervisor, _Plan], None]]] = {
    _Purpose.BOOT: Supervisor._boot_done,
    _Purpose.RESTART: Supervisor._nothing_more,
    _Purpose.ADD: Supervisor._nothing_more,
    _Purpose.RESUME: Supervisor._nothing_more,
    _Purpose.TERMINATE: Supervisor._terminated,
    _Purpose.END: Supervisor._ended,
}

_CONCERNED: Final[dict[Strategy, Callable[[Supervisor, _Child], list[_Child]]]] = {
    Strategy.ONE_FOR_ONE: Supervisor._only,
    Strategy.ONE_FOR_ALL: Supervisor._all,
    Strategy.REST_FOR_ONE: Supervisor._rest,
}

_SHUTS_DOWN: Final[dict[AutoShutdown, Callable[[Supervisor], bool]]] = {
    AutoShutdown.NEVER: Supervisor._never,
    AutoShutdown.ANY_SIGNIFICANT: Supervisor._any,
    AutoShutdown.ALL_SIGNIFICANT: Supervisor._no_significant_left,
}

# What keeps a child from being restarted or deleted by a call. No call meets a child in any other state: they wait.
_IN_THE_WAY: Final[dict[Life, Refusal | None]] = {
    Life.UNDEFINED: None,
    Life.RUNNING: Refusal.RUNNING,
    Life.RESTARTING: Refusal.RESTARTING,
}
