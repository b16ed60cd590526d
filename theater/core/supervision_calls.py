"""The calls (1.11, 1.18): each handled when its turn comes, and answered by the state of the child it is about."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from theater.core.child_spec import (
    ChildSpec,
    ChildType,
    SupervisorFlags,
    check_significance,
    check_supervisor,
    check_transition,
)
from theater.core.exit_reason import ExitReason
from theater.core.supervision_commands import Accepted, ChildCounts, Refusal, Refused
from theater.core.supervision_engine import RESTARTING, RUNNING, UNDEFINED, Caller, Child, Life, Plan
from theater.core.supervision_restarting import Restarting
from theater.errors import SpecError


class Calls(Restarting):
    """What callers ask for."""

    # ---- start_child

    def _start_child(self, caller: Caller, spec: ChildSpec, last_incarnation: int) -> None:
        obstacle = self._unless_welcome(spec)
        if obstacle is not None:
            self._answer(caller, obstacle)
            return
        self._lived_elsewhere(spec.id, last_incarnation)
        self._children[spec.id] = self._new_child(spec)
        self._plan = Plan(deque([(self._start_step, spec.id)]), self._answered, self._add_failed, caller)

    def _unless_welcome(self, spec: ChildSpec) -> Refused | None:
        try:
            check_significance(spec, self._flags.auto_shutdown)
        except SpecError as fault:
            return Refused(Refusal.BAD_SPEC, spec.id, fault=fault)
        child = self._children.get(spec.id)
        if child is not None:
            why = Refusal.ALREADY_STARTED if child.life is RUNNING else Refusal.ALREADY_PRESENT
            return Refused(why, spec.id, child.view().child)
        limit = self._flags.max_children
        full = limit is not None and len(self._children) >= limit
        return Refused(Refusal.MAX_CHILDREN, spec.id) if full else None

    def _add_failed(self, child: Child, reason: ExitReason) -> None:
        del self._children[child.spec.id]
        self._answer(self._plan_under_way().caller, Refused(Refusal.START_FAILED, child.spec.id, reason=reason))

    def _answered(self) -> None:
        """The caller was, on the way."""

    # ---- terminate_child

    def _terminate_child(self, caller: Caller, id: str) -> None:
        if id in self._children:
            self._plan = Plan(deque([(self._stop_step, id)]), lambda: self._terminated(caller, id), caller=caller)
        elif self._has_ended(id):
            self._terminated(caller, id)
        else:
            self._answer(caller, Refused(Refusal.NOT_FOUND, id))

    def _has_ended(self, id: str) -> bool:
        """Whether a dynamic child had this id, of which nothing is kept: stopping it is done already."""
        return self._is_dynamic and self._incarnations.get(id, 0) > 0

    def _terminated(self, caller: Caller, id: str) -> None:
        leftover = self._leftover(id)
        self._answer(caller, Accepted() if leftover is None else Refused(Refusal.UNKILLABLE, id, leftover))

    # ---- restart_child, delete_child

    def _restart_child(self, caller: Caller, id: str) -> None:
        obstacle = self._unless_undefined(id)
        if obstacle is not None:
            self._answer(caller, obstacle)
            return
        self._children[id].failures = 0  # whoever starts it by hand believes that it is well
        self._plan = Plan(deque([(self._start_step, id)]), self._answered, self._resume_failed, caller)

    def _resume_failed(self, child: Child, reason: ExitReason) -> None:
        self._answer(self._plan_under_way().caller, Refused(Refusal.START_FAILED, child.spec.id, reason=reason))

    def _delete_child(self, caller: Caller, id: str) -> None:
        obstacle = self._unless_undefined(id)
        if obstacle is None:
            del self._children[id]
        self._answer(caller, obstacle or Accepted())

    def _unless_undefined(self, id: str) -> Refused | None:
        if self._is_dynamic:
            return Refused(Refusal.DYNAMIC, id)
        child = self._children.get(id)
        if child is None:
            return Refused(Refusal.NOT_FOUND, id)
        why = _IN_THE_WAY[child.life]
        return None if why is None else Refused(why, id, child.view().child)

    # ---- questions

    def _which_children(self, caller: Caller) -> None:
        self._answer(caller, tuple(child.view() for child in reversed(self._children.values())))

    def _which_child(self, caller: Caller, id: str) -> None:
        child = self._children.get(id)
        self._answer(caller, Refused(Refusal.NOT_FOUND, id) if child is None else child.view())

    def _count_children(self, caller: Caller) -> None:
        children = self._children.values()
        active = sum(child.life is RUNNING and child.exit is None for child in children)
        supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in children)
        self._answer(caller, ChildCounts(len(children), active, supervisors, len(children) - supervisors))

    def _get_childspec(self, caller: Caller, id: str) -> None:
        child = self._children.get(id)
        self._answer(caller, Refused(Refusal.NOT_FOUND, id) if child is None else child.spec)

    # ---- 1.18 change

    def _change(
        self, caller: Caller, flags: SupervisorFlags, specs: tuple[ChildSpec, ...], lives: Mapping[str, int]
    ) -> None:
        try:
            check_transition(self._flags, flags)
            check_supervisor(flags, specs)
        except SpecError as fault:
            self._answer(caller, Refused(Refusal.BAD_SPEC, fault=fault))
            return
        for id, number in lives.items():
            self._lived_elsewhere(id, number)
        self._flags = flags
        self._intensity.change(flags.intensity, flags.period)
        self._merge(specs)
        self._answer(caller, Accepted())

    def _merge(self, specs: tuple[ChildSpec, ...]) -> None:
        """The listed in their new order, whatever runs running on; then those that are listed no more."""
        merged = {spec.id: self._respecified(spec) for spec in specs}
        self._children = merged | {id: child for id, child in self._children.items() if id not in merged}

    def _respecified(self, spec: ChildSpec) -> Child:
        child = self._children.get(spec.id)
        if child is None:
            return self._new_child(spec)
        child.spec = spec
        return child


# What keeps a child from being restarted or deleted by a call. No call meets a child in any other state: they wait.
_IN_THE_WAY: Final[dict[Life, Refusal | None]] = {
    UNDEFINED: None,
    RUNNING: Refusal.RUNNING,
    RESTARTING: Refusal.RESTARTING,
}
