"""Asking what files are like, in a process that may not do so by their names.

stat(2) and its like answer for any path, whatever Landlock says, so most workers may not call them. Of a file that
is open they may still ask, by fstat(2), and Landlock decides what they open. But C libraries make fstat(2) of a
newfstatat(2) with an empty path (glibc before 2.39, musl), which no filter can tell from one that leads somewhere. So
the functions of Python that end there are replaced by such as open what they are asked about, and then ask.

Formats: `struct stat` (asm/stat.h) and `struct linux_dirent64` (getdents64(2)) of the kernel.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any

from theater.walls.kernel import system_call
from theater.walls.syscalls import NUMBERS

_STATUS = {
    "x86_64": (struct.Struct("=QQQIII4xQqqq6q24x"), ("dev", "ino", "nlink", "mode", "uid", "gid")),
    "aarch64": (struct.Struct("=QQIIIIQ8xqi4xq6q8x"), ("dev", "ino", "mode", "nlink", "uid", "gid")),
}
"""How a status begins, by machine; then come the device that it is, size, block size, blocks, and three times."""

_TIMES = ("atime", "mtime", "ctime")
_NANOSECOND = 1e-9
_NAMES_AT = 19
_LENGTH = struct.Struct("=H")
_AT_ONCE = 32 * 1024


def only_what_is_open() -> None:
    """From now on `os.stat`, `os.lstat` and `os.listdir` of this process open what they are asked about."""
    if "fstat" in NUMBERS:
        os.stat, os.lstat, os.fstat, os.listdir = _stat, _lstat, _fstat, _listdir  # type: ignore[assignment]


def _fstat(fd: int) -> os.stat_result:
    layout, names = _STATUS[platform.machine()]
    buffer = ctypes.create_string_buffer(layout.size)
    system_call(NUMBERS["fstat"], fd, buffer)
    found = layout.unpack(buffer.raw)
    known = dict(zip(names, found, strict=False))
    device, size, block, blocks, *times = found[len(names) :]
    whole, more = times[0::2], {"st_rdev": device, "st_blksize": block, "st_blocks": blocks}
    for name, seconds, nanoseconds in zip(_TIMES, whole, times[1::2], strict=True):
        more[f"st_{name}"] = seconds + nanoseconds * _NANOSECOND
        more[f"st_{name}_ns"] = seconds * 1_000_000_000 + nanoseconds
    first = (known[name] for name in ("mode", "ino", "dev", "nlink", "uid", "gid"))
    return os.stat_result((*first, size, *whole), more)


def _stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    if isinstance(path, int):
        return _fstat(path)
    fd = os.open(
        path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_symlinks else os.O_NOFOLLOW), dir_fd=dir_fd
    )
    try:
        return _fstat(fd)
    finally:
        os.close(fd)


def _lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
    return _stat(path, dir_fd=dir_fd, follow_symlinks=False)


def _listdir(path: Any = ".") -> list[str]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        return [name for name in _names_in(fd) if name not in (".", "..")]
    finally:
        os.close(fd)


def _names_in(folder: int) -> list[str]:
    found = []
    buffer = ctypes.create_string_buffer(_AT_ONCE)
    while count := system_call(NUMBERS["getdents64"], folder, buffer, _AT_ONCE):
        data, at = buffer.raw[:count], 0
        while at < count:
            (length,) = _LENGTH.unpack_from(data, at + 16)
            found.append(os.fsdecode(data[at + _NAMES_AT : at + length].partition(b"\0")[0]))
            at += length
    return found
