"""The file of a bundle: a zip archive of one strict form, written in one go and read with distrust.

Zip, since every system opens it and a reader finds each member at once. It is written as to a pipe, so that standard
output gets the same bytes as a file: the length of a member stands behind it, and all times are those of 1980. With the
same zlib the same members give the same bytes.

Reading believes nothing: the archive's directory has a bound before any of it is taken apart, names are given once,
members are plain files that are stored or deflated, and none becomes longer than it says. What the bytes are worth is
decided elsewhere, by their digests.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Self, cast

from theater.bundle.index import DIRECTORY_MAX, MEMBERS_MAX, UNPACKED_LEAST, UNPACKED_MAX, UNPACKED_TIMES
from theater.errors import BundleRefused, InvalidInput, LimitExceeded, NotFound, disk_error

BLOCK: Final = 1 << 20
"""How much of a member is in memory at once, bytes."""

_LEVEL = 3
"""Of deflate. Most of a chain are digests, which nothing makes shorter; the fast levels do as well with the rest."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = stat.S_IFREG | 0o600
_ENCRYPTED = 1
_LENGTH_BEHIND = 1 << 3
_ALLOWED_FLAGS = _LENGTH_BEHIND | 1 << 11
"""A length that stands behind the member, and a name in UTF-8."""

_LOCAL, _ENTRY, _END, _END_64, _LOCATOR = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_BEHIND = b"PK\7\x08"
_LOCAL_SHAPE = struct.Struct("<26s2H")
_END_SHAPE = struct.Struct("<4s4H2LH")
_END_64_SHAPE = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_SHAPE = struct.Struct("<4sLQL")

_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError, LookupError),
    *(AttributeError, TypeError, AssertionError),
)
"""What `zipfile` and `zlib` raise about bytes that are no archive. They say so in passing, where they meet it first."""


