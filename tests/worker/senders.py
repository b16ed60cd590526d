"""Processes that send a burst of messages and are killed: a nursery that forks them, and its end in a test.

Run as a script it is the nursery. It gets the end of a link for each sender, as the supervisor gives one, and reaps a
sender before it says that it is dead, as the supervisor does.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from theater.bus.links import Link
from theater.core.wire import MAX_FRAME, Send, encode

CAUSE = bytes(32)


@dataclass(frozen=True)
class Burst:
    """What a sender sends: `count` messages of `size` bytes that begin with their numbers.

    Args:
        flushed: it says so when all of them have left its process, and not when it begins.
    """

    count: int
    size: int
    flushed: bool

    def line(self) -> str:
        return f"{self.count} {self.size} {int(self.flushed)}\n"

    @classmethod
    def of(cls, line: str) -> Burst:
        count, size, flushed = map(int, line.split())
        return cls(count, size, bool(flushed))


class Nursery:
    """The test's end."""

    def __init__(self) -> None:
        self._links, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            bufsize=1,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def sender(self, end: int, burst: Burst) -> int:
        """Starts a sender on the end of a link; returns its pid when it sends, or, if it flushes, when all has left."""
        socket.send_fds(self._links, [b"."], [end])
        os.close(end)
        self._tell(burst.line())
        pid = int(self._line())
        assert self._line() == "sends"
        return pid

    def kill(self, pid: int) -> None:
        """Kills a sender, and returns when it has been reaped."""
        os.kill(pid, signal.SIGKILL)
        self._tell(f"reap {pid}\n")
        assert self._line() == "reaped"

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
        self._links.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        return line.strip()


def send(end: int, burst: Burst) -> None:
    """A sender's whole life; it waits to be killed."""
    link = Link(end, largest=MAX_FRAME, frames=burst.count)
    if not burst.flushed:
        say("sends")
    for number in range(1, burst.count + 1):
        body = number.to_bytes(4, "big").ljust(burst.size, b".")
        link.send(encode(Send(number, [[CAUSE, body]])))
    if burst.flushed:
        assert link.let_out(20.0)  # The kernel has everything.
        say("sends")
    link.let_out(60.0)
    time.sleep(60)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def serve() -> None:
    """The nursery itself, until its standard input ends."""
    links = socket.socket(fileno=int(sys.argv[1]))
    for line in sys.stdin:
        if line.startswith("reap "):
            os.waitpid(int(line.split()[1]), 0)
            say("reaped")
            continue
        _, ancillary, _, _ = links.recvmsg(1, socket.CMSG_SPACE(4))
        (end,) = array.array("i", ancillary[0][2])
        pid = os.fork()
        if pid == 0:
            try:
                say(str(os.getpid()))
                send(end, Burst.of(line))
            finally:
                os._exit(1)
        os.close(end)


if __name__ == "__main__":
    serve()
