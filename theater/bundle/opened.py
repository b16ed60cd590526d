"""A bundle on a machine that knows nothing of where it comes from: unpacked into a private folder, and verified.

The folder has the layout of a home, so that whatever reads homes reads it. Nothing is written outside of it, it is gone
when the bundle is closed, and its size is known before the first byte is written. Of the files each is what its digest
says, and each is needed: what is superfluous has no business in a proof.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from theater.bundle import index
from theater.bundle.container import BLOCK, Container
from theater.bundle.index import CHECKPOINT, INDEX, Members, Row
from theater.chainlog.verify import verify_chain
from theater.config import Home
from theater.core.dropped import TEXT_MAX, Dropped
from theater.core.signed_checkpoint import SignedCheckpoint
from theater.core.verification import SUPERVISOR, Checkpoints, Verdict
from theater.errors import (
    BundleRefused,
    CheckpointRefused,
    ContentDamaged,
    DiskFull,
    InvalidInput,
    LimitExceeded,
    UnknownContent,
    disk_error,
)
from theater.server.adoption import STAGED
from theater.store.content import ContentStore

Say = Callable[[str], None]

_PREFIX: Final = STAGED
"""Beginning of the name of the private folder: in a home, a server that starts removes what a dead import has left."""

_OFFSET_MAX: Final = 1 << 42
"""Bytes that no chain has, so that no file is asked to be longer."""


def _silent(text: str) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What whoever opens a bundle knows already.

    Args:
        key: the public key that must have signed; None for any.
        kept: a checkpoint from earlier, against which the chains are held, too.
    """

    key: bytes | None = None
    kept: SignedCheckpoint | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unpacked bundle.

    Args:
        home: the private folder, in the layout of a home.
        rows: what its index says.
        checkpoint: what is in it; each of its chains ends where this says, or its verdict says otherwise.
        verdicts: about each chain, by ascending id.
        contents: digests of all contents, hex.
    """

    home: Home
    rows: tuple[Row, ...]
    checkpoint: SignedCheckpoint
    verdicts: tuple[Verdict, ...]
    contents: frozenset[str]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was when it was signed."""
        return all(verdict.ok for verdict in self.verdicts)


@contextmanager
def open_bundle(
    path: Path | str, trust: Trust = Trust(), folder: Path | None = None, say: Say = _silent
) -> Iterator[Bundle]:
    """Unpacks a bundle and verifies it; the folder is removed in the end.

    Args:
        trust: what is known already.
        folder: where to make the private folder; None for where the system has temporary files.
        say: told what is being done.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no bundle, or one of another version.
        BundleRefused: it is none that an export has written.
        CheckpointRefused: its checkpoint is damaged, or not signed by the key that is trusted.
        LimitExceeded: it has, or would become, more than is allowed.
        DiskFull: there is no room for it.
    """
    with Container.open(path) as container, _private_folder(folder) as root:
        yield _Opening(container, Home(root), trust, say).bundle()


@contextmanager
def _private_folder(where: Path | None) -> Iterator[Path]:
    try:
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=where))
    except OSError as error:
        raise disk_error(error, "making a temporary folder") from error
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


