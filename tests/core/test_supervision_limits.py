"""Limits that OTP lacks: of a start, of the end, of the number of children; and an end of all at once (1.24, 1.25)."""

from __future__ import annotations

from typing import Any

import pytest
from supervised_world import CRASH, Fate, Tree, World, children, stage

from theater.core.child_spec import (
    AutoShutdown,
    ChildSpec,
    ChildType,
    Restart,
    ShutdownRule,
    StopOrder,
    Strategy,
    SupervisorFlags,
)
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import Accepted, ChildRef, NoteKind, Refusal, Refused, Supervisor
from theater.errors import SpecError

BRUTAL, INFINITY = ShutdownRule.BRUTAL_KILL, ShutdownRule.INFINITY
TOO_SLOW = ExitReason.deadline("its start took longer than 500 ms")


# ---- the deadline of a start


def slow(ids: str = "a", **flags: Any) -> World:
    """The next start of `a` hangs; each may take half a second."""
    world = stage(*children(ids, start_deadline=500), **{"intensity": 100, **flags})
    world.script.starts = {"a": [None]}
    return world


def test_a_start_that_takes_too_long_is_killed_and_has_failed_when_it_is_dead() -> None:
    """1.24, 1.25: the initial one."""
    world = slow("ab")
    world.script.kills = {"a": [Fate(0.1, ExitReason.by_signal(9))]}
    world.boot().run(0.49)
    assert world.orders() == ["start a1"]
    world.run(0.55)
    assert world.orders() == ["kill a1"]
    assert world.states() == {"a": "overdue", "b": "undefined"}
    world.run()
    assert world.orders() == ["ended start_failed"]
    (note,) = [note for note in world.notes if note.kind is NoteKind.START_ERROR]
    assert note.reason == TOO_SLOW


def test_a_start_in_time_needs_no_timer_any_more() -> None:
    """1.25."""
    world = stage(*children("a", start_deadline=500))
    world.script.starts = {"a": [Fate(0.4, "started")]}
    world.boot().run()
    assert (world.lives, world.root.timers) == ({"a": 1}, set())
    assert world.now == pytest.approx(0.5)  # when it would have fired


@pytest.mark.parametrize("what", ["ignored", CRASH])
def test_a_start_without_a_process_needs_none_either(what: object) -> None:
    """1.25."""
    world = stage(ChildSpec("b", "x"))
    world.script.starts = {"a": [Fate(0.4, what)]}
    world.boot().call("t", "start_child", ChildSpec("a", "x", start_deadline=500)).run(0.4)
    assert world.root.timers == set()


def test_a_caller_is_told_that_his_start_took_too_long() -> None:
    """1.11, 1.25: and nothing is kept of it."""
    world = stage(ChildSpec("b", "x")).boot()
    world.script.starts = {"a": [None]}
    world.call("t", "start_child", ChildSpec("a", "x", start_deadline=500)).run()
    assert world.answers["t"] == Refused(Refusal.START_FAILED, "a", reason=TOO_SLOW)
    assert world.states() == {"b": "running"}


def test_a_restart_by_hand_that_takes_too_long_keeps_the_spec() -> None:
    """1.11, 1.25."""
    world = stage(*children("a", start_deadline=500)).boot().call("t", "terminate_child", "a")
    world.script.starts = {"a": [None]}
    world.call("r", "restart_child", "a").run()
    assert world.answers["r"] == Refused(Refusal.START_FAILED, "a", reason=TOO_SLOW)
    assert world.states() == {"a": "undefined"}
    assert world.root.supervisor.snapshot()[0].last_exit == TOO_SLOW


def test_a_restart_that_takes_too_long_is_tried_again_and_counts() -> None:
    """1.5.3, 1.7.1, 1.25."""
    world = stage(*children("a", start_deadline=500)).boot()
    world.script.starts = {"a": [None, None]}
    world.die("a").run()
    assert world.lives == {"a": 4}
    assert world.root.ledger.attempts == [0, 0, 1]


def test_calls_wait_until_the_start_has_failed() -> None:
    """1.11, 1.25: a start that hangs delays others by no more than its deadline."""
    world = stage(ChildSpec("b", "x")).boot()
    world.script.starts = {"a": [None]}
    world.call("t", "start_child", ChildSpec("a", "x", start_deadline=500)).call("u", "count_children").run(0.4)
    assert world.answers == {}
    world.run()
    assert list(world.answers) == ["t", "u"]


def test_news_of_success_that_comes_too_late_changes_nothing() -> None:
    """1.25: the kill is on its way."""
    world = slow()
    world.script.starts = {"a": [Fate(0.55, "started")]}
    world.script.kills = {"a": [Fate(0.1, ExitReason.by_signal(9))]}
    world.boot().run()
    assert world.orders() == ["start a1", "kill a1", "ended start_failed"]


