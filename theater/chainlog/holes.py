"""Holes in files: bytes that are given back to the disk while the file keeps its length and its writer.

`fallocate` with FALLOC_FL_PUNCH_HOLE: what was there reads as zeros from then on. It needs no lock and does not meet
an append.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

from theater.errors import WrongState, disk_error

PAGE: Final = 4096
"""Bytes of what a file system can give back, or a multiple of that."""

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_NOT_THERE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


def punch(fd: int, begin: int, end: int, where: str) -> None:
    """Gives back the pages that lie wholly between two offsets. What is on other pages stays.

    Raises:
        WrongState: the file system cannot do that.
        IntegrityError: the disk failed.
    """
    first, last = _pages(begin, end)
    if first < last:
        erase(fd, first, last, where)


def erase(fd: int, begin: int, end: int, where: str) -> None:
    """Makes each byte between two offsets zero, and gives back what whole pages there are.

    Raises: as `punch`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    while libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, begin, end - begin) != 0:
        number = ctypes.get_errno()
        if number == errno.EINTR:
            continue
        if number in _NOT_THERE:
            raise _impossible(where)
        raise disk_error(OSError(number, os.strerror(number)), f"punching a hole into {where}")


def data_in(fd: int, begin: int, end: int) -> bool:
    """Whether the file has data in the pages that lie wholly between two offsets."""
    first, last = _pages(begin, end)
    try:
        return first < last and os.lseek(fd, first, os.SEEK_DATA) < last
    except OSError as error:
        if error.errno == errno.ENXIO:  # none up to the end of the file
            return False
        raise disk_error(error, "looking for holes") from error


def require_holes(folder: Path) -> None:
    """Makes sure that files in a folder can have holes, by making one in a file that is of no use otherwise.

    Raises:
        WrongState: they cannot.
        DiskFull, IntegrityError: the file cannot be made.
    """
    trial = folder / "hole.new"
    try:
        trial.unlink(missing_ok=True)
        fd = os.open(trial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"\1" * PAGE)
            erase(fd, 0, PAGE, str(folder))
            if any(os.pread(fd, PAGE, 0)):
                raise _impossible(str(folder))
        finally:
            os.close(fd)
            trial.unlink()
    except OSError as error:
        raise disk_error(error, f"writing {trial}") from error


def _pages(begin: int, end: int) -> tuple[int, int]:
    return -(-begin // PAGE) * PAGE, end // PAGE * PAGE


def _impossible(where: str) -> WrongState:
    return WrongState(
        f"{where}: its file system cannot punch holes into files, so nothing was compressed or dropped; "
        "ext4, XFS, Btrfs and tmpfs can"
    )
