"""The end of a supervisor (1.9): all its children are stopped, then it has ended."""

from __future__ import annotations

from collections import deque

from theater.core.child_spec import StopOrder
from theater.core.exit_reason import ExitReason
from theater.core.supervision_commands import CancelTimer, Ended
from theater.core.supervision_engine import KILLING, OVERDUE, RUNNING, STARTING, STOPPING, Phase, Plan
from theater.core.supervision_stopping import Stopping


class Ending(Stopping):
    """The last plan of a supervisor; whatever was planned before, it replaces."""

    def _end(self, reason: ExitReason) -> None:
        """Drop what was planned, refuse who waits, and stop all children, once a stop that is under way is done."""
        if self._ending is None:
            self._limit_end()
        self._ending = reason
        self._phase = Phase.STOPPING
        self._refuse_all()
        self._plan = Plan(deque((self._stop_step, id) for id in reversed(self._children)), self._ended)
        if self._stops_in_parallel():
            self._stop_all_at_once(self._plan)

    def _stops_in_parallel(self) -> bool:
        return self._is_dynamic or self._flags.stop is StopOrder.PARALLEL

    def _stop_all_at_once(self, plan: Plan) -> None:
        """Take every step without waiting for the one before; whoever is awaited already is on the way out."""
        steps, plan.steps = plan.steps, deque()
        for step, id in steps:
            if id not in self._awaited:
                step(self._children[id])

    def _refuse_all(self) -> None:
        if self._plan is not None:
            self._answer(self._plan.caller, self._down())
        for _, _, caller in self._mailbox:
            self._answer(caller, self._down())
        self._mailbox.clear()

    def _cut_start_short(self) -> None:
        for id in self._awaited:
            child = self._children[id]
            if child.life is STARTING:
                self._ask_to_end(child)
            elif child.life is OVERDUE:
                child.life = KILLING  # whether its start failed is of no interest any more

    def _kill_all(self) -> None:
        """All at once, in no order; whoever is dying already is not asked again."""
        for child in self._children.values():
            if child.exit is None and child.life in (STARTING, RUNNING, STOPPING):
                self._awaited.add(child.spec.id)
                self._kill(child)
            elif child.life is OVERDUE:
                child.life = KILLING

    def _limit_end(self) -> None:
        if self._flags.stop_deadline is not None:
            self._end_timer = self._new_timer(None, self._flags.stop_deadline / 1000)

    def _end_took_too_long(self) -> None:
        self._end_timer = None
        self._kill_all()

    def _ended(self) -> None:
        self._phase = Phase.ENDED
        if self._end_timer is not None:
            self._emit(CancelTimer(self._end_timer))
        assert self._ending is not None, "only `_end` makes a plan of this kind"
        self._emit(Ended(self._ending, tuple(self._unreaped)))
