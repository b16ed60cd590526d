"""Whole lives of supervisors under chaos, drawn from a seed: same seed, same history.

Starts that fail, hang, take too long or succeed unheard, deaths at any moment, children that will not go, pauses,
limits, changes of specs and calls of every kind; a clerk checks every command. Run it to see how fast that is, or to
look for a life that breaks a rule:

    python tests/core/simulator.py --events 300000 --seed 0
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, product
from math import log
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from supervised_clerk import Broken, Ledger
from supervised_world import CRASH, Fate, World

from theater.core.child_spec import (
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    Restart,
    ShutdownRule,
    StopOrder,
    Strategy,
    SupervisorFlags,
)
from theater.core.exit_reason import ExitReason
from theater.core.supervision import Supervisor
from theater.core.supervision_commands import ChildRef

IDS = tuple("abcdefgh")
REASONS = (
    ExitReason.normal(),
    ExitReason.shutdown(),
    ExitReason.shutdown("done"),
    ExitReason.by_signal(15),
    ExitReason.by_signal(9),
    ExitReason.by_status(0),
    ExitReason.by_status(3),
    ExitReason.error("boom"),
    ExitReason.out_of_memory(),
    CRASH,
)
KILLED = ExitReason.by_signal(9)
OBEYED = ExitReason.shutdown()
START_DEADLINE_MS = 500

T = TypeVar("T")


def draw(rng: random.Random, choices: tuple[T, ...]) -> T:
    """As `choice`, in a quarter of its time."""
    return choices[int(rng.random() * len(choices))]


# ---- what supervisors and children are


BACKOFFS = (None, None, None, Backoff(10, 200, 0.5), Backoff(100, 30_000))


def draw_flags(rng: random.Random) -> SupervisorFlags:
    strategy = draw(rng, tuple(Strategy))
    auto_shutdown = draw(rng, (AutoShutdown.NEVER, AutoShutdown.NEVER, *AutoShutdown))
    return SupervisorFlags(
        strategy,
        draw(rng, (0, 1, 3, 10, 100, 1000, 1000, 1000)),
        draw(rng, (1, 2, 5)),
        AutoShutdown.NEVER if strategy is Strategy.DYNAMIC else auto_shutdown,
        draw(rng, BACKOFFS),
        draw(rng, (None, None, 6, 7)),
        draw(rng, (StopOrder.SEQUENTIAL, StopOrder.SEQUENTIAL, StopOrder.PARALLEL)),
        draw(rng, (None, None, 0, 300, 6000)),
    )


RESTARTS = (Restart.PERMANENT, *Restart)  # half of the children are permanent
PERMANENT, NEVER, INFINITY = Restart.PERMANENT, AutoShutdown.NEVER, ShutdownRule.INFINITY
SHUTDOWNS = (0, 10, 100, 5000, ShutdownRule.BRUTAL_KILL, ShutdownRule.INFINITY)
DEADLINES = (None, None, START_DEADLINE_MS)
SPEC_BACKOFFS = (None, None, None, Backoff(50, 1000, 0.2))


@cache
def specs_of(id: str, restart: Restart, significant: bool) -> tuple[ChildSpec, ...]:
    """Those that agree in what decides about restarts; made once, since making one takes longer than using it."""
    return tuple(
        ChildSpec(
            id,
            f"start {id}",
            restart,
            significant,
            ChildType.WORKER,
            shutdown,
            start_deadline=deadline,
            backoff=backoff,
        )
        for shutdown, deadline, backoff in product(SHUTDOWNS, DEADLINES, SPEC_BACKOFFS)
    )


@cache
def all_specs_of(id: str, may_count: bool) -> tuple[ChildSpec, ...]:
    """Whether some are significant depends on the supervisor."""
    kinds = product(RESTARTS, (False, False, True) if may_count else (False,))
    return tuple(
        chain.from_iterable(
            specs_of(id, restart, significant)
            for restart, significant in kinds
            if not (significant and restart is PERMANENT)
        )
    )


def draw_spec(rng: random.Random, id: str, flags: SupervisorFlags, like: ChildSpec | None = None) -> ChildSpec:
    if like is not None:
        return draw(rng, specs_of(id, like.restart, like.significant))
    return draw(rng, all_specs_of(id, flags.auto_shutdown is not NEVER))


# ---- how processes behave


class Chaos:
    """Starts that fail, hang or take long, deaths at any moment, children that will not go: all from one generator."""

    def __init__(self, rng: random.Random, spec_of: Callable[[str], ChildSpec]) -> None:
        self.rng = rng
        self.spec_of = spec_of
        self.calm = False
        self.will = draw(rng, (0.0, 0.02, 0.1, 0.3))  # how much goes wrong
        self.lifetime = draw(rng, (0.2, 2.0, 20.0))

    def on_start(self, child: ChildRef) -> Fate | None:
        drawn = self.rng.random()
        delay = drawn * 0.01 if drawn < 0.9 else drawn * 2
        if drawn >= self.will or self.calm:
            return Fate(delay, "started")
        return self._bad_start(child, drawn * 10)

    def _bad_start(self, child: ChildRef, delay: float) -> Fate | None:
        what = draw(self.rng, ("ignored", CRASH, CRASH, "lost", "hangs"))
        if what == "lost":
            return Fate(delay, "lost", self._death())
        if what == "hangs":
            has_deadline = self.spec_of(child.id).start_deadline is not None
            return None if has_deadline else Fate(delay, ExitReason.deadline())
        return Fate(delay, what)

    def on_up(self, child: ChildRef) -> Fate | None:
        return None if self.calm else self._death()

    def _death(self) -> Fate:
        return Fate(-log(1 - self.rng.random()) * self.lifetime, draw(self.rng, REASONS))

    def on_shutdown(self, child: ChildRef) -> Fate | None:
        drawn = self.rng.random()
        if drawn < self.will:
            disobeys = drawn < self.will / 3 and self.spec_of(child.id).shutdown is not INFINITY
            return None if disobeys else Fate(self.rng.random() * 12, draw(self.rng, REASONS))
        return Fate(drawn * 0.05, OBEYED)

    def on_kill(self, child: ChildRef) -> Fate:
        drawn = self.rng.random()
        return Fate(self.rng.random() * 40 if drawn < self.will / 4 else drawn * 0.01, KILLED)


# ---- one life


class Life:
    """One whole life of one supervisor under `Chaos`.

    Args:
        seed: of everything.
        supervisor: the machine under test.
        events: how many events to feed before calm is restored and the supervisor is stopped.
        record: whether to keep the history.
    """

    def __init__(
        self, seed: int, supervisor: type[Supervisor] = Supervisor, *, events: int = 600, record: bool = False
    ) -> None:
        self.rng = random.Random(seed)
        self.flags = draw_flags(self.rng)
        count = 0 if self.flags.strategy is Strategy.DYNAMIC else self.rng.randrange(7)
        specs = tuple(draw_spec(self.rng, id, self.flags) for id in IDS[:count])
        self.ledger = Ledger(self.flags, specs)
        self.chaos = Chaos(self.rng, self.ledger.spec.__getitem__)
        self.machine = supervisor(self.flags, specs, chance=random.Random(seed).random)
        self.world = World(self.machine, self.chaos, self.ledger, record=record)
        self.budget = events
        self.token = 0
        self.pause = draw(self.rng, (0.02, 0.6, 6.0))
        self.disturbance_at = 0.0

    def run(self) -> World:
        """Live, settle, stop.

        Raises:
            Broken: the machine broke a rule.
        """
        world, ledger = self.world, self.ledger
        world.boot()
        world.after(self.rng.expovariate(1 / (100 * self.pause)), self._end)
        while world.events < self.budget and not ledger.ended:
            if self.disturbance_at < world.next_at:
                self._disturb()
            else:
                world.step()
        self._calm_down()
        return world

    def _calm_down(self) -> None:
        self.chaos.calm = True
        self._run_out()
        self.ledger.settle_accounts()
        if not self.ledger.ended:
            self._judge_listing()
            self.world.stop()
            self._run_out()
            self.ledger.settle_accounts()
        self._ask("which_children")
        self.ledger.settle_accounts()

    def _run_out(self) -> None:
        for _ in range(10_000):
            if not self.world.step():
                return
        raise Broken("it does not come to rest")

    def _judge_listing(self) -> None:
        self.world.ask("listing", "which_children")
        listing: Any = self.world.answers["listing"]
        self.ledger.judge_listing(listing)

    def _disturb(self) -> None:
        """Something from outside, and again after a while."""
        self.world.now = self.disturbance_at
        self.disturbance_at += self.rng.random() * self.pause
        draw(self.rng, _DISTURBANCES)(self)

    def _start_child(self) -> None:
        self._ask("start_child", draw_spec(self.rng, draw(self.rng, IDS), self.flags))

    def _ask_something(self) -> None:
        self._ask(*draw(self.rng, _QUESTIONS))

    def _ask(self, call: str, *arguments: object) -> None:
        self.token += 1
        self.world.ask(self.token, call, *arguments)

    def _answer_is_lost(self) -> None:
        """Whoever asked asks again, and both are handled."""
        chosen = draw_spec(self.rng, draw(self.rng, IDS), self.flags)
        self._ask("start_child", chosen)
        self._ask("start_child", chosen)

    def _change(self) -> None:
        """Only between plans: the clerk cannot know which spec holds while a change is waiting for its turn."""
        if self.machine.busy or self.machine.phase != "running":
            return
        self.flags = self._other_flags()
        self._ask("change", self.flags, self._other_specs())

    def _other_flags(self) -> SupervisorFlags:
        other = draw_flags(self.rng)
        now = self.flags
        return SupervisorFlags(
            now.strategy,
            other.intensity,
            other.period,
            now.auto_shutdown,
            other.backoff,
            None,
            other.stop,
            other.stop_deadline,
        )

    def _other_specs(self) -> tuple[ChildSpec, ...]:
        if self.flags.strategy is Strategy.DYNAMIC:
            return ()
        chosen = self.rng.sample(IDS, int(self.rng.random() * 4))
        return tuple(draw_spec(self.rng, id, self.flags, self.ledger.spec.get(id)) for id in chosen)

    def _past(self) -> ChildRef:
        """An incarnation that is long gone, or a stranger."""
        id = draw(self.rng, IDS)
        return ChildRef(id, self.ledger.highest.get(id, 0) - 1 - int(self.rng.random() * 2))

    def _stale_exit(self) -> None:
        child = self._past()
        if child not in self.ledger.alive:
            self.world.report_exit(self.world.root, child, CRASH)

    def _stale_start(self) -> None:
        child = self._past()
        self.world.feed(self.world.root, "stale start", self.machine.started(child, self.world.now), child)

    def _stale_retry(self) -> None:
        child = self._past()
        self.world.feed(self.world.root, "stale retry", self.machine.retry(child, self.world.now), child)

    def _end(self) -> None:
        """The parent's word, perhaps a second one while the first is being obeyed."""
        if not self.chaos.calm:
            draw(self.rng, (World.stop, World.stop, World.kill))(self.world)
            self.world.after(self.rng.random() * 10, self._end)


