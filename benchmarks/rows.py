"""What is measured and what is allowed: one row for each budget, and the few that explain one.

A bound is the target of the design. Rows without one are there to be compared with: the peers are measured on the
same terms, or the row shows what part of another one costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Unit(Enum):
    """What a figure is in: figures are kept in seconds, bytes, and plain numbers, and shown in this."""

    MICROSECONDS = ("µs", 1e-6)
    MILLISECONDS = ("ms", 1e-3)
    SECONDS = ("s", 1.0)
    PER_SECOND = ("/s", 1.0)
    MIB = ("MiB", float(1 << 20))
    GB_PER_SECOND = ("GB/s", 1e9)
    ACTORS = ("actors", 1.0)
    TIMES = ("times", 1.0)
    PERCENT = ("%", 0.01)

    def __init__(self, sign: str, scale: float) -> None:
        self.sign = sign
        self.scale = scale

    @property
    def behind(self) -> str:
        """The sign as it stands behind a number."""
        return self.sign if self is Unit.PER_SECOND else f" {self.sign}"


def amount(value: float, unit: Unit) -> str:
    """A value (seconds, bytes, or a number) with three significant digits or all that are whole, in `unit`."""
    shown = value / unit.scale
    digits = 0 if shown >= 100 else 1 if shown >= 10 else 2
    return f"{shown:,.{digits}f}{unit.behind}"


class Better(Enum):
    LOWER = "<="
    HIGHER = ">="


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Args:
        key: its name for `--only` and in the JSON.
        what: what is measured, for people.
        unit: what it is shown in.
        better: which way a target binds.
        target: in `unit`; None if there is none.
    """

    key: str
    what: str
    unit: Unit
    better: Better = Better.LOWER
    target: float | None = None

    @property
    def shown_target(self) -> str:
        """The target as it is shown, or nothing."""
        return "" if self.target is None else f"{self.better.value} {self.target:,g}{self.unit.behind}"

    def meets(self, value: float) -> bool | None:
        """Whether `value` (seconds, bytes, or a number) is within the target; None if there is none."""
        if self.target is None:
            return None
        shown = value / self.unit.scale
        return shown <= self.target if self.better is Better.LOWER else shown >= self.target


US, MS, S, RATE = Unit.MICROSECONDS, Unit.MILLISECONDS, Unit.SECONDS, Unit.PER_SECOND
MIB, GBS, ACTORS = Unit.MIB, Unit.GB_PER_SECOND, Unit.ACTORS
TIMES, PERCENT = Unit.TIMES, Unit.PERCENT
HIGHER = Better.HIGHER

ROWS = (
    Row("request-reply", "request/reply between two actors, 100 B, both sides recorded", US, target=110),
    Row("request-turn", "- from one request to the next: the reply recorded and converted, too", US),
    Row("record-cost", "- with the record as against without it", TIMES, target=1.3),
    Row("one-way", "one way, one pair, 100 B, recorded", RATE, HIGHER, 40_000),
    Row("one-way-default", "- with the default mailbox, sending on whenever it was full", RATE, HIGHER),
    Row("guest-16", "one call into a guest, echo of 16 B", US, target=12),
    Row("guest-1k", "- of 1 KiB", US, target=25),
    Row("guest-64k", "- of 64 KiB", MS, target=0.6),
    Row("guest-1m", "- of 1 MiB", MS, target=12),
    Row("request-64k", "request/reply with 64 KiB, recorded", MS, target=1.5),
    Row("request-64k-fresh", "- each body new, so that both sides write it", MS, target=1.5),
    Row("start", "start of a warm component to first answer", MS, target=5),
    Row("start-rate", "- starts one after the other", RATE, HIGHER, 150),
    Row("start-rate-8", "- starts 8 at a time", RATE, HIGHER, 150),
    Row("restart-spare", "SIGKILL of a worker to its successor's first answer, with a spare", MS, target=3),
    Row("restart", "- without a spare", MS, target=8),
    Row("seal", "the second wall, once for each life", MS, target=3),
    Row("sealed-call", "- a call into a guest behind it, as against without it", TIMES, target=1.05),
    Row("deadline-gone", "from the deadline of a call that hangs to the end of its process", MS, target=100),
    Row("one-for-all", "one of 20 children of `one_for_all` killed, until all run again", MS, target=150),
    Row("up-1000", "1,000 actors up", S, target=12),
    Row("kill-1000", "SIGKILL of all 1,000 at once, until all run again", S, target=12),
    Row("list-storm", "`theater list`, whole process, in a storm of restarts", MS, target=250),
    Row("core-event", "what the supervision machine takes for one event", US),
    Row("core-checked", "events of its simulator, every invariant checked after each", RATE, HIGHER, 100_000),
    Row("memory", "private memory (USS) of an idle actor, WAT", MIB, target=3),
    Row("memory-python", "- Python", MIB, target=3),
    Row("capacity", "actors on one machine until something gives", ACTORS, HIGHER, 2_000),
    Row("chain-append", "chain append, 100 B entries", RATE, HIGHER, 200_000),
    Row("chain-verify", "chain verify, 100 B entries", RATE, HIGHER, 250_000),
    Row("chain-append-large", "chain append, payloads of 64 KiB", GBS, HIGHER, 1),
    Row("chain-verify-large", "chain verify, payloads of 64 KiB", GBS, HIGHER, 1),
    Row("verify-home", "verify of 8 chains, 100 B entries", RATE, HIGHER, 250_000),
    Row("million-verify", "verify of a chain of 1,000,000 entries", S, target=4),
    Row("million-state", "`theater state ACTOR@N` in the middle of it, whole process", MS),
    Row("state-root", "state root after a call, Python", MS, target=1.5),
    Row("snapshot", "snapshot of the memory of an actor in Python", MS, target=30),
    Row("restore", "- restored", MS, target=100),
    Row("replay-waited", "replay of an actor that waited for another, as against its life", TIMES, HIGHER, 20),
    Row("replay-waited-command", "- `theater replay`, whole process", TIMES, HIGHER, 20),
    Row("replay-pure", "replay of calls that ask for nothing, of the speed in life, WAT", PERCENT, HIGHER, 70),
    Row("replay-pure-python", "- Python", PERCENT, HIGHER, 70),
    Row("http-rate", "HTTP through an actor, recorded, 100 B, 16 connections, load by wrk", RATE, HIGHER, 8_000),
    Row("http-latency", "- one request", MS, target=2),
    Row("http-python", "- through an actor in Python", RATE, HIGHER),
    Row("http-slow", "- the p99 beside 200 slow clients, as against without them", TIMES, target=2),
    Row("websocket-rate", "messages of websockets sent back by an actor, recorded", RATE, HIGHER, 5_000),
    Row("gateway-idle", "private memory (USS) of the gateway with 1,000 idle connections", MIB),
    Row("http-client", "what `send-http` takes beyond the library alone, recorded", MS, target=0.5),
    Row("list", "`theater list`, whole process", MS, target=250),
    Row("help", "`theater --help`, whole process", MS, target=150),
    Row("client-request", "a client's request to an actor, 100 B", MS),
)

BY_KEY = {row.key: row for row in ROWS}