class Writer:
    """Writes an archive from its first byte to its last; use it as a context manager. If it is left with an error, the
    archive stays without its directory, so that nobody takes it for one.

    Args:
        write: takes the bytes, in order.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._pipe = _Pipe(write)
        # A file that cannot be sought in: then nothing that was written is changed once more.
        self._archive = zipfile.ZipFile(cast(BinaryIO, self._pipe), "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)

    def add(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Adds a member.

        Args:
            size: of all blocks, bytes.

        Raises:
            BundleRefused: the blocks are not of that size.
        """
        member = zipfile.ZipInfo(name, _LONG_AGO)
        member.create_system = _UNIX
        member.external_attr = _MODE << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        member.file_size = size
        left = size
        with self._archive.open(member, "w") as file:
            for block in blocks:
                left -= len(block)
                file.write(block)
        if left:
            raise BundleRefused(f"{name} changed while it was exported: it has {size - left} bytes instead of {size}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pipe.is_open = kind is None
        self._archive.close()


class _Pipe:
    """What `zipfile` needs of a file that it can only write to."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.is_open = True

    def write(self, data: bytes) -> int:
        if self.is_open:
            self._write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Whoever takes the bytes decides."""


class Container:
    """An archive, open for reading.

    Args:
        file: the archive.
        path: what it is called.

    Attributes:
        sizes: each member by its name, with its length in bytes as the archive states it.

    Raises:
        InvalidInput: it is no zip archive.
        BundleRefused: it is one that no export has written.
        LimitExceeded: it would become too large.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._path = path
        with self._translated():
            size = os.fstat(file.fileno()).st_size
            _require_bounded(file, size)
            self._archive = zipfile.ZipFile(file)
        members = self._archive.infolist()
        self.sizes: Mapping[str, int] = {member.filename: member.file_size for member in members}
        if len(self.sizes) != len(members):
            raise BundleRefused("the bundle has two files of one name")
        for member in members:
            _require_plain(member)
        _require_no_gaps(file, members, self._archive.start_dir)
        self.total = sum(self.sizes.values())
        _require_proportion(self.total, size)

    @classmethod
    @contextmanager
    def open(cls, path: Path | str) -> Iterator[Self]:
        """Opens the archive at `path`.

        Raises:
            NotFound: there is no such file.
            InvalidInput, BundleRefused, LimitExceeded: as above.
        """
        with os.fdopen(_open(path), "rb") as file:
            yield cls(file, str(path))

    def blocks(self, name: str) -> Iterator[bytes]:
        """A member in pieces; all of them together are as long as `sizes` says.

        Raises:
            BundleRefused: it is damaged, or not as long as that.
        """
        left = self.sizes[name]
        with self._translated(), self._archive.open(name) as member:
            while block := member.read(BLOCK):
                left -= len(block)
                yield block
        if left:
            raise BundleRefused(f"the bundle's {name} is damaged: it is not as long as it says")

    def read(self, name: str, limit: int) -> bytes:
        """All of a member.

        Args:
            limit: bytes that it may have.

        Raises:
            LimitExceeded: it has more.
            BundleRefused: it is damaged.
        """
        if self.sizes[name] > limit:
            raise LimitExceeded(f"the bundle's {name} has {self.sizes[name]} bytes, and {limit} are allowed")
        return b"".join(self.blocks(name))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _FAULTS as error:
            raise BundleRefused(f"the bundle is cut short or damaged: {_sentence(error)}") from error
        except OSError as error:
            raise disk_error(error, f"reading {self._path}") from error


def _open(path: Path | str) -> int:
    try:
        # Not blocking: nobody shall wait for who writes into a pipe.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidInput(f"{path} is no file; a bundle is one")
    return fd


def _require_bounded(file: BinaryIO, size: int) -> None:
    """Looks at the end of an archive, before anybody reads its directory into memory."""
    if os.pread(file.fileno(), len(_LOCAL), 0) != _LOCAL:
        raise InvalidInput("this is no bundle of Theater: it does not begin like a zip archive")
    begin = size - _END_SHAPE.size
    end = os.pread(file.fileno(), _END_SHAPE.size, max(0, begin))
    if begin < 0 or not end.startswith(_END) or not end.endswith(b"\0\0"):
        raise BundleRefused("the bundle is cut short: it does not end like a zip archive")
    _, _, _, _, count, length, _, _ = _END_SHAPE.unpack(end)
    locator = os.pread(file.fileno(), _LOCATOR_SHAPE.size, max(0, begin - _LOCATOR_SHAPE.size))
    if locator.startswith(_LOCATOR):
        begin -= _LOCATOR_SHAPE.size + _END_64_SHAPE.size
        end = os.pread(file.fileno(), _END_64_SHAPE.size, max(0, begin))
        if begin < 0 or len(end) != _END_64_SHAPE.size or not end.startswith(_END_64):
            raise BundleRefused("the bundle is damaged: its archive has no good end")
        count, length = _END_64_SHAPE.unpack(end)[7:9]
    if count > MEMBERS_MAX or length > DIRECTORY_MAX:
        raise LimitExceeded(f"the bundle has {count} files; {MEMBERS_MAX} are allowed")
    if length > begin:
        raise BundleRefused("the bundle is damaged: its archive's directory is longer than the file")
    # The reader goes by the length, and each member begins with this mark.
    if os.pread(file.fileno(), length, begin - length).count(_ENTRY) > MEMBERS_MAX:
        raise LimitExceeded(f"the bundle has more than {MEMBERS_MAX} files")


def _require_plain(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or member.filename.endswith("/"):
        raise BundleRefused(f"the bundle's {member.filename[:100]!r} is no plain file")
    if member.flag_bits & _ENCRYPTED:
        raise BundleRefused("the bundle is encrypted; decrypt it first")
    if member.flag_bits & ~_ALLOWED_FLAGS or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleRefused(f"the bundle's {member.filename[:100]!r} is packed in a way that no export uses")


def _require_no_gaps(file: BinaryIO, members: list[zipfile.ZipInfo], end: int) -> None:
    """One member follows the other up to the directory: none lies in another, and nothing lies between them."""
    at = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset != at or at > end:
            break  # Before anything is read there: it may be no place that a file can have.
        header = os.pread(file.fileno(), _LOCAL_SHAPE.size, at)
        if len(header) != _LOCAL_SHAPE.size:
            break
        _, name, more = _LOCAL_SHAPE.unpack(header)
        at += _LOCAL_SHAPE.size + name + more + member.compress_size
        if member.flag_bits & _LENGTH_BEHIND and at <= end:
            at = _behind_lengths(file, at)
    else:
        if at == end:
            return
    raise BundleRefused("the bundle is damaged: its files do not follow each other as the archive's directory says")


def _behind_lengths(file: BinaryIO, at: int) -> int:
    """Where the checksum and the lengths end that stand behind a member; they are of either of two sizes, and what
    follows them is again a member, or the directory."""
    found = os.pread(file.fileno(), 24 + len(_LOCAL), at)
    short = found.startswith(_BEHIND) and found[16:20] in (_LOCAL, _ENTRY)
    return at + (16 if short else 24)


def _require_proportion(total: int, size: int) -> None:
    limit = min(UNPACKED_MAX, max(UNPACKED_LEAST, UNPACKED_TIMES * size))
    if total > limit:
        raise LimitExceeded(f"the bundle of {size} bytes would become {total} bytes; {limit} are allowed", size=total)


def _sentence(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200] or type(error).__name__
