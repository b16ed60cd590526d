"""A supervisor as a pure machine: events with their time go in, commands come out. OTP's rules, nothing else.

It starts nothing, waits for nothing and reads no clock; whether a child is a process or a further supervisor is the
shell's business, save for who bounds its end. One object is one supervisor in OTP's sense, from `start` to `Ended`.

An event about the child that the machine waits for goes to the child's table of transitions (below) and may let the
plan take its next step; everything else waits in the mailbox. An exit that a stop meets there is used up by it, as
OTP does it, and causes no restart. The parts, each on top of the one before:

    supervision_engine      plan, mailbox, children: one thing at a time
    supervision_stopping    how one child is stopped
    supervision_ending      how the supervisor ends
    supervision_starting    how one child is started
    supervision_restarting  what the end of a child means, for it and for others
    supervision_calls       what callers are answered

beside them `supervision_rules` (decisions that need no state), `supervision_commands` (what comes out), `child_spec`
and `intensity`.

Where this differs from OTP, and why:

* `stop` and `kill` overtake the mailbox and cut short a start that is under way. OTP's parent would have to wait for a
  start that never ends; and since order between different senders is promised nowhere, no caller can tell. Calls that
  were overtaken, and those that come later, are refused as `down` at once.
* A worker that was killed and is not dead after `KILL_LIMIT_S` (a process in uninterruptible sleep) is *unkillable*:
  there is a note, whoever asked for its end is told, and the plan goes on without it. Its next incarnation does not
  start before it is dead: an automatic start counts as failed, and is tried again when the exit arrives. A supervisor
  that ends before that names it in `Ended.abandoned`. A child supervisor has no such limit, since it keeps its own.
* A retry belongs to the incarnation that failed, so one that was cancelled cannot reach a later failure.
* A start may have a deadline (`ChildSpec.start_deadline`): on it the child is killed, and when it is dead its start
  has failed.
* There may be a pause before each restart (`Backoff`), in which the child is restarting. It is the wait between two
  attempts of 1.7, which in OTP takes no time: only the child that failed waits, and a restart of many begins when it
  is over. An attempt counts for the intensity when it is made. A start by hand, or a life that was long enough, makes
  the next failure the first again. Likewise waits a child of which it is said that it *rests*, until then.
* The end may stop all children at once (`StopOrder.PARALLEL`), and may have a deadline (`stop_deadline`), on which
  all that are left are killed.
* `max_children` bounds the specs, whether their children run or not.
* The dynamic strategy is OTP's simple_one_for_one with what Elixir's DynamicSupervisor adds (1.22). Its children come
  by `start_child` only, each with a spec of its own, and nothing is kept of one that has ended. They are addressed by
  id where OTP takes a pid: an id is unique, is shown in listings, and terminating one that has ended is accepted like
  a dead pid, terminating one that was never heard of is not. `restart_child` and `delete_child` are refused (`dynamic`,
  OTP's `simple_one_for_one`). `count_children` counts its specs, as Elixir's does, and its active ones truthfully;
  its starts are noted like all others, and each child that was stopped badly has a report of its own.
* The flags may be changed by a running supervisor's parent (`change`), and a supervisor that is dynamic remains so.

Numbers in parentheses, here and in the tests, are clauses of the specification: 1.1 flags, 1.2 child specs, 1.3 the
initial start, 1.4 normal ends, 1.5 intensity, 1.6 strategies, 1.7 restarts that fail, 1.8 stopping a child, 1.9 the
end of the supervisor, 1.10 auto_shutdown, 1.11 calls, 1.12 odd messages, 1.17 reports, 1.18 change, 1.22 what Elixir
adds, 1.23 what Akka adds, 1.24 what systemd adds, 1.25 processes of an operating system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Final

from theater.core.child_spec import ChildSpec, Restart, SupervisorFlags, check_supervisor
from theater.core.exit_reason import ExitReason
from theater.core.supervision_calls import Calls
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
from theater.core.supervision_engine import Child, Event, Life, News, Phase
from theater.core.supervision_rules import is_expected, is_reported, is_restarted

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


_STARTED, _IGNORED, _START_FAILED, _EXITED, _TIMER = Event
_NOTHING: Final = News()


def _even() -> float:
    return 0.5


class Supervisor(Calls):
    """One supervisor. Every method that takes `now` returns the commands to carry out, in their order.

    Args:
        flags: how it acts.
        specs: the children to start, in order; none if it is dynamic.
        last_incarnations: by child id, the number of the last incarnation it ever had. Numbering goes on from there
            and is kept here, so a mapping that outlives the supervisor lets its successor go on. An id is never taken
            out: that is for the owner of the mapping, when nothing of the child can be heard of any more.
        kill_limit: seconds after which a killed worker that does not die is called unkillable.
        chance: gives numbers from 0 up to 1, for the part of pauses that is left to chance.

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
        chance: Callable[[], float] = _even,
    ) -> None:
        specs = tuple(specs)
        check_supervisor(flags, specs)
        super().__init__(flags, specs, {} if last_incarnations is None else last_incarnations, kill_limit, chance)

    # ---- looking in, at any moment and without waiting for a turn

    @property
    def flags(self) -> SupervisorFlags:
        """As given, or as changed since."""
        return self._flags

    @property
    def phase(self) -> Phase:
        """Where the supervisor is in its own life."""
        return self._phase

    @property
    def busy(self) -> bool:
        """Whether a plan is under way, so that calls wait."""
        return self._plan is not None

    def brings_back(self, id: str) -> bool:
        """Whether a child that is being stopped is stopped only to be started again, together with others."""
        plan, child = self._plan, self._children.get(id)
        if plan is None or child is None:
            return False
        return plan.restarts and child.spec.restart is not Restart.TEMPORARY

    def snapshot(self) -> tuple[ChildView, ...]:
        """The children as they stand this instant, in start order; `which_children` waits for its turn instead."""
        return tuple(child.view() for child in self._children.values())

    def recent_restarts(self, now: float) -> int:
        """How many attempts to restart count against the intensity at `now`."""
        return self._intensity.recent(now)

    # ---- events of the supervisor itself

    def start(self, now: float) -> list[Command]:
        """Begin: start the children in order. Ends in `Up`, or in `Ended` if one of them fails (1.3)."""
        self._now = now
        if self._phase is Phase.NEW:
            self._boot()
        return self._settle()

    def stop(self, now: float, reason: ExitReason | None = None) -> list[Command]:
        """The parent says stop: end all children, newest first, each by its rule, then `Ended(reason)` (1.9)."""
        self._now = now
        if self._ending is None:
            self._cut_start_short()
            self._end(reason or ExitReason.shutdown())
        return self._settle()

    def kill(self, now: float) -> list[Command]:
        """The parent's patience is over: kill everything at once, then `Ended(killed)`. Also while stopping (1.9)."""
        self._now = now
        if self._phase is not Phase.ENDED:
            self._end(ExitReason.killed())
            self._kill_all()
        return self._settle()

    # ---- events of children

    def started(self, child: ChildRef, now: float, info: object = None) -> list[Command]:
        """The incarnation is up and ready; `info` goes to the caller of start_child or restart_child, if any."""
        return self._happens(_STARTED, child, now, _NOTHING if info is None else News(info=info))

    def ignored(self, child: ChildRef, now: float) -> list[Command]:
        """The start succeeded without leaving a process."""
        return self._happens(_IGNORED, child, now, _NOTHING)

    def start_failed(self, child: ChildRef, reason: ExitReason, now: float) -> list[Command]:
        """The start failed and nothing of the incarnation is left."""
        return self._happens(_START_FAILED, child, now, News(reason))

    def exited(self, child: ChildRef, reason: ExitReason, now: float) -> list[Command]:
        """The incarnation is dead and reaped. To be reported once, and after everything it had sent."""
        if child not in self._unreaped:
            return self._happens(_EXITED, child, now, News(reason))
        self._now = now
        self._reap(child, reason)
        return self._settle()

    def rests(self, child: ChildRef, until: float, now: float) -> list[Command]:
        """The incarnation is about to be reported dead; nobody is to try and restart it before `until` (1.23)."""
        self._now = now
        found = self._children.get(child.id)
        if found is not None and found.ref == child:
            found.rests_until = until
        return self._settle()

    def timer(self, timer: Timer, now: float) -> list[Command]:
        """A timer of `SetTimer` has fired."""
        if timer.child is None:
            return self._end_timer_fired(timer, now)
        child = self._children.get(timer.child.id)
        if child is None or child.timer != timer:
            return []
        child.timer = None
        return self._happens(_TIMER, timer.child, now, _NOTHING)

    def retry(self, child: ChildRef, now: float) -> list[Command]:
        """A `RetryLater` comes back."""
        self._now = now
        self._post(self._try_again, (child,))
        return self._settle()

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

    def change(
        self,
        token: Token,
        flags: SupervisorFlags,
        specs: Iterable[ChildSpec],
        now: float,
        *,
        last_incarnations: Mapping[str, int] | None = None,
    ) -> list[Command]:
        """Give a running supervisor other flags and specs (1.18). `Accepted()`, or `Refused` and nothing is changed.

        A known id takes its new spec and keeps its process. A new one is added but not started: `restart_child` does
        that. One that is listed no more stays, behind the others: `terminate_child` and `delete_child` take it away.

        Args:
            token: comes back in the answer.
            flags: the new ones.
            specs: the new ones, in the order that starts have from now on; none if the supervisor is dynamic.
            now: monotonic seconds.
            last_incarnations: of children that lived before, elsewhere: their last numbers.
        """
        return self._call(token, now, self._change, flags, tuple(specs), dict(last_incarnations or {}))

    # ---- the tables

    def _happens(self, event: Event, ref: ChildRef, now: float, news: News) -> list[Command]:
        self._now = now
        child = self._children.get(ref.id)
        if child is not None and child.ref == ref:
            transition = _TRANSITIONS[child.life].get(event)
            if transition is not None:
                transition(self, child, news)
        return self._settle()

    def _end_timer_fired(self, timer: Timer, now: float) -> list[Command]:
        self._now = now
        if timer == self._end_timer:
            self._end_took_too_long()
        return self._settle()


