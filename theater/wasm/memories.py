"""How large the linear memories of an instance are, which the component API does not tell.

wasmtime reserves for each memory a fixed range of addresses (`memory_reservation` and guards, see `engine`), of which
only what the guest has is accessible. So a memory is recognised in /proc/self/maps (proc_maps(5)) by its guards, once,
when the instance is made; afterwards its size is where access ends, which the kernel tells without a file: a signal
mask is read from the address in question, and the answer is EFAULT or not. That works in a process that may open
nothing any more, and costs under a microsecond while a memory does not grow.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import re
from typing import Final

from theater.wasm.engine import SETTINGS

PAGE: Final = 65536
"""Bytes of a wasm page: memories grow by these."""

_RESERVATION: Final = int(SETTINGS["memory_reservation"])
_GUARD: Final = int(SETTINGS["memory_guard_size"])
_MOST_PAGES: Final = _RESERVATION // PAGE
_SIGPROCMASK: Final = {"x86_64": 14, "aarch64": 135}.get(platform.machine())
_NO_SUCH_ACTION: Final = -1


class Memory:
    """One linear memory.

    Args:
        base: the address of its first byte.
        size: bytes that it had when it was found.
    """

    def __init__(self, base: int, size: int) -> None:
        self.base = base
        self._pages = size // PAGE

    def size(self) -> int:
        """Bytes now. A linear memory never shrinks."""
        low = self._pages
        if not self._has(low):
            return low * PAGE
        step = 1
        while self._has(low + step):
            low += step
            step *= 2
        high = low + step  # low is accessible, high is not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._has(middle) else (low, middle)
        self._pages = high
        return high * PAGE

    def _has(self, page: int) -> bool:
        return page < _MOST_PAGES and _readable(self.base + page * PAGE)


def linear_memories() -> list[Memory]:
    """The linear memories of this process, empty ones left out; none if /proc cannot be read."""
    if _SIGPROCMASK is None:
        return []
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            return _memories(_ranges(file.read()))
    except OSError:
        return []


_LINE: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (r?)", re.MULTILINE)


def _ranges(maps: str) -> list[tuple[int, int, bool]]:
    """Start, end and whether it can be read, in order; neighbours of one kind are one, whatever file they belong to."""
    found: list[tuple[int, int, bool]] = []
    last_start = last_end = 0
    last_readable = False
    for first, end_text, letter in _LINE.findall(maps):
        start, end, readable = int(first, 16), int(end_text, 16), bool(letter)
        if start == last_end and readable == last_readable:
            found[-1] = (last_start, end, readable)
        else:
            found.append((start, end, readable))
            last_start, last_readable = start, readable
        last_end = end
    return found


def _memories(ranges: list[tuple[int, int, bool]]) -> list[Memory]:
    """A readable range between two guards whose reservation fits what follows."""
    found = []
    for before, (start, end, readable), after in zip(ranges, ranges[1:], ranges[2:], strict=False):
        if not readable or before[1] != start or end != after[0]:
            continue
        if start - before[0] >= _GUARD and after[1] - start >= _RESERVATION + _GUARD:
            found.append(Memory(start, end - start))
    return found


_syscall = ctypes.PyDLL(None, use_errno=True)["syscall"]


def _readable(address: int) -> bool:
    """Whether a byte can be read at `address`: rt_sigprocmask(2) reads the mask before it looks at the action."""
    _syscall(
        ctypes.c_long(_SIGPROCMASK or 0),
        ctypes.c_long(_NO_SUCH_ACTION),
        ctypes.c_void_p(address),
        None,
        ctypes.c_size_t(8),
    )
    return ctypes.get_errno() != errno.EFAULT
