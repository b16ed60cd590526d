"""Thespian, on `multiprocTCPBase`: a process for each actor, TCP between them, an admin daemon for all.

There is no request there: an actor sends and its `receiveMessage` is entered for each answer, so the asking actor
keeps what it is doing as its state. A dead actor is not started again, so there is no `restart`.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from thespian.actors import Actor, ActorAddress, ActorExitRequest, ActorSystem

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, timed
from benchmarks.processes import private_memory

SMALL, LARGE = b"e" * 100, b"e" * (64 << 10)
PATIENCE = timedelta(seconds=60)
_TOTAL = "total"
_PID = "pid"
_WINDOW = 500
"""One-way messages that are under way at a time: Thespian's own queue has room for some 900 and then stalls."""


@dataclass
class Ask:
    """Ask `other` so often; answer the times."""

    other: ActorAddress
    body: bytes
    count: int


@dataclass
class Flood:
    """Send `other` so many counts; answer the rate."""

    other: ActorAddress
    body: bytes
    count: int


@dataclass
class Count:
    body: bytes


class Answerer(Actor):  # type: ignore[misc]
    """Answers the body, or counts."""

    counted = 0

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:
        if isinstance(message, Count):
            self.counted += 1
        elif message == _TOTAL:
            self.send(sender, self.counted)
        elif message == _PID:
            self.send(sender, os.getpid())
        elif isinstance(message, bytes):
            self.send(sender, message)


class Asker(Actor):  # type: ignore[misc]
    """Asks another actor, and times it."""

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:
        if isinstance(message, Ask):
            self.client, self.job, self.found = sender, message, []
            self._ask()
        elif isinstance(message, bytes):
            self.found.append(time.perf_counter() - self.begin)
            if len(self.found) < self.job.count:
                self._ask()
            else:
                self.send(self.client, self.found)
        elif isinstance(message, Flood):
            self.client, self.job, self.sent, self.begin = sender, message, 0, time.perf_counter()
            self._send_some()
        elif isinstance(message, int):
            assert message == self.sent, f"{message} of {self.sent} arrived"
            if self.sent < self.job.count:
                self._send_some()
            else:
                self.send(self.client, self.sent / (time.perf_counter() - self.begin))

    def _ask(self) -> None:
        self.begin = time.perf_counter()
        self.send(self.job.other, self.job.body)

    def _send_some(self) -> None:
        count = min(_WINDOW, self.job.count - self.sent)
        for _ in range(count):
            self.send(self.job.other, Count(self.job.body))
        self.sent += count
        self.send(self.job.other, _TOTAL)


def measure(effort: Effort) -> Iterator[Figure]:
    system = ActorSystem("multiprocTCPBase", {"Admin Port": _free_port(), "Convention Address.IPv4": None})
    try:
        if effort.wants("request-reply", "request-64k", "one-way"):
            yield from _messages(system, effort)
        if effort.wants("start", "start-rate"):
            took = [_start(system) for _ in range(effort.of(30))]
            yield of_samples("start", took)
            yield Figure("start-rate", len(took) / sum(took), samples=len(took))
        if effort.wants("memory"):
            yield _memory(system, effort.of(20))
    finally:
        system.shutdown()


def _messages(system: ActorSystem, effort: Effort) -> Iterator[Figure]:
    asker, other = system.createActor(Asker), system.createActor(Answerer)
    _request(system, asker, Ask(other, SMALL, 20))
    yield of_samples("request-reply", _request(system, asker, Ask(other, SMALL, effort.of(1000))))
    yield of_samples("request-64k", _request(system, asker, Ask(other, LARGE, effort.of(200))))
    count = effort.of(5000)
    yield Figure("one-way", _request(system, asker, Flood(other, SMALL, count)), samples=count)


def _request(system: ActorSystem, actor: ActorAddress, message: Any) -> Any:
    answer = system.ask(actor, message, PATIENCE)
    if answer is None:
        raise TimeoutError(f"no answer to {type(message).__name__} within {PATIENCE}")
    return answer


def _start(system: ActorSystem) -> float:
    born: list[ActorAddress] = []

    def run() -> None:
        born.append(system.createActor(Answerer))
        _request(system, born[0], SMALL)

    took = timed(run)
    system.tell(born[0], ActorExitRequest())
    return took


def _memory(system: ActorSystem, count: int) -> Figure:
    born = [system.createActor(Answerer) for _ in range(count)]
    used = statistics.median(private_memory(_request(system, actor, _PID)) for actor in born)
    for actor in born:
        system.tell(actor, ActorExitRequest())
    return Figure("memory", used, samples=count)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
