"""What goes wrong, and when: made from a seed alone, so that a run can be made again.

A plan says of each fault its moment, its kind and whom it hits: one of those of a kind of process, by a number that is
taken modulo how many of them there are at that moment. What the processes do meanwhile is not in it: two runs of a plan
are alike, not the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    STOP = "stop"
    DISK_FULL = "disk full"
    IO_ERROR = "I/O error"
    NO_FORK = "no fork"
    NO_DESCRIPTOR = "no descriptor"
    CLOCK = "clock jump"
    DEADLINE = "deadline"
    KILLED_WHILE_STOPPING = "killed while stopping"


class Victim(StrEnum):
    """Whom a signal hits."""

    WORKER = "worker"
    SPARE = "spare"
    TEMPLATE = "template"
    SPAWNER = "spawner"
    GATEWAY = "gateway"
    LAUNCHER = "launcher"
    KEEPER = "keeper"
    PROGRAM = "program"
    COMPILER = "compile child"
    UPKEEP = "upkeep child"
    SUPERVISOR = "supervisor"
    CLIENT = "client"


_KINDS = {
    Kind.KILL: 60,
    Kind.STOP: 14,
    Kind.DISK_FULL: 4,
    Kind.IO_ERROR: 4,
    Kind.NO_FORK: 5,
    Kind.NO_DESCRIPTOR: 4,
    Kind.CLOCK: 4,
    Kind.DEADLINE: 8,
    Kind.KILLED_WHILE_STOPPING: 2,
}
_VICTIMS = {
    Victim.WORKER: 40,
    Victim.SPARE: 6,
    Victim.TEMPLATE: 8,
    Victim.SPAWNER: 6,
    Victim.GATEWAY: 6,
    Victim.LAUNCHER: 6,
    Victim.KEEPER: 6,
    Victim.PROGRAM: 6,
    Victim.COMPILER: 4,
    Victim.UPKEEP: 3,
    Victim.SUPERVISOR: 5,
    Victim.CLIENT: 4,
}
_LASTS = {Kind.STOP: 1.5, Kind.DISK_FULL: 1.0, Kind.IO_ERROR: 0.5, Kind.NO_FORK: 1.0, Kind.NO_DESCRIPTOR: 1.0}
_JUMPS = (-86_400.0, -3600.0, -1.0, 0.0, 1.0, 3600.0, 86_400.0, 31_536_000.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Args:
        at: seconds from the begin of the run.
        victim: whom a signal hits; None for what is no signal.
        which: which of them, modulo how many there are.
        lasts: seconds until it is over; 0 for what is over at once.
        size: of a clock jump in seconds; of a full disk the bytes that are left.
    """

    at: float
    kind: Kind
    victim: Victim | None = None
    which: int = 0
    lasts: float = 0.0
    size: float = 0.0

    def __str__(self) -> str:
        words = [f"{self.at:8.3f} s  {self.kind}"]
        if self.victim is not None:
            words.append(f"{self.victim} #{self.which}")
        if self.size:
            words.append(f"{self.size:g}")
        if self.lasts:
            words.append(f"for {self.lasts:.2f} s")
        return "  ".join(words)


def plan(
    seed: int, seconds: float, only: frozenset[str] = frozenset(), pause: float = 0.35, most: int = 1_000_000
) -> tuple[Fault, ...]:
    """All faults of a run.

    Args:
        seed: of everything.
        seconds: for which it goes wrong.
        only: kinds of faults and of victims; empty for all.
        pause: seconds between two, on average.
        most: there are no more of them.
    """
    chance = random.Random(seed)
    kinds = {kind: weight for kind, weight in _KINDS.items() if not only or kind in only or not only & {*_KINDS}}
    victims = {each: weight for each, weight in _VICTIMS.items() if not only & {*_VICTIMS} or each in only}
    made: list[Fault] = []
    at = chance.expovariate(1 / pause)
    while at < seconds and len(made) < most:
        fault = _fault(chance, at, _one(chance, kinds), victims)
        made.append(fault)
        at += fault.lasts + chance.expovariate(1 / pause)
    return tuple(made)


def _fault(chance: random.Random, at: float, kind: Kind, victims: dict[Victim, int]) -> Fault:
    lasts = chance.uniform(0.1, 1.0) * _LASTS.get(kind, 0.0)
    which = chance.randrange(1 << 16)
    if kind in (Kind.KILL, Kind.STOP):
        return Fault(at, kind, _one(chance, victims), which, lasts)
    if kind is Kind.CLOCK:
        return Fault(at, kind, size=chance.choice(_JUMPS) or chance.uniform(-10.0, 10.0))
    if kind is Kind.DISK_FULL:
        return Fault(at, kind, lasts=lasts, size=chance.choice((0, 4096, 65_536)))
    return Fault(at, kind, which=which, lasts=lasts)


def _one(chance: random.Random, weights: dict[Kind, int] | dict[Victim, int]) -> object:
    names = list(weights)
    return chance.choices(names, [weights[name] for name in names])[0]
