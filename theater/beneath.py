"""Opening what lies below an open folder, so that no path and no race leads out of it.

`openat2` with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS resolves a path in the kernel, in one
step: `..` cannot leave the folder, and a link anywhere in the path, also one that is put there meanwhile, is an error
and never followed. Nothing that looks at a path first and opens it then can promise that.

Where it is missing (before Linux 5.6), or a service manager or container refuses it, the path is walked: each name is
opened by itself, in the open folder before it and never through a link, and there is no `..`. That leads out as little,
and costs a system call a name. systemd's RestrictSUIDSGID= refuses it, since a filter cannot see what it would make,
and so do the walls of a worker.

glibc has no function for it, so it is called by its number, which is the same on every architecture.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DEEPEST = 256
"""Folders within folders that `tree` enters; each takes two descriptors."""

_OPENAT2 = 437
_RENAME_NOREPLACE = 1
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
_TRIES = 64
_AT_ONCE = 10_000
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class Found(NamedTuple):
    """Something in a tree: its name in the open folder `folder`, and what it is; itself, not what a link leads to."""

    folder: int
    name: str
    is_folder: bool
    size: int
    depth: int


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Opens `path` below an open folder; the descriptor is closed on exec.

    Args:
        folder: descriptor, which may be one of O_PATH.
        path: relative, without `..`.
        flags: of open(2).
        mode: of a file that is made.

    Raises:
        OSError: EXDEV: it leads out of the folder. ELOOP: a link stands in the way.
    """
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise OSError(errno.EINVAL, "a path has no NUL in it")  # ctypes would end it there
    how = _How(flags | os.O_CLOEXEC, mode, _RESOLVE)
    for _ in range(_TRIES):
        found: int = _syscall(_OPENAT2, folder, encoded, ctypes.byref(how), ctypes.sizeof(how))
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):  # somebody renames what is on the way; a signal
            break
    if number in (errno.ENOSYS, errno.EPERM):
        return _walk(folder, os.fsdecode(encoded), flags, mode)
    raise OSError(number, os.strerror(number))


def _walk(folder: int, path: str, flags: int, mode: int) -> int:
    """`open_beneath`, one name after the other."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if path.startswith("/") or ".." in names:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    if path.endswith("/"):
        flags |= os.O_DIRECTORY
    *way, last = names or ["."]
    here = folder
    try:
        for name in way:
            inner = _open_one(here, name, os.O_PATH | os.O_DIRECTORY, 0)
            if here != folder:
                os.close(here)
            here = inner
        return _open_one(here, last, flags, mode)
    finally:
        if here != folder:
            os.close(here)


def _open_one(folder: int, name: str, flags: int, mode: int) -> int:
    """What has that name in an open folder; a link is an error, also where O_PATH would open it itself."""
    try:
        found = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        raise
    if flags & os.O_PATH and stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return found


def open_folder(folder: int, path: str, *, readable: bool = False) -> int:
    """A descriptor of the folder `path` below `folder`, to find things from; with `readable` also to list and to sync.

    Raises: as `open_beneath`.
    """
    return open_beneath(folder, path or ".", _FOLDER | (os.O_RDONLY if readable else os.O_PATH))


def is_link_in_the_way(error: OSError) -> bool:
    """Whether a path was not opened because a link stands in it."""
    return error.errno in (errno.ELOOP, errno.EXDEV)


def rename_new(name: str, to: str, *, folder: int, to_folder: int) -> None:
    """Renames; never replaces anything.

    Raises:
        OSError: EEXIST: there is something. As rename(2).
    """
    done = _libc.renameat2(folder, os.fsencode(name), to_folder, os.fsencode(to), _RENAME_NOREPLACE)
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def tree(folder: int, *, deleting: bool = False, depth: int = 1) -> Iterator[Found]:
    """Everything in a folder and below, each folder after what is in it. No link is followed.

    What comes or goes meanwhile may or may not be among it.

    Args:
        folder: descriptor that can be listed; it stays open.
        deleting: whoever is given a thing deletes it before the next; otherwise nothing is changed by them.
        depth: of what is in it.

    Raises:
        OSError: ELOOP: folders are deeper within each other than `DEEPEST`. Something cannot be read.
    """
    for name in _names_until_none_is_left(folder) if deleting else _names(folder):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        is_folder = stat.S_ISDIR(found.st_mode)
        if is_folder:
            if depth >= DEEPEST:
                raise OSError(errno.ELOOP, f"folders are more than {DEEPEST} deep")
            try:
                inner = open_folder(folder, name, readable=True)
            except FileNotFoundError:
                continue
            try:
                yield from tree(inner, deleting=deleting, depth=depth + 1)
            finally:
                os.close(inner)
        yield Found(folder, name, is_folder, found.st_size if stat.S_ISREG(found.st_mode) else 0, depth)


def _names(folder: int) -> Iterator[str]:
    with os.scandir(folder) as found:
        yield from (entry.name for entry in found)


def _names_until_none_is_left(folder: int) -> Iterator[str]:
    """Not all file systems go on well behind what was deleted, so this begins again and again."""
    while names := list(itertools.islice(_names(folder), _AT_ONCE)):
        yield from names


def lies_in(folder: int, other: int) -> bool:
    """Whether an open folder is another one, or lies in it, by whatever path it was reached."""
    wanted = _identity(other)
    here = os.dup(folder)
    try:
        while (found := _identity(here)) != wanted:
            above = os.open("..", os.O_PATH | _FOLDER, dir_fd=here)
            os.close(here)
            here = above
            if _identity(here) == found:
                return False
        return True
    finally:
        os.close(here)


def open_trusted(path: Path | str) -> int:
    """A descriptor of a folder that the user names; links in its path are his own. Raises OSError."""
    return os.open(path, os.O_PATH | _FOLDER)


def _identity(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino
