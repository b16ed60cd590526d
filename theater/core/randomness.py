"""Randomness that follows from a seed: one stream of bytes for each life of an actor, the same in every run.

The stream is the extendable output of BLAKE3 (in its mode that derives keys) over the seed, the name of the actor and
the number of its life. So actors of one seed and different names have nothing in common, and a life that follows a
death does not meet the numbers again that may have been the cause of it. How far a life has come need not be kept.

`Draw` makes numbers of bytes, whatever those come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from blake3 import blake3

from theater.core.codec import pack

_CONTEXT: Final = "theater 2026 randomness of an actor from its manifest's seed"
_U64: Final = 1 << 64

Source = Callable[[int], bytes]
"""Gives so many random bytes."""


def seeded(seed: int | str, actor: str, incarnation: int) -> Source:
    """The stream of one life.

    Args:
        seed: of the manifest; the number 1 and the text "1" are not the same.
        actor: its name.
        incarnation: the number of its life, from 1.
    """
    stream = blake3(pack([seed, actor, incarnation]), derive_key_context=_CONTEXT)
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        found = stream.digest(length=count, seek=at)
        at += count
        return bytes(found)

    return take


class Draw:
    """Numbers from random bytes, without bias.

    Args:
        source: see `Source`.
    """

    def __init__(self, source: Source) -> None:
        self.bytes = source

    def u64(self) -> int:
        """A whole number from 0 up to, but not including, 2^64."""
        return int.from_bytes(self.bytes(8), "little")

    def below(self, bound: int) -> int:
        """A whole number from 0 up to, but not including, `bound`, which is 1 to 2^64; each is as likely."""
        # Of 2^64 numbers those are left out, at the top, that would make some remainders likelier than others.
        fair = _U64 - _U64 % bound
        while (number := self.u64()) >= fair:
            pass
        return number % bound

    def fraction(self) -> float:
        """A number from 0 up to, but not including, 1: a multiple of 2^-53, each as likely."""
        return (self.u64() >> 11) * 2.0**-53

    def uuid(self) -> str:
        """A UUID of version 4 (RFC 9562), as text."""
        raw = bytearray(self.bytes(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
