"""The `theater` command as a process of its own, without the 0.2 s that Python takes to import it.

The tests run more than a thousand commands. So one process imports everything and opens nothing, and becomes a copy of
itself for each command (as theater/server/spawner.py does for workers), which takes over arguments, environment,
folder and streams. The copy is a child of the test's process like any other: it is waited for, has an exit code, and
dies of signals, and /proc shows it as if it had been executed. A command that is given other variables than others of
those that Python, or the linker, reads at its start is a copy of another such process.

A server starts children: a spawner, compilers, services; a replay starts one that executes the guest. For them it has a
helper, one more copy, which makes copies of itself as children of the server (CLONE_PARENT); each begins with the
descriptors, environment and session that it would have had if it had been executed.
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
"""Bytes by which a command's environment may be longer than that of the tests, and which its words may have."""

_PROGRAMS = ("__main__", "templates", "guest")


_helper: socket.socket | None = None
"""The line to the helper of this process, if it is a copy that has one."""

_COMMAND_LINE, _ENVIRONMENT = slice(45, 47), slice(47, 49)  # of what proc_pid_stat(5) says behind the name

_prctl = ctypes.CDLL(None).prctl  # prctl(2)
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_void_p] * 4]
_SET_NAME = 15


class Command(subprocess.Popen[AnyStr]):
    """`subprocess.Popen` for `theater ARGUMENTS`; all that is about streams, environment and folder is as there.

    Args:
        script: a Python file to run instead of the command line.
        module: of Python's, likewise.
    """

    def __init__(
        self, arguments: Sequence[str], *, script: Path | None = None, module: str | None = None, **how: Any
    ) -> None:
        self._script = script
        self._module = module
        super().__init__([*arguments], **how)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        _, _, _, others, cwd, env, _, _, _, *streams = rest[:15]
        inner = streams[0], streams[3], streams[5]
        given = [number if stream == -1 else stream for number, stream in enumerate(inner)]
        environment = os.environ if env is None else env
        order = {
            "words": [str(self._script or self._module or "theater"), *args],
            "module": self._module,
            "environment": dict(environment),
            "session": False,
            "numbers": [0, 1, 2, *others],
            "folder": os.fspath(cwd or os.getcwd()),
        }
        line = _helper or _Ready.process(_of_the_start(environment)).line
        self.pid = _ordered(line, order, [*given, *others])
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


def replay_child(descriptor: int) -> subprocess.Popen[str]:
    """In place of what theater/replay/guard.py executes."""
    pipe, words = subprocess.PIPE, {"module": "theater.replay.child", "pass_fds": (descriptor,)}
    return Command[str]([], stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace", **words)


def _ordered(line: socket.socket, order: dict[str, Any], descriptors: Sequence[int]) -> int:
    """The process id of the one that carries out the order."""
    socket.send_fds(line, [json.dumps(order).encode()], descriptors)
    return int(line.recv(64))


def _of_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_THE_START)}


class _Ready:
    """The process that has imported everything."""

    _started: ClassVar[dict[tuple[tuple[str, str], ...], _Ready]] = {}

    def __init__(self, of_the_start: Mapping[str, str]) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = [sys.executable, "-P", __file__, str(theirs.fileno()), "." * _ROOM]
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

    def end(self) -> None:
        self.line.close()
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
    """Copies itself for each command."""
    from theater.server.spawner import clone

    _import_everything()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    _carry_out(line, clone)


def _carry_out(line: socket.socket, clone: Callable[[], int]) -> None:
    """Copies this process for each order, which the copies carry out; returns in nobody."""
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
    _become(order, descriptors)
    if order["module"] is not None:
        sys.modules.pop(order["module"], None)
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    elif order["words"][0] != "theater":
        sys.path.insert(0, os.path.dirname(order["words"][0]))
        runpy.run_path(order["words"][0], run_name="__main__")
    else:
        from theater_cli.main import main

        if "server" in order["words"]:
            _help_server(clone)
        elif "replay" in order["words"]:
            _help_replay(clone)
        main()
    sys.exit()


def _become(order: dict[str, Any], descriptors: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _prctl(_SET_NAME, b"python", 0, 0, 0)
    _set_environment(order["environment"])
    program = ["-m", order["module"]] if order["module"] else ["-m", "theater_cli"]
    words = [sys.executable, *program, *order["words"][1:]]
    _show(_COMMAND_LINE, b"".join(os.fsencode(word) + b"\0" for word in words))
    if order["session"]:
        os.setsid()
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD, _ABOVE_ALL) for fd in descriptors]
    os.closerange(0, _ABOVE_ALL)
    for number, fd in zip(order["numbers"], above, strict=True):
        os.dup2(fd, number)
    os.closerange(_ABOVE_ALL, max(above) + 1)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(order["folder"])
    sys.argv[:] = order["words"]


def _set_environment(environment: Mapping[str, str]) -> None:
    """Makes it the environment of this process, and what /proc shows as that."""
    os.environ.clear()
    os.environ.update(environment)
    text = b"".join(b"%s=%s\0" % pair for pair in os.environb.items())
    _show(_ENVIRONMENT, text)


def _show(where: slice, text: bytes) -> None:
    """Writes where /proc shows command line and environment: on the first bytes of the stack of the process that was
    executed, which nobody uses any more once each variable has been set anew. What is too long is cut off."""
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[where])
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


# ---- the children of a copy


def _start_helper(clone: Callable[[], int]) -> socket.socket:
    """The line to a helper of this process, which is about to be a command."""
    global _helper
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _prctl(_SET_NAME, HELPER.encode(), 0, 0, 0)
        _set_environment({})
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _carry_out(theirs, clone)
    theirs.close()
    _helper = ours
    return ours


def _help_replay(clone: Callable[[], int]) -> None:
    from theater.replay import guard

    _start_helper(clone)
    guard._child = replay_child


def _help_server(clone: Callable[[], int]) -> None:
    line, execute = _start_helper(clone), os.posix_spawn

    def spawn(path: str, command: Sequence[str], environment: Mapping[str, str], **how: Any) -> int:
        if path == sys.executable and "-m" in command:
            with contextlib.suppress(OSError):
                return _copied(line, command, environment, **how)
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
        return _ordered(line, order, list(wanted.values()))
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


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
