"""The floor: two processes and a `multiprocessing.Pipe`. No actor, no address, no record."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, rate, timed, times
from benchmarks.processes import private_memory

SMALL, LARGE = b"e" * 100, b"e" * (64 << 10)
_ECHO, _COUNT, _TOTAL = b"e", b"c", b"t"
_FORK = multiprocessing.get_context("fork")


def measure(effort: Effort) -> Iterator[Figure]:
    if effort.wants("request-reply", "request-64k", "one-way"):
        yield from _messages(effort)
    if effort.wants("start", "start-rate"):
        took = [_start() for _ in range(effort.of(50))]
        yield of_samples("start", took, "fork")
        yield Figure("start-rate", len(took) / sum(took), samples=len(took))
    if effort.wants("memory"):
        yield _memory(effort.of(20))


def _messages(effort: Effort) -> Iterator[Figure]:
    child = _Child()
    times(lambda: child.ask(SMALL), 100)
    yield of_samples("request-reply", times(lambda: child.ask(SMALL), effort.of(5000)))
    yield of_samples("request-64k", times(lambda: child.ask(LARGE), effort.of(500)))
    count = effort.of(50_000)
    yield Figure("one-way", rate(count, lambda: child.flood(count)), samples=count)
    child.end()


class _Child:
    """A forked process that answers."""

    def __init__(self) -> None:
        self._line, theirs = _FORK.Pipe()
        self.process: BaseProcess = _FORK.Process(target=_answer, args=(theirs, self._line), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, body: bytes) -> bytes:
        self._line.send_bytes(body)
        return self._line.recv_bytes()

    def flood(self, count: int) -> None:
        """Sends so many messages and waits until the child has counted them."""
        for _ in range(count):
            self._line.send_bytes(_COUNT + SMALL[1:])
        found = int(self.ask(_TOTAL))
        assert found == count, f"{found} of {count} arrived"

    def end(self) -> None:
        self._line.close()
        self.process.join()


def _answer(line: Connection, other_end: Connection) -> None:
    other_end.close()  # Inherited; while it is open here, the line has no end.
    counted = 0
    while True:
        try:
            body = line.recv_bytes()
        except EOFError:
            return
        if body[:1] == _COUNT:
            counted += 1
        else:
            line.send_bytes(b"%d" % counted if body == _TOTAL else body)


def _start() -> float:
    """Seconds until a new process has answered."""
    born: list[_Child] = []

    def run() -> None:
        born.append(_Child())
        born[0].ask(SMALL)

    took = timed(run)
    born[0].end()
    return took


def _memory(count: int) -> Figure:
    born = [_Child() for _ in range(count)]
    for child in born:
        child.ask(SMALL)
    used = statistics.median(private_memory(child.process.pid or 0) for child in born)
    while born:
        born.pop().end()  # The last first: each has inherited the pipes of those before it.
    return Figure("memory", used, samples=count)
