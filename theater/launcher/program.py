"""One running program, as the launcher sees it: three pipes, signals, and an end.

The launcher never is a program's parent: that is its keeper (theater/launcher/keeper.py), which is started with nothing
of the launcher's but five descriptors, and told by the only one of them that it keeps.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import marshal
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from theater.errors import InvalidInput, StartFailed, TheaterError, WrongState
from theater.launcher.keeper import adopt_orphans, children, descendants

STDOUT, STDERR = 1, 2

_KEEPER = str(Path(__file__).with_name("keeper.py"))
_ABOVE = 16
"""Descriptors from here on do not collide with the numbers that a keeper finds its own at."""
_LENGTH = 8
_KILLED = -int(signal.SIGKILL)
_UMASK = 0o077
_LOOK_S = 0.01


class Walls(Protocol):
    """What is built around a program; theater/launcher/walls.py has the real ones."""

    def around(self, writable: Sequence[str], *, namespace: bool) -> Mapping[str, Any]:
        """What a keeper is told of them: `hidden`, `ruleset`, `rules` and `filter`.

        Args:
            writable: absolute folders that the program may write into.
            namespace: whether it has namespaces of its own.
        """


class NoWalls:
    """Nothing but the loss of all capabilities."""

    def around(self, writable: Sequence[str], *, namespace: bool) -> Mapping[str, Any]:
        return {"hidden": [], "ruleset": b"", "rules": [], "filter": b""}


@dataclass(frozen=True, slots=True)
class Order:
    """What is executed.

    Args:
        path: absolute, of the file.
        argv: its arguments, its name first.
        env: its whole environment.
        limits: of `resource`: (number, value).
        writable: absolute folders that it may write into.
    """

    path: str
    argv: Sequence[str]
    env: Mapping[str, str]
    limits: Sequence[tuple[int, int]] = ()
    writable: Sequence[str] = ()

    def encoded(self, namespace: bool, walls: Walls) -> bytes:
        """As the keeper reads it."""
        body = marshal.dumps(
            {
                "path": os.fsencode(self.path),
                "argv": [os.fsencode(each) for each in self.argv],
                "env": {os.fsencode(name): os.fsencode(value) for name, value in self.env.items()},
                "limits": list(self.limits),
                "umask": _UMASK,
                "namespace": namespace,
                **walls.around(self.writable, namespace=namespace),
            }
        )
        return len(body).to_bytes(_LENGTH, "big") + body


class Keeping:
    """How programs are kept: what this machine lets us do, found out by the first program, and by whom.

    Args:
        namespace: whether each may have a PID namespace of its own.
        adopts: whether this process adopts what a program leaves that has killed its keeper, which it can where there
            is no namespace. Then every child of this process that is no keeper is killed.
        walls: around each.
    """

    def __init__(self, *, namespace: bool = True, adopts: bool = False, walls: Walls | None = None) -> None:
        self.namespace = namespace
        self.walls = walls or NoWalls()
        self._adopts = adopts
        self._keepers: set[int] = set()
        if adopts:
            adopt_orphans()

    def __str__(self) -> str:
        return "PID namespace" if self.namespace else "subreaper"

    def began(self, keeper: int) -> None:
        """A keeper is a child of this process now."""
        self._keepers.add(keeper)

    def over(self, keeper: int) -> None:
        """It has been waited for."""
        self._keepers.discard(keeper)
        if self._adopts and not self.namespace:
            self._kill_orphans()

    def _kill_orphans(self) -> None:
        orphans = [pid for pid in children(os.getpid()) if pid not in self._keepers]
        for orphan in orphans:
            for pid in (orphan, *descendants(orphan)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(orphan, os.WNOHANG)
        if orphans:
            asyncio.get_running_loop().call_later(_LOOK_S, self._kill_orphans)


@dataclass(eq=False)
class Program:
    """A program that runs, or has ended. Made by `start`.

    Attributes:
        ended: its exit code once it has ended, with everything that came of it; -N if signal N ended it.
    """

    keeper: int
    _control: socket.socket
    _stdin: int
    _outputs: dict[int, int]
    ended: asyncio.Future[int]
    _gone: asyncio.Future[None]
    _waiting: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    _lines: bytes = b""
    _started: asyncio.Future[str | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    # ---- input

    def write(self, data: bytes) -> int:
        """Gives it standard input; no data at all is the end of it.

        Returns:
            how many bytes were taken, from the first: what fits into the pipe.

        Raises:
            WrongState: it has ended, has closed its standard input, or reads none of what waits there.
        """
        if self._stdin < 0:
            raise WrongState("the standard input of the program is closed")
        if not data:
            self.close_stdin()
            return 0
        try:
            return os.write(self._stdin, data)
        except BlockingIOError:
            raise WrongState("the program does not read: its standard input is full; write again later") from None
        except OSError:
            self.close_stdin()
            raise WrongState("the program reads no standard input any more") from None

    def close_stdin(self) -> None:
        """The program comes to the end of its standard input."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    # ---- output

    async def read(self, stream: int, count: int) -> bytes:
        """What there is of an output, at most `count` bytes; waits until there is some. Empty at its end.

        Args:
            stream: `STDOUT` or `STDERR`; nobody else reads it meanwhile.
        """
        while (descriptor := self._outputs.get(stream, -1)) >= 0:
            try:
                data = os.read(descriptor, count)
            except BlockingIOError:
                await self._readable(stream, descriptor)
                continue
            if not data:
                self.close_output(stream)
            return data
        return b""

    async def _readable(self, stream: int, descriptor: int) -> None:
        """Returns when there is something to read, or the output is closed."""
        loop = asyncio.get_running_loop()
        ready = self._waiting[stream] = loop.create_future()
        loop.add_reader(descriptor, _resolve, ready)
        try:
            await ready
        finally:
            del self._waiting[stream]
            if self._outputs.get(stream) == descriptor:
                loop.remove_reader(descriptor)

    def close_output(self, stream: int) -> None:
        """Reads no more of an output; the program is told by SIGPIPE when it writes."""
        descriptor = self._outputs.pop(stream, -1)
        if descriptor < 0:
            return
        if (waiting := self._waiting.get(stream)) is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            _resolve(waiting)
        os.close(descriptor)

    # ---- the end

    def signal(self, number: int) -> None:
        """Signals the program itself, and nobody else; nothing happens once it has ended."""
        try:
            self._control.send(bytes([number]))
        except OSError:
            pass

    def destroy(self) -> None:
        """Ends it and all that came of it, at once."""
        self.signal(signal.SIGKILL)
        try:
            self._control.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    async def gone(self, patience: float) -> None:
        """Waits until its keeper has ended, too; one that does not in time is killed.

        Args:
            patience: seconds.
        """
        done, _ = await asyncio.wait([self._gone], timeout=patience)
        if not done:
            os.kill(self.keeper, signal.SIGKILL)  # Not yet waited for, so it is still this one.
            await self._gone

    def close(self) -> None:
        """Lets go of the pipes."""
        self.close_stdin()
        for stream in (STDOUT, STDERR):
            self.close_output(stream)

    # ---- the keeper

    def _hear(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            self._obey(line.decode())
        if not data:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            if not self._started.done():
                self._started.set_result("0 keeper")
            if not self.ended.done():
                self.ended.set_result(_KILLED)

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "ended" and not self.ended.done():
            self.ended.set_result(os.waitstatus_to_exitcode(int(rest)))
        elif word == "started" and not self._started.done():
            self._started.set_result(None)
        elif not self._started.done():
            self._started.set_result(rest if word == "failed" else line)


async def start(order: Order, folder: int, keeping: Keeping) -> Program:
    """Starts a program.

    Args:
        folder: descriptor of the folder that it runs in; stays the caller's.
        keeping: of this machine; told if it cannot have namespaces.

    Raises:
        InvalidInput: an argument that the system cannot take.
        StartFailed: it cannot be executed.
    """
    if any("\0" in text for text in [order.path, *order.argv, *order.env, *order.env.values()]):
        raise InvalidInput("an argument or a variable of a program cannot have a NUL in it")
    try:
        program = await _attempt(order, folder, keeping)
        trouble = await program._started
        if trouble is not None and trouble.startswith("no-namespace"):
            await _abandon(program)
            keeping.namespace = False
            program = await _attempt(order, folder, keeping)
            trouble = await program._started
    except UnicodeEncodeError:
        raise InvalidInput("an argument or a variable of a program is no text that the system can take") from None
    except OSError as error:
        raise StartFailed(f"{order.path} cannot be started: {error.strerror}") from error
    if trouble is not None:
        await _abandon(program)
        raise _why_not(order, trouble)
    return program


async def _abandon(program: Program) -> None:
    program.close()
    await program.gone(_PATIENCE_S)


def _why_not(order: Order, trouble: str) -> TheaterError:
    number, _, doing = trouble.partition(" ")
    if doing == "execute":
        why = os.strerror(int(number))
        if int(number) == errno.ENOEXEC:
            why += " (a script begins with #! and its interpreter)"
        return StartFailed(f"{order.path} cannot be executed: {why}")
    if doing == "walls":
        return StartFailed(f"the walls around {order.path} cannot be built: {os.strerror(int(number))}")
    if doing == "folder":
        return StartFailed(f"{order.path} cannot run in its folder: {os.strerror(int(number))}")
    return StartFailed(f"{order.path} cannot be started: its keeper failed ({trouble})")


async def _attempt(order: Order, folder: int, keeping: Keeping) -> Program:
    loop = asyncio.get_running_loop()
    encoded = order.encoded(keeping.namespace, keeping.walls)
    ours, theirs = socket.socketpair()
    pipes = [os.pipe() for _ in range(3)]
    given = [pipes[0][0], pipes[1][1], pipes[2][1], theirs.fileno(), folder]
    kept = [pipes[0][1], pipes[1][0], pipes[2][0]]
    try:
        pid = _spawn(given)
    except OSError:
        for descriptor in kept:
            os.close(descriptor)
        ours.close()
        raise
    finally:
        theirs.close()
        for descriptor in given[:3]:
            os.close(descriptor)
    for descriptor in kept:
        os.set_blocking(descriptor, False)
    ours.setblocking(False)
    program = Program(
        pid, ours, kept[0], {STDOUT: kept[1], STDERR: kept[2]}, loop.create_future(), _watch(pid, keeping)
    )
    loop.add_reader(ours.fileno(), program._hear)
    try:
        await loop.sock_sendall(ours, encoded)
    except OSError:
        pass  # It has ended; that is heard.
    return program


def _spawn(given: Sequence[int]) -> int:
    """Executes a keeper with these descriptors as its 0, 1, 2, ... and no others."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for descriptor in given]
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(high)]
    command = [sys.executable, "-I", "-S", _KEEPER, str(os.getpid())]
    try:
        # The environment is the launcher's; the program gets none of it.
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)
    finally:
        for descriptor in high:
            os.close(descriptor)


def _watch(pid: int, keeping: Keeping) -> asyncio.Future[None]:
    """Is done when the child `pid` has been waited for."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    descriptor = os.pidfd_open(pid)
    keeping.began(pid)

    def over() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        os.waitpid(pid, 0)
        keeping.over(pid)
        if not gone.done():
            gone.set_result(None)

    loop.add_reader(descriptor, over)
    return gone


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_PATIENCE_S: Final = 10.0
