"""What the process of an actor needs beside the memory of its guest, and how a weight is said where there is none.

Pure numbers: the worker and the server impose them.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

from theater.core.quantities import MIB

_HOST: Final = 48 * MIB
"""What Python and the engine take while an actor works, beyond what they have when its guest is about to run: measured
between calls were 5 to 7 MiB, with messages of 1 to 8 MB; a thread's stack is 8 MiB more."""

_COPIES: Final = 6
"""How often the largest value is there at a time, on its way into the guest, out of it, and into the record."""

_PER_STEP: Final = math.log(1.25)
"""One step of a nice value is a quarter more, or less, of the processor (sched(7))."""


class Sizes(Protocol):
    """Those limits that bound what a host handles."""

    @property
    def memory(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def message(self) -> int: ...


def margin(limits: Sizes) -> int:
    """Bytes that a worker may need beside its guest's memory."""
    return _HOST + _COPIES * max(limits.state, limits.message)


def nice(weight: int) -> int:
    """The nice value that is nearest to a `cpu_weight`: 0 for 100, and up to 19 for less."""
    return max(-20, min(19, round(-math.log(weight / 100) / _PER_STEP)))
