"""theater:simple/timing: the clock, and waiting.

The clock is the one that WASI tells, too. A wait is as long as it says or is refused: one that the call has no time
for, before it begins.
"""

from __future__ import annotations

import time
from typing import Protocol

from theater.host.base import Refused


class Bed(Protocol):
    """Where a guest sleeps. Its actor's mail is taken in meanwhile; other actors have processes of their own."""

    def sleep(self, seconds: float) -> None:
        """Sleeps, or wakes up early when the actor is to end."""

    def remaining(self) -> float | None:
        """Seconds that the running call may still take; None for any time."""

    def is_stopping(self) -> bool:
        """Whether the actor is to end."""


class Timing:
    """The interface."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed

    def now(self) -> int:
        return now_ms()

    def sleep(self, duration: int) -> None:
        self._require_time(duration)
        self._bed.sleep(duration / 1000)
        self._require_rest()

    def deadline(self, timestamp: int) -> None:
        self._require_time(timestamp - now_ms())
        while (left := timestamp - now_ms()) > 0:
            self._bed.sleep(left / 1000)
            self._require_rest()

    def _require_time(self, duration_ms: int) -> None:
        left = self._bed.remaining()
        if left is not None and duration_ms > left * 1000:
            raise Refused(
                f"a wait of {duration_ms} ms is longer than the {max(0, int(left * 1000))} ms that are left of the "
                "call ([limits] call_timeout); a timer waits any time"
            )

    def _require_rest(self) -> None:
        if self._bed.is_stopping():
            raise Refused("the wait was cut short: the actor is being stopped")


def now_ms() -> int:
    """The wall clock, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
