"""The signed statement about entries of a chain that are not kept any more. Pure.

A chain may be relieved of its oldest entries up to a snapshot, which says what the actor was then. What is missing is
stated in a text of ASCII lines, each ended by one line feed, the fields of a line parted by one space:

    theater dropped 1
    key KEY                             the Ed25519 public key of the server that signed
    time TIME                           wall time, nanoseconds since 1970
    actor ACTOR                         whose chain it is
    from 1 DIGEST OFFSET                the chain's head before the first entry that was dropped: the genesis stays
    until ENTRIES DIGEST OFFSET         the chain's head behind the last entry that was dropped
    snapshot DIGEST                     the digest of the entry that follows
    former DIGEST                       blake3 of the statement that this one replaces, or -
    signature SIGNATURE                 Ed25519 (RFC 8032) over every byte before this line

The number in the first line is the version. Numbers are decimal, without leading zeros; keys and digests are 64
hexadecimal digits, a signature 128, in lower case. A text has one form, and whatever differs from it in a byte is
refused. A statement that replaces another one covers what that one did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from theater.core.chain import OVERHEAD, Head
from theater.core.codec import content_digest
from theater.core.signatures import Signs, is_signed
from theater.errors import ChainBroken

VERSION: Final = 1
TEXT_MAX: Final = 1024
"""Bytes that no statement is longer than."""

_NUMBER = r"(0|[1-9][0-9]{0,18})"
_DIGEST = r"([0-9a-f]{64})"
_SHAPE = re.compile(
    rf"theater dropped {VERSION}\n"
    rf"key {_DIGEST}\n"
    rf"time {_NUMBER}\n"
    r"actor ([0-9a-z-]{1,64})\n"
    rf"from 1 {_DIGEST} {_NUMBER}\n"
    rf"until {_NUMBER} {_DIGEST} {_NUMBER}\n"
    rf"snapshot {_DIGEST}\n"
    r"former ([0-9a-f]{64}|-)\n"
    r"signature ([0-9a-f]{128})\n",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Which entries of a chain were dropped, by somebody who signs for it.

    Args:
        key: public key, 32 bytes.
        time_ns: wall time, ns since 1970.
        actor: whose chain.
        start: the head before the first that was dropped; behind the genesis.
        until: the head behind the last that was dropped.
        snapshot: digest of the entry that follows.
        former: digest of the statement that this one replaces; None for none.
        signature: 64 bytes.
    """

    key: bytes
    time_ns: int
    actor: str
    start: Head
    until: Head
    snapshot: bytes
    former: bytes | None = None
    signature: bytes = b""

    @property
    def entries(self) -> int:
        """How many entries were dropped."""
        return self.until.entries - self.start.entries

    @property
    def size(self) -> int:
        """How many bytes of the chain they were."""
        return self.until.offset - self.start.offset

    @property
    def statement(self) -> bytes:
        """What is signed."""
        lines = [
            f"theater dropped {VERSION}",
            f"key {self.key.hex()}",
            f"time {self.time_ns}",
            f"actor {self.actor}",
            f"from {_words(self.start)}",
            f"until {_words(self.until)}",
            f"snapshot {self.snapshot.hex()}",
            f"former {self.former.hex() if self.former is not None else '-'}",
        ]
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def text(self) -> bytes:
        """The whole of it."""
        return self.statement + f"signature {self.signature.hex()}\n".encode()

    @property
    def digest(self) -> bytes:
        """What a later statement names it by."""
        return content_digest(self.text)

    def covers(self, offset: int) -> bool:
        """Whether this byte of the chain was dropped."""
        return self.start.offset <= offset < self.until.offset

    @classmethod
    def read(cls, text: bytes) -> Dropped:
        """What a text says. Who has signed it is not looked at: that is `require_key`.

        Raises:
            ChainBroken: it is no statement, or one of a version that is not known here.
        """
        shape = _SHAPE.fullmatch(text.decode("ascii", "replace")) if len(text) <= TEXT_MAX else None
        if shape is None:
            raise ChainBroken("the statement about dropped entries is damaged: it does not have the form of one")
        key, time, actor, first, begin, entries, last, end, snapshot, former, signature = shape.groups()
        found = cls(
            bytes.fromhex(key),
            int(time),
            actor,
            Head(1, bytes.fromhex(first), int(begin)),
            Head(int(entries), bytes.fromhex(last), int(end)),
            bytes.fromhex(snapshot),
            None if former == "-" else bytes.fromhex(former),
            bytes.fromhex(signature),
        )
        if found.entries < 1 or found.start.offset <= OVERHEAD or found.size <= found.entries * OVERHEAD:
            raise ChainBroken("the statement about dropped entries states a range that no chain can have")
        return found

    def require_key(self, key: bytes | None) -> None:
        """Makes sure that it is what the key's owner has signed.

        Args:
            key: the public key that is trusted; None for none.

        Raises:
            ChainBroken: it is not.
        """
        if key is None:
            raise ChainBroken(f"no key is trusted here, and the statement is signed by key {self.key.hex()}")
        if key != self.key:
            raise ChainBroken(f"expected a statement signed by key {key.hex()}, found one by key {self.key.hex()}")
        if not is_signed(self.key, self.statement, self.signature):
            raise ChainBroken(f"its signature is not one of key {self.key.hex()} over its text")

    def __str__(self) -> str:
        entries = "entry 1 was" if self.entries == 1 else f"entries 1 to {self.until.entries - 1:,} were"
        return f"{entries} dropped by retention"


def state(
    signer: Signs, actor: str, start: Head, until: Head, snapshot: bytes, former: Dropped | None, time_ns: int
) -> Dropped:
    """A signed statement; arguments as those of `Dropped`, `former` being the whole of it."""
    replaced = former.digest if former is not None else None
    unsigned = Dropped(signer.public, time_ns, actor, start, until, snapshot, replaced)
    return replace(unsigned, signature=signer.sign_text(unsigned.statement))


def _words(head: Head) -> str:
    return f"{head.entries} {head.digest.hex()} {head.offset}"
