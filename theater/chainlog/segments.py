"""A segment: one range of a chain, compressed, in a file of its own that never changes.

The file has zstd's format (RFC 8878), so that `zstd -d` gives the range back: a frame for each block of the range, and
a skippable frame behind them, which says what the range is and where the frames are. Integers are little-endian:

    frames      one for each BLOCK_SIZE (256 KiB) bytes of the range, the last may stand for fewer
    4           0x184D2A5D
    4           length of what follows
    18          "theater segment 1" and a line feed
    48          the head before the range: entries (u64), digest, offset (u64)
    48          the head behind it
    4           number of frames
    36 each     a frame's length in bytes (u32), its blake3
    32          blake3 of the skippable frame up to here
    4           length of the skippable frame

Nothing in it is believed before it was looked at: lengths have bounds, a frame is given to the decompressor only if it
has its digest, and only if it says itself that it will become as long as it must. What the range is worth is
not decided here: the digests of its entries do that, as if it were still in the chain's file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from theater.core.chain import MAX_BODY, OVERHEAD, Head
from theater.core.codec import DIGEST_SIZE, content_digest
from theater.errors import ChainBroken, TheaterError, disk_error

BLOCK_SIZE: Final = 1 << 18
"""Bytes of a chain in one frame."""

SEGMENT_MAX: Final = 1 << 26
"""Bytes of a chain in one segment, at most."""

ENDING: Final = ".zst"
_LEVEL = 3
_TAG = b"theater segment 1\n"
_MAGIC = 0x184D2A5D
_INTRODUCTION = struct.Struct("<II")
_HEAD = struct.Struct(f"<Q{DIGEST_SIZE}sQ")
_COUNT = struct.Struct("<I")
_ROW = struct.Struct(f"<I{DIGEST_SIZE}s")
_FIXED = _INTRODUCTION.size + len(_TAG) + 2 * _HEAD.size + _COUNT.size + DIGEST_SIZE + _COUNT.size
_FRAMES_MAX = -(-SEGMENT_MAX // BLOCK_SIZE)
_INDEX_MAX = _FIXED + _FRAMES_MAX * _ROW.size
_FRAME_MAX = BLOCK_SIZE + BLOCK_SIZE // 128 + 512
"""More than the longest frame that BLOCK_SIZE bytes can become (ZSTD_COMPRESSBOUND)."""

assert MAX_BODY + OVERHEAD <= SEGMENT_MAX, "each record fits into a segment"


class Place(NamedTuple):
    """A segment by its name: where its range begins."""

    offset: int
    entries: int

    @property
    def name(self) -> str:
        return f"{self.entries}-{self.offset}{ENDING}"

    @classmethod
    def read(cls, name: str) -> Place | None:
        """What a file's name says; None if it is no segment's."""
        entries, _, offset = name.removesuffix(ENDING).partition("-")
        if not (name.endswith(ENDING) and _is_number(entries) and _is_number(offset)):
            return None
        return cls(int(offset), int(entries))


class Frame(NamedTuple):
    """Where a frame is in the file, and its digest."""

    at: int
    size: int
    digest: bytes


class Segment:
    """One segment, open for reading.

    Args:
        path: the file.
        place: what its name says.

    Raises:
        ChainBroken: it is damaged.
        FileNotFoundError: it is gone.
    """

    def __init__(self, path: Path | str, place: Place) -> None:
        self.path = str(path)
        self._place = place
        self._fd = _open(self.path)
        self._decompressed: tuple[int, bytes] = -1, b""
        try:
            self.start, self.until, self._frames = self._read_index()
        except BaseException:
            self.close()
            raise

    def covers(self, offset: int) -> bool:
        """Whether this byte of the chain is in it."""
        return self.start.offset <= offset < self.until.offset

    def read(self, size: int, offset: int) -> bytes:
        """At most `size` bytes of the chain from `offset` on, which it covers; at least one.

        Raises:
            ChainBroken: it is damaged.
        """
        number, at = divmod(offset - self.start.offset, BLOCK_SIZE)
        return self._block(number)[at : at + size]

    @property
    def size(self) -> int:
        """Bytes of the chain."""
        return self.until.offset - self.start.offset

    def blocks(self) -> Iterator[bytes]:
        """The range in pieces, each decompressed afresh."""
        for number in range(len(self._frames)):
            yield self._decompress(number)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # ---- reading

    def _block(self, number: int) -> bytes:
        if self._decompressed[0] != number:
            self._decompressed = number, self._decompress(number)
        return self._decompressed[1]

    def _decompress(self, number: int) -> bytes:
        import zstandard

        frame = self._frames[number]
        packed = self._pread(frame.size, frame.at)
        if content_digest(packed) != frame.digest:
            raise self._damaged(f"its block {number} does not have its digest")
        wanted = min(BLOCK_SIZE, self.size - number * BLOCK_SIZE)
        try:
            if zstandard.get_frame_parameters(packed).content_size != wanted:
                raise self._damaged(f"its block {number} would not become {wanted} bytes")
            # One frame and nothing behind it, in a buffer whose length the frame has just stated.
            found = zstandard.ZstdDecompressor().decompress(packed, wanted, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise self._damaged(f"its block {number} cannot be decompressed ({error})") from error
        if len(found) != wanted:
            raise self._damaged(f"its block {number} became {len(found)} bytes instead of {wanted}")
        return found

    def _read_index(self) -> tuple[Head, Head, list[Frame]]:
        size = os.fstat(self._fd).st_size
        if size < _FIXED:
            raise self._damaged("it is too short")
        (length,) = _COUNT.unpack(self._pread(_COUNT.size, size - _COUNT.size))
        if not _FIXED <= length <= min(size, _INDEX_MAX) or (length - _FIXED) % _ROW.size:
            raise self._damaged("its index has no good length")
        index = self._pread(length, size - length)
        introduction = _INTRODUCTION.pack(_MAGIC, length - _INTRODUCTION.size) + _TAG
        sealed, digest = index[: -DIGEST_SIZE - _COUNT.size], index[-DIGEST_SIZE - _COUNT.size : -_COUNT.size]
        if not index.startswith(introduction) or content_digest(sealed) != digest:
            raise self._damaged("its index does not have its digest")
        at = len(introduction)
        start, until = (Head(*_HEAD.unpack_from(index, at + nth * _HEAD.size)) for nth in range(2))
        (count,) = _COUNT.unpack_from(index, at + 2 * _HEAD.size)
        frames = list(_frames(_ROW.iter_unpack(sealed[at + 2 * _HEAD.size + _COUNT.size :])))
        self._require_range(start, until)
        end = frames[-1].at + frames[-1].size if frames else 0
        blocks = -(-(until.offset - start.offset) // BLOCK_SIZE)
        if not count == len(frames) == blocks or end != size - length or any(f.size > _FRAME_MAX for f in frames):
            raise self._damaged("its index does not fit to what is in it")
        return start, until, frames

    def _require_range(self, start: Head, until: Head) -> None:
        if (start.offset, start.entries) != self._place:
            raise self._damaged(f"it begins with entry {start.entries} at byte {start.offset}")
        if not start.entries < until.entries or not 0 < until.offset - start.offset <= SEGMENT_MAX:
            raise self._damaged("it has a range that no segment can have")

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            data = os.pread(self._fd, size, offset)
        except OSError as error:
            raise disk_error(error, f"reading {self.path}") from error
        if len(data) != size:
            raise self._damaged("it is too short")
        return data

    def _damaged(self, how: str) -> ChainBroken:
        return ChainBroken(f"the segment {self.path} is damaged: {how}", reason="damaged")


def load() -> None:
    """Loads what decompresses, for a process whose descendants may map no code any more."""
    import zstandard  # noqa: F401


def write(draft: Path, start: Head, until: Head, blocks: Iterable[bytes]) -> None:
    """Writes a segment into a new file, makes it durable, reads it back and compares it with what was given.

    Args:
        draft: the file; made anew (0600).
        start, until: the heads before and behind the range.
        blocks: the range, in blocks of BLOCK_SIZE bytes, the last may be shorter.

    Raises:
        DiskFull: there is no room; the draft is gone again.
        IntegrityError: the disk failed, or does not give back what it was given; likewise.
    """
    draft.unlink(missing_ok=True)
    try:
        digests = _write(draft, start, until, blocks)
        _read_back(draft, Place(start.offset, start.entries), digests)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise disk_error(error, f"writing {draft}") from error
    except TheaterError:
        draft.unlink(missing_ok=True)
        raise


def _write(draft: Path, start: Head, until: Head, blocks: Iterable[bytes]) -> list[bytes]:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False, write_content_size=True)
    rows, digests = bytearray(), []
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for block in blocks:
            packed = compressor.compress(block)
            _write_all(fd, packed)
            rows += _ROW.pack(len(packed), content_digest(packed))
            digests.append(content_digest(block))
        _write_all(fd, _index(start, until, bytes(rows)))
        os.fsync(fd)
        # What is read back shall come from the disk and not out of the kernel's memory.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return digests


def _read_back(draft: Path, place: Place, digests: list[bytes]) -> None:
    segment = Segment(draft, place)
    try:
        found = [content_digest(block) for block in segment.blocks()]
    finally:
        segment.close()
    if found != digests:
        raise ChainBroken(f"the disk does not give back what was written to {draft}", reason="damaged")


def _index(start: Head, until: Head, rows: bytes) -> bytes:
    length = _FIXED + len(rows)
    sealed = b"".join(
        (
            _INTRODUCTION.pack(_MAGIC, length - _INTRODUCTION.size),
            _TAG,
            _HEAD.pack(*start),
            _HEAD.pack(*until),
            _COUNT.pack(len(rows) // _ROW.size),
            rows,
        )
    )
    return sealed + content_digest(sealed) + _COUNT.pack(length)


def _frames(rows: Iterable[tuple[int, bytes]]) -> Iterator[Frame]:
    at = 0
    for size, digest in rows:
        yield Frame(at, size, digest)
        at += size


def _open(path: str) -> int:
    try:
        # Not blocking: what lies there may be a pipe that somebody has put in its place.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise disk_error(error, f"opening {path}") from error


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and (text == "0" or text[0] != "0")
