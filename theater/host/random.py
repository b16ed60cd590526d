"""theater:simple/random: bytes and numbers from the operating system, or from the seed of the manifest.

What a guest gets from WASI's random (theater/host/wasi.py) comes from the same source.
"""

from __future__ import annotations

from typing import Final

from theater.core.randomness import Draw, Source
from theater.host.base import Refused

MAX_BYTES: Final = 1 << 20
"""Random bytes that one call gives at most, here as by WASI."""


class Random:
    """The interface.

    Args:
        source: of the bytes.
    """

    def __init__(self, source: Source) -> None:
        self._draw = Draw(source)

    def random_bytes(self, length: int) -> bytes:
        if length > MAX_BYTES:
            raise Refused(f"{length} random bytes were asked for in one call, {MAX_BYTES} are allowed")
        return self._draw.bytes(length)

    def random_range(self, min: int, max: int) -> int:
        if min >= max:
            raise Refused(f"there is no number from {min} up to, but not including, {max}")
        return min + self._draw.below(max - min)

    def random_float(self) -> float:
        return self._draw.fraction()

    def generate_uuid(self) -> str:
        return self._draw.uuid()
