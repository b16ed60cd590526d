"""What a machine that died has left of a chain file.

The end of the file may be gone, or be there in part: a disk writes the pages of a file in any order, and a page that
was never written is zero. So what follows the last whole entry is taken for a loss if it is torn, or if a page is zero
where the first broken entry should be. Anything else is damage, and stays for `theater verify` to tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog.chain_file import ChainFile, Walk
from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import FOLLOWED, require_head
from theater.core.chain import (
    HEADER_SIZE,
    OVERHEAD,
    REMOVED,
    START,
    Damage,
    Entry,
    Kind,
    Lifecycle,
    Mark,
    Payload,
    Tracker,
    marks_in,
    read_header,
)
from theater.core.outage import LOST, Loss
from theater.durable import sync_folder
from theater.errors import ChainBroken, NotFound, disk_error

_PAGE = 4096
_BATCH = 1000


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


def take_stock(path: Path, marks: Sequence[Mark]) -> Left | None:
    """Looks for what a dying machine takes; changes nothing.

    Args:
        marks: all that is known of this chain, oldest first: from the shortest chain on.

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
        return _look(file, [mark for mark in marks if not file.has_dropped(mark.head)])


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
        marks: of each actor, oldest first.
        seen_ns: the time of its last entry, ns since 1970; None if it has none.
    """

    marks: dict[str, list[Mark]]
    seen_ns: int | None


def read_known(path: Path, newest: int | None = None) -> Known:
    """Reads a supervisor's chain, which must be whole.

    Args:
        newest: so many entries at its end; None for all.

    Raises:
        ChainBroken: it is damaged.
    """
    marks: dict[str, list[Mark]] = {}
    seen_ns = None
    try:
        reader = ChainReader(path)
    except NotFound:
        return Known(marks, None)
    with reader:
        for entry in _all(reader) if newest is None else reader.tail(newest):
            seen_ns = entry.time_ns
            if entry.kind in (Kind.CHECKPOINT, Kind.LIFECYCLE):
                _note(entry.read(), marks)
    return Known(marks, seen_ns)


def _all(reader: ChainReader) -> Iterator[Entry]:
    while batch := reader.read(_BATCH):
        yield from batch


def _note(payload: Payload, marks: dict[str, list[Mark]]) -> None:
    for actor, mark in marks_in(payload).items():
        marks.setdefault(actor, []).append(mark)
    if isinstance(payload, Lifecycle) and payload.event == REMOVED:
        marks.pop(str(payload.details.get("actor")), None)
    elif isinstance(payload, Lifecycle) and payload.event == LOST:
        loss = Loss.read(payload.details)
        kept = marks.get(loss.actor, [])
        marks[loss.actor] = [mark for mark in kept if mark.entries <= loss.found.entries]


def _look(file: ChainFile, marks: Sequence[Mark]) -> Left | None:
    # From the beginning, whatever is known: what was written last may be there, and a page before it be lost.
    walk, tracker = Walk(file), Tracker(None)
    for record in walk:
        if record.kind_number in FOLLOWED:
            tracker.note(record.entry().read(), record.offset)
    left = tracker.mark(walk.scanner.head)
    there = [mark for mark in marks if mark.entries <= left.entries]
    missing = [mark for mark in marks if mark.entries > left.entries]
    if there and not _holds(file, there[-1]):
        return None  # It does not have what it had there: it was written anew.
    ending = walk.scanner.end()
    if isinstance(ending, Damage) and not _is_page_lost(file, left.offset):
        return None
    if not missing and not isinstance(ending, Damage):
        return None
    return Left(left, missing[-1] if missing else None, file.size)


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
