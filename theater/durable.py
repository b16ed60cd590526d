"""What it takes for a file to outlive the machine: its bytes are synced, and so is the folder that names it.

Until then both are in memory only, each by itself: after a power cut there may be a name without its bytes, bytes
without their name, and any part of either. Nothing here is tried a second time: after a sync that failed nobody knows
what is on the disk, and one that is repeated says that all is well (`forget_cached`).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def sync_folder(folder: Path | str) -> None:
    """Makes the names in a folder outlive the machine. Raises OSError."""
    sync(folder)


def sync(path: Path | str) -> None:
    """Makes the bytes of a file, or the names in a folder, outlive the machine. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_everything(folder: Path | str) -> None:
    """Makes all outlive the machine that is on the file system of a folder. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o666) -> None:
    """Writes a file so that whoever reads it, at any time, finds the old one or this one.

    Args:
        durable: also after the death of the machine, and this one once `replace` has returned.
        mode: of the file, before the umask.

    Raises:
        OSError: the disk does not take it; there is the old one still.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)
    if durable:
        sync_folder(path.parent)


def forget_cached(fd: int) -> None:
    """Has the next read of a file ask the disk. After a write-back that failed the kernel takes the pages for written:
    they can be read, and are gone as soon as it needs the memory."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
