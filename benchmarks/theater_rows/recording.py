"""What recording costs: the same requests between two actors on two servers, of which one records nothing.

Nothing can be read from the chains of actors that have none, so both are timed from outside: an actor asks another so
often within one call that the call itself does not count. The servers take turns, so that a moment in which the machine
is slow is one for both. What the other one leaves out: benchmarks/unrecorded/sitecustomize.py.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.figures import Figure, timed
from benchmarks.theater_rows.server import Server, server

UNRECORDED = Path(__file__).parents[1] / "unrecorded"
ASKER, ANSWERER = "asker", "answerer"
ASKS = 500
BODY = b"e" * 100
_TURNS = 16
_WIDE = {"record": "1GiB", "call_timeout": "120s"}
_TIMEOUT_S = 120.0


def measure(effort: Effort) -> Iterator[Figure]:
    with server() as recorded, _unrecorded() as other:
        for house in (recorded, other):
            for name in (ASKER, ANSWERER):
                house.start(name, limits=_WIDE)
            _ask(house)
        before = [_entries(house) for house in (recorded, other)]
        ratios, turns = [], []
        for _ in range(effort.of(_TURNS, 4)):
            took = timed(lambda: _ask(recorded)), timed(lambda: _ask(other))
            ratios.append(took[0] / took[1])
            turns.append([each / ASKS * 1e6 for each in took])
        grown = [_entries(house) - entries for house, entries in zip((recorded, other), before, strict=True)]
        if grown[0] < len(turns) * ASKS or grown[1]:
            raise RuntimeError(f"the one that records wrote {grown[0]} entries, the other one {grown[1]}")
        with_it, without = (statistics.median(each) for each in zip(*turns, strict=True))
        note = f"{with_it:.0f} µs for a request and its turn, {without:.0f} without the record"
        yield Figure("record-cost", statistics.median(ratios), samples=len(ratios), note=note)


@contextlib.contextmanager
def _unrecorded() -> Iterator[Server]:
    path = os.environ.get("PYTHONPATH", "")
    with server(environment={"PYTHONPATH": os.pathsep.join([str(UNRECORDED), *filter(None, [path])])}) as house:
        yield house


def _ask(house: Server) -> None:
    order = b"A" + ANSWERER.ljust(8).encode() + ASKS.to_bytes(4, "little") + BODY
    house.client.request(ASKER, order, _TIMEOUT_S)


def _entries(house: Server) -> int:
    return sum(house.row(name).entries for name in (ASKER, ANSWERER))
