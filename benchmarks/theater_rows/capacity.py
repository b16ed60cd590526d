"""How many actors start, and answer, until something gives: a start, an answer, or the machine's memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.effort import Effort
from benchmarks.figures import Figure
from benchmarks.processes import available_memory
from benchmarks.theater_rows.server import Server, server
from theater.client.deploy import Deployment
from theater.errors import TheaterError

_KEPT_FREE = 1 << 30
"""Bytes that are left to whoever else uses the machine."""


def measure(effort: Effort) -> Iterator[Figure]:
    with server() as house:
        ready = house.prepare("one")
        before, begin = available_memory(), time.perf_counter()
        count, why = _start_many(house, ready, effort.actors)
        took = time.perf_counter() - begin
        each = (before - available_memory()) / max(count, 1)
        note = f"{why}; {count / took:.0f} starts/s, {each / (1 << 20):.1f} MiB of the machine's memory each"
        yield Figure("capacity", count, samples=count, note=note, open_end=count >= effort.actors)


def _start_many(house: Server, ready: Deployment, limit: int) -> tuple[int, str]:
    """How many actors were started, and why no more."""
    for number in range(limit):
        if available_memory() < _KEPT_FREE:
            return number, f"{_KEPT_FREE >> 20} MiB of memory are left"
        try:
            house.client.request(house.client.start_prepared(ready).id, b"c")
        except TheaterError as error:
            return number, f"{type(error).__name__}: {error.message}"
    return limit, f"stopped at {limit}, see --actors"
