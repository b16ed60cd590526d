"""Starting one child and waiting until it is up (1.2, 1.3): the step of a plan, and what may come of it."""

from __future__ import annotations

from collections import deque

from theater.core.exit_reason import ExitReason
from theater.core.supervision_commands import Accepted, ChildRef, NoteKind, Start, Up
from theater.core.supervision_ending import Ending
from theater.core.supervision_engine import OVERDUE, RUNNING, STARTING, UNDEFINED, Child, News, Phase, Plan


class Starting(Ending):
    """Who starts is awaited; what a failure means, the plan knows."""

    # ---- 1.3 the initial start

    def _boot(self) -> None:
        self._phase = Phase.STARTING
        self._plan = Plan(deque((self._start_step, id) for id in self._children), self._boot_done, self._boot_failed)

    def _boot_done(self) -> None:
        self._phase = Phase.RUNNING
        self._emit(Up())

    def _boot_failed(self, child: Child, reason: ExitReason) -> None:
        self._note(NoteKind.START_ERROR, child, reason)
        self._end(ExitReason.start_failed(child.spec.id, reason))

    # ---- one child

    def _start_step(self, child: Child) -> None:
        leftover = self._leftover(child.spec.id)
        if leftover is not None:
            self._fail_start(child, _still_dying(leftover))
            return
        child.ref, child.rests_until = self._next_incarnation(child.spec.id), 0.0
        child.life = STARTING
        self._awaited.add(child.spec.id)
        self._emit(Start(child.ref, child.spec))
        if child.spec.start_deadline is not None:
            self._set_timer(child, child.spec.start_deadline / 1000)

    def _is_up(self, child: Child, news: News) -> None:
        child.life = RUNNING
        child.up_since = self._now
        self._cancel_timer(child)
        self._awaited.discard(child.spec.id)
        plan = self._plan_under_way()
        child.restarts += plan.restarts
        self._note(NoteKind.PROGRESS, child, commanded=plan.caller is not None)
        self._answer(plan.caller, Accepted(child.ref, news.info))

    def _declined(self, child: Child, news: News) -> None:
        self._gone(child)
        self._answer(self._plan_under_way().caller, Accepted(None))

    def _did_not_start(self, child: Child, news: News) -> None:
        child.life = UNDEFINED
        child.last_exit = news.reason
        self._cancel_timer(child)
        self._awaited.discard(child.spec.id)
        self._fail_start(child, news.why)

    def _fail_start(self, child: Child, reason: ExitReason) -> None:
        plan = self._plan_under_way()
        assert plan.failed is not None, "a plan that starts somebody knows what to do if that fails"
        plan.failed(child, reason)

    # ---- a start that takes too long

    def _overdue(self, child: Child, news: News) -> None:
        self._kill(child)
        child.life = OVERDUE

    def _dead_in_its_start(self, child: Child, news: News) -> None:
        self._did_not_start(child, News(_too_slow(child)))

    def _undead_in_its_start(self, child: Child, news: News) -> None:
        self._call_unkillable(child)
        self._did_not_start(child, News(_too_slow(child)))


def _too_slow(child: Child) -> ExitReason:
    return ExitReason.deadline(f"its start took longer than {child.spec.start_deadline} ms")


def _still_dying(leftover: ChildRef) -> ExitReason:
    return ExitReason.error(f"its incarnation {leftover.incarnation} was killed, but is not dead yet")
