"""The checkpoint that is kept elsewhere: a signed text that says how far the chains of a home were. Pure.

A hash chain cannot see its own tail missing, nor that all of it was written anew; who holds a head from earlier can.
A signed checkpoint is a text of ASCII lines, each ended by one line feed, the fields of a line parted by one space:

    theater checkpoint 1
    key KEY                             the Ed25519 public key of the server that signed
    time TIME                           wall time, nanoseconds since 1970
    home DIGEST                         digest of the first entry of the supervisor's chain: which home this is
    chain supervisor ENTRIES DIGEST     the supervisor's own chain; always there
    chain ACTOR ENTRIES DIGEST          a chain with its number of entries and the digest of the last, by ascending id
    signature SIGNATURE                 Ed25519 (RFC 8032) over every byte before this line

The number in the first line is the version. Numbers are decimal, without leading zeros; keys and digests are 64
hexadecimal digits, a signature 128, in lower case; chains have at least one entry. A text has one form, and whatever
differs from it in a byte is refused. A key is known by itself and has no other id.

The supervisor's chain has such texts, too: in "checkpoint" of its lifecycle entries "signed", with no chain but its
own, as it was before that entry. So each of them signs all that this chain says, the heads of actors among it. Beside
it stands in "snapshot" the offset of the newest snapshot before it, or nil if that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from theater.core.signatures import is_signed
from theater.core.verification import SUPERVISOR
from theater.errors import CheckpointRefused, InvalidInput

VERSION: Final = 1
SEED_SIZE: Final = 32
"""Bytes of the secret that a key is made of."""

_FIRST = b"theater checkpoint "
_SHAPE = re.compile(
    r"theater checkpoint 1\n"
    r"key ([0-9a-f]{64})\n"
    r"time (0|[1-9][0-9]{0,18})\n"
    r"home ([0-9a-f]{64})\n"
    r"((?:chain [0-9a-z-]+ [1-9][0-9]{0,18} [0-9a-f]{64}\n)+)"
    r"signature ([0-9a-f]{128})\n",
    re.ASCII,
)

Position = tuple[int, bytes]
"""Number of entries of a chain, and the digest of the last."""


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """How far chains were, by somebody who signs for it.

    Args:
        key: public key, 32 bytes.
        time_ns: wall time, ns since 1970.
        home: digest of the first entry of the supervisor's chain.
        positions: where each chain was, by actor; that of `SUPERVISOR` is always there.
        signature: 64 bytes.
    """

    key: bytes
    time_ns: int
    home: bytes
    positions: Mapping[str, Position]
    signature: bytes = b""

    @property
    def statement(self) -> bytes:
        """What is signed."""
        actors = sorted(actor for actor in self.positions if actor != SUPERVISOR)
        lines = [
            f"theater checkpoint {VERSION}",
            f"key {self.key.hex()}",
            f"time {self.time_ns}",
            f"home {self.home.hex()}",
            *(_row(actor, *self.positions[actor]) for actor in (SUPERVISOR, *actors)),
        ]
        return "".join(f"{line}\n" for line in lines).encode()

    @property
    def text(self) -> bytes:
        """The whole of it."""
        return self.statement + f"signature {self.signature.hex()}\n".encode()

    @classmethod
    def read(cls, text: bytes) -> SignedCheckpoint:
        """What a text says, if it is signed by the key that it names.

        Raises:
            InvalidInput: it is no signed checkpoint, or one of a version that is not known here.
            CheckpointRefused: it is not what was signed.
        """
        _require_version(text)
        shape = _SHAPE.fullmatch(text.decode("ascii", "replace"))
        if shape is None:
            raise CheckpointRefused("the checkpoint is damaged: it does not have the form of one")
        key, time, home, rows, signature = shape.groups()
        positions = dict(map(_read_row, rows.splitlines()))
        found = cls(bytes.fromhex(key), int(time), bytes.fromhex(home), positions, bytes.fromhex(signature))
        if SUPERVISOR not in positions or found.text != text:
            raise CheckpointRefused("the checkpoint is damaged: its chains are not listed as they should be")
        if not is_signed(found.key, found.statement, found.signature):
            raise CheckpointRefused(f"the checkpoint is damaged: its signature is not one of key {key} over its text")
        return found

    def require_key(self, key: bytes, whose: str, otherwise: str = "") -> None:
        """Makes sure who has signed.

        Args:
            key: the public key that is trusted.
            whose: what that key is, for the sentence.
            otherwise: what it means if it was another one, likewise.

        Raises:
            CheckpointRefused: it was signed by another one.
        """
        if self.key != key:
            meaning = f": {otherwise}" if otherwise else ""
            raise CheckpointRefused(
                f"the checkpoint was signed by key {self.key.hex()}, and {whose} is {key.hex()}{meaning}",
                found=self.key.hex(),
                expected=key.hex(),
            )


class Signer:
    """Who has the secret.

    Args:
        seed: `SEED_SIZE` random bytes, the private key of RFC 8032.
    """

    def __init__(self, seed: bytes) -> None:
        # Late: what a worker loads knows chains, but nothing of it signs.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, home: bytes, positions: Mapping[str, Position], time_ns: int) -> SignedCheckpoint:
        """A signed checkpoint of these chains; arguments as its own."""
        unsigned = SignedCheckpoint(self.public, time_ns, home, positions)
        return SignedCheckpoint(self.public, time_ns, home, positions, self.sign_text(unsigned.statement))

    def sign_text(self, text: bytes) -> bytes:
        """The signature over a text, 64 bytes."""
        return self._private.sign(text)


class Seal:
    """How far a supervisor's chain is signed: follows its entries "signed", and looks at the last one alone, since that
    covers all before it.

    Args:
        key: the public key that is trusted; None for none, and nothing is signed.

    Attributes:
        seq: number of the entry with the last signature; 0 if there is none.
    """

    def __init__(self, key: bytes | None) -> None:
        self._named = None if key is None else f"\nkey {key.hex()}\n"
        self._last = ""
        self._digest = b""
        self.seq = 0

    def note(self, seq: int, previous: bytes, details: object) -> None:
        """Takes in the next entry "signed". One that names another key is passed over.

        Args:
            previous: digest of the entry before it.
            details: what it says.
        """
        text = details.get("checkpoint") if isinstance(details, Mapping) else None
        if isinstance(text, str) and self._named is not None and self._named in text:
            self._last, self._digest, self.seq = text, previous, seq

    def open(self) -> SignedCheckpoint | None:
        """The last signature; None if there is none.

        Raises:
            CheckpointRefused, InvalidInput: it is damaged, or signs another chain.
        """
        if not self._last:
            return None
        found = SignedCheckpoint.read(self._last.encode("utf-8", "replace"))
        if found.positions[SUPERVISOR] != (self.seq, self._digest):
            raise CheckpointRefused("a signature of something else than what is before it")
        return found


def _require_version(text: bytes) -> None:
    if not text.startswith(_FIRST):
        raise InvalidInput("this is no checkpoint: its first line is not `theater checkpoint 1`")
    version = text[len(_FIRST) :].split(b"\n", 1)[0][:20].decode("ascii", "replace")
    if version.isdigit() and version != str(VERSION):
        raise InvalidInput(f"the checkpoint is of version {version!r}; this Theater knows version {VERSION}")


def _row(actor: str, entries: int, digest: bytes) -> str:
    return f"chain {actor} {entries} {digest.hex()}"


def _read_row(line: str) -> tuple[str, Position]:
    _, actor, entries, digest = line.split(" ")
    return actor, (int(entries), bytes.fromhex(digest))
