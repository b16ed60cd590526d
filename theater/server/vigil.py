"""Watching over the living: who is in a call for too long, who is hung, and how far every chain is.

A guest that runs too long is stopped by its epoch. What is killed here is what the epoch cannot reach: a worker that
is stopped or lost outside of its guest, and one that a watchdog barks at. A process that is stopped cannot end by
itself, so it is not waited for: it is looked at as soon as its call has lasted too long.
"""

from __future__ import annotations

from pathlib import Path

from theater.core.exit_reason import ExitReason
from theater.core.pulse import Pulse
from theater.core.watchdog import Watchdog
from theater.server.cast import Actor, Cast
from theater.server.ledger import Ledger
from theater.server.loop import Loop
from theater.server.processes import Processes
from theater.server.stage import Worker
from theater.server.switchboard import Switchboard

EVERY_S = 0.5
_GRACE_S = 1.0
"""How long after the call timeout a worker is killed: the epoch should have stopped the guest by then."""

_PROMPT_S = 0.03
"""And one that is stopped, if its call was seen to begin."""


class Vigil:
    """Looks at every living actor, `EVERY_S` seconds after the last look."""

    def __init__(self, loop: Loop, cast: Cast, processes: Processes, switchboard: Switchboard, ledger: Ledger) -> None:
        self._loop = loop
        self._cast = cast
        self._processes = processes
        self._switchboard = switchboard
        self._ledger = ledger
        self._looked_at = loop.now()

    def look(self) -> None:
        """Kills whoever is beyond help, and writes a checkpoint of the chains that have grown."""
        now = self._loop.now()
        late = now - self._looked_at - EVERY_S
        self._looked_at = now
        grown = []
        for actor in self._cast:
            worker = actor.worker
            if worker is None or worker.pulse is None or worker.pid is None:
                continue
            if worker.overdue is None:
                reason = self._beyond_call_timeout(actor, worker.pulse) or self._hung(worker, now, late)
                if reason is not None:
                    self._end(worker, reason)
                else:
                    self._look_again(worker, now)
            if note_growth(actor):
                grown.append(actor)
        if grown:
            self._ledger.checkpoint(grown)

    def _beyond_call_timeout(self, actor: Actor, pulse: Pulse) -> ExitReason | None:
        since, timeout = pulse.call_since(), actor.manifest.limits.call_timeout
        if since is None or timeout is None:
            return None
        lasted = self._loop.now() - since / 1e9
        if lasted <= timeout / 1000 + _GRACE_S and not (lasted > timeout / 1000 and _is_stopped(actor)):
            return None
        return ExitReason.deadline(f"a call lasted {lasted:.1f} s, over {timeout / 1000:g} s ([limits] call_timeout)")

    def _look_again(self, worker: Worker, now: float) -> None:
        """At the end of a call's time, if that is before the next look."""
        since, timeout = worker.pulse.call_since() if worker.pulse is not None else None, _timeout(worker)
        if since is None or timeout is None or not now < (at := since / 1e9 + timeout + _PROMPT_S) < now + EVERY_S:
            return

        def look() -> None:
            if worker.overdue is None and worker.actor.worker is worker and worker.pulse is not None:
                reason = self._beyond_call_timeout(worker.actor, worker.pulse)
                if reason is not None:
                    self._end(worker, reason)

        self._loop.at(at, look)

    def _end(self, worker: Worker, reason: ExitReason) -> None:
        worker.overdue = reason
        if worker.pid is not None:
            self._processes.kill(worker.pid)

    def _hung(self, worker: Worker, now: float, late: float) -> ExitReason | None:
        limit = worker.actor.manifest.supervision.watchdog
        if limit is None or not worker.ready or worker.pulse is None or worker.pid is None:
            return None
        queued = _seconds_in_queue(worker.pid)
        if worker.watchdog is None:
            worker.watchdog = Watchdog(limit / 1000, now)
        elif queued is not None:
            worker.watchdog.excuse(max(late, queued - worker.queued))
        else:
            worker.watchdog.excuse(late)
        worker.queued = queued or 0.0
        in_call = worker.pulse.call_since() is not None
        is_busy = in_call or self._switchboard.waiting_for(worker.actor) > 0
        hung = worker.watchdog.look(now, worker.pulse.progress(), is_busy=is_busy)
        if hung is None:
            return None
        where = "in a call" if in_call else "with mail waiting"
        return ExitReason.deadline(f"it made no progress for {hung:.1f} s {where} ([supervision] watchdog)")


def note_growth(actor: Actor) -> bool:
    """Takes in how far a living actor's chain is; returns whether that is news."""
    pulse = actor.worker.pulse if actor.worker is not None else None
    head = pulse.read_mark() if pulse is not None else None
    if head is None or head == actor.head:
        return False
    actor.head = head
    return True


def _timeout(worker: Worker) -> float | None:
    timeout = worker.actor.manifest.limits.call_timeout
    return None if timeout is None else timeout / 1000


def _is_stopped(actor: Actor) -> bool:
    """Whether an actor's process is stopped, as by SIGSTOP or a debugger."""
    pid = actor.worker.pid if actor.worker is not None else None
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] in b"Tt"
    except OSError:
        return False


def _seconds_in_queue(pid: int) -> float | None:
    """How long a process has been ready to run and was not given a processor, since its birth; None if not known."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
