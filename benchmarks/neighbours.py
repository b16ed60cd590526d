"""What a neighbour feels of actors that go for their limits: the latency of its requests, with and without them.

    python -m benchmarks.neighbours [--seconds 3] [--rounds 3] [--only burner ...] [--cpu 10% | none]
                                    [--supervision unforgiven | default] [--cgroup DIR]

A client asks one well-behaved actor at an even pace and takes the time of each answer. Meanwhile hostile actors of one
kind do their worst, each within limits that it keeps running into, and is started again: that is what the kinds below
say. Each has a share of a processor besides (`cpu`), over all its lives; `--cpu none` shows what becomes of it without.
With `--supervision default` they are supervised as an actor is whose manifest says nothing of it: one that keeps dying
is given up after its third restart within five seconds, and set aside.
Quiet and hostile times take turns, so that what the machine does besides is in both; the median of the rounds
counts. Wanted is a 99th percentile of at most twice that of the quiet.

Nothing is asserted: on a machine that others use, too, the figures say what the moment was.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).parents[1]
PROBE = ROOT / "tests" / "actors" / "probe.wat"
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests")]

from house import RESTLESS, House, flooding, make_house  # noqa: E402
from kin import Kin  # noqa: E402

from theater.errors import TheaterError  # noqa: E402
from theater.wasm.assemble import assemble  # noqa: E402

_PAUSE_S: Final = 0.002
_SETTLE_S: Final = 0.5
_BETWEEN_ORDERS_S: Final = 0.02
_RESTLESS_CHILDREN: Final = {"intensity": 1000, "period": 1}
SUPERVISION: Final[Mapping[str, Mapping[str, Any]]] = {"unforgiven": {**RESTLESS, "poison": 1000}, "default": {}}
"""Unforgiven: whatever they do, they are started again, and told the same once more."""


@dataclass(frozen=True)
class Kind:
    """One way to be a bad neighbour.

    Args:
        limits: of its manifest.
        order: what it is told to do, again and again.
        what: for the table.
        count: how many of them there are.
    """

    limits: Mapping[str, Any]
    order: bytes
    what: str
    count: int = 2


SINK: Final = "sink"

KINDS: Final[Mapping[str, Kind]] = {
    "burner": Kind({"call_timeout": "1s", "cpu_weight": 10}, b"b", "loops until its call times out"),
    "eater": Kind({"memory": "256MiB", "cpu_weight": 10}, b"m", "grows its memory until it is refused"),
    "flooder": Kind(
        {"messages_per_second": 500, "cpu_weight": 10}, flooding(SINK, 100_000, b"c"), "sends as much as it may"
    ),
    "logger": Kind({"record": "4MiB", "log": "1MiB", "cpu_weight": 10}, b"L" + b"x" * 1000, "logs for ever"),
    "recorder": Kind({"chain": "8MiB", "cpu_weight": 10}, b"l" + b"y" * 60_000, "fills the disk with its record"),
    "trapper": Kind({"cpu_weight": 10}, b"u", "traps, and is started again"),
    "overflower": Kind({"cpu_weight": 10}, b"o", "overflows its stack"),
}
FAMILY: Final = "breeder"
_BREEDER: Final = Kind({"children": 5, "actors": 5, "cpu_weight": 10}, b"", "has children until it is refused", 1)


@dataclass
class Found:
    """What a kind came to: latencies in seconds, by round, and how orders ended."""

    quiet: list[list[float]] = field(default_factory=list)
    hostile: list[list[float]] = field(default_factory=list)
    ends: dict[str, int] = field(default_factory=dict)

    def percentile(self, rounds: Sequence[Sequence[float]], part: float) -> float:
        return statistics.median(sorted(one)[min(len(one) - 1, int(len(one) * part))] for one in rounds)


class Neighbourhood:
    """A server, a good actor, and the bad ones.

    Args:
        seconds: of each quiet and each hostile time.
        cpu: the share of a processor that each bad one may use, or `none`.
        supervision: `[supervision]` of the manifest of each bad one.
    """

    def __init__(self, house: House, seconds: float, cpu: str, supervision: Mapping[str, Any]) -> None:
        self._house = house
        self._supervision = supervision
        self._share = {} if cpu == "none" else {"cpu": cpu}
        self._seconds = seconds
        self._good = house.start("good", limits={"cpu_weight": 100}).id
        house.start(SINK, limits={"mailbox": 100})
        self._kin = Kin(house, self._fresh)
        self._number = 0
        self._over = threading.Event()

    def _fresh(self) -> str:
        self._number += 1
        return f"x{self._number}"

    def measure(self, name: str, rounds: int) -> Found:
        """Takes turns between quiet and one kind."""
        found = Found()
        for _ in range(rounds):
            found.quiet.append(self._ask())
            with self._hostile(name, found.ends):
                time.sleep(_SETTLE_S)
                found.hostile.append(self._ask())
            time.sleep(_SETTLE_S)
        return found

    def _ask(self) -> list[float]:
        client, until, took = self._house.client, time.monotonic() + self._seconds, []
        while time.monotonic() < until:
            began = time.perf_counter()
            client.request(self._good, b"e", timeout=30.0)
            took.append(time.perf_counter() - began)
            time.sleep(_PAUSE_S)
        return took

    @contextlib.contextmanager
    def _hostile(self, name: str, ends: dict[str, int]) -> Iterator[None]:
        kind = KINDS.get(name, _BREEDER)
        self._over.clear()
        actors = [self._start(name, kind) for _ in range(kind.count)]
        threads = [threading.Thread(target=self._drive, args=(actor, order, ends)) for actor, order in actors]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for actor, _ in actors:
                with contextlib.suppress(TheaterError):
                    self._house.client.stop(actor)
            for thread in threads:
                thread.join()
            for actor, _ in actors:
                with contextlib.suppress(TheaterError):
                    self._house.client.call("remove", {"actor": actor})

    def _start(self, name: str, kind: Kind) -> tuple[str, bytes]:
        limits = {**kind.limits, **self._share}
        if name == FAMILY:
            child = self._kin.write()
            return self._kin.parent(_RESTLESS_CHILDREN, limits=limits).id, b"S" + child.encode()
        return self._house.start(self._fresh(), supervision=self._supervision, limits=limits).id, kind.order

    def _drive(self, actor: str, order: bytes, ends: dict[str, int]) -> None:
        client = self._house.connect()
        try:
            while not self._over.is_set():
                how = "answered"
                try:
                    client.request(actor, order, timeout=5.0)
                except TheaterError as error:
                    how = type(error).__name__
                ends[how] = ends.get(how, 0) + 1
                self._over.wait(_BETWEEN_ORDERS_S)
        finally:
            self._house.clients.remove(client)
            client.close()


def table(results: Mapping[str, Found]) -> Iterator[str]:
    """The lines of a table for a person; milliseconds."""
    columns = f"{'p50':>7} {'p99':>7} {'p50 with':>9} {'p99 with':>9} {'p99 ratio':>9}"
    yield f"{'kind':<11} {columns}  what it does, and how it ended"
    for name, found in results.items():
        quiet, hostile = found.percentile(found.quiet, 0.99), found.percentile(found.hostile, 0.99)
        halves = found.percentile(found.quiet, 0.5), found.percentile(found.hostile, 0.5)
        ends = ", ".join(f"{how} {count}" for how, count in sorted(found.ends.items()))
        figures = f"{halves[0] * 1e3:>7.2f} {quiet * 1e3:>7.2f} {halves[1] * 1e3:>9.2f} {hostile * 1e3:>9.2f}"
        yield f"{name:<11} {figures} {hostile / quiet:>9.2f}  {KINDS.get(name, _BREEDER).what}: {ends}"


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[*KINDS, FAMILY], default=[*KINDS, FAMILY])
    parser.add_argument("--cpu", default="10%", help="the share of a processor that each bad one may use, or none")
    parser.add_argument("--supervision", choices=list(SUPERVISION), default="unforgiven")
    parser.add_argument("--cgroup", help="a control group for the server to divide")
    wanted = parser.parse_args(arguments)
    house = make_house(assemble(PROBE.read_text(), str(PROBE)))
    results: dict[str, Found] = {}
    try:
        house.open(*(["--cgroup", wanted.cgroup] if wanted.cgroup else []))
        say(f"control groups: {house.client.hello().control_groups}")
        street = Neighbourhood(house, wanted.seconds, wanted.cpu, SUPERVISION[wanted.supervision])
        for name in wanted.only:
            results[name] = street.measure(name, wanted.rounds)
    finally:
        house.close()
    for line in table(results):
        say(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
