"""A soak: workers are killed at random instants while clients and actors talk, and then everything is counted.

    python -m benchmarks.soak [--kills 300] [--seed 1] [--everyone] [--tree]

What must hold afterwards, and is asserted: every request has ended in exactly one of reply, error, timeout or down,
none in silence; no process is left over and none is missing; the server has no more descriptors than before; every
chain verifies; no acknowledged count was lost or given twice; every acknowledged message is in a chain; every kill is
in the supervisor's chain.

With `--everyone` one kill in five hits a spare, a template or the spawner. With `--tree` the actors are those of a tree
of three levels (benchmarks/soak_tree.py), where a death concerns siblings and may end a supervisor.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "tests")]

from house import RESTLESS, House, asking, count, descriptors, eventually, is_running, make_house, sending  # noqa: E402

from theater.chainlog import ChainReader  # noqa: E402
from theater.client import Client  # noqa: E402
from theater.core.chain import Call, Kind, Outcome  # noqa: E402
from theater.errors import TheaterError, TimedOut  # noqa: E402
from theater.wasm.assemble import assemble  # noqa: E402

ACTORS = 6
CLIENTS = 2
_TIMEOUT_S = 5.0
_SPAWNER_LIVES_S = 1.5
LIMITS = {"request_timeout": "2s", "call_timeout": "5s"}


@dataclass
class Ends:
    """How requests ended, and what was acknowledged.

    Attributes:
        counts: by actor, every count that was given as an answer, in the order of arrival.
        taken: by actor, how many messages it has taken over without an answer.
    """

    tally: collections.Counter[str] = field(default_factory=collections.Counter)
    silent: list[str] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=lambda: collections.defaultdict(list))
    taken: collections.Counter[str] = field(default_factory=collections.Counter)


@dataclass(frozen=True)
class Figures:
    """What a soak found; times in seconds."""

    kills: int
    seconds: float
    ends: collections.Counter[str]
    silent: list[str]
    seen: list[float]
    back: list[float]
    descriptors: tuple[int, int]
    memory_kib: tuple[int, int]
    processes: tuple[int, int]
    entries: int
    dead_letters: int

    def table(self) -> Iterator[str]:
        """The lines of a table for a person."""
        yield f"kills                         {self.kills} in {self.seconds:.1f} s"
        yield f"requests and messages         {sum(self.ends.values())}"
        for how, number in self.ends.most_common():
            yield f"  ended in {how:<20} {number}"
        yield f"  ended in silence            {len(self.silent)}"
        yield f"kill to its entry             p50 {_ms(self.seen, 50)}, p99 {_ms(self.seen, 99)} ms"
        yield f"kill to its successor's ready p50 {_ms(self.back, 50)}, p99 {_ms(self.back, 99)} ms"
        yield f"descriptors of the server     {self.descriptors[0]} before, {self.descriptors[1]} after"
        yield f"memory of the server, KiB     {self.memory_kib[0]} before, {self.memory_kib[1]} after"
        yield f"processes                     {self.processes[0]} before, {self.processes[1]} after"
        yield f"chain entries verified        {self.entries}"
        yield f"dead letters                  {self.dead_letters}"


class Soak:
    """One soak.

    Args:
        house: a house of its own; it is opened.
        kills: how many.
        everyone: whether spares, templates and the spawner are killed too.
    """

    pause_s: ClassVar = 0.03
    """Mean time between two kills: some meet an actor that is just coming up."""

    def __init__(self, house: House, kills: int, seed: int, everyone: bool = False) -> None:
        self._house = house
        self._kills = kills
        self._random = random.Random(seed)
        self._everyone = everyone
        self._ends = Ends()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._killed: list[tuple[int, int]] = []
        self._ids: dict[str, str] = {}
        self._spawner: tuple[int, float] | None = None

    def run(self) -> Figures:
        """Soaks, waits until it is calm again, and looks."""
        house = self._house
        self._ids = self.start_actors()
        eventually(house.spares, "there is a spare")
        clients = [house.connect() for _ in range(CLIENTS)]
        for client in clients:
            client.hello()
        before = self._census()
        threads = [
            threading.Thread(target=self._talk, args=(client, random.Random(seed)))
            for seed, client in enumerate(clients)
        ]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            self._kill_all()
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        seconds = time.monotonic() - begun
        self._await_calm(before[2])
        after = self._census()
        seen, back = self._times()
        figures = Figures(
            kills=len(self._killed),
            seconds=seconds,
            ends=self._ends.tally,
            silent=self._ends.silent,
            seen=seen,
            back=back,
            descriptors=(before[0], after[0]),
            memory_kib=(before[1], after[1]),
            processes=(before[2], after[2]),
            entries=sum(row.entries for row in house.client.list()),
            dead_letters=len(house.client.dead_letters()),
        )
        self.check(figures)
        return figures

    def start_actors(self) -> dict[str, str]:
        """Opens the house and starts those who are to be killed: ids by name."""
        self._house.open()
        rows = [self._house.start(f"s{number}", supervision=RESTLESS, limits=LIMITS) for number in range(ACTORS)]
        return {row.name: row.id for row in rows}

    def check(self, figures: Figures) -> None:
        """Asserts what must hold when it is calm again."""
        assert not figures.silent, figures.silent[:5]
        self._house.verify()
        for name, id in self._ids.items():
            self._check_counts(name, id)

    # ---- what happens

    def _talk(self, client: Client, chance: random.Random) -> None:
        while not self._over.is_set():
            self._talk_once(client, chance)

    def _talk_once(self, client: Client, chance: random.Random) -> None:
        to, other = chance.sample(sorted(self._ids), 2)
        kind = chance.choice(("count", "count", "ask", "send", "pass on"))
        if kind == "count":
            self._note(kind, to, lambda: client.request(to, b"c", _TIMEOUT_S))
        elif kind == "ask":
            self._note(kind, other, lambda: client.request(to, asking(other, b"c"), _TIMEOUT_S))
        elif kind == "send":
            self._note(kind, to, lambda: client.send(to, b"c", _TIMEOUT_S))
        else:
            self._note(kind, to, lambda: client.request(to, sending(other, b"c"), _TIMEOUT_S))

    def _note(self, kind: str, counter: str, talk: Callable[[], Any]) -> None:
        """Notes how a request ended, and what it acknowledged about `counter`."""
        try:
            answer = talk()
        except TheaterError as error:
            how = type(error).__name__
            if isinstance(error, TimedOut) and "no answer from the server" in error.message:
                with self._lock:
                    self._ends.silent.append(f"{kind} {counter}: {error.message}")
        else:
            how = "reply"
            with self._lock:
                if kind in ("count", "ask"):
                    self._ends.counts[counter].append(count(answer))
                elif kind == "send":
                    self._ends.taken[counter] += 1
        with self._lock:
            self._ends.tally[how] += 1

    def _kill_all(self) -> None:
        while not self._is_enough():
            time.sleep(self._random.expovariate(1 / self.pause_s))
            if self._everyone and self._random.random() < 0.2:
                self._kill_somebody_else()
                continue
            rows = [row for row in self._house.client.list() if row.pid is not None]
            if not rows:
                continue
            pid = self._random.choice(rows).pid
            assert pid is not None
            if is_running(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self._killed.append((pid, time.time_ns()))

    def _is_enough(self) -> bool:
        return len(self._killed) >= self._kills

    def _kill_somebody_else(self) -> None:
        """A spare, a template, or a spawner that has lived for a while: one that dies at once is replaced slowly."""
        house = self._house
        makers = house.client.call("hello", {})["processes"]
        victims = [*makers["templates"], *house.spares()]
        spawner, since = makers["spawner"], self._spawner
        if since is None or since[0] != spawner:
            self._spawner = spawner, time.monotonic()
        elif time.monotonic() - since[1] > _SPAWNER_LIVES_S:
            victims.append(spawner)
        if victims:
            house.kill(self._random.choice(victims))

    def _await_calm(self, processes: int) -> None:
        house = self._house
        killed = {pid for pid, _ in self._killed}
        eventually(lambda: not killed & {row.pid for row in house.client.list()}, "all deaths are known")
        for id in self._ids.values():
            house.await_row(id, lambda row: row.state == "running")
        # Fewer are well, too: a spare that was killed is replaced when the next one is needed.
        eventually(lambda: len(house.processes()) <= processes, lambda: f"{processes} processes: {house.processes()}")
        eventually(lambda: not house.zombies(), "nobody is left unreaped")

    # ---- what is found

    def _census(self) -> tuple[int, int, int]:
        house = self._house
        status = Path(f"/proc/{house.pid}/status").read_text()
        memory = int(status.partition("VmRSS:")[2].split()[0])
        return descriptors(house.pid), memory, len(house.processes())

    def _times(self) -> tuple[list[float], list[float]]:
        """From each kill to the entry of its exit, and to the entry of its successor's ready; from the record."""
        exited: dict[int, int] = {}
        ready: list[tuple[int, str, int]] = []
        actor_of: dict[int, tuple[str, int]] = {}
        for event in self._house.client.read_events("supervisor", types=["lifecycle"]):
            details = event.data["details"]
            if event.data["event"] == "exited":
                exited[details["pid"]] = event.time_ns
                actor_of[details["pid"]] = details["actor"], details["incarnation"]
            elif event.data["event"] == "ready":
                ready.append((event.time_ns, details["actor"], details["incarnation"]))
        up = {(actor, incarnation): moment for moment, actor, incarnation in ready}
        seen, back = [], []
        for pid, moment in self._killed:
            assert pid in exited, f"the death of {pid} is not in the supervisor's chain"
            seen.append((exited[pid] - moment) / 1e9)
            actor, incarnation = actor_of[pid]
            if (actor, incarnation + 1) in up:
                back.append((up[actor, incarnation + 1] - moment) / 1e9)
        return seen, back

    def _check_counts(self, name: str, id: str) -> None:
        counts, taken = self._counted(id)
        assert counts == list(range(1, len(counts) + 1)), f"{name} lost its state or counted twice"
        answered = self._ends.counts[name]
        assert len(answered) == len(set(answered)), f"{name} has given one count twice"
        assert set(answered) <= set(counts), f"{name} has given a count that is not in its chain"
        assert taken >= self._ends.taken[name], f"{name} has lost messages that it had taken"

    def _counted(self, id: str) -> tuple[list[int], int]:
        """The counts that an actor has committed, and how many messages from outside it has taken for them."""
        counts: list[int] = []
        taken = 0
        with ChainReader(self._house.home / "actors" / id / "chain") as reader:
            while batch := reader.read(500):
                for entry in batch:
                    if entry.kind not in (Kind.CALL, Kind.OUTCOME):
                        continue
                    payload = entry.read()
                    if isinstance(payload, Call):
                        taken += payload.function == "handle-send" and payload.sender is None
                        counting = payload.args[-1] == b"c"
                    elif isinstance(payload, Outcome) and payload.ending == "ok" and payload.state and counting:
                        counts.append(count(payload.state[0]))
        return counts, taken


def _ms(times: list[float], percent: int) -> str:
    if len(times) < 2:
        return "-"
    return f"{statistics.quantiles(times, n=100, method='inclusive')[percent - 1] * 1000:.1f}"


def main() -> None:
    """Soaks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--everyone", action="store_true")
    parser.add_argument("--tree", action="store_true")
    options = parser.parse_args()
    kind: type[Soak] = Soak
    if options.tree:
        from benchmarks.soak_tree import TreeSoak as kind
    probe = ROOT / "tests" / "actors" / "probe.wat"
    house = make_house(assemble(probe.read_text(), probe.name))
    try:
        for line in kind(house, options.kills, options.seed, options.everyone).run().table():
            print(line)
    finally:
        house.close()


if __name__ == "__main__":
    main()
