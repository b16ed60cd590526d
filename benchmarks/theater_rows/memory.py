"""The private memory (USS) of idle actors that have answered one request: what one more of them costs the machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples
from benchmarks.processes import private_memory
from benchmarks.theater_rows.server import Server, server, settle
from theater.client.deploy import Deployment

ACTORS = 100
COUNTER = Path(__file__).parents[2] / "examples" / "counter"


def measure(effort: Effort) -> Iterator[Figure]:
    count = effort.of(ACTORS)
    if effort.wants("memory"):
        with server() as house:
            yield _figure("memory", house, house.prepare("idle"), b"c", count)
    if effort.wants("memory-python"):
        with server() as house:
            yield _figure("memory-python", house, _counter(house), b'{"add": 1}', count)


def _counter(house: Server) -> Deployment:
    """The example, built in a copy."""
    copy = house.folder / "counter"
    shutil.copytree(COUNTER, copy, ignore=shutil.ignore_patterns("build", "__pycache__"))
    return house.upload(copy)


def _figure(row: str, house: Server, ready: Deployment, body: bytes, count: int) -> Figure:
    pids = []
    for _ in range(count):
        found = house.client.start_prepared(ready)
        house.client.request(found.id, body)
        pids.append(found.pid)
    settle()
    used = [private_memory(pid) for pid in pids if pid is not None]
    rest = private_memory(house.pid)
    note = f"{len(used)} actors; the server itself {rest >> 20} MiB"
    return of_samples(row, used, note)
