"""One chain at any place: each entry by its number, and the entry that has a digest.

Headers are walked from the beginning on, each once and no further than is asked for, which says where each entry
begins and of which kind it is: 9 bytes of memory and half a microsecond an entry. Bodies are read only of entries that
somebody wants to see, and each of these is checked against the digest before it. A chain may grow meanwhile: it is seen
as it was when it was opened.

A guest decides what stands in bodies, and may put digests, headers or whole records there. Nothing here is taken for a
record but what the headers lead to from the first on, which no body can change.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Self

from theater.chainlog.chain_file import ChainFile
from theater.chainlog.recovery import record_at
from theater.core.chain import (
    HEADER_SIZE,
    MAX_BODY,
    OVERHEAD,
    START,
    Damage,
    Entry,
    Kind,
    Payload,
    Scanner,
    read_header,
)
from theater.core.codec import DIGEST_SIZE, unpack
from theater.errors import ChainBroken, NotFound, WireError

_BLOCK = 1 << 20
_SEARCHED_AT_ONCE = 1 << 22
_LEAST = HEADER_SIZE + 7
"""Bytes of a record in which its header and its kind stand; every record is longer."""

_NUMBER_SIZES = ((0x80, 1), (0x100, 2), (0x1_0000, 3), (0x1_0000_0000, 5), (1 << 64, 9))
"""Below which sequence number msgpack needs how many bytes for it."""

_LENGTH_AND_SEQ = struct.Struct(">IQ")


class Survey:
    """The entries of one chain file, as it is now.

    Args:
        path: the file.

    Attributes:
        dropped: what is not kept of it any more.
        first_kept: the number of the entry that follows what was dropped; 0 if nothing was.

    Raises:
        NotFound: there is no such file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        self._kinds = bytearray()
        self._offsets = array("Q")
        self._end = 0
        self._is_whole = False
        self._block = 0, b""
        try:
            self._file = ChainFile.open(self.path)
        except FileNotFoundError as error:
            raise NotFound(f"there is no chain {self.path}") from error
        self._size = self._file.size
        self.dropped = self._file.dropped
        self._lost = range(self.dropped.start.entries, self.dropped.until.entries) if self.dropped else range(0)
        self.first_kept = self._lost.stop

    def __len__(self) -> int:
        """How many entries there are, with those that were dropped. Walks the whole chain.

        Raises:
            ChainBroken: the headers do not lead through it.
        """
        while not self._is_whole:
            self._walk()
        return self._known

    def has(self, seq: int) -> bool:
        """Whether there is an entry `seq`, and was not dropped. Walks the chain no further than that.

        Raises:
            ChainBroken: the headers do not lead there.
        """
        while self._known <= seq and not self._is_whole:
            self._walk()
        return 0 <= seq < self._known and seq not in self._lost

    def entry(self, seq: int) -> Entry:
        """Entry `seq`, with references in place of what is kept elsewhere.

        Raises:
            IndexError: there is no such entry.
            ChainBroken: it is not what it was, or nothing of this version.
        """
        if not self.has(seq):
            raise IndexError(seq)
        return record_at(self._file, self._begin_of(seq)).entry()

    def verify(self, first: int, last: int) -> None:
        """Makes sure that the entries from `first` to `last` follow from each other.

        Raises:
            ChainBroken: they do not.
        """
        at, end = self._begin_of(first), self._end_of(last)
        scanner = Scanner(self._file.head_at(at) or START)
        while at < end and (data := self._file.read(min(_BLOCK, end - at), at)):
            scanner.feed(data)
            at += len(data)
        ending = scanner.end()
        if isinstance(ending, Damage):
            raise ending.error(self.path)
        if scanner.head.entries != last + 1:
            raise ChainBroken(f"{self.path}: expected entry {last} up to byte {end}, found its end", reason="shortened")

    def glance(self, seq: int) -> list[Any]:
        """The payload of entry `seq` as it stands in the body, unchecked: many are looked through for the one that
        is then read by `entry`. What is no payload is an empty one.
        """
        body = self._bytes(self._begin_of(seq), self._end_of(seq))[HEADER_SIZE:-DIGEST_SIZE]
        try:
            payload = unpack(body, max_len=MAX_BODY, references=True)[3]
        except (WireError, LookupError, TypeError):
            return []
        return payload if isinstance(payload, list) else []

    def payload(self, seq: int) -> Payload:
        """What entry `seq` says.

        Raises:
            ChainBroken: as `entry`.
        """
        return self.entry(seq).read()

    def kind_number(self, seq: int) -> int:
        """The number of the kind of entry `seq`, which this version may not know."""
        if not self.has(seq):
            raise IndexError(seq)
        return self._kinds[self._index(seq)]

    def back_from(self, before: int, kinds: Collection[Kind]) -> Iterator[int]:
        """The numbers of the entries of these kinds below number `before`, newest first, of those that are kept."""
        self.has(before - 1)
        begin = self._index(before)
        at = {kind: self._kinds.rfind(kind, 0, begin) for kind in kinds}
        while at and (newest := max(at.values())) >= 0:
            yield self._number(newest)
            kind = Kind(self._kinds[newest])
            at[kind] = self._kinds.rfind(kind, 0, newest)

    def find(self, digest: bytes) -> int | None:
        """The number of the entry that has this digest; None if none has."""
        len(self)
        for end in self._ends_of(digest):
            index = bisect_left(self._offsets, end) - 1
            if index >= 0 and end == self._end_of(self._number(index)):
                return self._number(index)
        return None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- numbers, and places in the lists, which have no entry of those that were dropped

    @property
    def _known(self) -> int:
        """The number of the entry that follows those that were walked over."""
        return self._number(len(self._kinds))

    def _number(self, index: int) -> int:
        return index if index < self._lost.start else index + len(self._lost)

    def _index(self, seq: int) -> int:
        return seq if seq < self._lost.stop else seq - len(self._lost)

    def _begin_of(self, seq: int) -> int:
        return self._offsets[self._index(seq)]

    def _end_of(self, seq: int) -> int:
        if self.dropped is not None and seq + 1 == self._lost.start:
            return self.dropped.start.offset
        index = self._index(seq) + 1
        return self._offsets[index] if index < len(self._offsets) else self._end

    def _bytes(self, begin: int, end: int) -> bytes:
        """Bytes of the file, with those around them, which are likely to be wanted next."""
        at, block = self._block
        if not at <= begin <= end <= at + len(block):
            kept_from = self.dropped.until.offset if self.dropped and begin >= self.dropped.until.offset else 0
            at = min(begin, max(kept_from, end - _BLOCK // 2))
            block = self._file.read(max(_BLOCK, end - at), at)
            self._block = at, block
        return block[begin - at : end - at]

    # ---- the walk

    def _walk(self) -> None:
        """Goes on by a block."""
        if self.dropped is not None and self._end == self.dropped.start.offset:
            self._end = self.dropped.until.offset
        before = self._end
        if self._size - before >= _LEAST:
            self._take(self._file.read(_BLOCK, before))
        if self._end == before:
            self._is_whole = True
            if self._kinds and not any(self._file.read(DIGEST_SIZE, self._end - DIGEST_SIZE)):
                self._end = self._offsets.pop()  # what a dying machine left of it, which was never acknowledged
                self._kinds.pop()

    def _take(self, block: bytes) -> None:
        """Takes in the records that begin in a block, the first at its beginning."""
        offsets, kinds, base, size = self._offsets, self._kinds, self._end, self._size
        unpack, last = _LENGTH_AND_SEQ.unpack_from, len(block) - _LEAST
        seq, at = self._known, 0
        while at <= last:
            below, width = next(row for row in _NUMBER_SIZES if seq < row[0])
            kind_at = HEADER_SIZE + 1 + width
            while at <= last and seq < below:
                length, number = unpack(block, at)
                following = base + at + OVERHEAD + length
                if number != seq or length > MAX_BODY or following > size:
                    self._end = base + at
                    return self._require_end(block[at : at + HEADER_SIZE], seq)
                offsets.append(base + at)
                kinds.append(block[at + kind_at])
                at = following - base
                seq += 1
        self._end = base + at
        return None

    def _require_end(self, header: bytes, seq: int) -> None:
        """What stands behind the last whole record may be the beginning of one, or zeros, but nothing else."""
        found = read_header(header)
        if any(header) and (found is None or found[1] != seq):
            raise ChainBroken(
                f"{self.path}: expected entry {seq} at byte {self._end}, found none",
                reason="damaged", index=seq, offset=self._end,
            )  # fmt: skip

    # ---- the search

    def _ends_of(self, digest: bytes) -> Iterator[int]:
        """The offset behind each place where these bytes stand, wherever that is."""
        begin = 0
        while begin < self._end:
            if self.dropped is not None and self.dropped.covers(begin):
                begin = self.dropped.until.offset
            block = self._file.read(min(_SEARCHED_AT_ONCE, self._end - begin), begin)
            at = block.find(digest)
            while at >= 0:
                yield begin + at + DIGEST_SIZE
                at = block.find(digest, at + 1)
            begin += max(1, len(block) - DIGEST_SIZE + 1) if begin + len(block) < self._end else len(block)