@pytest.mark.parametrize("what", ["ignored", CRASH])
def test_a_start_that_fails_on_its_own_after_the_kill_took_too_long_all_the_same(what: object) -> None:
    """1.25."""
    world = slow()
    world.script.starts = {"a": [Fate(0.55, what)]}
    world.script.kills = {"a": [None]}
    world.boot().run()
    assert [note.reason for note in world.notes] == [TOO_SLOW]


def test_a_stop_meets_a_start_that_is_being_killed() -> None:
    """1.9, 1.25: it is not asked again, and its failure is of no interest."""
    world = slow("ab")
    world.script.starts = {"b": [None]}
    world.script.kills = {"b": [Fate(0.1, ExitReason.by_signal(9))]}
    world.boot().run(0.55).stop().run()
    assert world.orders() == ["start a1", "start b1", "kill b1", "shutdown a1", "ended shutdown"]
    assert "start_error b" not in world.reports()


def test_a_kill_meets_a_start_that_is_being_killed() -> None:
    """1.9.6, 1.25."""
    world = slow("ab")
    world.script.starts = {"b": [None]}
    world.script.kills = {"b": [Fate(0.1, ExitReason.by_signal(9))]}
    world.boot().run(0.55).kill().run()
    assert world.orders() == ["start a1", "start b1", "kill b1", "kill a1", "ended killed"]


def test_a_start_that_cannot_be_killed_has_failed_and_blocks_the_next() -> None:
    """1.8, 1.25: never two incarnations."""
    world = stage(*children("a", start_deadline=500)).boot()
    world.script.starts = {"a": [None]}
    world.script.kills = {"a": [Fate(30.0, ExitReason.by_signal(9))]}
    world.die("a").run(20)
    assert world.states() == {"a": "restarting"}
    assert world.reports()[-2:] == ["unkillable a", "start_error a"]
    world.run()
    assert world.lives == {"a": 3}


def test_a_supervisor_that_is_not_up_in_time_is_killed_with_all_that_it_has_begun() -> None:
    """1.25."""
    pool = Tree(SupervisorFlags(), children("xy"))
    world = stage(ChildSpec("pool", pool, type=ChildType.SUPERVISOR, start_deadline=500))
    world.script.starts = {"y": [None]}
    world.boot().run()
    assert world.orders() == [
        "start pool1", "start x1", "start y1", "kill pool1", "kill x1", "kill y1", "ended killed", "ended start_failed",
    ]  # fmt: skip
    assert world.root.processes == {}
    assert [note.reason and note.reason.kind for note in world.notes if note.child.id == "pool"] == [ExitKind.DEADLINE]


# ---- all at once


def test_an_end_in_parallel_asks_all_at_once() -> None:
    """1.9.3, 1.24: an option; the total time is that of the slowest."""
    world = stage(*children("abcde"), stop=StopOrder.PARALLEL).boot()
    world.script.shutdowns = {id: [Fate(0.2, ExitReason.shutdown())] for id in "abcde"}
    world.orders()
    world.stop()
    assert world.orders() == [f"shutdown {id}1" for id in "edcba"]
    assert world.run().history[-1].startswith("0.200")


def test_a_mass_restart_stops_one_by_one_all_the_same() -> None:
    """1.6: the option is about the end."""
    world = stage(*children("abc"), stop=StopOrder.PARALLEL, strategy=Strategy.ONE_FOR_ALL).boot()
    world.script.shutdowns = {"c": [Fate(0.2, ExitReason.shutdown())]}
    world.orders()
    world.die("a")
    assert world.orders() == ["shutdown c1"]


def test_an_end_in_parallel_does_not_wait_for_a_stop_under_way() -> None:
    """1.9.3: nor asks it again."""
    world = stage(*children("abc"), stop=StopOrder.PARALLEL).boot()
    world.script.shutdowns = {"b": [Fate(1.0, ExitReason.shutdown())]}
    world.call("t", "terminate_child", "b")
    world.orders()
    world.stop()
    assert world.orders() == ["shutdown c1", "shutdown a1"]
    world.run()
    assert world.orders() == ["ended shutdown"]


@pytest.mark.parametrize("how", ["gave up", "auto shutdown", "start failed"])
def test_every_end_is_in_parallel(how: str) -> None:
    """1.9.5, 1.10, 1.3.3: whoever decided it."""
    specs = (*children("ab"), ChildSpec("c", "x", Restart.TEMPORARY, significant=True))
    world = stage(*specs, stop="parallel", auto_shutdown=AutoShutdown.ANY_SIGNIFICANT, intensity=0)
    world.script.shutdowns = {"a": [Fate(1.0, ExitReason.shutdown())], "b": [Fate(1.0, ExitReason.shutdown())]}
    if how == "start failed":
        world.script.starts = {"c": [Fate(0, CRASH)]}
    world.boot()
    if how == "auto shutdown":
        world.die("c")
    elif how == "gave up":
        world.call("t", "terminate_child", "c").call("n", "start_child", ChildSpec("n", "x")).die("n")
    assert world.orders()[-2:] == ["shutdown b1", "shutdown a1"]


