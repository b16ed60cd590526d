"""Which parts of linear memories may have been written: the kernel knows, since it maps their pages.

Two sources, both without a cost for who does not ask:

`WriteProtection` has the kernel protect pages and take the protection from a page that is written: a fault inside of
the kernel of about a microsecond a page, once after each question (userfaultfd(2) in asynchronous mode and
PAGEMAP_SCAN, Linux 6.7). The answer is what was written since the last question.

`copied_pages` reads which pages this process has to itself (/proc/self/pagemap): in a process that was forked, those
that it has written since. It is only right if what it was forked from did not write, and if it has not forked itself.

Where neither is to be had, everything may have been written. Ranges are pairs of offsets in bytes, in order.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import re
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from theater.wasm.engine import SETTINGS
from theater.wasm.memories import Memory

Ranges: TypeAlias = "list[tuple[int, int]]"

_PAGEMAP: Final = "/proc/self/pagemap"

# linux/userfaultfd.h
_USERFAULTFD: Final = {"x86_64": 323, "aarch64": 282}.get(platform.machine())
_UFFD_USER_MODE_ONLY: Final = 1
_UFFD_API: Final = 0xAA
_UFFDIO_API: Final = 0xC018AA3F
_UFFDIO_REGISTER: Final = 0xC020AA00
_REGISTER_MODE_WP: Final = 2
_FEATURE_WP_UNPOPULATED: Final = 1 << 13
_FEATURE_WP_ASYNC: Final = 1 << 15

# linux/fs.h: struct pm_scan_arg
_PAGEMAP_SCAN: Final = 0xC0606610
_SCAN: Final = struct.Struct("12Q")
_SCAN_SIZE: Final = 96
_WP_MATCHING, _CHECK_WPASYNC = 1, 2
_IS_WRITTEN: Final = 2
_REGIONS: Final = 1024
"""Regions that one call of the kernel reports."""

_RESERVATION: Final = int(SETTINGS["memory_reservation"])
_syscall = ctypes.CDLL(None, use_errno=True)["syscall"]


class WriteProtection:
    """Asks what was written since the last question. It is this process's: a fork must make its own.

    Args:
        memories: whose pages are watched, also those that they will grow by.

    Raises:
        OSError: the kernel does not do it here.
    """

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._owner = 0  # until both descriptors are open
        self._regions = (ctypes.c_uint64 * (3 * _REGIONS))()
        self._argument = bytearray(_SCAN_SIZE)
        self._faults = _userfaultfd()
        try:
            api = bytearray(struct.pack("3Q", _UFFD_API, _FEATURE_WP_ASYNC | _FEATURE_WP_UNPOPULATED, 0))
            fcntl.ioctl(self._faults, _UFFDIO_API, api, True)
            for memory in memories:
                range_ = struct.pack("4Q", memory.base, _RESERVATION, _REGISTER_MODE_WP, 0)
                fcntl.ioctl(self._faults, _UFFDIO_REGISTER, bytearray(range_), True)
            self._pages = os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)
            self._owner = os.getpid()
        except BaseException:
            os.close(self._faults)
            raise

    def written(self, memory: Memory, size: int) -> Ranges:
        """What was written since the last question, and all that was never asked about.

        Args:
            memory: one of those that are watched.
            size: bytes of it to look at.

        Raises:
            OSError: the kernel refuses; what it would have said is lost.
        """
        found: Ranges = []
        regions, argument, base = self._regions, self._argument, memory.base
        at, end = base, base + size
        while at < end:
            fields = (_SCAN_SIZE, _WP_MATCHING | _CHECK_WPASYNC, at, end, 0, ctypes.addressof(regions), _REGIONS)
            _SCAN.pack_into(argument, 0, *fields, 0, 0, _IS_WRITTEN, 0, _IS_WRITTEN)
            count = fcntl.ioctl(self._pages, _PAGEMAP_SCAN, argument, True)
            words = regions[: 3 * count]
            found += zip((a - base for a in words[::3]), (a - base for a in words[1::3]), strict=True)
            at = _SCAN.unpack_from(argument)[4]
        return found

    def close(self) -> None:
        """Gives the descriptors back, which ends the watch. In a fork they are not its own, and nothing happens."""
        if self._owner == os.getpid():
            self._owner = 0
            os.close(self._faults)
            os.close(self._pages)

    __del__ = close


def _userfaultfd() -> int:
    if _USERFAULTFD is None:
        raise OSError(errno.ENOSYS, "userfaultfd")
    flags = os.O_CLOEXEC | _UFFD_USER_MODE_ONLY
    descriptor = int(_syscall(ctypes.c_long(_USERFAULTFD), ctypes.c_int(flags)))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    return descriptor


# ---- pages of one's own


_ENTRY: Final = 8
_EXCLUSIVE, _FILE, _SWAPPED, _PRESENT = 0x01, 0x20, 0x40, 0x80
"""Bits 56, 61, 62 and 63 of an entry of pagemap, in its last byte."""


def _is_own(flags: int) -> bool:
    """Whether a page may hold something that the process it was forked from does not have."""
    if flags & _SWAPPED:
        return True
    return bool(flags & _PRESENT and flags & _EXCLUSIVE and not flags & _FILE)


_OWN: Final = bytes(_is_own(flags) for flags in range(256))
_RUNS: Final = re.compile(rb"\x01+")


def copied_pages(memories: Sequence[tuple[Memory, int]]) -> list[Ranges] | None:
    """The pages of each memory that this process does not share; None if unknown.

    Args:
        memories: each with the bytes of it to look at.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return [_copied(descriptor, memory, size) for memory, size in memories]
        finally:
            os.close(descriptor)
    return None


def _copied(descriptor: int, memory: Memory, size: int) -> Ranges:
    page = mmap.PAGESIZE
    length = size // page * _ENTRY
    entries = bytearray()
    while len(entries) < length:
        part = os.pread(descriptor, length - len(entries), memory.base // page * _ENTRY + len(entries))
        if not part:
            raise OSError(errno.EIO, "pagemap ends")
        entries += part
    flags = entries[_ENTRY - 1 :: _ENTRY].translate(_OWN)
    return [(run.start() * page, run.end() * page) for run in _RUNS.finditer(flags)]
