"""Every child process of the supervisor, from its birth to its exit status.

Workers, templates and the spawner are all the supervisor's own children (CLONE_PARENT), and so are compile
children. SIGCHLD wakes the loop; then everything that has ended is reaped until nothing is left, because signals
are not counted. A child may end before anybody has told us its number: its status is kept until it is claimed. Some
are never claimed, and the kernel gives their number to another in time; a living child makes such a status void.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from theater.server.loop import Loop
from theater.server.overheard import Overheard

_UNCLAIMED_MAX = 4096
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Args:
        signal: the signal that killed it, or None.
        status: its exit status, or None.
        user_seconds: processor time in user mode.
        system_seconds: processor time in the kernel.
        max_rss: largest resident memory, bytes.
    """

    signal: int | None
    status: int | None
    user_seconds: float
    system_seconds: float
    max_rss: int


class Processes:
    """The table of children.

    Attributes:
        overheard: hears what they print on standard error; None leaves them the server's own.
    """

    def __init__(self, loop: Loop) -> None:
        self._ending: dict[int, Callable[[Ended], None]] = {}
        self._unclaimed: dict[int, Ended] = {}
        self._loop = loop
        self.overheard: Overheard | None = None
        loop.on_signal(signal.SIGCHLD, self.reap)

    def adopt(self, pid: int, on_end: Callable[[Ended], None]) -> None:
        """Has `on_end` called once, from the loop, when `pid` has ended and is reaped."""
        early = self._unclaimed.pop(pid, None)
        if early is None or _is_child(pid):
            self._ending[pid] = on_end
        else:
            self._loop.soon(lambda: on_end(early))

    def standard_error(self) -> list[tuple[int, int, int]]:
        """The file actions (`os.posix_spawn`) that give a child its standard error."""
        return [] if self.overheard is None else [(os.POSIX_SPAWN_DUP2, self.overheard.descriptor, 2)]

    def introduce(self, pid: int, **facts: Any) -> None:
        """Says who a child is, for what it prints."""
        if self.overheard is not None:
            self.overheard.know(pid, **facts)

    def who(self, pid: int) -> Mapping[str, Any]:
        """Who a child is, for a line of the log: what it was introduced with."""
        return self.overheard.facts(pid) if self.overheard is not None else {}

    def keep(self, pid: int, ended: Ended) -> None:
        """Keeps the end of a child for whoever adopts it next, or has adopted it after it had ended."""
        on_end = None if _is_child(pid) else self._ending.pop(pid, None)
        if on_end is not None:
            self._loop.soon(lambda: on_end(ended))
            return
        if len(self._unclaimed) >= _UNCLAIMED_MAX:
            del self._unclaimed[next(iter(self._unclaimed))]
        self._unclaimed[pid] = ended

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Signals a child. It cannot be a stranger: an unreaped child keeps its number."""
        if pid in self._ending:
            os.kill(pid, number)

    @property
    def alive(self) -> list[int]:
        """Children that have been adopted and not reaped."""
        return list(self._ending)

    def reap(self) -> None:
        """Takes the status of children that have ended: of some, and of the others in the loop's next turns, so that a
        thousand deaths at once do not keep it from everything else."""
        for _ in range(_AT_ONCE):
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = Ended(
                os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
                os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                usage.ru_utime,
                usage.ru_stime,
                usage.ru_maxrss * 1024,
            )
            on_end = self._ending.pop(pid, None)
            if on_end is not None:
                on_end(ended)
            else:
                self.keep(pid, ended)
        self._loop.soon(self.reap)


def _is_child(pid: int) -> bool:
    """Whether there is such a child, not yet reaped."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
