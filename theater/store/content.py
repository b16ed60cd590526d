"""Content named by its blake3: what is too long for a chain, components, manifests, what actors store.

    ROOT/ab/cdef…     a content, in the file that its digest names; written beside it and renamed, never changed
    ROOT/damaged/…    files that did not have the digest that names them

Since a name fixes the bytes, any number of processes may put and get at once without a lock. Only deleting needs
care: content must not vanish under someone who has just been told that it is there. So a put renews the time of what
it finds, and `gc` first takes a file out of its place and only then looks at its time once more: whoever came
before saved it by the new time, whoever comes after finds nothing and writes it again.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from theater.core.codec import content_digest
from theater.durable import sync, sync_folder
from theater.errors import ContentDamaged, InvalidInput, UnknownContent, disk_error

_HEX = frozenset("0123456789abcdef")
_DAMAGED = "damaged"
_DYING = ".dying"
_MAPPED = 1 << 20
"""Content longer than this is mapped and not read when it is only to be checked."""


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is: number of contents, their bytes, and files set aside as damaged."""

    count: int
    size: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What `gc` deleted: number of contents and their bytes."""

    count: int
    size: int


class ContentStore:
    """All content of one home.

    Args:
        root: directory; made when something is put.
        durable: whether content survives the death of the machine once `put` has returned (fsync), or only that of
            the process.
        drafts: folder on the same file system in which content is written before it is moved to its place; None for
            that place itself. Who may write in the one and only add to the other can spoil nobody's content.
    """

    def __init__(self, root: Path | str, *, durable: bool = False, drafts: Path | str | None = None) -> None:
        self._root = str(root)
        self._drafts = str(drafts) if drafts is not None else None
        self.durable = durable
        self._numbers = itertools.count()

    @property
    def root(self) -> Path:
        """The directory."""
        return Path(self._root)

    def put(self, data: bytes) -> str:
        """Keeps `data`; returns its digest, 64 hex digits. Cheap if it is there already.

        Raises:
            DiskFull, IntegrityError: it could not be written; nothing is left of it.
        """
        digest = content_digest(data).hex()
        try:
            if not self._renew(digest, len(data)):
                self._write(self._path(digest), data)
        except OSError as error:
            raise disk_error(error, f"storing {len(data)} bytes of content in {self._root}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """The content of `digest`.

        Raises:
            UnknownContent: it is not here.
            ContentDamaged: the file does not have this digest; it has been set aside.
            InvalidInput: `digest` is not one.
        """
        with self._open(digest) as file:
            data = file.read()
            if content_digest(data).hex() != digest:
                raise self._set_aside(digest, os.fstat(file.fileno()).st_ino)
        return data

    def check(self, digest: str) -> int:
        """Verifies content without holding it in memory; returns its size in bytes. Changes nothing.

        Raises: as `get`.
        """
        with self._open(digest) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= _MAPPED:
                found = content_digest(file.read())
            else:
                with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as view, memoryview(view) as data:
                    found = content_digest(data)
        if found.hex() != digest:
            raise _damaged(digest, f"{self._root} has other bytes under this name")
        return size

    def make_durable(self, digest: str) -> None:
        """Has a content outlive the machine that was put without caring.

        Raises:
            UnknownContent: it is not here. DiskFull, IntegrityError: the disk does not take it.
        """
        path = self._path(digest)
        try:
            sync(path)
            self._sync_folder(path)
        except FileNotFoundError as error:
            raise _unknown(digest) from error
        except OSError as error:
            raise disk_error(error, f"syncing content {digest}") from error

    def path(self, digest: str) -> Path:
        """Where the content of this digest is, or would be. Whoever reads it there checks it himself."""
        return Path(self._path(digest))

    def exists(self, digest: str) -> bool:
        """Whether the content is here; its bytes are not looked at."""
        return os.path.exists(self._path(digest))

    def size(self, digest: str) -> int:
        """Bytes of the content. Raises UnknownContent, InvalidInput."""
        try:
            return os.stat(self._path(digest)).st_size
        except FileNotFoundError as error:
            raise _unknown(digest) from error

    def delete(self, digest: str) -> bool:
        """Deletes content whoever may need it; returns whether it was here."""
        try:
            os.unlink(self._path(digest))
        except FileNotFoundError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        """The digest of every content, in order; what comes or goes meanwhile may or may not be among them."""
        for folder in self._folders():
            yield from sorted(folder + name for name in self._names(folder) if _is_digest(folder + name))

    def stats(self) -> Stats:
        """Counts everything; takes a system call for each content."""
        count = size = 0
        for digest in self:
            try:
                size += self.size(digest)
            except UnknownContent:
                continue
            count += 1
        return Stats(count, size, len(self._names(_DAMAGED)))

    def gc(self, referenced: Set[str], grace_seconds: float, now: float) -> Collected:
        """Deletes what nothing refers to, and what dead processes left half-written.

        Args:
            referenced: digests that are needed; collected after whatever could add to them was stopped, or with a
                grace longer than the collecting took.
            grace_seconds: content put, even again, more recently than this stays.
            now: wall time, seconds since 1970.
        """
        oldest = now - grace_seconds
        count = size = 0
        for folder in self._folders():
            for name in self._names(folder):
                freed = self._collect(folder, name, referenced, oldest)
                if freed is not None:
                    count += 1
                    size += freed
        return Collected(count, size)

    # ---- files

    def _path(self, digest: str) -> str:
        if not _is_digest(digest):
            raise InvalidInput(f"{digest[:80]!r} is not a digest; one has 64 hexadecimal digits in lower case")
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _open(self, digest: str) -> _File:
        path = self._path(digest)
        # Between two steps of a gc, content that it will spare is under the second name for an instant.
        for name in (path, path + _DYING, path):
            try:
                return _File(name)
            except FileNotFoundError:
                continue
        raise _unknown(digest)

    def _renew(self, digest: str, size: int) -> bool:
        """Whether the content is here, and now safe from `gc` for a while."""
        path = self._path(digest)
        try:
            with _File(path) as file:  # By a descriptor: a sealed process may touch what it may open, and nothing else.
                os.utime(file.fileno())
            # Only now, for the kernel finds the file and sets its time in two steps, between which `gc` may have taken
            # it out of its place. What is in its place after its time was set, `gc` will spare.
            found = os.stat(path)
        except FileNotFoundError:
            return False
        if found.st_size == size:
            if self.durable:  # whoever put it first may not have cared
                sync(path)
                self._sync_folder(path)
            return True
        self._set_aside(digest, found.st_ino)
        return False

    def _write(self, path: str, data: bytes) -> None:
        folder = os.path.dirname(path)
        drafts = self._drafts or folder
        draft = f"{drafts}/.{os.getpid()}.{next(self._numbers)}.{os.urandom(4).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(draft, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(drafts, mode=0o700, exist_ok=True)
            fd = os.open(draft, flags, 0o600)
        try:
            try:
                _write_all(fd, data)
                if self.durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            self._move(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
        if self.durable:
            self._sync_folder(path)

    def _move(self, draft: str, path: str) -> None:
        try:
            os.rename(draft, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.rename(draft, path)
        except PermissionError:
            # A sealed process may add content but not replace any. Somebody else was faster, or the file is damaged.
            if self.check(os.path.basename(os.path.dirname(path)) + os.path.basename(path)) < 0:
                raise
            os.unlink(draft)

    def _sync_folder(self, path: str) -> None:
        sync_folder(os.path.dirname(path))
        sync_folder(self._root)

    def _set_aside(self, digest: str, inode: int) -> ContentDamaged:
        """Moves a bad file away, unless another process has replaced it already; returns the error to raise."""
        path = self._path(digest)
        aside = f"{self._root}/{_DAMAGED}"
        try:
            os.makedirs(aside, mode=0o700, exist_ok=True)
            if os.stat(path).st_ino == inode:
                os.rename(path, f"{aside}/{digest}.{os.getpid()}.{next(self._numbers)}")
        except OSError:
            pass  # A store that cannot be written to still has to say what it found.
        return _damaged(digest, f"the file was set aside in {aside}")

    def _folders(self) -> list[str]:
        return sorted(name for name in self._names("") if len(name) == 2 and _HEX.issuperset(name))

    def _names(self, folder: str) -> list[str]:
        try:
            return os.listdir(f"{self._root}/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _collect(self, folder: str, name: str, referenced: Set[str], oldest: float) -> int | None:
        """Deletes one file if it may go; returns the bytes of content that this freed."""
        path = f"{self._root}/{folder}/{name}"
        try:
            if name.startswith("."):
                if os.stat(path).st_mtime <= oldest:
                    os.unlink(path)
                return None
            if name.endswith(_DYING):
                return self._finish(path, folder + name.removesuffix(_DYING) in referenced, oldest)
            if folder + name in referenced or os.stat(path).st_mtime > oldest:
                return None
            os.rename(path, path + _DYING)
            return self._finish(path + _DYING, False, oldest)
        except FileNotFoundError:
            return None

    def _finish(self, dying: str, needed: bool, oldest: float) -> int | None:
        """Deletes a file that was taken out of its place, or puts it back."""
        found = os.stat(dying)
        if needed or found.st_mtime > oldest:
            os.rename(dying, dying.removesuffix(_DYING))
            return None
        os.unlink(dying)
        return found.st_size


class _File:
    """A file opened for reading. `open` would follow its many layers for each small content."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bytes:
        """All of it."""
        size = os.fstat(self._fd).st_size
        data = os.read(self._fd, size + 1)
        if len(data) == size:
            return data
        parts = [data]
        while parts[-1]:  # one read gives 2 GiB at most
            parts.append(os.read(self._fd, 1 << 30))
        return b"".join(parts)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _is_digest(text: str) -> bool:
    return len(text) == 64 and _HEX.issuperset(text)


def _unknown(digest: str) -> UnknownContent:
    return UnknownContent(f"there is no content {digest}", digest=digest)


def _damaged(digest: str, what: str) -> ContentDamaged:
    return ContentDamaged(f"content {digest} does not have this digest any more; {what}", digest=digest)