_QUESTIONS: tuple[tuple[str, ...], ...] = (
    *product(("terminate_child", "terminate_child", "restart_child", "restart_child", "delete_child"), IDS),
    *product(("get_childspec", "which_child"), IDS),
    *[("which_children",), ("count_children",)] * 6,
)

_DISTURBANCES: tuple[Callable[[Life], None], ...] = (
    *[Life._start_child] * 4,
    Life._answer_is_lost,
    *[Life._ask_something] * 8,
    Life._change,
    Life._stale_exit,
    Life._stale_exit,
    Life._stale_start,
    Life._stale_retry,
)


def lives(seeds: range, supervisor: type[Supervisor] = Supervisor) -> Iterator[int]:
    """Run one life for each seed; yields the events that each took.

    Raises:
        Broken: with the seed in its text.
    """
    for seed in seeds:
        try:
            yield Life(seed, supervisor).run().events
        except Broken as broken:
            raise Broken(f"seed {seed}: {broken}") from broken


# ---- how fast


class Speed(NamedTuple):
    """Events a second of processor time.

    Args:
        events: how many were fed to measure it.
        checked: with the world, the drawing of what happens, and the clerk.
        alone: the machine, told the same once more.
    """

    events: int
    checked: float
    alone: float


class Tape:
    """A machine that notes down what it is told, to be told again."""

    def __init__(self, machine: Supervisor) -> None:
        self.told: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        told = getattr(self._machine, name)
        if not callable(told):
            return told

        def note_down(*arguments: Any, **more: Any) -> Any:
            self.told.append((name, arguments, more))
            return told(*arguments, **more)

        return note_down


