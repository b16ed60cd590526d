"""An endurance run: many actors under a steady load, deaths all the time, and nothing may grow.

    python -m benchmarks.endurance [--minutes 30] [--actors 200] [--seed 1] [--into FILE]

Clients ask at a steady rate, so that the latency is that of a server with time to spare; somebody is killed every
second or so, now and then a spare, a template or the spawner. Every few seconds the server's memory and descriptors,
the memory of all its processes and the latency since the last look are written down. When it is over, everything that
a soak asserts is asserted (benchmarks/soak.py), and each series is judged: how far its last third is above the third
before it. The first third may be warm-up.

Writes FILE.json with all looks and FILE.svg, the plot; FILE is `endurance` beside this program unless told.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.soak import LIMITS, RESTLESS, ROOT, House, Soak, descriptors, make_house
from theater.client import Client
from theater.wasm.assemble import assemble

_LOOK_EVERY_S = 5.0
_REQUESTS_A_SECOND = 40.0
"""Of each of the clients: together with the deaths about a third of what two processors can do."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment.

    Args:
        minute: since the beginning.
        server_mib: private memory of the supervisor.
        all_mib: of all processes together, each page shared by n of them counted as 1/n.
        descriptors: open ones of the supervisor.
        processes: how many there are.
        requests: that ended since the last look.
        p50_ms, p99_ms: how long they took.
    """

    minute: float
    server_mib: float
    all_mib: float
    descriptors: int
    processes: int
    requests: int
    p50_ms: float
    p99_ms: float


SERIES = {
    "server_mib": "memory of the supervisor, MiB (private)",
    "all_mib": "memory of all processes, MiB (PSS)",
    "descriptors": "descriptors of the supervisor",
    "processes": "processes",
    "p50_ms": "latency of requests, p50, ms",
    "p99_ms": "latency of requests, p99, ms",
}


class Endurance(Soak):
    """One such run.

    Args:
        house: a house of its own; it is opened.
        minutes: how long it lasts.
        actors: how many.
    """

    def __init__(self, house: House, minutes: float, actors: int, seed: int) -> None:
        super().__init__(house, kills=sys.maxsize, seed=seed, everyone=True)
        self._actors = actors
        self._until = minutes * 60
        self._latencies: list[float] = []
        self.looks: list[Look] = []

    pause_s = 1.0

    def start_actors(self) -> dict[str, str]:
        self._house.open()
        names = [f"e{number}" for number in range(self._actors)]
        rows = [self._house.start(name, supervision=RESTLESS, limits=LIMITS) for name in names]
        return {row.name: row.id for row in rows}

    def _kill_all(self) -> None:
        self._begun = time.monotonic()
        looking = threading.Thread(target=self._look_on)
        looking.start()
        try:
            self._until += self._begun
            super()._kill_all()
        finally:
            self._over.set()
            looking.join()

    def _is_enough(self) -> bool:
        return time.monotonic() > self._until

    def _talk(self, client: Client, chance: random.Random) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            self._talk_once(client, chance)
            due = max(due + chance.expovariate(_REQUESTS_A_SECOND), time.monotonic() - 1.0)
            self._over.wait(max(0.0, due - time.monotonic()))

    def _note(self, kind: str, counter: str, talk: Callable[[], object]) -> None:
        begun = time.perf_counter()
        super()._note(kind, counter, talk)
        with self._lock:
            self._latencies.append((time.perf_counter() - begun) * 1000)

    # ---- looking

    def _look_on(self) -> None:
        client = self._house.connect()
        while not self._over.wait(_LOOK_EVERY_S):
            client.hello()  # The server answers, whatever else is going on.
            self.looks.append(self._look())

    def _look(self) -> Look:
        with self._lock:
            latencies, self._latencies = self._latencies, []
        house = self._house
        processes = house.processes()
        return Look(
            minute=(time.monotonic() - self._begun) / 60,
            server_mib=_mib(house.pid, "Private_Clean:", "Private_Dirty:"),
            all_mib=sum(_mib(pid, "Pss:") for pid in processes),
            descriptors=descriptors(house.pid),
            processes=len(processes),
            requests=len(latencies),
            p50_ms=_percentile(latencies, 50),
            p99_ms=_percentile(latencies, 99),
        )


def judge(looks: list[Look]) -> Iterator[tuple[str, float, float, float]]:
    """(series, median of the middle third, median of the last third, their ratio) for each series."""
    third = len(looks) // 3
    for key, title in SERIES.items():
        values = [float(getattr(look, key)) for look in looks]
        middle, last = statistics.median(values[third : 2 * third]), statistics.median(values[2 * third :])
        yield title, middle, last, last / middle if middle else 1.0


def plot(looks: list[Look], title: str, path: Path) -> None:
    """Draws each series over time, one below the other."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(SERIES), 1, figsize=(9, 11), sharex=True)
    for axis, (key, name) in zip(axes, SERIES.items(), strict=True):
        axis.plot([look.minute for look in looks], [getattr(look, key) for look in looks], linewidth=1)
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, alpha=0.3)
    axes[-1].set_xlabel("minutes")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def _mib(pid: int, *fields: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0  # It has just died.
    return sum(int(line.split()[1]) for line in lines if line.startswith(fields)) / 1024


def _percentile(values: list[float], percent: int) -> float:
    if len(values) < 2:
        return values[0] if values else 0.0
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def main() -> None:
    """Runs, writes both files, and prints what a soak prints and how flat it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--actors", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, default=Path(__file__).with_suffix(""))
    options = parser.parse_args()
    probe = ROOT / "tests" / "actors" / "probe.wat"
    house = make_house(assemble(probe.read_text(), probe.name))
    try:
        run = Endurance(house, options.minutes, options.actors, options.seed)
        figures = run.run()
    finally:
        house.close()
    print(*figures.table(), sep="\n")
    print(f"\n{'':<42}{'middle third':>14}{'last third':>12}{'ratio':>8}")
    for title, middle, last, ratio in judge(run.looks):
        print(f"{title:<42}{middle:>14.1f}{last:>12.1f}{ratio:>8.2f}")
    title = f"{options.actors} actors, {options.minutes:g} minutes, {figures.kills} of them killed"
    facts = {"title": title, "machine": machine.facts(), "looks": [asdict(look) for look in run.looks]}
    options.into.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    plot(run.looks, title, options.into.with_suffix(".svg"))


if __name__ == "__main__":
    main()
