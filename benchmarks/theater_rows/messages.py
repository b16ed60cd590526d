"""Messages between two actors, and between a client and one.

What two actors do is read from their own chains, so nothing watches while they do it: a request lasts from the
entry of the asking actor's host call to the entry of its result; a one-way run from the sender's first host call
to the receiver's last outcome. Entries carry the wall time at which they were made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, times
from benchmarks.theater_rows.server import Server, server, settle, wait_until
from theater.chainlog.reader import ChainReader
from theater.core.chain import Entry, Kind
from theater.errors import ActorFailed

SMALL, LARGE = 100, 64 << 10
ASKER, ANSWERER, CROWDED = "asker", "answerer", "crowded"
DEFAULT_MAILBOX = 1000
ENTRIES_OF_A_SEND = 2
"""What a one-way message leaves at its receiver: its call and its outcome."""

_WIDE = {"record": "1GiB", "mailbox": 100_000, "call_timeout": "120s"}
_TIMEOUT_S = 120.0
_LOOK_EVERY_S = 0.05
_PAGE = 1000


def measure(effort: Effort) -> Iterator[Figure]:
    with server() as house:
        for name in (ASKER, ANSWERER):
            house.start(name, limits=_WIDE)
        house.start(CROWDED, limits={"record": "1GiB"})
        yield from _requests(house, effort)
        yield from _one_way(house, effort)


# ---- requests


def _requests(house: Server, effort: Effort) -> Iterator[Figure]:
    with _Watched(house, ASKER) as asker:
        _ask(house, SMALL, 200)
        asker.forget()
        if effort.wants("request-reply", "request-turn"):
            _ask(house, SMALL, effort.of(4000, 100))
            entries = asker.entries()
            yield of_samples("request-reply", _latencies(entries))
            yield of_samples("request-turn", _periods(entries))
        if effort.wants("request-64k"):
            _ask(house, LARGE, effort.of(300, 20))
            yield of_samples("request-64k", _latencies(asker.entries()))
        if effort.wants("request-64k-fresh"):
            for _ in range(effort.of(200, 20)):
                house.client.request(ASKER, b"a" + _to(ANSWERER) + b"e" + os.urandom(LARGE - 1), _TIMEOUT_S)
            yield of_samples("request-64k-fresh", _latencies(asker.entries()))
    if effort.wants("client-request"):
        body = b"e" * SMALL
        yield of_samples("client-request", times(lambda: house.client.request(ANSWERER, body), effort.of(1000, 50)))


def _ask(house: Server, size: int, count: int) -> None:
    """Has the asking actor ask so often, within one call of its own."""
    house.client.request(ASKER, b"A" + _to(ANSWERER) + count.to_bytes(4, "little") + b"e" * size, _TIMEOUT_S)


def _latencies(entries: list[Entry]) -> list[float]:
    """Seconds from each host call to its result."""
    found, asked = [], 0
    for entry in entries:
        if entry.kind is Kind.HOST_CALL:
            asked = entry.time_ns
        elif entry.kind is Kind.HOST_RESULT:
            found.append((entry.time_ns - asked) / 1e9)
    return found


def _periods(entries: list[Entry]) -> list[float]:
    """Seconds from each host call to the next."""
    asked = [entry.time_ns for entry in entries if entry.kind is Kind.HOST_CALL]
    return [(later - earlier) / 1e9 for earlier, later in pairwise(asked)]


# ---- one way


def _one_way(house: Server, effort: Effort) -> Iterator[Figure]:
    if effort.wants("one-way"):
        count = effort.of(30_000, 1000)
        yield Figure("one-way", _flood(house, ANSWERER, count), samples=count)
    if effort.wants("one-way-default"):
        count = effort.of(30_000, 2000)
        yield Figure("one-way-default", _flood_by_and_by(house, CROWDED, count), samples=count)


def _flood(house: Server, receiver: str, count: int) -> float:
    """Messages a second: all sent within one call of the sender."""
    with _Watched(house, ASKER) as sender, _Watched(house, receiver) as taker:
        house.client.request(ASKER, _flooding(receiver, count), _TIMEOUT_S)
        taker.await_entries(ENTRIES_OF_A_SEND * count)
        begin = next(entry.time_ns for entry in sender.entries() if entry.kind is Kind.HOST_CALL)
        return count * 1e9 / (taker.entries()[-1].time_ns - begin)


def _flood_by_and_by(house: Server, receiver: str, count: int) -> float:
    """Messages a second: as many as the mailbox holds, again and again; those it had no room for do not count."""
    with _Watched(house, receiver) as taker:
        begin = time.time_ns()
        while taker.grown() < ENTRIES_OF_A_SEND * count:
            try:
                house.client.request(ASKER, _flooding(receiver, DEFAULT_MAILBOX), _TIMEOUT_S)
            except ActorFailed as error:
                if "mailbox" not in error.message:
                    raise
        wait_until(lambda: house.row(receiver).mailbox == 0, _LOOK_EVERY_S)
        settle()
        outcomes = [entry.time_ns for entry in taker.entries() if entry.kind is Kind.OUTCOME]
        return len(outcomes) * 1e9 / (outcomes[-1] - begin)


def _flooding(receiver: str, count: int) -> bytes:
    return b"f" + _to(receiver) + count.to_bytes(4, "little") + b"c" * SMALL


def _to(actor: str) -> bytes:
    """A name as the probe takes it."""
    return actor.ljust(8).encode()


# ---- chains


class _Watched:
    """What an actor's chain grows by, read when the actor has done its work."""

    def __init__(self, house: Server, actor: str) -> None:
        self._house = house
        self._actor = actor
        found = house.row(actor)
        self._path: Path = house.home.chain(found.id)
        self._reader = ChainReader(self._path)
        self.forget()

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def forget(self) -> None:
        """Begins behind everything that is there."""
        settle()
        while self._reader.records(_PAGE):
            pass

    def entries(self) -> list[Entry]:
        """What has come since the last time."""
        found: list[Entry] = []
        while more := self._reader.read(_PAGE):
            found += more
        return found

    def grown(self) -> int:
        """How many entries have come, by the server's word; they are not read."""
        return self._house.row(self._actor).entries - self._reader.head.entries

    def await_entries(self, count: int) -> None:
        wait_until(lambda: self.grown() >= count, _LOOK_EVERY_S)
