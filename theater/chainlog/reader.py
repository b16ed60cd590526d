"""Reading a chain while its one writer appends to it.

A reader takes whole records and verifies them; what stands behind the last whole one is not there yet, and is looked
at afresh the next time, since its writer may die and a successor cut it off. Everything is read by position: a reader
needs no lock and disturbs nobody.

Of a chain whose oldest entries were dropped a reader gives the genesis, and then what follows the dropped ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Self

from theater.chainlog.chain_file import BLOCK, ChainFile, Walk
from theater.chainlog.recovery import require_head
from theater.core.chain import HEADER_SIZE, OVERHEAD, START, Damage, Entry, Head, Record, Scanner, read_header
from theater.core.codec import DIGEST_SIZE
from theater.core.dropped import Dropped
from theater.errors import ChainBroken, NotFound

_TAIL_BLOCK = 1 << 16
_TRIES = 64
"""False headers that `tail` looks at before it takes the slow way."""

_TAIL_MAX = 1 << 26
"""Bytes that `tail` looks at from behind before it takes the slow way."""

_TYPICAL = 256
"""Bytes of a record in most chains; only a first guess of how far back `tail` has to look."""


class ChainReader:
    """The entries of one chain file, in order. It may be appended to meanwhile.

    Args:
        path: the file.
        start: the head behind which to begin; what is before it is taken for verified. If what follows it was dropped,
            the reader begins behind that.

    Raises:
        NotFound: there is no such file.
        ChainBroken: the chain does not have the digest of `start` at its place.
    """

    def __init__(self, path: Path | str, start: Head = START) -> None:
        self.path = str(path)
        self._next = self._seen = start
        self._ready: deque[Record] = deque()
        try:
            self._file = ChainFile.open(self.path)
        except FileNotFoundError as error:
            raise NotFound(f"there is no chain {self.path}") from error
        try:
            require_head(self._file, start)
        except BaseException:
            self.close()
            raise

    @property
    def head(self) -> Head:
        """The head behind the last entry that was given out."""
        return self._next

    @property
    def dropped(self) -> Dropped | None:
        """What is not kept of the chain any more; whose statement that is has not been looked at."""
        return self._file.dropped

    def read(self, limit: int) -> list[Entry]:
        """The next entries, at most `limit`; none if there is no whole one yet. Content is not resolved.

        Raises:
            ChainBroken: damage, or the file became shorter than what has been read of it.
        """
        return [record.entry() for record in self.records(limit)]

    def records(self, limit: int) -> list[Record]:
        """As `read`, without taking the bodies apart."""
        if len(self._ready) < limit:
            self._fill(limit)
        found = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        if found:
            self._next = _behind(found[-1])
        return found

    def seek(self, seq: int) -> None:
        """Goes to entry `seq`, so that it is the next; if that was dropped, to the first that follows and is kept.
        Looks at headers only: what is skipped is not verified.

        Raises:
            NotFound: the chain has no such entry.
            ChainBroken: a header on the way is damaged.
        """
        offset = self._next.offset if seq >= self._next.entries else 0
        for found, at in self._headers(max(offset, self._file.begin_near(seq))):
            if found >= seq:
                self._go_to(self._file.head_at(at) or START)
                return
        raise NotFound(f"{self.path} has no entry {seq}")

    def tail(self, limit: int) -> list[Entry]:
        """The newest entries, at most `limit`, oldest first. Takes the time of those entries, however long the chain.
        What `read` gives next stays the same.

        Raises:
            ChainBroken: the end of the chain is damaged.
        """
        size = self._file.size
        gap = self._file.dropped
        kept = size - gap.until.offset if gap is not None else size
        span = max(_TAIL_BLOCK, limit * _TYPICAL)
        while span < min(kept, _TAIL_MAX):
            records = self._records_to_end(size - span, size)
            if records is None:
                break
            if len(records) >= limit:
                return [record.entry() for record in records[-limit:]] if limit else []
            span *= 2 if not records else max(2, 2 * limit // len(records))
        return self._tail_from_start(limit)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- forward

    def _fill(self, limit: int) -> None:
        """Makes `limit` records ready, or as many as there are."""
        walk = Walk(self._file, self._seen)
        for records in walk.batches():
            self._ready += records
            if len(self._ready) >= limit:
                break
        self._seen = walk.scanner.head
        if not self._ready:
            self._explain_nothing(walk.scanner)

    def _explain_nothing(self, scanner: Scanner) -> None:
        """Nothing whole is there: that is an error unless it is only not there yet."""
        ending = scanner.end()
        if isinstance(ending, Damage):
            raise ending.error(self.path)
        require_head(self._file, self._seen)

    def _go_to(self, head: Head) -> None:
        self._next = self._seen = head
        self._ready.clear()

    def _headers(self, offset: int) -> Iterator[tuple[int, int]]:
        """(sequence number, offset) of each record from `offset` on."""
        data, base = b"", offset
        while True:
            if offset + HEADER_SIZE > base + len(data):
                gap = self._file.dropped
                offset = gap.until.offset if gap is not None and gap.covers(offset) else offset
                data, base = self._file.read(BLOCK, offset), offset
                if len(data) < HEADER_SIZE:
                    return
            header = read_header(data, offset - base)
            if header is None and not any(data[offset - base : offset - base + HEADER_SIZE]):
                return  # what a dying machine left: torn, and not there yet
            if header is None:
                raise ChainBroken(f"{self.path}: expected a record at byte {offset}, found none", reason="damaged")
            yield header[1], offset
            offset += OVERHEAD + header[0]

    # ---- backward

    def _tail_from_start(self, limit: int) -> list[Entry]:
        """The slow way, for a short chain, and for one whose end is torn."""
        newest: deque[tuple[int, int]] = deque()
        for begin in self._beginnings():
            newest = deque(self._headers(begin), maxlen=limit + 1)
            if len(newest) > limit:
                break
        if not newest:
            return []
        records = deque(Walk(self._file, self._file.head_at(newest[0][1]) or START), maxlen=limit)
        return [record.entry() for record in records]

    def _beginnings(self) -> Iterator[int]:
        """Offsets of records from which headers can be walked, the last first: behind what is compressed, where each
        compressed range begins, and the beginning."""
        gap = self._file.dropped
        begins = {0, gap.until.offset} if gap is not None else {0}
        for place in self._file.segments:
            segment = self._file.segment(place) if gap is None or not gap.covers(place.offset) else None
            begins |= {segment.start.offset, segment.until.offset} if segment is not None else set()
        yield from sorted(begins, reverse=True)

    def _records_to_end(self, begin: int, end: int) -> list[Record] | None:
        """All records from the first that begins after `begin`; None if only the slow way can tell.

        Anything that looks like a header may be one, or may be in the middle of a body, put there by a guest that
        means to be taken for its own recorder. It is one if the records from there on are good and end with the
        file: a false chain inside of a body would have to end with the digest of the record that it is part of.
        """
        data = self._file.read(end - begin, begin)
        likely = ((at, read_header(data, at)) for at in _likely_headers(data))
        for at, header in islice(((at, header) for at, header in likely if header is not None), _TRIES):
            scanner = Scanner(Head(header[1], data[at - DIGEST_SIZE : at], begin + at))
            records = scanner.feed(data[at:])
            ending = scanner.end()
            if ending is None:
                return records
            if records:
                return None  # Torn, or damaged behind what is good: a longer look back finds no more.
        return []


def _behind(record: Record) -> Head:
    return Head(record.seq + 1, record.digest, record.end)


def _likely_headers(data: bytes) -> Iterator[int]:
    """Where headers may begin: the first three bytes of a sequence number are zero up to 10^12 entries."""
    at = data.find(b"\0\0\0")
    while at >= 0:
        if at >= DIGEST_SIZE + 4:
            yield at - 4
        at = data.find(b"\0\0\0", at + 1)
