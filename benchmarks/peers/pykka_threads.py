"""Pykka: actors that are threads of one process. The bound for whoever shares memory, with no isolation at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pykka

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, rate, times
from benchmarks.processes import private_memory

SMALL, LARGE = b"e" * 100, b"e" * (64 << 10)
_COUNT = b"c" * 100
_TOTAL = b"t"
NOTE = "threads of one process"


class Answerer(pykka.ThreadingActor):
    """Answers the body, or counts."""

    def __init__(self) -> None:
        super().__init__()
        self._counted = 0

    def on_receive(self, message: Any) -> Any:
        if message is _COUNT:
            self._counted += 1
            return None
        return self._counted if message is _TOTAL else message


class Asker(pykka.ThreadingActor):
    """Asks another actor, and times it."""

    def on_receive(self, message: Any) -> Any:
        other, body, count = message
        if body is not _COUNT:
            return times(lambda: other.ask(body), count)
        return rate(count, lambda: _flood(other, count))


def measure(effort: Effort) -> Iterator[Figure]:
    try:
        if effort.wants("request-reply", "request-64k", "one-way"):
            yield from _messages(effort)
        if effort.wants("start", "start-rate", "memory"):
            yield from _starts(effort.of(200))
    finally:
        pykka.ActorRegistry.stop_all()


def _messages(effort: Effort) -> Iterator[Figure]:
    asker, other = Asker.start(), Answerer.start()
    yield of_samples("request-reply", asker.ask((other, SMALL, effort.of(5000))), NOTE)
    yield of_samples("request-64k", asker.ask((other, LARGE, effort.of(500))))
    count = effort.of(30_000)
    yield Figure("one-way", asker.ask((other, _COUNT, count)), samples=count)


def _starts(count: int) -> Iterator[Figure]:
    before = private_memory(os.getpid())
    took = times(_start, count)
    yield of_samples("start", took)
    yield Figure("start-rate", count / sum(took), samples=count)
    yield Figure("memory", (private_memory(os.getpid()) - before) / count, samples=count, note="a thread")


def _flood(other: pykka.ActorRef[Any], count: int) -> None:
    for _ in range(count):
        other.tell(_COUNT)
    found = other.ask(_TOTAL)
    assert found == count, f"{found} of {count} arrived"


def _start() -> None:
    Answerer.start().ask(SMALL)
