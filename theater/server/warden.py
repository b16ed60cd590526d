"""Who hears of hostile system calls: the process is stopped in the call, is killed, and its end says which it was.

The listener comes from the spawner, and hears of all that descend from it (theater/walls/seccomp.py). A new spawner
brings a new one; what the old one has made lives on, so the old listener is kept as long as anybody is behind it.
"""

from __future__ import annotations

import os
from pathlib import Path

from theater.log import Logger
from theater.server.loop import Loop
from theater.server.processes import Processes
from theater.walls import seccomp
from theater.walls.standing import Standing

_KEPT = 1000
"""Offences of processes whose end nobody has asked about: of spares."""


class Warden:
    """Kills whoever makes a hostile call.

    Attributes:
        standing: which walls stand; None until the first spawner has said so.
    """

    def __init__(self, loop: Loop, processes: Processes, log: Logger) -> None:
        self._loop = loop
        self._processes = processes
        self._log = log
        self._listeners: set[int] = set()
        self._offences: dict[int, str] = {}
        self.standing: Standing | None = None

    def begin(self, listener: int | None, walls: Standing) -> None:
        """A spawner is there."""
        if self.standing is None:
            self._log.info("walls", standing=walls.text())
            for wall in walls.missing:
                self._log.warning("a wall is missing", wall=wall.name, why=wall.detail)
        self.standing = walls
        if listener is not None:
            os.set_blocking(listener, False)
            self._listeners.add(listener)
            self._loop.reader(listener, lambda: self._hear(listener))

    @property
    def walls(self) -> str | None:
        """Which walls stand and which are missing, in a line; None before the first spawner has said so."""
        return self.standing.summary() if self.standing is not None else None

    def offence(self, pid: int) -> str | None:
        """What a process has done that it was killed for: the rest of a sentence that begins with it."""
        return self._offences.pop(pid, None)

    def close(self) -> None:
        for listener in self._listeners:
            self._loop.forget(listener)
            os.close(listener)
        self._listeners.clear()

    def _hear(self, listener: int) -> None:
        found = seccomp.next_offence(listener)
        if found is None:
            if seccomp.is_abandoned(listener):
                self._listeners.discard(listener)
                self._loop.forget(listener)
                os.close(listener)
            return
        pid = _process_of(found.pid)
        if len(self._offences) >= _KEPT:
            del self._offences[next(iter(self._offences))]
        self._offences[pid] = f"made the system call {found.call}, which no actor may make"
        facts = self._processes.who(pid)
        self._log.error("hostile system call", pid=pid, call=found.call, arguments=list(found.arguments), **facts)
        self._processes.kill(pid)


def _process_of(thread: int) -> int:
    try:
        status = Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return thread
    return int(status.partition("Tgid:")[2].split()[0])
