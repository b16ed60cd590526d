"""The command line as a process of its own, in a pipe or on a terminal, and a scripted server for it to talk to."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

import ready_commands
from ready_commands import Command

_SCRIPTED = Path(__file__).with_name("scripted_server.py")
_PATIENCE = 30.0


@dataclass(frozen=True)
class Done:
    """What a command wrote and how it ended; on a terminal both streams are in `out`."""

    code: int
    out: bytes
    err: str = ""

    @property
    def text(self) -> str:
        return self.out.decode()


@dataclass(frozen=True)
class Theater:
    """The `theater` command with a home of its own."""

    home: Path

    @property
    def address(self) -> str:
        return f"ipc://{self.home}/run/control"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("THEATER_", "NO_COLOR"))}
        return kept | {"THEATER_HOME": str(self.home), "TERM": "xterm"} | more

    def __call__(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Done:
        """Runs a command whose output goes into a pipe."""
        done = ready_commands.run(
            arguments, stdin=stdin, timeout=_PATIENCE, env=self.environment(**environment), cwd=self.home
        )
        return Done(done.returncode, done.stdout, done.stderr.decode())

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on, to be read line by line; it is killed in the end."""
        pipe = subprocess.PIPE
        with Command[str](
            arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self.environment()
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *arguments: str, columns: int = 80, **environment: str) -> Done:
        """Runs a command on a terminal."""
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        with Command[bytes](
            arguments, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=self.environment(**environment)
        ) as process:
            os.close(slave)
            written = b"".join(_until_closed(master))
            os.close(master)
            return Done(process.wait(_PATIENCE), written.replace(b"\r\n", b"\n"))


def _until_closed(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until nobody has it open; Linux reports that as EIO."""
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 65536):
            yield chunk


@dataclass(frozen=True)
class Scripted:
    """A scripted server."""

    process: subprocess.Popen[str]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @classmethod
    def on(cls, theater: Theater) -> Scripted:
        """Starts one on the home of `theater` and waits until it listens."""
        (theater.home / "run").mkdir(exist_ok=True)
        environment = theater.environment()
        process = Command[str]([theater.address], script=_SCRIPTED, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return cls(process)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