# What an event means for a child. What is not in the table is stale, or a repetition, and changes nothing: a `started`
# that crosses a stop on its way, an exit reported twice, a timer that had been cancelled.
_TRANSITIONS: Final[dict[Life, dict[Event, Callable[[Supervisor, Child, News], None]]]] = {
    Life.UNDEFINED: {},
    Life.RESTARTING: {},
    Life.STARTING: {
        Event.STARTED: Supervisor._is_up,
        Event.IGNORED: Supervisor._declined,
        Event.START_FAILED: Supervisor._did_not_start,
        Event.EXITED: Supervisor._did_not_start,
        Event.TIMER: Supervisor._overdue,
    },
    Life.OVERDUE: {
        Event.IGNORED: Supervisor._dead_in_its_start,
        Event.START_FAILED: Supervisor._dead_in_its_start,
        Event.EXITED: Supervisor._dead_in_its_start,
        Event.TIMER: Supervisor._undead_in_its_start,
    },
    Life.RUNNING: {
        Event.EXITED: Supervisor._remember_exit,
    },
    Life.STOPPING: {
        Event.IGNORED: Supervisor._start_cut_short,
        Event.START_FAILED: Supervisor._start_cut_short,
        Event.EXITED: Supervisor._stopped,
        Event.TIMER: Supervisor._kill,
    },
    Life.KILLING: {
        Event.IGNORED: Supervisor._start_cut_short,
        Event.START_FAILED: Supervisor._start_cut_short,
        Event.EXITED: Supervisor._stopped,
        Event.TIMER: Supervisor._unkillable,
    },
}
