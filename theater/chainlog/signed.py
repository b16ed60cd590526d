"""What a home's key has signed of its supervisor's chain, found at the end of it, however long it is."""

from __future__ import annotations

from pathlib import Path

from theater.chainlog.reader import ChainReader
from theater.core.chain import SIGNED, SNAPSHOT, Entry, Kind, Lifecycle, Mark
from theater.core.signed_checkpoint import Seal
from theater.errors import TheaterError

_LOOK_BACK = (1_000, 100_000)
"""Newest entries among which signatures are looked for: first few, then many."""


def signed_marks(path: Path, key: bytes, count: int) -> list[Mark]:
    """How far the key has signed the chain the last times, newest first: `count` marks, or fewer, with the snapshot
    before each if its entry says where that is.

    What comes before the last but one was on the disk when the last one was written, since a server signs only after
    what it has signed before was synced.

    Args:
        path: the chain; its end may be torn or damaged, and then there may be no marks.
        key: public key, 32 bytes.
    """
    found: list[Mark] = []
    for newest in _LOOK_BACK:
        try:
            with ChainReader(path) as reader:
                entries = reader.tail(newest)
        except TheaterError:
            return []
        found = [mark for entry in reversed(entries) if (mark := _signed(entry, key)) is not None][:count]
        if len(found) == count or len(entries) < newest:
            break
    return found


def _signed(entry: Entry, key: bytes) -> Mark | None:
    """The mark before an entry "signed" of this key; None if it is no such entry, or the signature is none."""
    if entry.kind is not Kind.LIFECYCLE:
        return None
    seal = Seal(key)
    try:
        payload = entry.read()
        if not isinstance(payload, Lifecycle) or payload.event != SIGNED:
            return None
        seal.note(entry.seq, entry.previous, payload.details)
        if seal.open() is None:
            return None
    except TheaterError:
        return None
    at = payload.details.get(SNAPSHOT)
    return Mark(entry.seq, entry.previous, entry.offset, snapshot_at=at if type(at) is int and at > 0 else None)
