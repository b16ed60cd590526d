"""Who there is: the processes of a server by kind, its descendants, and those whom nobody waits for.

The harness is the subreaper of all that descends from it (prctl(2)): whoever loses its parent becomes its child, and
nobody can go unnoticed. Such a child that lives on is an orphan; one that is dead is only reaped.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Process:
    """A process as /proc shows it; `words` is its command line."""

    pid: int
    parent: int
    state: str
    words: str


def become_subreaper() -> None:
    """From now on, whoever of our descendants loses its parent is our child."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def everyone() -> dict[int, Process]:
    """All processes of the machine, zombies too."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                behind = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(name)] = Process(int(name), int(behind[1]), behind[0], words)
    return found


def descendants(pid: int, among: dict[int, Process] | None = None) -> list[Process]:
    """All that descend from a process, and are no zombies."""
    all_of_them = everyone() if among is None else among
    below: dict[int, list[Process]] = {}
    for each in all_of_them.values():
        below.setdefault(each.parent, []).append(each)
    found, queue = [], [pid]
    while queue:
        for each in below.get(queue.pop(), ()):
            queue.append(each.pid)
            if each.state not in "ZX":
                found.append(each)
    return found


def zombies(pid: int) -> list[int]:
    """Children of a process that it has not waited for."""
    return [each.pid for each in everyone().values() if each.parent == pid and each.state == "Z"]


def reap_strangers(known: set[int]) -> list[Process]:
    """Waits for all that became our children and are dead; returns those that live."""
    living = []
    for each in everyone().values():
        if each.parent != os.getpid() or each.pid in known:
            continue
        if each.state == "Z":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(each.pid, os.WNOHANG)
        else:
            living.append(each)
    return living


def send(pid: int, number: int) -> bool:
    """Signals a process; whether it was there."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def seconds_until_gone(pid: int, patience: float) -> float | None:
    """How long a process takes to end, from now; None if it has not ended in time."""
    begun = time.monotonic()
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return 0.0
    try:
        ready, _, _ = select.select([fd], [], [], patience)
    finally:
        os.close(fd)
    return time.monotonic() - begun if ready else None


def memory_kib(pid: int) -> int:
    """What a process has for itself alone: its unique set size."""
    with contextlib.suppress(OSError):
        rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
        return sum(int(row[1]) for row in rows if row[0] in ("Private_Clean:", "Private_Dirty:"))
    return 0


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def end(pid: int) -> None:
    """Kills a process for good, stopped or not."""
    send(pid, signal.SIGKILL)
