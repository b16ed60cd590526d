"""theater:simple/process: programs that run beside the actor, in the launcher's care, as long as this life lasts.

What is decided here is only the number of each program within the life, so that a record has the same ones on every
machine. Which programs still run is kept for the day on which the launcher dies, and all programs with it: the next one
is told, and tells the actor of their ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from theater.core.handlers import LAUNCHER, PROCESS_HANDLERS
from theater.host.services import Services


class Process:
    """The interface."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._number = 0
        self._running: dict[int, tuple[int, int]] = {}
        self._early: set[int] = set()

    def os_spawn(self, config: Mapping[str, Any]) -> int:
        if self._number == 0:
            self._services.on_up(LAUNCHER, self._tell_of_running)
            self._services.on_call(LAUNCHER, PROCESS_HANDLERS, "handle-exit", self._ended)
        self._number += 1
        pid, began = self._services.ask(LAUNCHER, "process.spawn", [self._number, dict(config)])
        if pid in self._early:
            self._early.discard(pid)
        else:
            self._running[pid] = self._number, began
        return int(pid)

    def os_write_stdin(self, pid: int, data: bytes) -> int:
        return int(self._services.ask(LAUNCHER, "process.write", [pid, data]))

    def os_status(self, pid: int) -> dict[str, Any]:
        found: dict[str, Any] = self._services.ask(LAUNCHER, "process.status", [pid])
        return found

    def os_signal(self, pid: int, signal: int) -> None:
        self._services.ask(LAUNCHER, "process.signal", [pid, signal])

    def os_kill(self, pid: int) -> None:
        self._services.ask(LAUNCHER, "process.kill", [pid])

    def _tell_of_running(self) -> None:
        if self._running:
            self._services.ask(LAUNCHER, "process.lost", [[list(each) for each in self._running.values()]])

    def _ended(self, params: Sequence[Any]) -> None:
        pid = params[0]
        if self._running.pop(pid, None) is None:
            self._early.add(pid)  # It ran so shortly that its end was here before its number.