# ---- the deadline of the end


@pytest.mark.parametrize(
    ("stop", "orders"),
    [
        ("sequential", ["shutdown c1", "kill a1", "kill b1", "kill c1", "ended shutdown"]),
        ("parallel", ["shutdown c1", "shutdown b1", "shutdown a1", "kill a1", "kill b1", "kill c1", "ended shutdown"]),
    ],
)
def test_whoever_is_left_when_the_time_is_up_is_killed(stop: str, orders: list[str]) -> None:
    """1.9, 1.24: also those that were not asked yet; the reason stays what it was."""
    world = stage(*children("abc", shutdown=INFINITY), stop=stop, stop_deadline=700).boot()
    world.script.shutdowns = {id: [None] for id in "abc"}
    world.orders()
    world.stop().run()
    assert world.orders() == orders
    assert world.history[-1].startswith("0.700")
    assert world.reports()[-3:] == ["shutdown_error a", "shutdown_error b", "shutdown_error c"]


def test_an_end_in_time_leaves_no_timer() -> None:
    """1.9."""
    world = stage(*children("a"), stop_deadline=700).boot().stop()
    assert (world.orders()[-1], world.root.timers) == ("ended shutdown", set())


def test_a_deadline_of_zero_kills_all_at_once() -> None:
    """1.9: as `shutdown = 0` does for one child."""
    world = stage(*children("ab", shutdown=INFINITY), stop_deadline=0).boot()
    world.script.shutdowns = {"b": [None]}
    world.orders()
    world.stop().run()
    assert world.orders() == ["shutdown b1", "kill a1", "kill b1", "ended shutdown"]


def test_the_deadline_counts_from_the_first_word() -> None:
    """1.9.6: a kill that comes later, or a second stop, does not prolong it."""
    world = stage(*children("a", shutdown=INFINITY), stop_deadline=700).boot()
    world.script.shutdowns = {"a": [None]}
    world.script.kills = {"a": [Fate(5.0, ExitReason.by_signal(9))]}
    world.stop().run(0.3).kill().run(1.0).stop().run()
    assert sum("set timer" in line for line in world.history) == 2  # of the end, and of the kill


def test_a_supervisor_that_gave_up_has_the_same_time() -> None:
    """1.5.6, 1.9.5."""
    world = stage(*children("ab", shutdown=INFINITY), intensity=0, stop_deadline=700).boot()
    world.script.shutdowns = {"a": [None]}
    world.die("b").run()
    assert world.history[-1] == "0.700 > ended gave_up"


def test_a_nested_supervisor_is_killed_with_its_children() -> None:
    """1.9.6, 1.24."""
    pool = ChildSpec("pool", Tree(SupervisorFlags(), children("x", shutdown=INFINITY)), type=ChildType.SUPERVISOR)
    world = stage(pool, stop_deadline=700).boot()
    world.script.shutdowns = {"x": [None]}
    nested = world.child("pool")
    world.stop().run()
    assert (nested.processes, world.root.processes) == ({}, {})
    assert world.root.ended is not None
    assert world.root.ended.reason == ExitReason.shutdown()


def test_who_cannot_be_killed_is_named() -> None:
    """1.8, 1.9."""
    world = stage(*children("a", shutdown=INFINITY), stop_deadline=700).boot()
    world.script.shutdowns = {"a": [None]}
    world.script.kills = {"a": [None]}
    world.stop().run()
    assert world.root.ended is not None
    assert world.root.ended.abandoned == (ChildRef("a", 1),)


# ---- the number of children


def test_a_static_supervisor_counts_its_specs() -> None:
    """1.22: running or not, since each may be started by hand."""
    world = stage(*children("ab"), max_children=2).boot().call(1, "terminate_child", "a")
    world.call(2, "start_child", ChildSpec("c", "x"))
    assert world.answers[2] == Refused(Refusal.MAX_CHILDREN, "c")
    world.call(3, "delete_child", "a").call(4, "start_child", ChildSpec("c", "x"))
    assert world.answers[4] == Accepted(ChildRef("c", 1))


def test_a_known_id_is_the_better_reason() -> None:
    """1.11, 1.22."""
    world = stage(*children("a"), max_children=1).boot().call("t", "start_child", ChildSpec("a", "x"))
    assert world.answers["t"] == Refused(Refusal.ALREADY_STARTED, "a", ChildRef("a", 1))


def test_a_supervisor_is_not_made_with_more() -> None:
    """1.22."""
    with pytest.raises(SpecError, match="`max_children` 1 cannot have 2 children") as caught:
        Supervisor(SupervisorFlags(max_children=1), children("ab"))
    assert caught.value.details["term"] == "too_many_children"
