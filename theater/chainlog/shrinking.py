"""Making a chain smaller: its old part compressed, or dropped up to a snapshot, while its writer appends.

Each step leaves the chain whole, so that being killed at any instant, or a power cut, loses nothing:

1. The file is synced and the whole chain verified, against checkpoints too: nothing is put away, and nothing signed
   for, that is not what it was.
2. To drop: if a segment reaches beyond the snapshot, what lies behind it gets a segment of its own. Then the statement
   is written, synced, renamed into its place, and read again. Only then segments in the range are deleted.
3. To compress: each segment is written, synced, read back, compared, and renamed into its place.
4. Only then the file gets its hole.

Until the statement is in its place nothing is dropped, from then on everything is; a range that is in its segment as
well as in the file is good in either place. What a killed process has left to be done is done the next time.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog import holes, segments
from theater.chainlog.chain_file import ChainFile, Neighbours
from theater.chainlog.recovery import record_at, state_in
from theater.chainlog.retention import HOT, LEAST, Candidate, Cuts, Watched, candidate, choose, is_over
from theater.chainlog.segments import BLOCK_SIZE, Segment
from theater.chainlog.verify import Content, Contents, read_into
from theater.core.chain import INCARNATION, SNAPSHOT, START, Head, Kind, Lifecycle, Mark, Record
from theater.core.dropped import state
from theater.core.manifest import Retention
from theater.core.signatures import Signs
from theater.core.verification import SUPERVISOR, Checkpoints, Verifier
from theater.errors import ChainBroken, WrongState, disk_error

_DRAFT = ".new"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with a chain.

    Args:
        actor: whose it is; "supervisor" for the server's own.
        kept: how much of it is kept; None for all of it.
        checkpoints: what is known about it from elsewhere.
        key: the public key that is trusted to have signed for what was dropped before; None for none.
        signer: who signs for what is dropped now; None for nobody, and nothing is.
        now_ns: wall time, ns since 1970.
        dry_run: only says what would be done.
        hot: newest bytes that are not compressed.
        least: bytes that are worth a segment.
    """

    actor: str
    kept: Retention | None
    checkpoints: Checkpoints
    key: bytes | None
    signer: Signs | None
    now_ns: int
    dry_run: bool = False
    hot: int = HOT
    least: int = LEAST


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What was done with a chain, or would be.

    Args:
        compressed: bytes that are in segments now and were not before.
        dropped_entries, dropped_bytes: what was dropped now.
        freed: bytes of disk that this gave back.
        until: the number of entries before the first that is kept behind the genesis, if any are dropped.
        note: why nothing was dropped although there is more than is to be kept.
    """

    compressed: int = 0
    dropped_entries: int = 0
    dropped_bytes: int = 0
    freed: int = 0
    until: int | None = None
    note: str | None = None


def shrink(chain: Path, order: Order, content: Content) -> Shrunk:
    """Drops what need not be kept of a chain, and compresses what is old of the rest. Its writer may go on meanwhile.

    Args:
        chain: the file.
        content: where what the chain refers to is.

    Raises:
        ChainBroken: the chain does not verify; nothing was done.
        WrongState: somebody else is doing this; or the file system cannot punch holes, and nothing was done.
        DiskFull, IntegrityError: the disk does not take what is written; nothing is lost.
    """
    if not chain.exists():
        return Shrunk()
    if order.dry_run:
        with ChainFile.open(chain) as file:
            return _Plan(file, order, content).foretold()
    with _locked(chain.parent), _writable(chain) as file:
        holes.require_holes(chain.parent)
        _remove_drafts(_beside(chain))
        before = on_disk(chain)
        plan = _Plan(file, order, content)
        _finish(file)
        if plan.goal is not None:
            _drop(file, order, plan.goal)
        compressed = sum(_compress(file, begin, until) for begin, until in plan.ranges)
        dropped = file.dropped
        return Shrunk(
            compressed, plan.dropped_entries, plan.dropped_bytes, before - on_disk(chain),
            dropped.until.entries if dropped is not None else None, plan.note,
        )  # fmt: skip


def on_disk(chain: Path) -> int:
    """Bytes of disk that a chain takes, with what is beside it."""
    beside = _beside(chain)
    return sum(_blocks_of(path) for path in (chain, beside.dropped, *beside.segments.glob("*")))


class _Plan:
    """What is to be done, once the whole chain was verified.

    Attributes:
        goal: the snapshot up to which to drop; None if nothing is to go.
        ranges: what is to be compressed.

    Raises:
        ChainBroken: the chain does not verify.
    """

    def __init__(self, file: ChainFile, order: Order, content: Content) -> None:
        self._order = order
        self._candidates: list[Candidate] = []
        self._unfit: str | None = None
        self._gap = file.dropped
        self._old = file.size - order.hot
        self._newest_old: Record | None = None
        self._call_at: int | None = None
        self._has_state = False
        self._watched = Watched() if order.actor == SUPERVISOR else None
        self._cuts = Cuts(_compressed_until(file))
        self._genesis_end = START
        self._end = Mark(*START)
        self._read(file)
        self.goal = self._choose(file, content)
        self.ranges = self._ranges(_compressed_until(file))

    @property
    def dropped_entries(self) -> int:
        return self.goal.head.entries - self._dropped_until.entries if self.goal is not None else 0

    @property
    def dropped_bytes(self) -> int:
        return self.goal.head.offset - self._dropped_until.offset if self.goal is not None else 0

    def foretold(self) -> Shrunk:
        """What would be done; how much that frees nobody knows before."""
        until = self.goal.head if self.goal is not None else self._gap.until if self._gap is not None else None
        compressed = sum(last.offset - first.offset for first, last in self.ranges)
        entries = until.entries if until is not None else None
        return Shrunk(compressed, self.dropped_entries, self.dropped_bytes, 0, entries, self.note)

    @property
    def note(self) -> str | None:
        """Why nothing is to go although there is too much, if no snapshot is to blame that is only too new."""
        kept = self._order.kept
        begin = Candidate(self._dropped_until, b"", self._order.now_ns, True)
        if kept is None or self._fresh or not is_over(begin, self._end, kept, self._order.now_ns):
            return None
        return f"nothing can be dropped: {self._unfit or 'the chain has no snapshot since what was dropped last'}"

    @property
    def _dropped_until(self) -> Head:
        return self._gap.until if self._gap is not None else self._genesis_end

    def _read(self, file: ChainFile) -> None:
        verifier = Verifier(self._order.actor, self._order.checkpoints)
        read_into(verifier, file.path, self._note, self._order.key)
        verdict = verifier.verdict()
        if not verdict.ok:
            raise ChainBroken(f"{file.path}: {verdict.error}", reason="damaged")
        self._end = Mark(*verifier.head, call_at=self._call_at)

    def _note(self, record: Record) -> None:
        """Takes in the next record, of which there are millions: few are taken apart."""
        if record.offset <= self._old:
            self._newest_old = record
        self._cuts.note(record)
        number = record.kind_number
        if number == Kind.CALL:
            self._call_at = record.offset
        elif number == Kind.OUTCOME:
            self._call_at = None
            self._has_state = self._has_state or self._commits(record)
        elif number == Kind.LIFECYCLE:
            self._note_lifecycle(record)
        elif number == Kind.CHECKPOINT and self._watched is not None:
            self._watched.note(record.entry().read())
        elif record.seq == 0:
            self._genesis_end = Head(1, record.digest, record.end)

    def _commits(self, record: Record) -> bool:
        return self._order.kept is not None and bool(state_in(record.entry().read()))

    def _note_lifecycle(self, record: Record) -> None:
        payload = record.entry().read()
        if not isinstance(payload, Lifecycle):
            return
        if self._watched is not None:
            if payload.event == SNAPSHOT:
                self._take(self._watched.candidate(record, payload))
            self._watched.note(payload)
        elif payload.event == INCARNATION:
            self._call_at = None
        elif payload.event == SNAPSHOT:
            found = candidate(record, payload)
            if found is None:
                why = payload.details.get("why") if isinstance(payload.details, Mapping) else None
                self._unfit = f"the snapshot in entry {record.seq} does not hold the memory, since {why}"
            elif self._call_at is not None or (self._has_state and not found.committed):
                self._unfit = f"the snapshot in entry {record.seq} does not say all that was before it"
            else:
                self._take(found)
                self._has_state = self._has_state or found.committed

    def _take(self, found: Candidate | str) -> None:
        if isinstance(found, str):
            self._unfit = found
        else:
            self._candidates.append(found)

    def _choose(self, file: ChainFile, content: Content) -> Candidate | None:
        """The snapshot up to which to drop, if all is there that a chain needs to begin with it.

        Raises:
            TheaterError: it is not.
        """
        kept = self._order.kept
        if kept is None or self._order.signer is None:
            return None
        goal = choose(self._fresh, self._end, kept, self._order.now_ns)
        if goal is not None:
            Contents(content).check(record_at(file, goal.head.offset))
        return goal

    @property
    def _fresh(self) -> list[Candidate]:
        return [each for each in self._candidates if each.head.entries > self._dropped_until.entries]

    def _ranges(self, done: Head) -> list[tuple[Head, Head]]:
        begin = max((done, self._dropped_until, self.goal.head if self.goal is not None else START), key=_offset)
        old = self._newest_old
        until = max(
            (
                Head(old.seq, old.previous, old.offset) if old is not None else START,
                self._candidates[-1].head if self._candidates else START,
            ),
            key=_offset,
        )
        return self._cuts.ranges(begin, until, self._order.least)


# ---- dropping


def _drop(file: ChainFile, order: Order, goal: Candidate) -> None:
    assert order.signer is not None
    former = file.dropped
    start = former.start if former is not None else _behind_genesis(file)
    stated = state(order.signer, order.actor, start, goal.head, goal.digest, former, order.now_ns)
    _keep_what_follows(file, goal.head)
    _put_in_place(_beside(file.path).dropped, stated.text)
    if file.dropped != stated:
        raise ChainBroken(f"the disk does not give back the statement beside {file.path}", reason="damaged")
    _finish(file)


def _behind_genesis(file: ChainFile) -> Head:
    record = record_at(file, 0)
    return Head(1, record.digest, record.end)


def _keep_what_follows(file: ChainFile, head: Head) -> None:
    """If a segment reaches beyond `head`, gives the rest of it a segment of its own."""
    for place in file.segments:
        segment = _require(file.segment(place), file)
        if segment.start.offset < head.offset < segment.until.offset:
            _write_segment(file, head, segment.until)
            return


def _finish(file: ChainFile) -> None:
    """Gives back what is kept elsewhere, or is not kept any more; what a killed process has not come to is done now."""
    gap = file.dropped
    for place in file.segments:
        segment = _require(file.segment(place), file)
        if gap is not None and segment.start.offset < gap.until.offset:
            if segment.until.offset > gap.until.offset:
                _keep_what_follows(file, gap.until)
            os.unlink(segment.path)
            _sync(Path(segment.path).parent)
        elif holes.data_in(file.fd, segment.start.offset, segment.until.offset):
            for _ in segment.blocks():
                pass  # Good to the last block, or it raises.
            holes.punch(file.fd, segment.start.offset, segment.until.offset, file.path)
    if gap is not None:
        # Every byte, and not only whole pages: what was dropped shall be nowhere.
        holes.erase(file.fd, gap.start.offset, gap.until.offset, file.path)


# ---- compressing


def _compress(file: ChainFile, begin: Head, until: Head) -> int:
    _write_segment(file, begin, until)
    holes.punch(file.fd, begin.offset, until.offset, file.path)
    return until.offset - begin.offset


def _write_segment(file: ChainFile, begin: Head, until: Head) -> None:
    folder = _beside(file.path).segments
    if not folder.exists():
        folder.mkdir(mode=0o700)
        _sync(folder.parent)
    place = segments.Place(begin.offset, begin.entries)
    final = folder / place.name
    draft = final.with_name(final.name + _DRAFT)
    segments.write(draft, begin, until, _blocks(file, begin.offset, until.offset))
    os.rename(draft, final)
    _sync(folder)


def _blocks(file: ChainFile, begin: int, end: int) -> Iterator[bytes]:
    for offset in range(begin, end, BLOCK_SIZE):
        wanted = min(BLOCK_SIZE, end - offset)
        block = file.read(wanted, offset)
        if len(block) != wanted:
            raise ChainBroken(f"{file.path}: expected {wanted} bytes at byte {offset}, found {len(block)}")
        yield block


def _compressed_until(file: ChainFile) -> Head:
    """The head behind the last segment; START if there is none."""
    return max((_require(file.segment(place), file).until for place in file.segments), key=_offset, default=START)


def _require(segment: Segment | None, file: ChainFile) -> Segment:
    if segment is None:
        raise WrongState(f"a segment of {file.path} has vanished: somebody else is at work there")
    return segment


# ---- files


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds an actor's folder, so that nobody else does the same. The kernel lets go when the process ends."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise WrongState(f"the chain in {folder} is being compressed by another process already") from error
    finally:
        os.close(fd)


@contextmanager
def _writable(chain: Path) -> Iterator[ChainFile]:
    """The chain, open for its holes: nothing is ever written through this. What has been appended is on the disk."""
    try:
        fd = os.open(chain, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise disk_error(error, f"opening {chain}") from error
    try:
        os.fdatasync(fd)
        with ChainFile(fd, chain) as file:
            yield file
    except OSError as error:
        raise disk_error(error, f"compressing {chain}") from error
    finally:
        os.close(fd)


def _beside(chain: Path | str) -> Neighbours:
    found = Neighbours.of(chain)
    if found is None:
        raise WrongState(f"{chain} cannot be made smaller: no chain of a home has that name")
    return found


def _remove_drafts(beside: Neighbours) -> None:
    for draft in (beside.dropped.with_name(beside.dropped.name + _DRAFT), *beside.segments.glob(f"*{_DRAFT}")):
        draft.unlink(missing_ok=True)


def _put_in_place(path: Path, text: bytes) -> None:
    """Replaces a small file so that a power cut leaves the old one or the new one."""
    draft = path.with_name(path.name + _DRAFT)
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, text) != len(text):
            raise OSError(28, os.strerror(28))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(draft, path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _blocks_of(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def _offset(head: Head) -> int:
    return head.offset
