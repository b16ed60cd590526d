"""Rules that need no state: which ends are answered with a restart, which are reported, and how long a pause is."""

from __future__ import annotations

from typing import Final

from theater.core.child_spec import Backoff, ChildSpec, Restart, ShutdownRule
from theater.core.exit_reason import ExitReason

_PERMANENT, _TRANSIENT, _ = Restart
_BRUTAL_KILL: Final = ShutdownRule.BRUTAL_KILL
_ENOUGH: Final = 63  # doublings: more than take any pause that fits into a number of milliseconds to its cap


def is_restarted(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child that ended by itself for this reason is to be restarted (1.4)."""
    return restart is _PERMANENT or (restart is _TRANSIENT and not reason.is_normal)


def is_reported(restart: Restart, reason: ExitReason) -> bool:
    """Whether that end is worth a report: every end of a permanent child, the abnormal ones of others (1.4, 1.17)."""
    return restart is _PERMANENT or not reason.is_normal


def is_expected(spec: ChildSpec, reason: ExitReason) -> bool:
    """Whether a child that was stopped ended as it should have (1.8)."""
    if spec.restart is not _PERMANENT and reason.is_normal:
        return True
    if spec.shutdown is _BRUTAL_KILL:
        return reason.is_kill
    return reason.is_bare_shutdown


def pause_before(backoff: Backoff, failures: int, draw: float) -> float:
    """Seconds to wait before the next attempt (1.23).

    Args:
        backoff: the first pause, the longest one, and the part that is left to chance.
        failures: in a row, before the one that is to be answered.
        draw: what chance says, from 0 up to 1.
    """
    longest = min(backoff.initial << min(failures, _ENOUGH), backoff.max) / 1000
    return longest * (1 - backoff.jitter * (1 - draw))


def seconds_to_forgive(backoff: Backoff) -> float:
    """How long a child has to be up for its next failure to be the first again (1.23)."""
    return (backoff.initial + backoff.max) / 2000
