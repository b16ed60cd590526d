"""Stopping one child, by its own rule, until it is dead (1.8); and the process that outlives its kill."""

from __future__ import annotations

from typing import Final

from theater.core.child_spec import ChildType, Restart, ShutdownRule
from theater.core.exit_reason import ExitReason
from theater.core.supervision_commands import ChildRef, Kill, Note, NoteKind, Shutdown
from theater.core.supervision_engine import KILLING, RUNNING, STOPPING, UNDEFINED, Child, Engine, News
from theater.core.supervision_rules import is_expected, seconds_to_forgive

_TEMPORARY: Final = Restart.TEMPORARY
_BRUTAL_KILL: Final = ShutdownRule.BRUTAL_KILL
_WORKER: Final = ChildType.WORKER


class Stopping(Engine):
    """The step of a plan that stops a child, and what may come of it."""

    def _stop_step(self, child: Child) -> None:
        if child.exit is not None:
            self._use_up_exit(child, child.exit)
        elif child.life is RUNNING:
            self._ask_to_end(child)
        else:
            self._keep_or_remove(child)  # nothing to stop; a retry that was to come has nothing to do any more

    def _use_up_exit(self, child: Child, reason: ExitReason) -> None:
        """It ended before its turn came. That end is the outcome of the stop."""
        child.exit = None
        self._judge_stop(child, reason)
        self._gone(child)

    def _ask_to_end(self, child: Child) -> None:
        self._awaited.add(child.spec.id)
        rule = child.spec.shutdown
        if rule is _BRUTAL_KILL:
            self._kill(child)
            return
        self._cancel_timer(child)  # of a start that is cut short
        child.life = STOPPING
        self._emit(Shutdown(child.ref))
        if rule == 0:
            self._kill(child)
        elif not isinstance(rule, ShutdownRule):
            self._set_timer(child, rule / 1000)

    def _kill(self, child: Child, news: News | None = None) -> None:
        child.life = KILLING
        self._cancel_timer(child)
        self._emit(Kill(child.ref))
        if child.spec.type is _WORKER:
            self._set_timer(child, self._kill_limit)

    def _stopped(self, child: Child, news: News) -> None:
        reason = news.why.as_killed() if child.life is KILLING else news.why.as_commanded()
        self._end_of_life(child, reason)
        self._note(NoteKind.EXITED, child, reason, commanded=True)
        self._judge_stop(child, reason)
        self._gone(child)

    def _start_cut_short(self, child: Child, news: News) -> None:
        self._gone(child)

    def _judge_stop(self, child: Child, reason: ExitReason) -> None:
        if not is_expected(child.spec, reason):
            self._note(NoteKind.SHUTDOWN_ERROR, child, reason, commanded=True)

    def _gone(self, child: Child) -> None:
        self._cancel_timer(child)
        self._awaited.discard(child.spec.id)
        self._keep_or_remove(child)

    def _keep_or_remove(self, child: Child) -> None:
        """The child is not running: a temporary or dynamic one is forgotten, of others the spec stays."""
        child.life = UNDEFINED
        if child.spec.restart is _TEMPORARY or self._is_dynamic:
            del self._children[child.spec.id]

    def _end_of_life(self, child: Child, reason: ExitReason) -> None:
        """An incarnation that was up for long enough has made good for the failures before it."""
        child.last_exit = reason
        backoff = child.spec.backoff or self._flags.backoff
        if backoff is not None and self._now - child.up_since >= seconds_to_forgive(backoff):
            child.failures = 0

    # ---- a process that outlives its kill

    def _unkillable(self, child: Child, news: News) -> None:
        self._call_unkillable(child)
        self._gone(child)

    def _call_unkillable(self, child: Child) -> None:
        self._note(NoteKind.UNKILLABLE, child, commanded=True)
        self._unreaped[child.ref] = child.spec

    def _reap(self, ref: ChildRef, reason: ExitReason) -> None:
        """It is dead after all."""
        spec = self._unreaped.pop(ref)
        self._emit(Note(NoteKind.EXITED, ref, spec, reason.as_killed(), commanded=True))
