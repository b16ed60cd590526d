"""Other flags and specs for a running supervisor (1.18): what is merged, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from supervised_world import CRASH, Fate, World, children, stage

from theater.core.child_spec import AutoShutdown, Backoff, ChildSpec, Restart, ShutdownRule, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitReason
from theater.core.supervision import Accepted, ChildRef, Phase, Refusal, Refused

FLAGS = SupervisorFlags(intensity=3)
B, C, X = (ChildSpec(id, "x") for id in "bcx")


def changed(world: World, *specs: ChildSpec, **flags: Any) -> World:
    world.orders()
    world.call("change", "change", SupervisorFlags(**{"intensity": 3, **flags}), specs)
    return world


def test_a_known_child_takes_its_new_spec_and_keeps_its_process() -> None:
    """1.18."""
    new = ChildSpec("a", "other", Restart.TEMPORARY, shutdown=ShutdownRule.BRUTAL_KILL)
    world = changed(stage(*children("a")).boot(), new)
    assert world.answers["change"] == Accepted()
    assert (world.orders(), world.lives) == ([], {"a": 1})
    assert world.root.supervisor.snapshot()[0].spec is new
    world.call("t", "terminate_child", "a")
    assert (world.orders(), world.states()) == (["kill a1"], {})


def test_a_new_child_is_added_but_not_started() -> None:
    """1.18: restart_child starts it."""
    world = changed(stage(*children("a")).boot(), *children("a"), X)
    assert (world.orders(), world.states()) == ([], {"a": "running", "x": "undefined"})
    assert world.call("t", "restart_child", "x").answers["t"] == Accepted(ChildRef("x", 1))


def test_a_child_that_is_listed_no_more_is_kept_behind_the_others() -> None:
    """1.18: in the order that they had."""
    world = changed(stage(*children("abcd")).boot(), X, *children("c"))
    assert list(world.states()) == ["x", "c", "a", "b", "d"]
    assert world.lives == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_the_new_order_is_the_order_of_stops_and_starts() -> None:
    """1.6, 1.9.3, 1.18."""
    world = changed(stage(*children("abc"), strategy=Strategy.REST_FOR_ONE).boot(), C, B, strategy="rest_for_one")
    world.die("b")
    assert world.orders() == ["shutdown a1", "start b2", "start a2"]
    world.stop()
    assert world.orders() == ["shutdown a2", "shutdown b2", "shutdown c1", "ended shutdown"]


def test_flags_are_replaced() -> None:
    """1.18: the strategy, and all others."""
    world = changed(stage(*children("ab")).boot(), *children("ab"), strategy="one_for_all", max_children=2)
    assert world.root.supervisor.flags == SupervisorFlags(Strategy.ONE_FOR_ALL, 3, max_children=2)
    world.die("a")
    assert world.lives == {"a": 2, "b": 2}


@pytest.mark.parametrize(("intensity", "phase"), [(3, Phase.RUNNING), (2, Phase.ENDED)])
def test_attempts_that_were_counted_still_count(intensity: int, phase: Phase) -> None:
    """1.5, 1.18."""
    world = changed(stage(*children("a"), intensity=9).boot().die("a").die("a"), *children("a"), intensity=intensity)
    assert world.die("a").run().root.supervisor.phase is phase


def test_a_child_that_waits_for_its_retry_goes_on_waiting() -> None:
    """1.7, 1.18: and is started from its new spec."""
    world = stage(*children("a"), backoff=Backoff(1000, 1000, 0)).boot().die("a").run(0.5)
    changed(world, ChildSpec("a", "other"))
    assert world.states() == {"a": "restarting"}
    world.run()
    assert world.lives == {"a": 2}
    assert world.root.supervisor.snapshot()[0].spec.start == "other"


def test_one_for_one_restarts_what_was_to_be_restarted_even_if_it_is_temporary_now() -> None:
    """1.7, 1.18: the decision was made with the old spec."""
    world = stage(*children("a"), backoff=Backoff(1000, 1000, 0)).boot().die("a").run(0.5)
    changed(world, ChildSpec("a", "x", Restart.TEMPORARY)).run()
    assert world.lives == {"a": 2}


def test_a_mass_restart_forgets_a_child_that_is_temporary_now_and_does_not_run() -> None:
    """1.6.2, 1.18."""
    specs = children("ab", restart=Restart.TRANSIENT)
    world = stage(*specs, strategy=Strategy.ONE_FOR_ALL).boot().die("a", ExitReason.normal())
    changed(world, ChildSpec("a", "x", Restart.TEMPORARY), B, strategy="one_for_all").die("b").run()
    assert world.states() == {"b": "running"}


def test_a_change_waits_for_its_turn_like_any_call() -> None:
    """1.11, 1.18."""
    world = stage(*children("ab")).boot()
    world.script.shutdowns = {"b": [Fate(1.0, ExitReason.shutdown())]}
    changed(world.call("t", "terminate_child", "b"), X)
    assert list(world.states()) == ["a", "b"]
    world.run()
    assert list(world.answers) == ["t", "change"]
    assert list(world.states()) == ["x", "a", "b"]


SIGNIFICANT = ChildSpec("s", "x", Restart.TRANSIENT, significant=True)


@pytest.mark.parametrize(
    ("flags", "specs", "term"),
    [
        (FLAGS, (B, B), "duplicate_child_name"),
        (FLAGS, (SIGNIFICANT,), "bad_combination"),
        (SupervisorFlags(max_children=1), (B, C), "too_many_children"),
        (SupervisorFlags(Strategy.DYNAMIC), (), "bad_combination"),
    ],
)
def test_what_is_wrong_leaves_all_as_it_was(flags: SupervisorFlags, specs: tuple[ChildSpec, ...], term: str) -> None:
    """1.18: an error, and the old state."""
    world = stage(*children("a")).boot()
    before = (world.root.supervisor.flags, world.root.supervisor.snapshot())
    refused = world.call("t", "change", flags, specs).answers["t"]
    assert isinstance(refused, Refused)
    assert (refused.why, refused.fault and refused.fault.details["term"]) == (Refusal.BAD_SPEC, term)
    assert (world.root.supervisor.flags, world.root.supervisor.snapshot()) == before


def test_a_significant_child_is_welcome_where_it_counts() -> None:
    """1.10, 1.18: under the new flags."""
    world = changed(stage().boot(), SIGNIFICANT, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    world.call("t", "restart_child", "s").die("s", ExitReason.normal()).run()
    assert world.root.supervisor.phase is Phase.ENDED


def test_a_dynamic_supervisor_takes_other_flags_but_no_specs() -> None:
    """1.18, 1.22: and remains dynamic; children over the new limit stay."""
    world = stage(strategy=Strategy.DYNAMIC).boot().call(1, "start_child", B).call(2, "start_child", C)
    flags = SupervisorFlags(Strategy.DYNAMIC, max_children=1)
    world.call(3, "change", flags, (X,)).call(4, "change", FLAGS, ()).call(5, "change", flags, ())
    terms = [refused.fault.details["term"] for refused in (world.answers[3], world.answers[4])]  # type: ignore[union-attr]
    assert terms == ["bad_start_spec", "bad_combination"]
    assert (world.answers[5], world.lives) == (Accepted(), {"b": 1, "c": 1})
    assert world.call(6, "start_child", X).answers[6] == Refused(Refusal.MAX_CHILDREN, "x")


def test_a_new_child_that_lived_elsewhere_goes_on_counting() -> None:
    """1.18, 1.25."""
    machine = stage(*children("a")).boot().root.supervisor
    machine.change("t", FLAGS, (X,), 0.0, last_incarnations={"x": 4})
    (start,) = machine.restart_child("r", "x", 0.0)
    assert start.child == ChildRef("x", 5)  # type: ignore[union-attr]


def test_a_supervisor_that_ends_takes_no_change() -> None:
    """1.11, 1.18."""
    world = stage(*children("a")).boot().stop()
    refused = changed(world, X).answers["change"]
    assert refused == Refused(Refusal.DOWN, reason=ExitReason.shutdown())


def test_a_change_during_the_start_is_handled_after_it() -> None:
    """1.3, 1.18."""
    world = stage(*children("a"))
    world.script.starts = {"a": [Fate(1.0, "started")]}
    changed(world.boot(), X).run()
    assert list(world.states()) == ["x", "a"]
    assert world.orders() == ["up"]


def test_a_failed_restart_after_a_change_follows_the_new_strategy() -> None:
    """1.7.4, 1.18."""
    world = stage(*children("ab"), backoff=Backoff(1000, 1000, 0)).boot().die("a").run(0.5)
    changed(world, *children("ab"), strategy="one_for_all").run()
    assert world.orders() == ["shutdown b1", "start a2", "start b2"]
    world.script.starts = {"b": [Fate(0, CRASH)]}
    world.die("a").run()
    assert world.lives == {"a": 4, "b": 4}
