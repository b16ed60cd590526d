"""A child that is started for one piece of work and says, line by line on a pipe, how it goes.

Compilers and upkeep are such children. The loop reads what one says as it comes, and once it has ended, what is left in
the pipe: so its last words are heard before its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from theater.server.loop import Loop
from theater.server.processes import Ended, Processes

_CHUNK = 1 << 16


@dataclass(slots=True)
class Helper:
    """One such child; made by `start`."""

    pid: int
    _pipe: int
    _loop: Loop
    _on_line: Callable[[bytes], None]
    _on_end: Callable[[Ended], None]
    _rest: bytes = b""

    def _read(self) -> None:
        data = os.read(self._pipe, _CHUNK)
        if not data:
            self._loop.forget(self._pipe)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line)

    def _ended(self, ended: Ended) -> None:
        while self._pipe in self._loop.readers:
            self._read()
        os.close(self._pipe)
        self._on_end(ended)


def start(
    loop: Loop,
    processes: Processes,
    command: list[str],
    on_line: Callable[[bytes], None],
    on_end: Callable[[Ended], None],
    *,
    order: bytes = b"",
) -> Helper:
    """Executes a command in a session of its own.

    Args:
        on_line: called from the loop with each line that it writes on standard output, without its end.
        on_end: called from the loop, once, when it has ended and all its lines have been told.
        order: what it reads from standard input; far less than a pipe holds.

    Raises:
        OSError: it could not be started.
    """
    out, into = os.pipe2(os.O_CLOEXEC)
    spent = [into]
    try:
        told, tell = os.pipe2(os.O_CLOEXEC)
        spent += (told, tell)
        os.write(tell, order)
        actions = [(os.POSIX_SPAWN_DUP2, told, 0), (os.POSIX_SPAWN_DUP2, into, 1), *processes.standard_error()]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)
    except OSError:
        os.close(out)
        raise
    finally:
        for fd in spent:
            os.close(fd)
    helper = Helper(pid, out, loop, on_line, on_end)
    loop.reader(out, helper._read)
    processes.introduce(pid, process=command[command.index("-m") + 1] if "-m" in command else "helper")
    processes.adopt(pid, helper._ended)
    return helper
