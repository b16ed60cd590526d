"""When a repeating timer is due, and what becomes of the moments that passed while its actor was down.

Times are wall time in milliseconds. The moments of an interval are one period apart, from its first, whatever happens:
a message that is late makes the next ones no later. While an actor is up and busy, moments that pass before it looks
are one message. What it missed while it was down is the catch-up policy's business.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MOST_CAUGHT_UP: Final = 1000
"""Messages of one interval, at most, that an actor gets for the time that it was down: the newest."""


class CatchUp(StrEnum):
    """Which messages of an interval an actor gets that it missed while it was down: one for all, each, or none."""

    ONE = "one"
    ALL = "all"
    SKIP = "skip"


def next_moment(due: int, period: int, now: int) -> int:
    """The first moment of an interval after `now`, but none before `due`."""
    return due if due > now else due + period * ((now - due) // period + 1)


def resumed(due: int, period: int, down_since: int, now: int, policy: CatchUp) -> int:
    """When a timer is due next, for an actor that has just come back.

    Args:
        due: when it was due next, as far as is known; it may have been at that and later moments while the actor was
            up.
        period: ms; 0 for a timer that is due once.
        down_since: the last moment that the actor is known to have been up.
        policy: what to do with moments of an interval after that, up to `now`.

    Returns:
        A moment up to now if there is something to catch up with.
    """
    if not period:
        return due
    first_missed = next_moment(due, period, min(down_since, now))
    if first_missed > now or policy is CatchUp.ONE:
        return first_missed
    upcoming = next_moment(first_missed, period, now)
    if policy is CatchUp.SKIP:
        return upcoming
    return max(first_missed, upcoming - MOST_CAUGHT_UP * period)


def following(due: int, period: int, back_since: int, now: int, policy: CatchUp) -> int:
    """When an interval is due after the message of the moment `due`, which is not after `now`.

    Args:
        back_since: when the actor came back: with `CatchUp.ALL` each moment up to then has a message of its own.
    """
    if policy is CatchUp.ALL and due + period <= back_since:
        return due + period
    return next_moment(due + period, period, now)
