"""Lives of actors: from a start to the first answer, and from a SIGKILL to the first answer of a successor.

A start is `Client.start_prepared` and a request: the manifest has been read and the component is in the store and
compiled, as when an actor of a known kind is started once more. A restart begins with kill(2), and ends when a
client's request is answered; the client asks at once, and again whenever it is told that the actor went down.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, rate, timed
from benchmarks.processes import is_alive
from benchmarks.theater_rows.server import Server, server, settle, wait_until
from theater.client import Client
from theater.client.deploy import Deployment
from theater.errors import ActorDown

AT_A_TIME = 8
VICTIM = "victim"
COUNT = b"c"
_RESTLESS = {"intensity": 1_000_000, "period": 1}


def measure(effort: Effort) -> Iterator[Figure]:
    with server() as house:
        ready = house.prepare("newborn")
        house.start(VICTIM, supervision=_RESTLESS)
        _start_and_ask(house.client, ready)
        if effort.wants("start"):
            yield of_samples("start", _starts(house, ready, effort.of(60)))
        if effort.wants("start-rate"):
            count = effort.of(60)
            yield Figure("start-rate", rate(count, lambda: _one_by_one(house, ready, count)), samples=count)
            _stop_newborns(house)
        if effort.wants("start-rate-8"):
            count = effort.of(80, AT_A_TIME)
            yield Figure("start-rate-8", _rate_together(house, ready, count), samples=count)
            _stop_newborns(house)
        if effort.wants("restart-spare"):
            yield of_samples("restart-spare", _restarts(house, effort.of(40), _await_spare))
        if effort.wants("restart"):
            yield of_samples("restart", _restarts(house, effort.of(40), _end_spares))


# ---- starts


def _start_and_ask(client: Client, ready: Deployment) -> None:
    client.request(client.start_prepared(ready).id, COUNT)


def _starts(house: Server, ready: Deployment, count: int) -> list[float]:
    found = []
    for _ in range(count):
        found.append(timed(lambda: _start_and_ask(house.client, ready)))
        _stop_newborns(house)
        _await_spare(house)
    return found


def _one_by_one(house: Server, ready: Deployment, count: int) -> None:
    for _ in range(count):
        _start_and_ask(house.client, ready)


def _rate_together(house: Server, ready: Deployment, count: int) -> float:
    """Starts a second, by clients that each start one after the other."""
    clients = [Client(home=house.home.root) for _ in range(AT_A_TIME)]
    each = count // AT_A_TIME
    try:
        for client in clients:
            client.hello()
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return rate(each * AT_A_TIME, lambda: _all(pool, [_repeated(client, ready, each) for client in clients]))
    finally:
        for client in clients:
            client.close()


def _repeated(client: Client, ready: Deployment, count: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            _start_and_ask(client, ready)

    return run


def _all(pool: ThreadPoolExecutor, jobs: Sequence[Callable[[], None]]) -> None:
    for done in [pool.submit(job) for job in jobs]:
        done.result()


def _stop_newborns(house: Server) -> None:
    """Ends all actors but the victim."""
    for row in house.client.list():
        if row.name != VICTIM:
            house.client.stop(row.id, remove=True)


# ---- restarts


def _restarts(house: Server, count: int, arrange: Callable[[Server], None]) -> list[float]:
    found = []
    for _ in range(count):
        settle()
        pid = house.row(VICTIM).pid
        if pid is None:
            raise RuntimeError(f"{VICTIM} has no process to kill")
        arrange(house)
        found.append(timed(lambda victim=pid: _kill_and_ask(house.client, victim)))
    return found


def _kill_and_ask(client: Client, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            client.request(VICTIM, COUNT)
            return
        except ActorDown:
            time.sleep(0)  # One processor may be all there is: let the server have it.


def _await_spare(house: Server) -> None:
    wait_until(house.spares)


def _end_spares(house: Server) -> None:
    """Kills the spares and waits until the server has taken note: it makes no new one before the next start."""
    spares = house.spares()
    for pid in spares:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in spares))
