"""Many actors at once: how long they take to come up, to come back when all are killed, and whether the server answers
meanwhile.

They come up as clients ask for them, eight at a time. SIGKILL goes to all within a few milliseconds; they have
recovered when every one of them runs in its next incarnation.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, timed
from benchmarks.theater_rows.commands import theater
from benchmarks.theater_rows.server import Server, server, settle, supervisor_of_all, wait_until
from theater.client import Client, Row
from theater.client.deploy import Deployment

CROWD = 1000
AT_A_TIME = 8
FAMILY = 20
STORMY = 40
_LOOK_EVERY_S = 0.2
_GLANCE_EVERY_S = 0.005
_BETWEEN_KILLS_S = 0.01
_RESTLESS = {"intensity": 1_000_000, "period": 1}


def measure(effort: Effort) -> Iterator[Figure]:
    if effort.wants("one-for-all"):
        yield of_samples("one-for-all", _siblings(effort.of(20)), f"{FAMILY} actors, each in its next life")
    if effort.wants("list-storm"):
        yield _listed_in_a_storm(effort.of(20))
    if effort.wants("up-1000", "kill-1000"):
        yield from _crowd(effort.of(CROWD))


# ---- a crowd


def _crowd(count: int) -> Iterator[Figure]:
    with server() as house:
        ready = house.prepare("one")
        house.client.start_prepared(ready)
        up = timed(lambda: _start(house, ready, count))
        yield Figure("up-1000", up, samples=count, note=f"{count} actors, {count / up:.0f} starts/s")
        settle()
        back = timed(lambda: _kill_all(house))
        yield Figure("kill-1000", back, samples=count, note=f"{count} actors, {count / back:.0f} restarts/s")


def _start(house: Server, ready: Deployment, count: int) -> None:
    """Has clients start so many, several at a time."""
    numbers = iter(range(count))

    def work() -> None:
        client = Client(home=house.home.root)
        try:
            for _ in numbers:  # Shared: each number is taken once.
                client.start_prepared(ready)
        finally:
            client.close()

    _at_once([work] * AT_A_TIME)


def _at_once(jobs: Sequence[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(len(jobs)) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def _kill_all(house: Server) -> None:
    before = {row.id: row.incarnation for row in house.client.list()}
    for row in house.client.list():
        _kill(row)
    wait_until(lambda: _all_are_back(house.client.list(), before), _LOOK_EVERY_S)


def _all_are_back(rows: Sequence[Row], before: dict[str, int]) -> bool:
    return all(row.state == "running" and row.incarnation > before[row.id] for row in rows)


def _kill(row: Row) -> None:
    if row.pid is not None:
        os.kill(row.pid, signal.SIGKILL)


# ---- a family


def _siblings(times: int) -> list[float]:
    """Seconds from the death of one child of a `one_for_all` supervisor until all run again."""
    names = [f"sibling{number}" for number in range(FAMILY)]
    found = []
    with server(supervisor_of_all("one_for_all", names)) as house:
        wait_until(lambda: [row.state for row in house.client.list()] == ["running"] * FAMILY)
        for number in range(times):
            settle()
            found.append(_seconds_until_all_are_back(house, names[number % FAMILY], names[-1]))
    return found


def _seconds_until_all_are_back(house: Server, victim: str, last: str) -> float:
    """They come back in order, so it is the last that is waited for; seldom enough to be no load."""
    before = {row.id: row.incarnation for row in house.client.list()}
    row = house.row(victim)
    begin = time.perf_counter()
    _kill(row)
    wait_until(lambda: _all_are_back([house.row(last)], before), _GLANCE_EVERY_S)
    took = time.perf_counter() - begin
    wait_until(lambda: _all_are_back(house.client.list(), before))
    return took


# ---- a storm


def _listed_in_a_storm(times: int) -> Figure:
    """`theater list`, whole process, while one actor is killed after the other."""
    with server() as house:
        ready = house.prepare("stormy", supervision=_RESTLESS)
        for _ in range(STORMY):
            house.client.start_prepared(ready)
        environment = {**os.environ, "THEATER_HOME": str(house.home.root)}
        command = [*theater(), "list"]

        def run() -> None:
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

        run()
        with _Storm(house) as storm:
            found = [timed(run) for _ in range(times)]
        note = f"{STORMY} actors, {storm.kills / storm.seconds:.0f} of them killed a second"
        return of_samples("list-storm", found, note)


class _Storm:
    """Kills actors, one after the other, until it is over."""

    def __init__(self, house: Server) -> None:
        self.kills = 0
        self.seconds = 0.0
        self._client = Client(home=house.home.root)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._rage)

    def __enter__(self) -> _Storm:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _rage(self) -> None:
        begin = time.monotonic()
        while not self._over.is_set():
            for row in self._client.list():
                if row.state == "running" and not self._over.wait(_BETWEEN_KILLS_S):
                    _strike(row)
                    self.kills += 1
        self.seconds = time.monotonic() - begin


def _strike(row: Row) -> None:
    try:
        _kill(row)
    except ProcessLookupError:
        pass  # It was killed in the round before.
