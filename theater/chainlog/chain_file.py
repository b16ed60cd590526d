"""A chain's bytes at their offsets, wherever they are kept by now: this is how chains are read.

An actor's folder holds

    chain               the file to which its worker appends
    segments/           old ranges of it, compressed (segments.py), each named ENTRIES-OFFSET.zst by where it begins
    dropped             a signed statement about a range that is kept nowhere any more (core/dropped.py)

and a home beside `supervisor.chain` likewise `supervisor.segments/` and `supervisor.dropped`.

A byte of a chain has the same offset for ever. What is in a segment, or was dropped, is a hole in the file, whose
length stays. The genesis stays in the file; segments and what was dropped begin behind it.

Ranges leave the file while others read it. A segment, or a statement, is in its place before the file gets its
hole. So what was read out of the file was there if nothing had changed beside the file when it had been read; else it
is read again. That needs no lock and costs two system calls for each piece.
"""

from __future__ import annotations

import os
import stat
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from theater.chainlog.segments import SEGMENT_MAX, Place, Segment
from theater.core.chain import HEADER_SIZE, OVERHEAD, START, Head, Record, Scanner, read_header
from theater.core.codec import DIGEST_SIZE
from theater.core.dropped import TEXT_MAX, Dropped
from theater.errors import ChainBroken, disk_error

BLOCK = 1 << 18
"""How much is read at once, bytes."""

CHAIN = "chain"
"""Name of an actor's chain, and the end of the supervisor's; a chain of another name is a file and nothing beside it.
"""

_YOUNG_NS = 100_000_000
"""A folder that was changed so recently may change again without another time: the clock of a file system ticks."""

_TRIES = 100

_State = tuple[int, int, int] | None
"""Inode, time of change, size of something in a file system; None if it is not there."""


class Neighbours(NamedTuple):
    """Where those parts of a chain are that its file does not hold any more.

    Args:
        segments: the folder with compressed ranges.
        dropped: the statement about a range that is not kept.
    """

    segments: Path
    dropped: Path

    @classmethod
    def of(cls, path: Path | str) -> Self | None:
        """Those of a chain file; None for one that has none, by its name."""
        folder, name = os.path.split(path)
        prefix, is_chain, rest = name.rpartition(CHAIN)
        if not is_chain or rest or prefix not in ("", "supervisor."):
            return None
        return cls(Path(folder, f"{prefix}segments"), Path(folder, f"{prefix}dropped"))


class _Beside(NamedTuple):
    """What was found beside a chain's file, and what it looked like then."""

    segments: tuple[Place, ...]
    dropped: Dropped | None
    states: tuple[_State, _State]
    is_young: bool


_NOTHING = _Beside((), None, (None, None), False)


