"""A watchdog that goes by progress: it barks at an actor that has something to do and does none of it.

Heartbeats say that a process is scheduled, not that it does its work; and they end healthy processes when a machine
is busy. So what is watched is what the actor has done (entries of its chain, calls begun), only while there is
something to do, and time in which nobody on the machine could have worked does not count.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class Watchdog:
    """Watches one life of one actor.

    Args:
        limit: seconds without progress that are allowed.
        since: monotonic seconds since when it has been idle or last did something.
        done: what it had done then.
    """

    limit: float
    since: float
    done: Hashable = None

    def look(self, now: float, done: Hashable, *, is_busy: bool) -> float | None:
        """Takes note of what the actor has done until `now`.

        Args:
            done: anything that changes with its work.
            is_busy: whether it is in a call, or has mail.

        Returns:
            how long it has been hung, in seconds, if that is over the limit; else None.
        """
        if not is_busy or done != self.done:
            self.since, self.done = now, done
        hung = now - self.since
        return hung if hung > self.limit else None

    def excuse(self, seconds: float) -> None:
        """Time in which the actor, or whoever looks, was not given a processor."""
        self.since += max(0.0, seconds)
