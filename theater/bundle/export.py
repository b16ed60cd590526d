"""Writing a bundle: chains up to the heads that a signed checkpoint names, and all that they refer to.

Actors may go on meanwhile. Each chain is read to the entry that the checkpoint names and not further, so what is
exported is what was signed, whatever has come since. Everything is verified while it is read: a chain that is damaged,
or content that is missing, is not exported.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from theater.bundle import index
from theater.bundle.container import BLOCK, Writer
from theater.bundle.index import CHECKPOINT, INDEX, MEMBERS_MAX, Row
from theater.chainlog.chain_file import ChainFile
from theater.chainlog.keys import open_signer
from theater.chainlog.reader import ChainReader
from theater.chainlog.references import note_references
from theater.config import Home
from theater.core.chain import START, Genesis, Head, Record
from theater.core.dropped import Dropped
from theater.core.signed_checkpoint import Position, SignedCheckpoint
from theater.core.verification import SUPERVISOR
from theater.errors import (
    ChainBroken,
    ContentDamaged,
    InvalidInput,
    LimitExceeded,
    NotFound,
    TheaterError,
    WrongState,
    disk_error,
)
from theater.store.content import ContentStore

Say = Callable[[str], None]
_AT_ONCE: Final = 256


def _silent(text: str) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Args:
        rows: each actor, with how far its chain is in the bundle.
        contents: how many contents.
        size: bytes of the bundle.
        key: public key of who signed the checkpoint in it.
    """

    rows: tuple[Row, ...]
    contents: int
    size: int
    key: bytes


# ---- which actors, and how far


def sign_here(home: Home, actors: Iterable[str], time_ns: int) -> SignedCheckpoint:
    """A checkpoint of chains as they are on the disk now, signed with the key of the home: what its server would give,
    if it ran.

    Args:
        time_ns: wall time, ns since 1970.

    Raises:
        WrongState: the home has never had a server, so it has no key that stands for it.
        NotFound: an actor has no chain.
        ChainBroken: the end of a chain is damaged.
    """
    try:
        with ChainReader(home.supervisor_chain) as chain:
            first, last = chain.records(1), chain.tail(1)
    except NotFound:
        first, last = [], []
    if not first or not last:
        raise WrongState(f"{home.root} has never had a server, so there is no key that could sign; start one first")
    positions: dict[str, Position] = {SUPERVISOR: (last[0].seq + 1, last[0].digest)}
    for actor in actors:
        positions[actor] = _last_position(home, actor)
    return open_signer(home).sign(first[0].digest, positions, time_ns)


def _last_position(home: Home, actor: str) -> Position:
    with ChainReader(home.chain(actor)) as chain:
        for entry in chain.tail(1):
            return entry.seq + 1, entry.digest
    raise NotFound(f"the chain of {actor} has no entry, so there is nothing to export")


# ---- writing


