"""What the end of a child means for its supervisor: nothing, a restart of it and of others, or the end (1.4-1.7, 1.10).

A pause before a restart (1.23) is the wait between two attempts of 1.7, which in OTP takes no time: the child is
*restarting*, the others stay as they are, calls are served, and when the time has come the restart is attempted
by the supervisor's strategy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from theater.core.child_spec import AutoShutdown, ChildSpec, Restart, Strategy
from theater.core.exit_reason import ExitReason
from theater.core.supervision_commands import ChildRef, NoteKind, RetryLater
from theater.core.supervision_engine import RESTARTING, UNDEFINED, Child, News, Plan, Step
from theater.core.supervision_rules import is_reported, is_restarted, pause_before
from theater.core.supervision_starting import Starting


class Restarting(Starting):
    """The answer to ends that nobody asked for."""

    # ---- 1.4 a child ends by itself

    def _remember_exit(self, child: Child, news: News) -> None:
        if child.exit is None:
            child.exit = news.why
            self._end_of_life(child, news.why)
            self._note(NoteKind.EXITED, child, news.why)
            self._post(self._handle_exit, (child.ref,))

    def _handle_exit(self, ref: ChildRef) -> None:
        child = self._children.get(ref.id)
        if child is None or child.ref != ref or child.exit is None:
            return  # a stop has used it up
        reason, child.exit = child.exit, None
        child.life = UNDEFINED
        if is_reported(child.spec.restart, reason):
            self._note(NoteKind.CHILD_TERMINATED, child, reason)
        if is_restarted(child.spec.restart, reason):
            self._restart_in_time(child, reason)
        else:
            self._keep_or_remove(child)
            self._consider_auto_shutdown(child.spec)

    def _restart_in_time(self, child: Child, reason: ExitReason) -> None:
        pause = self._pause(child)
        if pause:
            self._retry_after(child, pause)
        else:
            self._restart(child, reason)

    # ---- 1.5 intensity, 1.6 strategies

    def _restart(self, child: Child, reason: ExitReason | None) -> None:
        if self._admit_restart():
            self._plan = Plan(self._restart_steps(child), self._restart_done, self._restart_failed, restarts=True)
        else:
            self._give_up(child, reason)

    def _admit_restart(self) -> bool:
        return self._intensity.admit(self._now)

    def _give_up(self, child: Child, reason: ExitReason | None) -> None:
        self._note(NoteKind.GAVE_UP, child, reason)
        self._keep_or_remove(child)
        self._end(ExitReason.gave_up())

    def _restart_steps(self, pivot: Child) -> deque[Step]:
        return _STEPS[self._flags.strategy](self, pivot)

    def _restart_one(self, pivot: Child) -> deque[Step]:
        return deque([(self._start_step, pivot.spec.id)])

    def _restart_all(self, pivot: Child) -> deque[Step]:
        return self._restart_many(list(self._children.values()))

    def _restart_rest(self, pivot: Child) -> deque[Step]:
        children = list(self._children.values())
        return self._restart_many(children[children.index(pivot) :])

    def _restart_many(self, concerned: list[Child]) -> deque[Step]:
        """Stop the concerned, newest first; then start them in order, all that are not temporary."""
        steps: deque[Step] = deque((self._stop_step, child.spec.id) for child in reversed(concerned))
        steps.extend(
            (self._start_step, child.spec.id) for child in concerned if child.spec.restart is not Restart.TEMPORARY
        )
        return steps

    def _restart_done(self) -> None:
        """Everybody who was to be restarted is up."""

    # ---- 1.7 a restart that fails

    def _restart_failed(self, child: Child, reason: ExitReason) -> None:
        """Those started before it in this pass run on, those after it stay as they are; it will be the next pivot."""
        self._note(NoteKind.START_ERROR, child, reason)
        self._plan_under_way().steps.clear()
        if self._leftover(child.spec.id) is None:
            self._retry_after(child, self._pause(child))
        else:
            child.life = RESTARTING  # its death is what the next attempt waits for

    def _retry_after(self, child: Child, seconds: float) -> None:
        child.life = RESTARTING
        self._emit(RetryLater(child.ref, seconds))

    def _pause(self, child: Child) -> float:
        """Seconds until the next attempt, if this is a failure more."""
        rest = max(0.0, child.rests_until - self._now)
        backoff = child.spec.backoff or self._flags.backoff
        if backoff is None:
            return rest
        child.failures += 1
        return max(rest, pause_before(backoff, child.failures - 1, self._chance()))

    def _try_again(self, ref: ChildRef) -> None:
        child = self._children.get(ref.id)
        if child is not None and child.ref == ref and child.life is RESTARTING:
            self._restart(child, child.last_exit)

    def _reap(self, ref: ChildRef, reason: ExitReason) -> None:
        super()._reap(ref, reason)
        child = self._children.get(ref.id)
        if child is not None and child.life is RESTARTING:
            child.last_exit = reason.as_killed()
            self._post(self._try_again, (child.ref,))

    # ---- 1.10 auto_shutdown

    def _consider_auto_shutdown(self, spec: ChildSpec) -> None:
        if spec.significant and _SHUTS_DOWN[self._flags.auto_shutdown](self):
            self._end(ExitReason.shutdown())

    def _never(self) -> bool:
        return False

    def _any(self) -> bool:
        return True

    def _no_significant_left(self) -> bool:
        return not any(child.spec.significant and child.life is not UNDEFINED for child in self._children.values())


_STEPS: Final[dict[Strategy, Callable[[Restarting, Child], deque[Step]]]] = {
    Strategy.ONE_FOR_ONE: Restarting._restart_one,
    Strategy.ONE_FOR_ALL: Restarting._restart_all,
    Strategy.REST_FOR_ONE: Restarting._restart_rest,
    Strategy.DYNAMIC: Restarting._restart_one,
}

_SHUTS_DOWN: Final[dict[AutoShutdown, Callable[[Restarting], bool]]] = {
    AutoShutdown.NEVER: Restarting._never,
    AutoShutdown.ANY_SIGNIFICANT: Restarting._any,
    AutoShutdown.ALL_SIGNIFICANT: Restarting._no_significant_left,
}
