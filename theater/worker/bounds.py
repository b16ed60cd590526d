"""What the kernel holds a worker's process to, from the moment its guest is about to run: a last bound for a host that
has a defect, or a guest that broke out, behind those that the worker keeps itself."""

from __future__ import annotations

from theater.core.process_bounds import margin
from theater.walls import resources
from theater.worker.assignment import Limits

_PAGE_COUNTS = "VmData:"


def impose(limits: Limits, guest_bytes: int) -> None:
    """Bounds the private memory that this process may write to, and its descriptors, for good.

    Args:
        guest_bytes: memory that its guest has already.
    """
    bounds = {"descriptors": limits.descriptors}
    has = _data_bytes()
    if has is not None:
        bounds["data"] = has + max(0, limits.memory - guest_bytes) + margin(limits)
    resources.limit(bounds)


def _data_bytes() -> int | None:
    """Private memory that this process can write to, as RLIMIT_DATA counts it; None if the kernel does not say."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            line = next(line for line in status if line.startswith(_PAGE_COUNTS))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) << 10
