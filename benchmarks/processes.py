"""Processes as /proc shows them: their memory, their children, and how to end those that carry a mark.

A mark is a variable in the environment. Descendants inherit it whatever becomes of their parents, so that a daemon
that has left its session is still found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "THEATER_BENCHMARK"
_PAUSE_S = 0.005


def private_memory(pid: int) -> int:
    """USS in bytes: the memory that would be free if this process alone ended."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) << 10


def available_memory() -> int:
    """Bytes that the machine can give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise OSError("/proc/meminfo does not say how much memory is available")


def children(pid: int) -> list[int]:
    """The living children of a process."""
    return [other for other, parent, state in _table() if parent == pid and state not in "ZX"]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, a zombie included: it holds its place until it is reaped."""
    return Path(f"/proc/{pid}").exists()


def marked(mark: str) -> list[int]:
    """All living processes that carry `mark`, but not this one."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid, _, state in _table() if pid != os.getpid() and state not in "ZX" and wanted in _environ(pid)]


def end_marked(mark: str, grace: float = 3.0) -> list[int]:
    """Ends all processes that carry `mark`, kindly first; returns those that were there."""
    found = set(left := marked(mark))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + grace
        while (left := marked(mark)) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        found.update(left)
    return sorted(found)


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # It has just ended, or is somebody else's.


def _table() -> Iterator[tuple[int, int, str]]:
    """Every process: its id, its parent, its state."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(name), int(parent), state