class _Opening:
    """Takes a bundle out of its container, piece by piece."""

    def __init__(self, container: Container, home: Home, trust: Trust, say: Say) -> None:
        self._container = container
        self._home = home
        self._trust = trust
        self._say = say

    def bundle(self) -> Bundle:
        """Everything unpacked and verified."""
        container = self._container
        members = index.sort_members(container.sizes)
        rows = index.read_index(container.read(INDEX, index.TEXT_MAX))
        checkpoint = self._checkpoint()
        _require_agreement(rows, checkpoint, members)
        self._require_room()
        self._home.public_key.write_text(f"{checkpoint.key.hex()}\n")
        for digest in sorted(members.contents):
            self._say(f"unpacking content {digest}")
            self._unpack_content(digest)
        verdicts, used = [], set[str]()
        for row in rows:
            self._say(f"verifying {row.name} {row.id}")
            self._unpack_chain(row.id, is_whole=row.id not in members.dropped)
            verdicts.append(self._verify(row, checkpoint, members, used))
        if all(verdict.ok for verdict in verdicts) and (surplus := members.contents - used):
            raise BundleRefused(
                f"the bundle has content {min(surplus)}, which no chain in it refers to, and {len(surplus) - 1} more"
            )
        return Bundle(self._home, rows, checkpoint, tuple(verdicts), members.contents)

    # ---- texts

    def _checkpoint(self) -> SignedCheckpoint:
        try:
            found = SignedCheckpoint.read(self._container.read(CHECKPOINT, index.TEXT_MAX))
            if self._trust.key is not None:
                found.require_key(self._trust.key, "the key that you trust")
            if self._trust.kept is not None and self._trust.kept.home != found.home:
                raise CheckpointRefused("it is of another home than the checkpoint that you kept")
        except (InvalidInput, CheckpointRefused) as error:
            raise type(error)(f"the bundle's checkpoint: {error.message}", **error.details) from error
        return found

    def _require_room(self) -> None:
        free = shutil.disk_usage(self._home.root).free
        if self._container.total > free:
            raise DiskFull(
                f"the bundle becomes {self._container.total} bytes, and {self._home.root.parent} has {free} free; "
                "choose another folder with $TMPDIR"
            )

    # ---- files

    def _unpack_content(self, digest: str) -> None:
        store = ContentStore(self._home.content)
        self._unpack(index.content_name(digest), store.path(digest), index.CONTENT_MAX)
        try:
            store.check(digest)
        except ContentDamaged as error:
            raise BundleRefused(f"the bundle's content {digest} does not have this digest") from error

    def _unpack_chain(self, actor: str, *, is_whole: bool) -> None:
        path = self._home.chain(actor)
        self._unpack(index.chain_name(actor), path)
        if not is_whole:
            self._unpack(index.dropped_name(actor), path.with_name("dropped"), limit=TEXT_MAX)
            _make_room(path, Dropped.read(path.with_name("dropped").read_bytes()))

    def _unpack(self, name: str, path: Path, limit: int = index.UNPACKED_MAX) -> None:
        """Writes a member into a new file of the private folder."""
        if self._container.sizes[name] > limit:
            raise LimitExceeded(f"the bundle's {name} is larger than the {limit} bytes that are allowed")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(path, "xb") as file:
                for block in self._container.blocks(name):
                    file.write(block)
        except OSError as error:
            raise disk_error(error, f"unpacking {name}") from error

    # ---- chains

    def _verify(self, row: Row, checkpoint: SignedCheckpoint, members: Members, used: set[str]) -> Verdict:
        """The verdict about a chain, which has to end where the bundle's checkpoint says."""
        known = Checkpoints([checkpoint.positions[row.id], *self._kept(row.id)])
        noted = _Noted(ContentStore(self._home.content), used)
        found = verify_chain(self._home.chain(row.id), known, actor=row.id, content=noted, key=checkpoint.key)
        if found.ok and (found.entries != row.entries or found.torn_bytes):
            return _failed(
                found,
                f"entry {row.entries}: expected the end of the chain by the bundle's checkpoint, found "
                f"{found.entries - row.entries} entries and {found.torn_bytes} bytes more",
            )
        if found.ok and found.name != row.name:
            return _failed(found, f"entry 0: expected the name {row.name!r} by the index, found {found.name!r}")
        return found

    def _kept(self, actor: str) -> list[tuple[int, bytes]]:
        kept = self._trust.kept
        return [kept.positions[actor]] if kept is not None and actor in kept.positions else []


class _Noted:
    """A content store that takes down what is asked for."""

    def __init__(self, store: ContentStore, used: set[str]) -> None:
        self._store = store
        self._used = used

    def check(self, digest: str) -> int:
        """Bytes of a content, which was compared with its digest when it was unpacked."""
        self._used.add(digest)
        try:
            return self._store.size(digest)
        except UnknownContent as error:
            raise UnknownContent(f"the bundle does not have content {digest}", digest=digest) from error

    def get(self, digest: str) -> bytes:
        self._used.add(digest)
        return self._store.get(digest)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size and (block := source.read(min(BLOCK, size))):
        size -= len(block)
        target.write(block)


def _make_room(path: Path, gap: Dropped) -> None:
    """Gives the bytes behind a dropped range the offsets that they have in the chain; the range becomes a hole."""
    begin, end = gap.start.offset, gap.until.offset
    if end > _OFFSET_MAX:
        raise BundleRefused("the bundle states that more was dropped of a chain than any chain has")
    try:
        size = path.stat().st_size
        if size < begin:
            raise BundleRefused("the bundle states that bytes were dropped behind the end of a chain")
        draft = path.with_suffix(".whole")
        with open(path, "rb") as kept, open(draft, "xb") as whole:
            _copy(kept, whole, begin)
            whole.seek(end)
            kept.seek(begin)
            shutil.copyfileobj(kept, whole)
            whole.truncate(end + size - begin)
        os.replace(draft, path)
    except OSError as error:
        raise disk_error(error, f"unpacking {path}") from error


def _failed(verdict: Verdict, sentence: str) -> Verdict:
    return replace(verdict, ok=False, error=sentence)


def _require_agreement(rows: tuple[Row, ...], checkpoint: SignedCheckpoint, members: Members) -> None:
    """Index, checkpoint and files speak of the same actors."""
    signed = {actor: position for actor, position in checkpoint.positions.items() if actor != SUPERVISOR}
    stated = {row.id: (row.entries, bytes.fromhex(row.head)) for row in rows}
    if signed != stated:
        raise BundleRefused(f"the bundle's {INDEX} and its checkpoint speak of different chains")
    if members.chains != stated.keys():
        differing = min(members.chains ^ stated.keys())
        raise BundleRefused(f"the bundle's {INDEX} and its files differ about the actor {differing}")
