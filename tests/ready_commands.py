"""The `theater` command as a process of its own, without the 0.2 s that Python takes to import it.

The tests run more than a thousand commands. So one process imports everything and opens nothing, and becomes a copy of
itself for each command (as theater/server/spawner.py does for workers), which takes over arguments, environment,
folder and streams. The copy is a child of the test's process like any other: it is waited for, has an exit code, and
dies of signals. Only /proc/PID/cmdline is that of the process that was copied. A command that is given other variables
than others of those that Python, or the linker, reads at its start is a copy of another such process.

A server starts children: a spawner, compilers, services. For them it has a helper, one more copy, which makes copies of
itself as the server's own children (CLONE_PARENT); each begins with the descriptors, environment and session that it
would have had if it had been executed.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, AnyStr, ClassVar

HELPER = "theater-helper"
"""Name of a server's helper, as /proc/PID/comm shows it."""

_LARGEST = 1 << 17
_READ_AT_THE_START = ("LD_", "LC_", "LANG", "MALLOC_", "PYTHON")
_ABOVE_ALL = 512
_ROOM = 32768
"""Bytes by which a command's environment may be longer than that of the tests."""

_PROGRAMS = ("__main__", "templates", "guest")


_prctl = ctypes.CDLL(None).prctl  # prctl(2)
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
_SET_NAME = 15


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
        words = [str(self._script or "theater"), *args]
        order = {"words": words, "environment": dict(environment), "folder": os.fspath(cwd or os.getcwd())}
        self.pid = _Ready.process(_of_the_start(environment)).become(order, given)
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

    _started: ClassVar[dict[tuple[tuple[str, str], ...], _Ready]] = {}

    def __init__(self, of_the_start: Mapping[str, str]) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, "-P", __file__, str(theirs.fileno())]
        other = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_THE_START)}
        room = {**other, **of_the_start, "THEATER_TEST_ROOM": "." * _ROOM}
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, env=room, pass_fds=[theirs.fileno()])
        theirs.close()

    @classmethod
    def process(cls, of_the_start: Mapping[str, str]) -> _Ready:
        """The one for commands with these variables."""
        key = tuple(sorted(of_the_start.items()))
        if key not in cls._started:
            cls._started[key] = cls(of_the_start)
            atexit.register(cls._started[key].end)
        return cls._started[key]

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
    _set_environment(order["environment"])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    _renew_streams()
    os.chdir(order["folder"])
    sys.argv[:] = order["words"]
    if "server" in order["words"]:
        _help_server()


def _set_environment(environment: Mapping[str, str]) -> None:
    """Makes it the environment of this process, and what /proc shows as that: there the kernel shows the bytes on which
    the process that was executed began, which nobody uses any more once each variable has been set anew."""
    os.environ.clear()
    os.environ.update(environment)
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    text = b"".join(b"%s=%s\0" % pair for pair in os.environb.items())
    assert len(text) <= end - begin, "the environment is too large"
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


# ---- the children of a server


def _help_server() -> None:
    """Has children of this process, which is about to be a server, started by a helper."""
    from theater.server.spawner import clone

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _prctl(_SET_NAME, HELPER.encode(), 0, 0, 0)
        _set_environment({})
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _carry_out(theirs, clone)
        return
    theirs.close()
    execute = os.posix_spawn

    def spawn(path: str, command: Sequence[str], environment: Mapping[str, str], **how: Any) -> int:
        if path == sys.executable and "-m" in command:
            with contextlib.suppress(OSError):
                return _copied(ours, command, environment, **how)
        return execute(path, command, environment, **how)

    os.posix_spawn = spawn  # type: ignore[assignment]


def _copied(
    line: socket.socket,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    file_actions: Sequence[Any] = (),
    setsid: bool = False,
) -> int:
    """`os.posix_spawn` of a module of Python's, by the helper."""
    wanted = {fd: fd for fd in map(int, os.listdir("/proc/self/fd")) if fd < 3 or _is_inheritable(fd)}
    opened = []
    for action, *words in file_actions:
        if action == os.POSIX_SPAWN_DUP2:
            wanted[words[1]] = wanted.get(words[0], words[0])
        elif action == os.POSIX_SPAWN_OPEN:
            opened.append(os.open(*words[1:]))
            wanted[words[0]] = opened[-1]
        else:
            del wanted[words[0]]
    module = command.index("-m") + 1
    order = {"module": command[module], "words": command[module:], "environment": dict(environment)}
    order |= {"session": setsid, "numbers": list(wanted), "folder": os.getcwd()}
    try:
        socket.send_fds(line, [json.dumps(order).encode()], list(wanted.values()))
        return int(line.recv(64))
    except ValueError:
        raise BrokenPipeError from None
    finally:
        for fd in opened:
            os.close(fd)


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False  # The descriptor by which the list was read.


def _carry_out(line: socket.socket, clone: Callable[[], int]) -> None:
    """The helper: copies itself for each child; returns in the copies, as what they are to be."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _LARGEST, 64)
        if not data:
            os._exit(0)
        pid = clone()
        if pid == 0:
            break
        for fd in descriptors:
            os.close(fd)
        line.send(str(pid).encode())
    line.detach()
    order = json.loads(data)
    _set_environment(order["environment"])
    _prctl(_SET_NAME, b"python", 0, 0, 0)
    if order["session"]:
        os.setsid()
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE_ALL) for fd in descriptors]
    os.closerange(0, _ABOVE_ALL)
    for number, fd in zip(order["numbers"], above, strict=True):
        os.dup2(fd, number)
    os.closerange(_ABOVE_ALL, max(above) + 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _renew_streams()
    os.chdir(order["folder"])
    sys.argv[:] = order["words"]
    sys.modules.pop(order["module"], None)
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    sys.exit()


def _renew_streams() -> None:
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    if sys.argv[0] != "theater":
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        from theater_cli.main import main

        main()
