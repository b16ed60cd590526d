"""Xoscar: actors in a pool of processes; the two that talk live in different ones.

An actor is cheap there and its process is not, so `start` is an actor in a process that runs already, as with
Theater's templates, and `memory` is a process of the pool, since that is what isolates an actor. A pool restarts its
processes, and their actors, when it finds one dead.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import xoscar
from xoscar.backends.allocate_strategy import ProcessIndex

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples
from benchmarks.processes import private_memory

SMALL, LARGE = b"e" * 100, b"e" * (64 << 10)
_ADDRESS = "127.0.0.1"
_PROCESSES = 3
_ANSWER_WITHIN_S = 30.0


class Answerer(xoscar.Actor):  # type: ignore[misc]
    """Answers the body, or counts."""

    def __init__(self) -> None:
        self._counted = 0

    async def echo(self, body: bytes) -> bytes:
        return body

    async def count(self, body: bytes) -> None:
        self._counted += 1

    async def total(self) -> int:
        return self._counted

    async def pid(self) -> int:
        return os.getpid()


class Asker(xoscar.Actor):  # type: ignore[misc]
    """Asks another actor, and times it."""

    async def ask(self, other: Any, body: bytes, count: int) -> list[float]:
        found = []
        for _ in range(count):
            begin = time.perf_counter()
            await other.echo(body)
            found.append(time.perf_counter() - begin)
        return found

    async def flood(self, other: Any, body: bytes, count: int) -> float:
        """Messages a second, none of which is waited for by itself."""
        begin = time.perf_counter()
        for _ in range(count):
            await other.count.tell(body)
        while (found := await other.total()) < count:
            await asyncio.sleep(0)
        assert found == count, f"{found} of {count} arrived"
        return count / (time.perf_counter() - begin)


def measure(effort: Effort) -> Iterator[Figure]:
    yield from asyncio.run(_measure(effort))


async def _measure(effort: Effort) -> list[Figure]:
    pool = await xoscar.create_actor_pool(_ADDRESS, n_process=_PROCESSES)
    address = pool.external_address
    try:
        found = []
        if effort.wants("request-reply", "request-64k", "one-way"):
            found += await _messages(address, effort)
        if effort.wants("start", "start-rate"):
            found += await _starts(address, effort.of(200))
        idle = await _create(address, Answerer, "idle", 3)
        if effort.wants("memory"):
            found.append(Figure("memory", private_memory(await idle.pid()), note="a process of the pool"))
        if effort.wants("restart"):
            found.append(of_samples("restart", [await _restart(idle) for _ in range(effort.of(5))]))
        return found
    finally:
        await pool.stop()


async def _create(address: str, actor: type[Any], uid: str, process: int) -> Any:
    return await xoscar.create_actor(actor, address=address, uid=uid, allocate_strategy=ProcessIndex(process))


async def _messages(address: str, effort: Effort) -> list[Figure]:
    asker, other = await _create(address, Asker, "asker", 1), await _create(address, Answerer, "other", 2)
    await asker.ask(other, SMALL, 100)
    count = effort.of(5000)
    return [
        of_samples("request-reply", await asker.ask(other, SMALL, effort.of(2000))),
        of_samples("request-64k", await asker.ask(other, LARGE, effort.of(300))),
        Figure("one-way", await asker.flood(other, SMALL, count), samples=count),
    ]


async def _starts(address: str, count: int) -> list[Figure]:
    took = []
    for number in range(count):
        begin = time.perf_counter()
        born = await _create(address, Answerer, f"born-{number}", 3)
        await born.echo(SMALL)
        took.append(time.perf_counter() - begin)
    return [
        of_samples("start", took, "an actor in a process that runs already"),
        Figure("start-rate", count / sum(took), samples=count),
    ]


async def _restart(victim: Any) -> float:
    """Seconds from the SIGKILL of an actor's process to its next answer."""
    pid = await victim.pid()
    begin = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    deadline = begin + _ANSWER_WITHIN_S
    while time.perf_counter() < deadline:
        try:
            if await asyncio.wait_for(victim.pid(), 1.0) != pid:
                return time.perf_counter() - begin
        except (TimeoutError, xoscar.errors.XoscarError, OSError, EOFError):
            await asyncio.sleep(0.001)
    raise TimeoutError(f"no answer within {_ANSWER_WITHIN_S:g} s of a kill")
