"""Processes that send a burst of messages and are killed: a nursery that forks them, and its end in a test.

Run as a script it is the nursery. It opens nothing but its pipes, so that each sender makes its own sockets after the
fork, and it reaps a sender before it says that it is dead, as the supervisor does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from theater.bus.sockets import Context
from theater.core.wire import Send, encode
from theater.worker.news import peer_name

CAUSE = bytes(32)


@dataclass(frozen=True)
class Burst:
    """What a sender sends: `count` messages of `size` bytes that begin with their numbers.

    Args:
        flushed: it says so when all of them have left its process, and not when it begins.
    """

    endpoint: str
    actor: str
    incarnation: int
    count: int
    size: int
    flushed: bool

    def line(self) -> str:
        facts = (self.endpoint, self.actor, self.incarnation, self.count, self.size, int(self.flushed))
        return " ".join(map(str, facts)) + "\n"

    @classmethod
    def of(cls, line: str) -> Burst:
        endpoint, actor, *numbers = line.split()
        incarnation, count, size, flushed = map(int, numbers)
        return cls(endpoint, actor, incarnation, count, size, bool(flushed))


class Nursery:
    """The test's end."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__))]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )

    def sender(self, burst: Burst) -> int:
        """Starts a sender; returns its pid when it sends, or, if it flushes, when all has left it."""
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

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        return line.strip()


def send(burst: Burst) -> None:
    """A sender's whole life; it waits to be killed."""
    context = Context()
    identity = peer_name(burst.actor, burst.incarnation)
    dealer = context.dealer(burst.endpoint, identity=identity, queue=burst.count + 1, linger_ms=-1)
    if not burst.flushed:
        say("sends")
    for number in range(1, burst.count + 1):
        body = number.to_bytes(4, "big").ljust(burst.size, b".")
        dealer.send(encode(Send(burst.actor, number, [[CAUSE, body]])))
    if burst.flushed:
        context.end(-1)  # Returns when the kernel has everything.
        say("sends")
    time.sleep(60)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def serve() -> None:
    """The nursery itself, until its standard input ends."""
    for line in sys.stdin:
        if line.startswith("reap "):
            os.waitpid(int(line.split()[1]), 0)
            say("reaped")
            continue
        pid = os.fork()
        if pid == 0:
            try:
                say(str(os.getpid()))
                send(Burst.of(line))
            finally:
                os._exit(1)


if __name__ == "__main__":
    serve()
