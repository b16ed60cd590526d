"""What a machine that died has left of a chain file.

The end of the file may be gone, or be there in part: a disk writes the pages of a file in any order, and a page that
was never written is zero. So what follows the last whole entry is taken for a loss if it is torn, or if a page is zero
where the first broken entry should be. Anything else is damage, and stays for `theater verify` to tell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog.chain_file import ChainFile, Walk
from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import FOLLOWED, record_at, require_head
from theater.core.chain import (
    HEADER_SIZE,
    OVERHEAD,
    REMOVED,
    SNAPSHOT,
    START,
    Damage,
    Entry,
    Head,
    Kind,
    Lifecycle,
    Mark,
    Payload,
    Torn,
    Tracker,
    marks_in,
    read_header,
)
from theater.core.outage import LOST, Loss
from theater.durable import sync_folder
from theater.errors import ChainBroken, NotFound, TheaterError, disk_error

_PAGE = 4096
_BATCH = 1000
_MARKS = 256
"""Marks of one actor that are kept in mind. Half of them are the newest; the others are further apart the older they
are, which is enough to see that a chain is not the one that was known."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a chain that has lost something.

    Args:
        mark: where it goes on.
        known: the newest mark of those that were known, if it is behind that.
        size: bytes of the file.
    """

    mark: Mark
    known: Mark | None
    size: int

    def loss(self, actor: str, boot: str, seen_ns: int | None) -> Loss:
        """As it is to be recorded."""
        return Loss(actor, self.known.head if self.known else None, self.mark.head, self.size, boot, seen_ns)


def take_stock(
    path: Path, marks: Sequence[Mark], durable: Mark | None = None, tick: Callable[[], None] = lambda: None
) -> Left | None:
    """Looks for what a dying machine takes; changes nothing.

    Args:
        marks: what is known of this chain, oldest first: from the shortest chain on.
        durable: a mark before which everything was on the disk when the machine died, which is not read therefore.
        tick: called now and then, as long as it takes.

    Returns:
        what is left; None if nothing is missing, and if what is there is not the beginning of what was known.

    Raises:
        ChainBroken: a compressed part of it is damaged. IntegrityError: the disk does not give it.
    """
    try:
        file = ChainFile.open(path)
    except FileNotFoundError:
        return Left(Mark(*START), marks[-1], 0) if marks else None
    with file:
        kept = [mark for mark in marks if not file.has_dropped(mark.head)]
        return _look(file, kept, durable, tick)


def cut(path: Path, left: Left) -> None:
    """Takes away what is behind the last whole entry, for good.

    Raises:
        DiskFull, IntegrityError: the disk does not do it.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(fd, left.mark.offset)
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, f"cutting {path}") from error


@dataclass(frozen=True, slots=True)
class Known:
    """What a supervisor's chain says.

    Args:
        marks: of each actor, oldest first; of the older ones, if there are very many, only some.
        seen_ns: the time of its last entry, ns since 1970; None if it has none.
    """

    marks: dict[str, list[Mark]]
    seen_ns: int | None


def read_known(
    path: Path, newest: int | None = None, since: int | None = None, tick: Callable[[], None] = lambda: None
) -> Known:
    """Reads a supervisor's chain, which must be whole.

    Args:
        newest: so many entries at its end; None for all.
        since: offset of a snapshot with which it is enough to begin; None for the chain's beginning.
        tick: called now and then, as long as it takes.

    Raises:
        ChainBroken: it is damaged.
    """
    marks: dict[str, list[Mark]] = {}
    seen_ns = None
    try:
        reader = ChainReader(path, _snapshot_at(path, since) or START)
    except NotFound:
        return Known(marks, None)
    with reader:
        for entry in _all(reader, tick) if newest is None else reader.tail(newest):
            seen_ns = entry.time_ns
            if entry.kind in (Kind.CHECKPOINT, Kind.LIFECYCLE):
                _note(entry.read(), marks)
    return Known(marks, seen_ns)


def _snapshot_at(path: Path, offset: int | None) -> Head | None:
    """The head before a snapshot that should be there; None if it is not."""
    if offset is None:
        return None
    try:
        with ChainFile.open(path) as file:
            payload = record_at(file, offset).entry().read()
            is_one = isinstance(payload, Lifecycle) and payload.event == SNAPSHOT
            return file.head_at(offset) if is_one else None
    except (FileNotFoundError, TheaterError):
        return None


