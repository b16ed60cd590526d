"""How many restarts a supervisor may attempt before it gives up: OTP's window, to the second.

It counts restart *attempts*, failed ones too, pooled over all children; a restart of many children at once counts
one. Whole seconds, both ends of the window included: attempt and bound are compared as integers, so the true window
lies between `period` and just under `period + 1` seconds, depending on where in a second the attempts fall.
"""

from __future__ import annotations

from collections import deque
from math import floor


class RestartIntensity:
    """The attempts that still count, oldest first.

    Args:
        intensity: attempts allowed within the window; 0 allows none.
        period: length of the window in seconds.
    """

    __slots__ = ("_attempts", "_intensity", "_period")

    def __init__(self, intensity: int, period: int) -> None:
        self._intensity = intensity
        self._period = period
        self._attempts: deque[int] = deque()

    def admit(self, now: float) -> bool:
        """Count an attempt at `now` (monotonic seconds, never less than before); False if it is one too many.

        Keeps at most `intensity + 1` attempts, since a supervisor that was refused one makes no more.
        """
        second = floor(now)
        while self._attempts and self._attempts[0] < second - self._period:
            self._attempts.popleft()
        self._attempts.append(second)
        return len(self._attempts) <= self._intensity

    def recent(self, now: float) -> int:
        """How many attempts count at `now`."""
        return sum(attempt >= floor(now) - self._period for attempt in self._attempts)

    def change(self, intensity: int, period: int) -> None:
        """Other bounds from now on; the attempts that were counted still count."""
        self._intensity = intensity
        self._period = period
