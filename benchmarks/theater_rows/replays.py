"""Replay as against the life that it repeats: the record of an actor that waited, and of actors that computed.

How long a life took is read from its chain. In process means the performance alone, as the process of a replay does
it; the whole command starts that process, verifies the home before, and has everything compiled.

Calls that ask nothing are timed where nobody waits for anything: one call keeps their receiver busy until all of them
are in its mailbox, and its chain says how long it took for them, from the end of that one to the end of the last.
"""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, times
from benchmarks.theater_rows.commands import theater
from benchmarks.theater_rows.server import Server, server, settle, wait_until
from theater import config
from theater.chainlog.reader import ChainReader
from theater.chainlog.rereading import records_from
from theater.client import Client
from theater.core.chain import Entry, Head, Kind
from theater.core.replay import Script
from theater.replay import page
from theater.replay.performance import Performance
from theater.replay.sources import records_of
from theater.store.content import ContentStore
from theater.wasm.artefacts import ArtefactCache

WAITS, WAIT_S = 100, 0.2
CALLS, PYTHON_CALLS = 30_000, 5_000
_ENTRIES_OF_A_CALL = 2
_CALLS_BEFORE = 2
"""The actor's init, and the call that kept it busy."""
_SLOW = b"slow".ljust(8)
_SOON_S = 0.05
_BUSY_S = 3
_WIDE = {"record": "1GiB", "mailbox": 100_000, "call_timeout": "120s", "request_timeout": "60s"}
_TIMEOUT_S = 120.0
_COLLECT_EVERY = 20_000
_PAGE = 10_000

SQUARES = """
import json, time
import theater


class Squares(theater.Actor):
    initial = {"sum": 0}

    def handle_send(self, message):
        if "sleep" in message:
            time.sleep(message["sleep"])
        else:
            self.state["sum"] = sum(number * number for number in range(message["upto"]))
"""
SQUARES_MANIFEST = """
name = "squares"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[actor]
register = true
[limits]
record = "1GiB"
mailbox = 100000
call_timeout = "120s"
"""


def measure(effort: Effort) -> Iterator[Figure]:
    gc.set_threshold(_COLLECT_EVERY, 10, 100)  # As in the process of a replay.
    with server() as house:
        house.start("slow", limits=_WIDE)
        house.start("sender", limits=_WIDE)
        if effort.wants("replay-waited", "replay-waited-command"):
            yield from _waited(house, effort)
        if effort.wants("replay-pure"):
            count = effort.of(CALLS, 1000)
            yield _share("replay-pure", house, _counted(house, count), count)
        if effort.wants("replay-pure-python"):
            count = effort.of(PYTHON_CALLS, 300)
            yield _share("replay-pure-python", house, _squared(house, count), count)


# ---- waiting


def _waited(house: Server, effort: Effort) -> Iterator[Figure]:
    """An actor asks another, whose answer somebody outside gives a while later."""
    count = effort.of(WAITS, 5)
    asker = house.start("waiter", limits=_WIDE).id
    asking = _in_background(house, asker, b"A" + _SLOW + count.to_bytes(4, "little") + b"n")
    while asking.is_alive():
        time.sleep(WAIT_S)
        house.client.send("slow", b"rlater")
    entries = _entries(house, asker)
    took = (entries[-1].time_ns - entries[0].time_ns) / 1e9
    note = f"it ran for {took:.1f} s, in which it waited for {count} answers"
    yield Figure("replay-waited", took / _perform(house, asker), note=note)
    if effort.wants("replay-waited-command"):
        command = [*theater(), "replay", asker]
        here = {**os.environ, "THEATER_HOME": str(house.home.root)}

        def replay() -> None:
            subprocess.run(command, env=here, stdout=subprocess.DEVNULL, check=True)

        replay()
        yield of_samples("replay-waited-command", [took / each for each in times(replay, effort.of(5, 1))])


def _in_background(house: Server, actor: str, body: bytes) -> threading.Thread:
    """Makes a request of somebody who does nothing but wait for its answer."""

    def ask() -> None:
        client = Client(home=house.home.root)
        try:
            client.request(actor, body, _TIMEOUT_S)
        finally:
            client.close()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    return asking


# ---- computing


def _counted(house: Server, count: int) -> str:
    """An actor of WAT that has counted so often."""
    actor = house.start("counting", limits=_WIDE).id
    asking = _in_background(house, actor, b"a" + _SLOW + b"n")
    wait_until(lambda: house.client.inspect(actor).facts["call"] is not None)
    _send_often(house, "counting", count, b"c")
    while asking.is_alive():
        house.client.send("slow", b"rgo")
        time.sleep(_SOON_S)
    return actor


def _squared(house: Server, count: int) -> str:
    """One of Python that has added squares up so often."""
    folder = house.folder / "squares"
    folder.mkdir()
    (folder / "actor.py").write_text(SQUARES)
    (folder / "manifest.toml").write_text(SQUARES_MANIFEST)
    actor = house.client.start_prepared(house.upload(folder)).id
    house.client.send(actor, b'{"sleep": %d}' % _BUSY_S)
    wait_until(lambda: house.client.inspect(actor).facts["call"] is not None)
    _send_often(house, "squares", count, b'{"upto": 20}')
    return actor


def _send_often(house: Server, to: str, count: int, body: bytes) -> None:
    house.client.request("sender", b"f" + to.ljust(8).encode() + count.to_bytes(4, "little") + body, _TIMEOUT_S)


def _share(row: str, house: Server, actor: str, count: int) -> Figure:
    """The speed of the replay of the last `count` calls as a part of their speed in life."""
    wait_until(lambda: house.row(actor).entries >= 1 + _ENTRIES_OF_A_CALL * (_CALLS_BEFORE + count), pause=_SOON_S)
    entries = _entries(house, actor)
    calls = [entry for entry in entries if entry.kind is Kind.CALL]
    if len(calls) != _CALLS_BEFORE + count or entries[-1].kind is not Kind.OUTCOME:
        raise RuntimeError(f"{len(calls)} calls are recorded, and not all of {count}")
    first, before = calls[-count].seq, calls[-count - 1]
    outcome = next(entry for entry in entries[before.seq :] if entry.kind is Kind.OUTCOME)
    if outcome.seq + 1 != first:
        raise RuntimeError("somebody asked something in between")
    live = (entries[-1].time_ns - outcome.time_ns) / 1e9
    again = _perform(house, actor, first)
    note = f"{count / live:,.0f} calls/s in life, {count / again:,.0f} in the replay"
    return Figure(row, live / again, samples=count, note=note)


# ---- chains


def _entries(house: Server, actor: str) -> list[Entry]:
    """All entries of its chain, once nothing happens any more."""
    settle()
    found: list[Entry] = []
    with ChainReader(house.home.chain(actor)) as reader:
        while more := reader.read(_PAGE):
            found += more
    return found


def _perform(house: Server, actor: str, first: int = 0) -> float:
    """Seconds that the replay of its chain takes in this process, from entry `first` on."""
    get = ContentStore(house.home.content).get
    cache = ArtefactCache(config.cache() / "artefacts")
    begun = [time.perf_counter()]
    with mmap.mmap(-1, page.SIZE) as shared:
        tell = page.writer(shared)

        def watch(head: Head, took_ns: int) -> None:
            tell(head, took_ns)
            if head.entries == first:
                begun.append(time.perf_counter())

        chain = house.home.chain(actor)
        Performance(Script(records_of(chain), get, watch), get, cache, partial(records_from, chain), watch).run()
    return time.perf_counter() - begun[-1]
