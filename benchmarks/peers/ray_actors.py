"""Ray: a worker process for each actor, one node on this machine.

`start` and `restart` include the worker process, since Ray has one for each actor; a few are kept warm by Ray itself.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, rate, timed, times
from benchmarks.processes import private_memory

SMALL, LARGE = b"e" * 100, b"e" * (64 << 10)
_ANSWER_WITHIN_S = 60.0
_STORE_BYTES = 100 << 20


@ray.remote(num_cpus=0, max_restarts=-1)
class Answerer:
    """Answers the body, or counts."""

    def __init__(self) -> None:
        self._counted = 0

    def echo(self, body: bytes) -> bytes:
        return body

    def count(self, body: bytes) -> None:
        self._counted += 1

    def total(self) -> int:
        return self._counted

    def pid(self) -> int:
        return os.getpid()


@ray.remote(num_cpus=0)
class Asker:
    """Asks another actor, and times it."""

    def ask(self, other: Any, body: bytes, count: int) -> list[float]:
        return times(lambda: ray.get(other.echo.remote(body)), count)

    def flood(self, other: Any, body: bytes, count: int) -> float:
        """Messages a second, none of which is waited for by itself."""

        def run() -> None:
            for _ in range(count):
                other.count.remote(body)
            found = ray.get(other.total.remote())
            assert found == count, f"{found} of {count} arrived"

        return rate(count, run)


def measure(effort: Effort) -> Iterator[Figure]:
    # Ray leaves its logs and sockets where they are; its daemons may still write when it has shut down.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        try:
            yield from _rows(effort)
        finally:
            ray.shutdown()


def _rows(effort: Effort) -> Iterator[Figure]:
    if effort.wants("request-reply", "request-64k", "one-way"):
        yield from _messages(effort)
    if effort.wants("start", "start-rate"):
        took = [_start() for _ in range(effort.of(6))]
        yield of_samples("start", took)
        yield Figure("start-rate", len(took) / sum(took), samples=len(took))
    if effort.wants("memory"):
        yield _memory(effort.of(4))
    if effort.wants("restart"):
        victim = Answerer.remote()
        yield of_samples("restart", [_restart(victim) for _ in range(effort.of(4))], "max_restarts")


def _messages(effort: Effort) -> Iterator[Figure]:
    asker, other = Asker.remote(), Answerer.remote()
    ray.get(asker.ask.remote(other, SMALL, 50))
    yield of_samples("request-reply", ray.get(asker.ask.remote(other, SMALL, effort.of(1000))))
    yield of_samples("request-64k", ray.get(asker.ask.remote(other, LARGE, effort.of(200))))
    count = effort.of(5000)
    yield Figure("one-way", ray.get(asker.flood.remote(other, SMALL, count)), samples=count)
    ray.kill(asker)
    ray.kill(other)


def _start() -> float:
    born: list[Any] = []

    def run() -> None:
        born.append(Answerer.remote())
        ray.get(born[0].echo.remote(SMALL))

    took = timed(run)
    ray.kill(born[0])
    return took


def _memory(count: int) -> Figure:
    born = [Answerer.remote() for _ in range(count)]
    pids = ray.get([actor.pid.remote() for actor in born])
    used = statistics.median(map(private_memory, pids))
    for actor in born:
        ray.kill(actor)
    return Figure("memory", used, samples=count)


def _restart(victim: Any) -> float:
    """Seconds from the SIGKILL of an actor's process to its next answer."""
    pid = ray.get(victim.pid.remote())
    begin = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    deadline = begin + _ANSWER_WITHIN_S
    while time.perf_counter() < deadline:
        try:
            if ray.get(victim.pid.remote(), timeout=5) != pid:
                return time.perf_counter() - begin
        except ray.exceptions.RayError:
            time.sleep(0.001)
    raise TimeoutError(f"no answer within {_ANSWER_WITHIN_S:g} s of a kill")