def _all(reader: ChainReader, tick: Callable[[], None]) -> Iterator[Entry]:
    while batch := reader.read(_BATCH):
        tick()
        yield from batch


def _note(payload: Payload, marks: dict[str, list[Mark]]) -> None:
    for actor, mark in marks_in(payload).items():
        known = marks.setdefault(actor, [])
        known.append(mark)
        if len(known) > _MARKS:
            del known[1 : _MARKS // 2 : 2]
    if isinstance(payload, Lifecycle) and payload.event == REMOVED:
        marks.pop(str(payload.details.get("actor")), None)
    elif isinstance(payload, Lifecycle) and payload.event == LOST:
        loss = Loss.read(payload.details)
        kept = marks.get(loss.actor, [])
        marks[loss.actor] = [mark for mark in kept if mark.entries <= loss.found.entries]


def _surely_there(file: ChainFile, marks: Sequence[Mark], durable: Mark | None, compressed: Head) -> Mark | None:
    """The newest mark before which nothing can be lost: the durable one, or one within what is compressed."""
    for mark in sorted(marks, key=lambda mark: mark.offset, reverse=True):
        is_safe = mark is durable or mark.offset <= compressed.offset
        if is_safe and not file.has_dropped(mark.head) and _holds(file, mark):
            return mark
    return None


def _compressed(file: ChainFile) -> Head:
    """The head behind what is compressed: that was synced, and read back, before it left the file."""
    ends = (segment.until for place in file.segments if (segment := file.segment(place)) is not None)
    return max(ends, key=lambda head: head.offset, default=START)


def _look(file: ChainFile, marks: Sequence[Mark], durable: Mark | None, tick: Callable[[], None]) -> Left | None:
    """What is left, if something is missing. Most often nothing is: then only what can be lost is read."""
    compressed = _compressed(file)
    begin = _surely_there(file, [*marks, *([durable] if durable else [])], durable, compressed)
    if begin is None or begin.offset < compressed.offset:
        head, ending, _ = _walked(file, compressed, None, tick)
        if not _is_missing(file, marks, head, ending):
            return None
    head, ending, tracker = _walked(file, begin.head if begin is not None else START, begin, tick)
    if not _is_missing(file, marks, head, ending):
        return None
    missing = [mark for mark in marks if mark.entries > head.entries]
    return Left(tracker.mark(head), missing[-1] if missing else None, file.size)


def _walked(
    file: ChainFile, begin: Head, known: Mark | None, tick: Callable[[], None]
) -> tuple[Head, Torn | Damage | None, Tracker]:
    """Where the chain ends, how, and what is known there. What was written last may be there, and a page before it be
    lost, so all of it is read."""
    walk, tracker = Walk(file, begin), Tracker(known)
    for records in walk.batches():
        tick()
        for record in records:
            if record.kind_number in FOLLOWED:
                tracker.note(record.entry().read(), record.offset)
    return walk.scanner.head, walk.scanner.end(), tracker


def _is_missing(file: ChainFile, marks: Sequence[Mark], end: Head, ending: Torn | Damage | None) -> bool:
    """Whether a machine that died has taken something of a chain that is good up to there."""
    there = [mark for mark in marks if mark.entries <= end.entries]
    if there and not _holds(file, there[-1]):
        return False  # It does not have what it had there: it was written anew.
    if isinstance(ending, Damage):
        return _is_page_lost(file, end.offset)
    return len(there) < len(marks)


def _holds(file: ChainFile, mark: Mark) -> bool:
    try:
        require_head(file, mark.head)
    except ChainBroken:
        return False
    return True


def _is_page_lost(file: ChainFile, offset: int) -> bool:
    """Whether a page is zero, from there on, in which the record that begins at `offset` should be."""
    header = read_header(file.read(HEADER_SIZE, offset))
    end = offset + (OVERHEAD + header[0] if header is not None else HEADER_SIZE)
    at = offset
    while at < end:
        following = (at // _PAGE + 1) * _PAGE
        data = file.read(following - at, at)
        if data.count(0) == len(data):
            return True
        at = following
    return False
