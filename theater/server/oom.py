"""Whether the kernel took a process for want of memory: a SIGKILL does not say who sent it, the kernel's counters do.

Counted is in the server's own control group, with those below it (cgroup v2, `memory.events`), or where there is none
in the whole machine (`oom_kill` of /proc/vmstat, proc(5)). The kernel counts before it kills, so whoever has seen the
death sees the count. An unasked SIGKILL that comes when the count has just grown is taken for the kernel's.
"""

from __future__ import annotations

from pathlib import Path

_MACHINE = Path("/proc/vmstat")
_GROUPS = Path("/sys/fs/cgroup")


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
            for line in self._counter.read_text().splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
        except (OSError, ValueError):
            pass
        return 0


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