def export_file(home: Home, checkpoint: SignedCheckpoint, target: Path, say: Say = _silent) -> Exported:
    """Writes a bundle into a file, which is there when all of it is.

    Args:
        target: the file; one of that name is replaced.
        say: told what is being done.

    Raises:
        InvalidInput: no file can be made there.
        DiskFull, IntegrityError: the disk does not take it.
        And what `export` raises.
    """
    if target.is_dir():
        raise InvalidInput(f"cannot write {target}: it is a folder")
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        file = open(draft, "xb", opener=_private)  # noqa: SIM115 (below)
    except OSError as error:
        raise InvalidInput(f"cannot write {target}: {error.strerror}") from error
    try:
        with file:
            done = export(home, checkpoint, file.write, say)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        raise disk_error(error, f"writing {target}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return done


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def export(home: Home, checkpoint: SignedCheckpoint, write: Callable[[bytes], object], say: Say = _silent) -> Exported:
    """Writes a bundle of the actors that a checkpoint names.

    Args:
        write: takes its bytes, in order.
        say: told what is being done.

    Raises:
        ChainBroken, CheckpointRefused: a chain is not what it was.
        UnknownContent, ContentDamaged: what a chain refers to cannot be had.
        LimitExceeded: there is more than a bundle may hold.
        OSError: what `write` raises.
    """
    content = ContentStore(home.content)
    needed: set[str] = set()
    surveys = []
    for actor, position in sorted(checkpoint.positions.items()):
        if actor != SUPERVISOR:
            say(f"reading the chain of {actor}")
            surveys.append(_survey(home, actor, position, content, needed))
    _require_room(len(needed) + 2 * len(surveys), max((survey.head.offset for survey in surveys), default=0))
    counted = _Counted(write)
    with Writer(counted.write) as archive:
        for name, size, blocks in _members(home, checkpoint, surveys, content, needed):
            say(f"exporting {name}")
            archive.add(name, size, blocks)
    rows = tuple(survey.row for survey in surveys)
    return Exported(rows, len(needed), counted.size, checkpoint.key)


class _Counted:
    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.size = 0
        self._write = write

    def write(self, data: bytes) -> None:
        self._write(data)
        self.size += len(data)


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is exported of one chain."""

    row: Row
    head: Head
    dropped: Dropped | None

    @property
    def size(self) -> int:
        """Bytes that are kept of it."""
        return self.head.offset - (self.dropped.size if self.dropped is not None else 0)


def _survey(home: Home, actor: str, position: Position, content: ContentStore, needed: set[str]) -> _Survey:
    """Reads a chain up to a position, verified, and takes down what it refers to until there."""
    entries, digest = position
    name, head = "", START
    for record in _records_until(home.chain(actor), entries):
        if record.seq == 0:
            genesis = record.entry().read()
            name = genesis.name if isinstance(genesis, Genesis) else ""
        try:
            note_references(record, content.get, needed)
        except TheaterError as error:
            raise type(error)(f"{actor}: entry {record.seq}: {error.message}", **error.details) from error
        head = Head(record.seq + 1, record.digest, record.end)
    with ChainFile.open(home.chain(actor)) as file:
        dropped = file.dropped
    if (head.entries, head.digest) != position:
        raise ChainBroken(
            f"{actor}: entry {entries - 1}: expected digest {digest.hex()} by the checkpoint, found "
            f"{head.digest.hex() if head.entries == entries else f'the end after {head.entries} entries'}",
            index=entries - 1,
        )
    return _Survey(Row(actor, name, entries, digest.hex()), head, dropped)


def _records_until(path: Path, entries: int) -> Iterator[Record]:
    with ChainReader(path) as chain:
        while chain.head.entries < entries:
            records = chain.records(min(entries - chain.head.entries, _AT_ONCE))
            if not records:
                return
            yield from (record for record in records if record.seq < entries)


def _require_room(members: int, longest: int) -> None:
    if members > MEMBERS_MAX:
        raise LimitExceeded(f"a bundle would have {members} files; {MEMBERS_MAX} are allowed; export fewer actors")
    if longest > index.UNPACKED_MAX:
        raise LimitExceeded(f"a chain of {longest} bytes is longer than a bundle may hold")


Member = tuple[str, int, Iterable[bytes]]


def _members(
    home: Home, checkpoint: SignedCheckpoint, surveys: list[_Survey], content: ContentStore, needed: set[str]
) -> Iterator[Member]:
    """All members of the bundle, by ascending name."""
    whole = index.write_index(survey.row for survey in surveys)
    chains = {index.chain_name(survey.row.id): survey for survey in surveys}
    contents = {index.content_name(digest): digest for digest in needed}
    dropped = {
        index.dropped_name(survey.row.id): survey.dropped.text for survey in surveys if survey.dropped is not None
    }
    small: Mapping[str, bytes] = {INDEX: whole, CHECKPOINT: checkpoint.text, **dropped}
    for name in sorted({*small, *chains, *contents}):
        if name in small:
            yield name, len(small[name]), [small[name]]
        elif name in chains:
            yield _chain(home, name, chains[name])
        else:
            yield _content(content, name, contents[name])


def _chain(home: Home, name: str, survey: _Survey) -> Member:
    return name, survey.size, _chain_blocks(home.chain(survey.row.id), survey)


def _chain_blocks(path: Path, survey: _Survey) -> Iterator[bytes]:
    """What is kept of a chain, up to its head."""
    left = survey.size
    with ChainFile.open(path) as file:
        for piece in file.pieces(0, BLOCK):
            if isinstance(piece, bytes):
                yield piece[:left]
                left -= len(piece)
            if left <= 0:
                return


def _content(content: ContentStore, name: str, digest: str) -> Member:
    size = content.check(digest)
    if size > index.CONTENT_MAX:
        raise LimitExceeded(f"content {digest} has {size} bytes, and a bundle allows {index.CONTENT_MAX}")
    return name, size, _file_blocks(content.path(digest), size)


def _file_blocks(path: Path, size: int) -> Iterator[bytes]:
    """The first bytes of a file."""
    try:
        with open(path, "rb") as file:
            while size and (block := file.read(min(BLOCK, size))):
                size -= len(block)
                yield block
    except FileNotFoundError as error:
        raise ContentDamaged(f"{path} has gone while it was exported") from error
    except OSError as error:
        raise disk_error(error, f"reading {path}") from error
