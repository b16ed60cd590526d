"""Whether the kernel took a process for want of memory: a SIGKILL does not say who sent it, the kernel's counters do.

Counted is in the server's own control group, with those below it (cgroup v2, `memory.events`), or where there is none
in the whole machine (`oom_kill` of /proc/vmstat, proc(5)). The kernel counts before it kills, so whoever has seen the
death sees the count. An unasked SIGKILL that comes when the count has just grown is taken for the kernel's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_MACHINE = Path("/proc/vmstat")
_GROUPS = Path("/sys/fs/cgroup")
_OOM_KILL = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_LARGEST = 1 << 16


class OomKills:
    """The kernel's kills for want of memory that nobody has been blamed with yet.

    Args:
        counter: a file of lines `name number`, one of which is `oom_kill`.
    """

    def __init__(self, counter: Path | None = None) -> None:
        self._counter = counter or _own_counter()
        self._known = self._read()

    def claim(self) -> bool:
        """Whether there was a kill that has not been claimed; claims it."""
        if self._read() <= self._known:
            return False
        self._known += 1
        return True

    def forget(self) -> None:
        """What was not claimed by now was no actor."""
        self._known = self._read()

    def _read(self) -> int:
        try:
            descriptor = os.open(self._counter, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            # One read, one search: it is asked after each death, and the machine has some two hundred counts.
            found = _OOM_KILL.search(os.read(descriptor, _LARGEST))
        except OSError:
            return 0
        finally:
            os.close(descriptor)
        return int(found[1]) if found is not None else 0


def _own_counter() -> Path:
    """The file with the narrowest count that covers all workers."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return _MACHINE
    for line in groups:
        number, _, path = line.partition("::")
        if number == "0" and (events := _GROUPS / path.lstrip("/") / "memory.events").is_file():
            return events
    return _MACHINE
