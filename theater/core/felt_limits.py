"""The limits of a manifest that a guest feels, or that show in what is recorded of its calls. Pure.

They are read from the canonical form of a manifest, in which every default stands (core/manifest.py), without the rules
for manifests that a person writes: a worker has no time to load those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core.codec import unpack
from theater.errors import IntegrityError, WireError

_LARGEST_MANIFEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FeltLimits:
    """Those limits.

    Args:
        memory: bytes of linear memory.
        fuel: instructions that one call may burn; None for no metering.
        state: bytes of state.
        message: bytes of one reply.
        keeps_memory: its lives go on with the memory of those before.
    """

    memory: int
    fuel: int | None
    state: int
    message: int
    keeps_memory: bool

    def difference(self, other: FeltLimits) -> str | None:
        """What a guest would feel if it had the other limits; None if nothing."""
        if self.memory != other.memory:
            return "[limits] memory has changed"
        return "[limits] fuel has changed" if self.fuel != other.fuel else None


def felt_limits(manifest: bytes) -> FeltLimits:
    """What a manifest says of them.

    Args:
        manifest: its canonical form, packed.

    Raises:
        IntegrityError: it is not one.
    """
    try:
        plain: Any = unpack(manifest, max_len=_LARGEST_MANIFEST)
        limits = plain["limits"]
        keeps_memory = plain["supervision"]["state"] == "replay"
        found = FeltLimits(limits["memory"], limits["fuel"], limits["state"], limits["message"], keeps_memory)
    except (WireError, KeyError, TypeError) as error:
        raise IntegrityError("the content that should be a manifest is none") from error
    numbers = (found.memory, found.state, found.message, found.fuel or 0)
    if not isinstance(limits, Mapping) or not all(type(number) is int for number in numbers):
        raise IntegrityError("the limits of a manifest are no numbers")
    return found