class ChainFile:
    """One chain, open for reading; its writer may append, and old ranges of it be compressed or dropped meanwhile.

    Args:
        fd: the file, open for reading; it stays the caller's unless `owns`.
        path: where it is.
        owns: whether `close` closes it.

    Raises:
        ChainBroken: the statement about what was dropped is damaged.
    """

    def __init__(self, fd: int, path: Path | str, *, owns: bool = False) -> None:
        self.fd = fd
        self.path = str(path)
        self._owns = owns
        neighbours = Neighbours.of(path)
        self._has_neighbours = neighbours is not None
        self._segments, self._statement = map(str, neighbours or ("", ""))
        self._open: dict[Place, Segment] = {}
        self._beside = _NOTHING
        self._look()

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Opens a chain.

        Raises:
            FileNotFoundError: there is none.
            ChainBroken: as above. IntegrityError: the file cannot be opened.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_error(error, f"opening {path}") from error
        try:
            return cls(fd, path, owns=True)
        except BaseException:
            os.close(fd)
            raise

    @property
    def size(self) -> int:
        """Bytes of the chain, with what was compressed or dropped."""
        return os.fstat(self.fd).st_size

    @property
    def dropped(self) -> Dropped | None:
        """What was dropped of it; whether it is signed by the right one has not been looked at."""
        self._look_again()
        return self._beside.dropped

    @property
    def segments(self) -> tuple[Place, ...]:
        """Its segments by where they begin, those among them that were dropped."""
        self._look_again()
        return self._beside.segments

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes from `offset` on; fewer only at the end of the chain, or where the dropped range begins.

        Raises:
            ChainBroken: a segment is damaged; or `offset` is in a range that was dropped, `details["reason"]` being
                `dropped`.
            IntegrityError: the disk does not give them.
        """
        first = self._piece(size, offset)
        if first is None:
            assert self._beside.dropped is not None
            raise ChainBroken(f"{self.path}: {self._beside.dropped}, byte {offset} with them", reason="dropped")
        if len(first) == size or not first:
            return first
        parts, have = [first], len(first)
        while have < size and (more := self._piece(size - have, offset + have)):
            parts.append(more)
            have += len(more)
        return b"".join(parts)

    def pieces(self, offset: int, size: int = BLOCK) -> Iterator[bytes | Dropped]:
        """The chain from `offset` on to its end, in pieces of at most `size` bytes.

        What was dropped is one piece, after which its end follows; that may come in the midst, if it is being dropped
        right now.

        Raises: as `read`.
        """
        while True:
            data = self._piece(size, offset)
            if data is None:
                gap = self._beside.dropped
                assert gap is not None
                yield gap
                offset = gap.until.offset
            elif data:
                yield data
                offset += len(data)
            else:
                return

    def head_at(self, offset: int) -> Head | None:
        """The head in front of the record that begins at `offset`; None if no record header is there.

        Raises: as `read`.
        """
        if not 0 <= offset < self.size:
            return None
        header = read_header(self.read(HEADER_SIZE, offset))
        if header is None or 0 < offset < OVERHEAD:
            return None
        return Head(header[1], self.digest_before(offset), offset)

    def digest_before(self, offset: int) -> bytes:
        """The digest of the record that ends at `offset`; if that was dropped, as the statement says.

        Raises: as `read`.
        """
        if offset == 0:
            return START.digest
        gap = self._beside.dropped
        if gap is not None and offset == gap.until.offset:
            return gap.until.digest
        return self.read(DIGEST_SIZE, offset - DIGEST_SIZE) if offset >= OVERHEAD else b""

    def has_dropped(self, head: Head) -> bool:
        """Whether the entry before a head was dropped, so that nobody can compare its digest."""
        gap = self.dropped
        return gap is not None and gap.start.offset < head.offset < gap.until.offset

    def begin_near(self, entries: int) -> int:
        """The offset of a record not behind that of entry `entries`, found by the names of segments alone, so that a
        search can begin there; 0 if that is the best."""
        gap = self.dropped
        if gap is not None and gap.start.entries <= entries < gap.until.entries:
            return gap.until.offset
        known = [
            place for place in self.segments if place.entries <= entries and not (gap and gap.covers(place.offset))
        ]
        if gap is not None and gap.until.entries <= entries:
            known.append(Place(gap.until.offset, gap.until.entries))
        return max(known).offset if known else 0

    def segment(self, place: Place) -> Segment | None:
        """One of its segments; None if it is gone. It is closed together with this.

        Raises:
            ChainBroken: it is damaged.
        """
        found = self._open.get(place)
        if found is None:
            try:
                found = Segment(os.path.join(self._segments, place.name), place)
            except FileNotFoundError:
                return None
            self._forget_segments()
            self._open[place] = found
        return found

    def close(self) -> None:
        self._forget_segments()
        if self._owns and self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- where a byte is

    def _piece(self, size: int, offset: int) -> bytes | None:
        """Bytes from one place, at most `size`; none at the end of the chain, None in what was dropped."""
        for _ in range(_TRIES):
            beside = self._beside
            gap = beside.dropped
            if gap is not None and gap.covers(offset):
                return None
            wanted = size if gap is None or offset > gap.start.offset else min(size, gap.start.offset - offset)
            number = bisect_right(beside.segments, (offset, _ENDLESS))
            if number and offset - beside.segments[number - 1].offset < SEGMENT_MAX:
                try:
                    segment = self.segment(beside.segments[number - 1])
                    if segment is not None and segment.covers(offset):
                        return segment.read(wanted, offset)
                except ChainBroken:
                    # Either place is enough: it may be that the file has not got its hole.
                    if offset >= self.size:
                        return b""
                    wanted = self._data_in_file(wanted, offset)
                    if not wanted:
                        raise
                else:
                    if segment is None:
                        self._look()
                        continue
            if number < len(beside.segments):
                wanted = min(wanted, beside.segments[number].offset - offset)
            data = _pread(self.fd, wanted, offset)
            if not self._look_again():
                return data
        raise ChainBroken(f"{self.path}: what is beside it changes all the time", reason="damaged")

    def _data_in_file(self, size: int, offset: int) -> int:
        """How many bytes, at most `size`, are in the file from `offset` on before it has a hole."""
        try:
            if os.lseek(self.fd, offset, os.SEEK_DATA) != offset:
                return 0
            return min(size, os.lseek(self.fd, offset, os.SEEK_HOLE) - offset)
        except OSError:
            return 0

    # ---- what is beside the file

    def _look_again(self) -> bool:
        """Takes in what has changed; returns whether something has, so that what was read may be nothing."""
        if not self._has_neighbours:
            return False
        before = self._beside
        if not before.is_young and self._states() == before.states:
            return False
        self._look()
        return (before.segments, before.dropped) != (self._beside.segments, self._beside.dropped)

    def _look(self) -> None:
        if not self._has_neighbours:
            return
        states = self._states()
        now = time.time_ns()
        is_young = any(state is not None and state[1] > now - _YOUNG_NS for state in states)
        segments = self._list_segments() if states[0] is not None else ()
        dropped = self._read_statement() if states[1] is not None else None
        self._beside = _Beside(segments, dropped, states, is_young)

    def _states(self) -> tuple[_State, _State]:
        return _state(self._segments), _state(self._statement)

    def _list_segments(self) -> tuple[Place, ...]:
        try:
            names = os.listdir(self._segments)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(sorted(place for place in map(Place.read, names) if place is not None))

    def _read_statement(self) -> Dropped | None:
        try:
            fd = os.open(self._statement, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, f"opening {self._statement}") from error
        try:
            text = _pread(fd, TEXT_MAX + 1, 0) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
        try:
            return Dropped.read(text)
        except ChainBroken as error:
            raise ChainBroken(f"{self._statement}: {error.message}", reason="damaged", index=1) from error

    def _forget_segments(self) -> None:
        for segment in self._open.values():
            segment.close()
        self._open.clear()


class Walk:
    """The records of a chain from a head on to its end, each verified; what was dropped is passed over.

    Args:
        file: the chain.
        head: where to begin; what is before it is taken for verified.
        size: how much is read at once.

    Attributes:
        scanner: what verifies them; its head and its end are those of the walk.
    """

    def __init__(self, file: ChainFile, head: Head = START, size: int = BLOCK) -> None:
        self._file = file
        self._size = size
        self._snapshot: bytes | None = None
        self.scanner = Scanner(head)

    def batches(self) -> Iterator[list[Record]]:
        """The records, as they come.

        Raises:
            ChainBroken: a segment, or the statement about what was dropped, is damaged or does not fit. Damage of the
                records themselves is what the scanner says at the end.
        """
        for piece in self._file.pieces(self.scanner.head.offset, self._size):
            if isinstance(piece, Dropped):
                self._pass_over(piece)
                continue
            records = self.scanner.feed(piece)
            if records and self._snapshot is not None:
                self._require_snapshot(records[0])
            yield records
            if self.scanner.damage is not None:
                return
        if self._snapshot is not None and self.scanner.end() is None:
            raise self._no_snapshot(self.scanner.head.entries, "the end of the chain")

    def __iter__(self) -> Iterator[Record]:
        for records in self.batches():
            yield from records

    def _pass_over(self, gap: Dropped) -> None:
        head = self.scanner.head
        if head.offset <= gap.start.offset and (head != gap.start or self.scanner.end() is not None):
            raise ChainBroken(
                f"{self._file.path}: entry {head.entries}: expected the end of entry 0 at byte {gap.start.offset} by "
                f"the statement about dropped entries, found it at byte {head.offset}",
                reason="damaged", index=head.entries,
            )  # fmt: skip
        self.scanner = Scanner(gap.until)
        self._snapshot = gap.snapshot

    def _require_snapshot(self, record: Record) -> None:
        if record.digest != self._snapshot:
            raise self._no_snapshot(record.seq, "another entry")
        self._snapshot = None

    def _no_snapshot(self, index: int, found: str) -> ChainBroken:
        return ChainBroken(
            f"{self._file.path}: entry {index}: expected the snapshot that the statement about dropped entries names, "
            f"found {found}",
            reason="damaged", index=index,
        )  # fmt: skip


_ENDLESS = 1 << 64
"""More entries than a chain has."""


def _state(path: str) -> _State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _pread(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on; fewer only at the end of the file.

    Raises:
        IntegrityError: the disk does not give them.
    """
    try:
        data = os.pread(fd, size, offset)
        while 0 < len(data) < size:
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise disk_error(error, "reading a chain") from error
    return data