def measure(events: int, first_seed: int = 0) -> Speed:
    """Run lives until so many events have happened, then tell the machines alone the same again.

    Raises:
        Broken: the machine broke a rule.
    """
    fed, seed = 0, first_seed
    begun = time.process_time()
    while fed < events:
        fed += sum(lives(range(seed, seed + 1)))
        seed += 1
    checked = fed / (time.process_time() - begun)
    told = replayed = 0.0
    for each in range(first_seed, seed):
        count, seconds = _alone(each)
        told += count
        replayed += seconds
    return Speed(fed, checked, told / replayed)


def _alone(seed: int) -> tuple[int, float]:
    """How often the machine of this life was told something, and the seconds that it took to answer."""
    life = Life(seed)
    flags, specs = life.flags, tuple(life.ledger.spec.values())
    tape: Any = Tape(life.machine)
    life.machine = life.world.root.supervisor = tape
    life.run()
    machine = Supervisor(flags, specs, chance=random.Random(seed).random)
    calls = [(getattr(machine, name), arguments, more) for name, arguments, more in tape.told if name != "snapshot"]
    begun = time.process_time()
    for call, arguments, more in calls:
        call(*arguments, **more)
    return len(calls), time.process_time() - begun


def main() -> None:
    """What the docstring of the module shows."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--seed", type=int, default=0, help="the first of the lives")
    chosen = options.parse_args()
    speed = measure(chosen.events, chosen.seed)
    print(f"core alone            {speed.alone:>9,.0f} events/s")
    print(f"core with all checks  {speed.checked:>9,.0f} events/s   ({speed.events:,} events)")


if __name__ == "__main__":
    main()
