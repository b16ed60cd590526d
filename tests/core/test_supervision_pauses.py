"""Pauses before restarts (1.23): how long they are, and what a child in one can and cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervised_world import CRASH, Fate, World, children, stage

from theater.core.child_spec import AutoShutdown, Backoff, ChildSpec, Restart, Strategy
from theater.core.exit_reason import ExitReason
from theater.core.supervision import Accepted, ChildCounts, ChildRef, Phase, Refusal, Refused
from theater.core.supervision_rules import pause_before

FAILS = Fate(0, CRASH)
STEADY = Backoff(1000, 8000, 0)
"""1, 2, 4, 8, 8 s; forgiven after 4.5 s."""


def paused(ids: str = "a", **flags: object) -> World:
    """`a` has died at second 0 and is waiting for second 1."""
    world = stage(*children(ids), **{"backoff": STEADY, "intensity": 100, **flags}).boot()
    world.orders()
    world.reports()
    return world.die("a")


def starts_of(world: World, id: str = "a") -> list[float]:
    return [float(line.split()[0]) for line in world.history if f"> start {id}" in line]


# ---- how long


def test_pauses_double_up_to_a_cap() -> None:
    """1.23: min·2ⁿ up to max."""
    world = stage(*children("a"), backoff=STEADY, intensity=100).boot()
    world.script.starts = {"a": [FAILS] * 5}
    world.die("a").run()
    assert starts_of(world) == [0, 1, 3, 7, 15, 23, 31]


def test_a_life_that_was_long_enough_makes_the_next_failure_the_first() -> None:
    """1.23: (min + max) / 2, here 4.5 s."""
    world = stage(*children("a"), backoff=STEADY, intensity=100).boot()
    world.die("a").run(1 + 4.4).die("a").run(1 + 4.4 + 2 + 4.5).die("a").run()
    assert starts_of(world) == pytest.approx([0, 1, 7.4, 12.9])


def test_a_long_life_counts_also_if_it_was_ended_with_siblings() -> None:
    """1.23, 1.6."""
    world = stage(*children("ab"), strategy=Strategy.ONE_FOR_ALL, backoff=STEADY, intensity=100).boot()
    world.die("a").run(10).die("b").run(11).die("a").run()
    assert starts_of(world) == [0, 1, 11, 12]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.6), (0.5, 0.8), (1.0, 1.0)])
def test_a_part_of_each_pause_is_left_to_chance(chance: float, pause: float) -> None:
    """1.23: the random factor, below the full pause, so that the cap is one."""
    world = stage(*children("a"), backoff=Backoff(1000, 8000, 0.4), chance=chance).boot().die("a").run()
    assert starts_of(world) == pytest.approx([0, pause])


@given(st.integers(1, 10_000), st.integers(0, 100_000), st.floats(0, 1), st.integers(0, 10_000), st.floats(0, 1))
def test_a_pause_lies_between_its_certain_part_and_the_whole(
    initial: int, more: int, jitter: float, failures: int, draw: float
) -> None:
    """1.23: whatever the numbers."""
    backoff = Backoff(initial, initial + more, jitter)
    whole = min(initial * 2**failures, initial + more) / 1000
    assert whole * (1 - jitter) - 1e-9 <= pause_before(backoff, failures, draw) <= whole + 1e-9


def test_a_child_may_have_pauses_of_its_own() -> None:
    """1.23: before those of the supervisor."""
    specs = (ChildSpec("a", "x", backoff=Backoff(5000, 5000, 0)), ChildSpec("b", "x"))
    world = stage(*specs, backoff=STEADY).boot().die("a").die("b").run()
    assert (starts_of(world, "a"), starts_of(world, "b")) == ([0, 5], [0, 1])


def test_without_one_there_is_no_pause() -> None:
    """1.6.6, 1.23: as in OTP."""
    world = stage(ChildSpec("a", "x", backoff=STEADY), ChildSpec("b", "x")).boot().die("b")
    assert world.lives == {"a": 1, "b": 2}


def test_a_start_by_hand_makes_the_next_failure_the_first() -> None:
    """1.23."""
    world = stage(*children("a"), backoff=STEADY, intensity=100).boot()
    world.script.starts = {"a": [FAILS] * 3}
    world.die("a").run(7.5).call("t", "terminate_child", "a").call("r", "restart_child", "a").die("a").run()
    assert starts_of(world) == pytest.approx([0, 1, 3, 7, 7.5, 8.5])


@pytest.mark.parametrize(
    ("backoff", "second", "third"), [(None, 3, 9), (STEADY, 3, 9), (Backoff(5000, 5000, 0), 5, 10)]
)
def test_a_child_that_rests_is_restarted_when_it_has(backoff: Backoff | None, second: float, third: float) -> None:
    """1.23: and when its pause is over, whatever is later; each time anew."""
    world = stage(*children("a"), backoff=backoff, intensity=100).boot().rest("a", 3.0).die("a").run(5.0)
    world.rest("a", 9.0).die("a").run().die("a").run()
    starts = starts_of(world)
    assert starts[:3] == [0, second, third]
    assert starts[3] - third == (0 if backoff is None else pause_before(backoff, 2, 1.0)), "that rest is over"


def test_only_who_has_died_rests_and_siblings_come_back_with_it() -> None:
    """1.6, 1.23."""
    world = stage(*children("ab"), strategy=Strategy.ONE_FOR_ALL, intensity=100).boot()
    world.rest("b", 7.0).rest("a", 3.0).die("a").run()
    assert (starts_of(world, "a"), starts_of(world, "b")) == ([0, 3], [0, 3])


def test_that_a_former_life_or_nobody_rests_means_nothing() -> None:
    """1.23."""
    world = stage(*children("a"), intensity=100).boot()
    former = world.running("a")
    world.die("a").rest("a", 9.0, former).rest("a", 9.0, ChildRef("z", 1)).die("a").run()
    assert starts_of(world) == [0, 0, 0]


# ---- what it is like


def test_in_a_pause_a_child_is_restarting() -> None:
    """1.7.6, 1.23: and its death has been reported."""
    world = paused().run(0.9)
    assert (world.states(), world.lives) == ({"a": "restarting"}, {})
    assert world.reports() == ["child_terminated a"]
    world.call(1, "count_children").call(2, "restart_child", "a").call(3, "delete_child", "a")
    world.call(4, "start_child", ChildSpec("a", "x"))
    assert world.answers[1] == ChildCounts(specs=1, active=0, supervisors=0, workers=1)
    assert world.answers[2] == Refused(Refusal.RESTARTING, "a")
    assert world.answers[3] == Refused(Refusal.RESTARTING, "a")
    assert world.answers[4] == Refused(Refusal.ALREADY_PRESENT, "a")
    assert world.run(1.0).lives == {"a": 2}


def test_a_pause_can_be_cancelled() -> None:
    """1.7.2, 1.23: and what comes of it later is none of its business."""
    world = paused().run(0.5).call("t", "terminate_child", "a")
    assert world.answers["t"] == Accepted()
    world.call("r", "restart_child", "a").run(0.9).die("a").run(1.2)
    assert world.states() == {"a": "restarting"}
    assert world.run().lives == {"a": 3}
    assert starts_of(world) == pytest.approx([0, 0.5, 1.9])


def test_a_temporary_child_has_none() -> None:
    """1.4, 1.23."""
    world = stage(*children("a", restart=Restart.TEMPORARY), backoff=STEADY).boot().die("a")
    assert world.states() == {}


def test_the_end_does_not_wait_for_a_pause() -> None:
    """1.9, 1.23."""
    world = paused("ab").stop()
    assert world.orders() == ["shutdown b1", "ended shutdown"]
    assert world.run().orders() == []


def test_a_significant_child_in_a_pause_counts_as_remaining() -> None:
    """1.10, 1.23."""
    specs = children("ab", restart=Restart.TRANSIENT, significant=True)
    world = stage(*specs, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT, backoff=STEADY).boot()
    world.die("a").die("b", ExitReason.normal())
    assert world.root.supervisor.phase is Phase.RUNNING


# ---- how often


def test_an_attempt_counts_when_it_is_made() -> None:
    """1.5, 1.23: not when the child died."""
    world = stage(*children("a"), backoff=Backoff(3000, 3000, 0), intensity=1, period=2).boot()
    world.script.starts = {"a": [FAILS] * 4}
    world.die("a").run()
    assert world.lives == {"a": 6}
    assert world.root.ledger.attempts == [3, 6, 9, 12, 15]


def test_pauses_do_not_make_an_attempt_free() -> None:
    """1.5.3, 1.23."""
    world = paused(intensity=2, period=10)
    world.script.never_starts["a"] = CRASH
    world.run()
    assert world.orders() == ["start a2", "start a3", "ended gave_up"]
    assert world.history[-1].startswith("7.000")


# ---- with others


@pytest.mark.parametrize(
    ("strategy", "orders"),
    [
        (Strategy.ONE_FOR_ONE, ["start a2"]),
        (Strategy.DYNAMIC, ["start a2"]),
        (Strategy.ONE_FOR_ALL, ["shutdown c1", "shutdown b1", "start a2", "start b2", "start c2"]),
        (Strategy.REST_FOR_ONE, ["shutdown c1", "shutdown b1", "start a2", "start b2", "start c2"]),
    ],
)
def test_others_run_on_until_the_restart(strategy: Strategy, orders: list[str]) -> None:
    """1.6, 1.23: the pause is a wait of 1.7.4."""
    world = stage(*(() if strategy is Strategy.DYNAMIC else children("abc")), strategy=strategy, backoff=STEADY).boot()
    if strategy is Strategy.DYNAMIC:
        for spec in children("abc"):
            world.call(spec.id, "start_child", spec)
    world.orders()
    world.die("a").run(0.9)
    assert world.orders() == []
    assert set(world.lives) == {"b", "c"}
    world.run()
    assert world.orders() == orders


def test_a_restart_of_all_for_another_takes_it_along() -> None:
    """1.7.4, 1.23: its own retry then finds nothing to do."""
    specs = (ChildSpec("a", "x", backoff=STEADY), ChildSpec("b", "x"))
    world = stage(*specs, strategy=Strategy.ONE_FOR_ALL).boot().die("a").run(0.5).die("b").run()
    assert world.lives == {"a": 2, "b": 2}
    assert starts_of(world) == [0, 0.5]


def test_a_restart_of_all_that_fails_waits_as_long_as_who_failed() -> None:
    """1.7.4, 1.23."""
    world = stage(*children("ab"), strategy=Strategy.ONE_FOR_ALL, backoff=STEADY).boot()
    world.script.starts = {"b": [FAILS]}
    world.die("a").run()
    assert (starts_of(world, "a"), starts_of(world, "b")) == ([0, 1, 2], [0, 1, 2])


def test_a_start_that_waits_for_a_death_has_no_pause() -> None:
    """1.8, 1.23: it is tried again when the last incarnation is dead."""
    world = stage(*children("ab", shutdown="brutal_kill"), strategy=Strategy.ONE_FOR_ALL, backoff=STEADY).boot()
    world.script.kills = {"a": [Fate(30.0, ExitReason.by_signal(9))]}
    world.die("b").run()
    assert starts_of(world) == [0, 31]


def test_the_order_names_the_incarnation_and_the_seconds() -> None:
    """1.23."""
    world = stage(*children("a"), backoff=STEADY).boot().die("a")
    assert world.history[-1] == "0.000 > retry a1 after 1.000"
    assert world.root.supervisor.retry(ChildRef("a", 7), 0.5) == []
