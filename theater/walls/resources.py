"""How much of the machine one process may take (setrlimit(2)). Soft and hard at once, so that it cannot take more."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Mapping

NAMES: Mapping[str, int] = {
    "data": resource.RLIMIT_DATA,
    "file_size": resource.RLIMIT_FSIZE,
    "descriptors": resource.RLIMIT_NOFILE,
    "core": resource.RLIMIT_CORE,
    "locked": resource.RLIMIT_MEMLOCK,
    "queues": resource.RLIMIT_MSGQUEUE,
    "processor_s": resource.RLIMIT_CPU,
}
"""`data` is private memory that can be written, in bytes; `processor_s` are seconds."""


def limit(bounds: Mapping[str, int]) -> None:
    """Sets limits, each of `NAMES`; one that is lower already stays."""
    for name, bound in bounds.items():
        kind = NAMES[name]
        _, hard = resource.getrlimit(kind)
        most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))
