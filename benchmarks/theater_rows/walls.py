"""What the second wall costs: once for each life, and for each call into a guest; and how soon a hung guest is gone.

Both costs are measured in forks of a process that has loaded a guest, as a template has. Each fork takes on the rooms
of spawner and template, and that of a worker, which alone is timed: it is what a start pays. Forks with and without
them take turns at the same call.
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, times
from benchmarks.processes import is_alive
from benchmarks.theater_rows.guest import compiled_probe, echo_of
from benchmarks.theater_rows.server import Server, server
from theater.errors import TheaterError
from theater.walls import rooms
from theater.walls.landlock import ADD, CHANGE, READ, Right

_CALLS = 3000
_PAIRS = 12
_TIMEOUT_S = 0.2
_LOOP = b"b"


def measure(effort: Effort) -> Iterator[Figure]:
    if effort.wants("seal", "sealed-call"):
        yield from _costs(effort)
    if effort.wants("deadline-gone"):
        with server() as house:
            yield of_samples("deadline-gone", [_time_to_be_gone(house) for _ in range(effort.of(40))])


def _costs(effort: Effort) -> Iterator[Figure]:
    guest = compiled_probe()
    call = echo_of(guest, 16)
    times(call, 100)
    with tempfile.TemporaryDirectory() as folder:
        pairs = effort.of(_PAIRS)
        found = [(_in_a_fork(call, Path(folder), False), _in_a_fork(call, Path(folder), True)) for _ in range(pairs)]
    guest.close()
    if effort.wants("seal"):
        yield of_samples("seal", [sealed.took for _, sealed in found])
    if effort.wants("sealed-call"):
        yield of_samples("sealed-call", [sealed.call / bare.call for bare, sealed in found])


class _Found:
    """What a fork has measured, in seconds.

    Args:
        took: what its room took to enter; 0 without one.
        call: median of a call.
    """

    form = struct.Struct("dd")

    def __init__(self, took: float, call: float) -> None:
        self.took = took
        self.call = call


def _in_a_fork(call: Callable[[], object], folder: Path, sealed: bool) -> _Found:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            took = _seal(folder) if sealed else 0.0
            samples = sorted(times(call, _CALLS))
            os.write(writing, _Found.form.pack(took, samples[len(samples) // 2]))
        os._exit(0)
    os.close(writing)
    data = os.read(reading, _Found.form.size)
    os.close(reading)
    os.waitpid(child, 0)
    return _Found(*_Found.form.unpack(data))


def _seal(folder: Path) -> float:
    """Enters all rooms of a worker's descent; returns what its own took."""
    chain = os.open(folder / "chain", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    places: dict[str | int, Right] = {str(folder): CHANGE, "/proc": READ}
    rooms.enter(rooms.SPAWNER)
    rooms.enter(rooms.TEMPLATE, places)
    begun = time.perf_counter()
    own: dict[str | int, Right] = {str(folder): READ, "/tmp": ADD, f"/proc/{os.getpid()}": READ}
    rooms.enter(rooms.worker(os.getpid(), chain, by_name=False), own)
    return time.perf_counter() - begun


def _time_to_be_gone(house: Server) -> float:
    """From the moment at which a call has lasted too long to that at which its process is no more."""
    row = house.start(
        "hung", limits={"call_timeout": f"{int(_TIMEOUT_S * 1000)}ms"}, supervision={"restart": "temporary"}
    )
    assert row.pid is not None
    begun = time.perf_counter()
    house.client.send(row.id, _LOOP)
    while is_alive(row.pid):
        time.sleep(0.0005)
    gone = time.perf_counter() - begun - _TIMEOUT_S
    with contextlib.suppress(TheaterError):
        house.client.stop(row.id)
    return gone
