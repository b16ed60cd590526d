"""The `theater` command as a process of its own, without the 0.2 s that Python takes to import it.

The tests run more than a thousand commands. So one process imports everything and opens nothing, and becomes a copy of
itself for each command (as theater/server/spawner.py does for workers), which takes over arguments, environment,
folder and streams. The copy is a child of the test's process like any other: it is waited for, has an exit code, and
dies of signals. Only /proc/PID/environ and cmdline are those of the process that was copied. A command that is given
other variables than the tests of those that Python, or the linker, reads at its start is executed as ever.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, AnyStr

_LARGEST = 1 << 17
_READ_AT_THE_START = ("LD_", "LC_", "LANG", "MALLOC_", "PYTHON")
_PROGRAMS = ("__main__", "templates", "guest")


class Command(subprocess.Popen[AnyStr]):
    """`subprocess.Popen` for `theater ARGUMENTS`; all that is about streams, environment and folder is as there.

    Args:
        script: a Python file to run instead of the command line.
    """

    def __init__(self, arguments: Sequence[str], *, script: Path | None = None, **how: Any) -> None:
        self._script = script
        super().__init__([*arguments], **how)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        _, _, _, _, cwd, env, _, _, _, *streams = rest[:15]
        inner = streams[0], streams[3], streams[5]
        given = [number if stream == -1 else stream for number, stream in enumerate(inner)]
        environment = os.environ if env is None else env
        if _of_the_start(environment) != _of_the_start(os.environ):
            program = ["-m", "theater_cli"] if self._script is None else [str(self._script)]
            super()._execute_child([sys.executable, *program, *args], *rest)
            return
        words = [str(self._script or "theater"), *args]
        order = {"words": words, "environment": dict(environment), "folder": os.fspath(cwd or os.getcwd())}
        self.pid = _Ready.process().become(order, given)
        self._child_created = True
        self._close_pipe_fds(*streams)


def run(arguments: Sequence[str], *, timeout: float, stdin: Any = "", **how: Any) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` for `theater ARGUMENTS`, with what it writes; `stdin` is text or bytes, as `text` says."""
    pipe = subprocess.PIPE
    with Command[Any](arguments, stdin=pipe, stdout=pipe, stderr=pipe, **how) as command:
        try:
            out, err = command.communicate(stdin or None, timeout=timeout)
        except BaseException:
            command.kill()
            raise
        return subprocess.CompletedProcess(list(arguments), command.returncode, out, err)


def _of_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_THE_START)}


class _Ready:
    """The process that has imported everything."""

    _started: _Ready | None = None

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, "-P", __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()

    @classmethod
    def process(cls) -> _Ready:
        if cls._started is None:
            cls._started = cls()
            atexit.register(cls._started.end)
        return cls._started

    def become(self, order: dict[str, Any], streams: Sequence[int]) -> int:
        """The process id of the one that carries out the order."""
        socket.send_fds(self._line, [json.dumps(order).encode()], streams)
        return int(self._line.recv(64))

    def end(self) -> None:
        self._line.close()
        self._process.wait()


# ---- the process itself


def _import_everything() -> None:
    import theater_cli

    import theater

    for package in (theater, theater_cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part in _PROGRAMS for part in module.name.split(".")):
                import_module(module.name)


def _serve(line: socket.socket) -> None:
    """Copies itself for each command; returns in the copies."""
    from theater.server.spawner import clone

    _import_everything()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    while True:
        data, streams, _, _ = socket.recv_fds(line, _LARGEST, 3)
        if not data:
            os._exit(0)
        pid = clone()
        if pid == 0:
            line.close()
            _become(json.loads(data), streams)
            return
        for stream in streams:
            os.close(stream)
        line.send(str(pid).encode())


def _become(order: dict[str, Any], streams: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[:] = order["words"]


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    if sys.argv[0] != "theater":
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        from theater_cli.main import main

        main()
