"""What a machine that died has taken from a chain: how it is recorded, and what a verifier makes of that. Pure.

`durability = "process"` lets the disk take its time, so after a power cut the end of a chain may be gone that the
server had noted in a checkpoint already. A server that knows that its machine died writes a lifecycle entry "lost"
into its own chain before the actor goes on:

    actor       whose chain; "supervisor" for its own
    known       [entries, digest, offset] of the newest head that was known, or nil if no known entry is missing
    found       [entries, digest, offset] of the last whole entry that is left
    bytes       how long the file was
    boot        the boot id of the kernel under which the server had run (random(4))
    seen        when that server gave its last sign of life that is left, ns since 1970; nil if there is none

From then on that chain is known to have had `found`, and whatever was noted behind it is not missed any more. Who has
kept a checkpoint elsewhere still misses it: the server's word is all that there is for its machine's death.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from theater.core.chain import Head
from theater.core.codec import DIGEST_SIZE
from theater.errors import ChainBroken

LOST: Final = "lost"
"""Lifecycle event of the supervisor's chain, as above."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The end of one chain that is gone.

    Args:
        actor: whose chain.
        known: the newest head that was known; None if it is still there, and only what came after it is not.
        found: the head of what is left.
        size: bytes that the file had.
        boot: the kernel's boot id under which it was written.
        seen_ns: last sign of life from then, ns since 1970; None for none.
    """

    actor: str
    known: Head | None
    found: Head
    size: int
    boot: str = ""
    seen_ns: int | None = None

    def details(self) -> dict[str, Any]:
        """The details of the entry "lost"."""
        return {
            "actor": self.actor,
            "known": list(self.known) if self.known is not None else None,
            "found": list(self.found),
            "bytes": self.size,
            "boot": self.boot,
            "seen": self.seen_ns,
        }

    @classmethod
    def read(cls, details: Mapping[str, Any]) -> Self:
        """The reverse of `details`.

        Raises:
            ChainBroken: these are none.
        """
        known, seen = details.get("known"), details.get("seen")
        try:
            return cls(
                str(details["actor"]),
                _head(known) if known is not None else None,
                _head(details["found"]),
                int(details["bytes"]),
                str(details["boot"]),
                int(seen) if seen is not None else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ChainBroken(f"an entry about a loss that does not say what was lost: {error!r}") from error

    def __str__(self) -> str:
        return self.sentence(None)

    def sentence(self, seen: str | None) -> str:
        """What was lost, in a sentence.

        Args:
            seen: the time of the last sign of life, in words.
        """
        died = "died" if seen is None else f"died after {seen}"
        return f"{self._what()} when the machine {died}, as the server recorded"

    def _what(self) -> str:
        first = self.found.entries
        if self.known is None or self.known.entries <= first:
            return f"what came after {first} entries was lost"
        last = self.known.entries - 1
        return f"entry {first} was lost" if first == last else f"entries {first} to {last} were lost"


def _head(plain: Any) -> Head:
    entries, digest, offset = plain
    if type(entries) is not int or type(digest) is not bytes or len(digest) != DIGEST_SIZE or type(offset) is not int:
        raise ValueError("no head")
    return Head(entries, digest, offset)
