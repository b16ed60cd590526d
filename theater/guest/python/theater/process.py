"""Programs that run beside the actor. Which ones may is said by the manifest.

What a program writes arrives at `handle_stdout` and `handle_stderr`, its end at `handle_process_exit`. Programs end
with the life of the actor. Every function raises `CallFailed` when the host refuses.
"""

import signal as _signals
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from theater._host import ask, interface

_process = interface("process")
_BUFFER = 64 << 10


@dataclass(frozen=True, slots=True)
class Status:
    """How a program is doing.

    Attributes:
        process: its id.
        running: whether it runs.
        status: its exit status, once it has ended.
        started: when it began, in seconds since the epoch.
    """

    process: int
    running: bool
    status: int | None
    started: float


def spawn(
    program: str,
    *args: str,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    stdout: str = "lines",
    stderr: str = "lines",
    chunk: int | None = None,
    buffer: int = _BUFFER,
    timeout: float | None = None,
) -> int:
    """Starts a program and returns its id.

    Args:
        program: as the manifest names it.
        args: its arguments.
        cwd: the folder that it runs in.
        env: its environment.
        stdout, stderr: how its output is cut into messages: "raw" as it comes, "lines", "json" (a value each), or
            "chunks" of one size.
        chunk: the size of chunks, in bytes.
        buffer: how many bytes of output are held at most.
        timeout: seconds after which it is ended.
    """
    config = _process.ProcessConfig(
        program,
        list(args),
        cwd,
        list((env or {}).items()),
        buffer,
        _mode(stdout),
        _mode(stderr),
        chunk,
        None if timeout is None else max(1, round(timeout)),
    )
    return ask(_process.os_spawn, config)


def write(process: int, data: bytes | str) -> int:
    """Writes to a program's standard input, and returns how many bytes it took."""
    content = data.encode() if isinstance(data, str) else data
    return ask(_process.os_write_stdin, process, content) if content else 0


def end_input(process: int) -> None:
    """Ends a program's standard input, as its writer's end does in a shell."""
    ask(_process.os_write_stdin, process, b"")


def status(process: int) -> Status:
    """How a program is doing."""
    found = ask(_process.os_status, process)
    return Status(found.pid, found.running, found.exit_code, found.start_time / 1000)


def signal(process: int, number: int = _signals.SIGTERM) -> None:
    """Sends a signal to a program."""
    ask(_process.os_signal, process, int(number))


def kill(process: int) -> None:
    """Ends a program at once."""
    ask(_process.os_kill, process)


def _mode(name: str) -> Any:
    if name not in _MODES:
        raise ValueError(f"there is no mode {name!r}; allowed: {', '.join(_MODES)}")
    return getattr(_process, f"OutputMode_{_MODES[name]}")()


_MODES = {"raw": "Raw", "lines": "LineByLine", "json": "Json", "chunks": "Chunked"}
