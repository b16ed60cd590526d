"""Stopping one child (1.8), the supervisor (1.9), and the supervisor stopping itself (1.10)."""

from __future__ import annotations

from typing import Any

import pytest
from supervised_world import CRASH, Fate, Tree, World, children, stage

from theater.core.child_spec import AutoShutdown, ChildSpec, ChildType, Restart, ShutdownRule, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import Accepted, ChildRef, NoteKind, Phase, Refusal, Refused, SetTimer, is_expected

BRUTAL, INFINITY = ShutdownRule.BRUTAL_KILL, ShutdownRule.INFINITY
PERMANENT, TRANSIENT, TEMPORARY = Restart
KILLED = ExitReason.killed()


def after(seconds: float, reason: ExitReason | None = None) -> Fate:
    return Fate(seconds, reason or ExitReason.shutdown())


# ---- 1.8


@pytest.mark.parametrize(
    ("shutdown", "orders"),
    [
        (BRUTAL, ["kill a1"]),
        (5000, ["shutdown a1"]),
        (INFINITY, ["shutdown a1"]),
        (0, ["shutdown a1", "kill a1"]),
    ],
)
def test_a_child_is_stopped_by_its_rule(shutdown: Any, orders: list[str]) -> None:
    """1.8: 0 means asked, then killed at once."""
    world = stage(*children("a", shutdown=shutdown)).boot()
    world.orders()
    world.call("t", "terminate_child", "a").run()
    assert world.orders() == orders
    assert world.answers["t"] == Accepted()


@pytest.mark.parametrize(("shutdown", "killed_at"), [(1, 0.001), (250, 0.25), (5000, 5.0)])
def test_a_child_that_does_not_obey_is_killed_when_its_time_is_over(shutdown: int, killed_at: float) -> None:
    """1.8."""
    world = stage(*children("a", shutdown=shutdown)).boot()
    world.script.shutdowns = {"a": [None]}
    world.orders()
    world.call("t", "terminate_child", "a").run(killed_at * 0.99)
    assert world.orders() == ["shutdown a1"]
    world.run(killed_at)
    assert world.orders() == ["kill a1"]
    assert world.answers["t"] == Accepted()


def test_infinity_waits_for_ever() -> None:
    """1.8: no timer is set."""
    world = stage(*children("a", shutdown=INFINITY)).boot()
    world.script.shutdowns = {"a": [after(1e6)]}
    world.call("t", "terminate_child", "a").run(1e6 - 1)
    assert "t" not in world.answers
    assert world.run().answers["t"] == Accepted()


def test_a_call_is_answered_only_when_the_child_is_dead() -> None:
    """1.8, 1.11."""
    world = stage(*children("a")).boot()
    world.script.shutdowns = {"a": [after(1.0)]}
    world.call("t", "terminate_child", "a").run(0.9)
    assert "t" not in world.answers
    assert world.run().answers["t"] == Accepted()


SHUTDOWN, TERM, DONE = ExitReason.shutdown(), ExitReason.shutdown("x"), ExitReason.normal()


@pytest.mark.parametrize(
    ("restart", "shutdown", "expected"),
    [
        (PERMANENT, 5000, [SHUTDOWN]),
        (PERMANENT, INFINITY, [SHUTDOWN]),
        (PERMANENT, BRUTAL, [KILLED]),
        (TRANSIENT, 5000, [SHUTDOWN, TERM, DONE]),
        (TRANSIENT, BRUTAL, [KILLED, SHUTDOWN, TERM, DONE]),
        (TEMPORARY, INFINITY, [SHUTDOWN, TERM, DONE]),
        (TEMPORARY, BRUTAL, [KILLED, SHUTDOWN, TERM, DONE]),
    ],
)
def test_the_outcome_of_a_stop_is_as_expected_or_reported(
    restart: Restart, shutdown: Any, expected: list[ExitReason]
) -> None:
    """1.8: `shutdown`, or `killed` if brutal; other normal ends only of children that are not permanent."""
    spec = ChildSpec("a", "x", restart, shutdown=shutdown)
    reasons = [SHUTDOWN, TERM, DONE, KILLED, CRASH, ExitReason.by_status(0)]
    assert [reason for reason in reasons if is_expected(spec, reason)] == [
        reason for reason in reasons if reason in expected
    ]


@pytest.mark.parametrize(
    ("outcome", "reported"),
    [(after(0), False), (after(0, DONE), True), (after(0, CRASH), True), (None, True), (after(0, TERM), True)],
)
def test_a_bad_outcome_is_reported_with_the_real_reason(outcome: Fate | None, reported: bool) -> None:
    """1.8: also `killed` after a timeout, and `normal` from a permanent child."""
    world = stage(*children("a")).boot()
    world.script.shutdowns = {"a": [outcome]}
    world.reports()
    world.call("t", "terminate_child", "a").run()
    notes = [note for note in world.notes if note.kind is NoteKind.SHUTDOWN_ERROR]
    assert bool(notes) is reported
    if notes:
        kind = outcome.what.kind if outcome is not None else ExitKind.KILLED
        assert (notes[0].reason and notes[0].reason.kind, notes[0].commanded) == (kind, True)


def test_a_child_that_was_already_dead_is_judged_by_its_real_reason() -> None:
    """1.8: it is dug out of the mailbox; nobody is asked to end, and nothing is restarted."""
    world = stage(*children("ab")).boot()
    world.script.shutdowns = {"b": [after(1.0)]}
    world.call("b", "terminate_child", "b").call("a", "terminate_child", "a").die("a")
    world.orders()
    world.run()
    assert world.orders() == []
    assert world.reports()[-1] == "shutdown_error a"
    assert world.states() == {"a": "undefined", "b": "undefined"}


def test_an_exit_says_whether_it_was_commanded() -> None:
    """1.17, and what listings show as the last exit."""
    world = stage(*children("ab")).boot().die("a").call("t", "terminate_child", "b")
    assert [note.commanded for note in world.notes if note.kind is NoteKind.EXITED] == [False, True]
    a, b = world.root.supervisor.snapshot()
    assert a.last_exit == CRASH
    assert b.last_exit == ExitReason.shutdown().as_commanded()


@pytest.mark.parametrize("shutdown", [BRUTAL, 0, 10])
def test_death_by_our_kill_is_called_killed(shutdown: Any) -> None:
    """1.8."""
    world = stage(*children("a", shutdown=shutdown)).boot()
    world.script.shutdowns = {"a": [None]}
    world.call("t", "terminate_child", "a").run()
    assert world.root.supervisor.snapshot()[0].last_exit == KILLED


def test_no_timer_outlives_its_purpose() -> None:
    """1.8: the clerk also checks it at the end of every other test here."""
    world = stage(*children("a")).boot().call("t", "terminate_child", "a")
    assert world.root.timers == set()


# ---- 1.8, a process that the kernel does not let die


def stuck(strategy: Strategy = Strategy.ONE_FOR_ONE, dies: float | None = None) -> World:
    """`a` obeys nothing; its kill takes effect after `dies` seconds or never. It has been asked to end, at second 0."""
    world = stage(*children("ab", shutdown=BRUTAL), strategy=strategy, intensity=3, kill_limit=10.0).boot()
    world.script.kills = {"a": [None if dies is None else after(dies, ExitReason.by_signal(9))]}
    return world


def test_a_killed_worker_that_does_not_die_is_called_unkillable() -> None:
    """1.8: an upper bound and a named outcome; the caller is told, and the supervisor works on."""
    world = stuck().call("t", "terminate_child", "a").run(9.9)
    assert "t" not in world.answers
    world.run(10.0)
    assert world.answers["t"] == Refused(Refusal.UNKILLABLE, "a", ChildRef("a", 1))
    assert world.reports()[-1] == "unkillable a"
    world.call("n", "start_child", ChildSpec("n", "x"))
    assert isinstance(world.answers["n"], Accepted)


def test_no_successor_is_started_by_hand_before_it_is_dead() -> None:
    """1.8: never two incarnations of a child."""
    world = stuck(dies=30.0).call("t", "terminate_child", "a").run(11).call("r", "restart_child", "a")
    refused = world.answers["r"]
    assert isinstance(refused, Refused)
    assert refused.why is Refusal.START_FAILED
    assert "not dead yet" in str(refused.reason and refused.reason.detail)
    world.run(31).call("r2", "restart_child", "a")
    assert world.answers["r2"] == Accepted(ChildRef("a", 2))


def test_an_automatic_restart_waits_for_it_without_using_up_the_intensity() -> None:
    """1.7, 1.8: the start counts as one failed attempt; the next is made when the exit arrives."""
    world = stuck(Strategy.ONE_FOR_ALL, dies=30.0).die("b").run(29.0)
    assert world.states() == {"a": "restarting", "b": "undefined"}
    assert world.reports()[-1] == "start_error a"
    world.run()
    assert world.lives == {"a": 2, "b": 2}
    assert len(world.root.ledger.attempts) == 2


def test_a_restart_that_waits_for_it_can_be_cancelled() -> None:
    """1.7.2."""
    world = stuck(Strategy.ONE_FOR_ALL, dies=30.0).die("b").run(20).call("t", "terminate_child", "a")
    world.run()
    assert world.states() == {"a": "undefined", "b": "undefined"}


def test_the_end_of_the_supervisor_does_not_wait_for_it_and_names_it() -> None:
    """1.9: everything else is dead."""
    world = stuck().stop().run()
    assert world.root.ended is not None
    assert world.root.ended.abandoned == (ChildRef("a", 1),)


def test_a_child_supervisor_is_never_called_unkillable() -> None:
    """1.8: it bounds its own end, and a second limit would race with that."""
    spec = ChildSpec("pool", Tree(SupervisorFlags(), children("x", shutdown=BRUTAL)), type=ChildType.SUPERVISOR)
    world = stage(spec).boot()
    world.script.kills = {"x": [None]}
    world.kill().run()
    assert world.root.ended is not None
    assert world.root.ended.abandoned == ()
    assert world.now == 10.0


# ---- 1.9


def test_children_are_stopped_one_by_one_in_reverse_order() -> None:
    """1.9.3: the total time is the sum."""
    world = stage(*children("abcde")).boot()
    world.script.shutdowns = {id: [after(0.2)] for id in "abcde"}
    world.orders()
    world.stop().run()
    assert world.orders() == [*(f"shutdown {id}1" for id in "edcba"), "ended shutdown"]
    assert world.history[-1].startswith("1.000")


def test_a_child_that_was_added_is_stopped_first() -> None:
    """1.9.3: by order of start, not of birth."""
    world = stage(*children("ab")).boot().call("t", "start_child", ChildSpec("c", "x")).die("a")
    world.orders()
    world.stop()
    assert world.orders() == ["shutdown c1", "shutdown b1", "shutdown a2", "ended shutdown"]


def test_an_exit_that_comes_meanwhile_is_used_when_its_turn_comes() -> None:
    """1.9.3: nothing is restarted."""
    world = stage(*children("abc")).boot()
    world.script.shutdowns = {"c": [after(1.0)]}
    world.orders()
    world.stop().die("a").run()
    assert world.orders() == ["shutdown c1", "shutdown b1", "ended shutdown"]
    assert world.reports()[-1] == "shutdown_error a"


def test_the_supervisor_ends_with_the_reason_that_it_was_told() -> None:
    """1.9.2, 1.9.5: the parent may end for any reason."""
    world = stage(*children("a")).boot().stop(ExitReason.normal())
    assert world.root.ended is not None
    assert world.root.ended.reason == ExitReason.normal()


def test_a_stop_in_the_middle_of_a_mass_restart_replaces_it() -> None:
    """1.7.1, 1.9: the stop under way is finished, then the rest goes in reverse order."""
    world = stage(*children("abcd"), strategy=Strategy.ONE_FOR_ALL).boot()
    world.script.shutdowns = {"d": [after(1.0)]}
    world.die("b")
    world.orders()
    world.stop().run()
    assert world.orders() == ["shutdown c1", "shutdown a1", "ended shutdown"]


def test_a_stop_between_retries_ends_them() -> None:
    """1.7.1."""
    world = stage(*children("a"), intensity=1000).boot()
    world.script.starts = {"a": [Fate(0, CRASH)]}
    machine = world.root.supervisor
    world.drop("a")
    while machine.snapshot()[0].state != "restarting":
        world.step()
    world.stop().run()
    assert machine.phase is Phase.ENDED
    assert world.orders()[-2:] == ["start a2", "ended shutdown"]


def test_whoever_waits_is_refused_and_so_is_everybody_after() -> None:
    """1.11: each call has one answer, also at the end."""
    world = stage(*children("ab")).boot()
    world.script.shutdowns = {"b": [after(1.0)]}
    world.call(1, "terminate_child", "b").call(2, "which_children").stop().call(3, "count_children").run()
    world.call(4, "start_child", ChildSpec("c", "x"))
    assert [world.answers[token] for token in (1, 2, 3, 4)] == [Refused(Refusal.DOWN, reason=SHUTDOWN)] * 4


def test_killed_it_kills_all_at_once() -> None:
    """1.9.6: no order, no waiting for one another, no cleanup."""
    world = stage(*children("abc")).boot()
    world.orders()
    world.kill()
    assert world.orders() == ["kill a1", "kill b1", "kill c1", "ended killed"]


def test_a_kill_shortens_a_stop_that_takes_too_long() -> None:
    """1.9.6."""
    world = stage(*children("abc", shutdown=INFINITY)).boot()
    world.script.shutdowns = {"c": [None]}
    world.orders()
    world.stop().run(60)
    assert world.orders() == ["shutdown c1"]
    world.kill()
    assert world.orders() == ["kill a1", "kill b1", "kill c1", "ended killed"]


def test_a_kill_reaches_a_start_that_hangs() -> None:
    """1.9.6."""
    world = stage(*children("ab"))
    world.script.starts = {"b": [None]}
    world.boot().kill()
    assert world.orders() == ["start a1", "start b1", "kill a1", "kill b1", "ended killed"]


def test_a_stop_goes_down_the_tree_and_a_kill_too() -> None:
    """1.9.3, 1.9.6: nothing is left of a nested supervisor."""
    pool = ChildSpec("pool", Tree(SupervisorFlags(), children("xy")), type=ChildType.SUPERVISOR)
    for end in (World.stop, World.kill):
        world = stage(pool, *children("z")).boot()
        nested = world.child("pool")
        end(world).run()
        assert nested.ended is not None
        assert nested.processes == {}
        assert world.root.ended is not None
        assert world.root.processes == {}


def test_a_supervisor_whose_patience_is_limited_kills_the_nested_one() -> None:
    """1.2, 1.8: a number of milliseconds for a supervisor is legal; then its children die without cleanup."""
    spec = ChildSpec(
        "pool", Tree(SupervisorFlags(), children("x", shutdown=INFINITY)), type=ChildType.SUPERVISOR, shutdown=100
    )
    world = stage(spec).boot()
    world.script.shutdowns = {"x": [None]}
    nested = world.child("pool")
    world.stop().run()
    assert nested.ended is not None
    assert nested.ended.reason == KILLED
    assert world.reports()[-1] == "shutdown_error pool"


def test_stop_and_kill_of_an_ended_supervisor_change_nothing() -> None:
    """1.9."""
    world = stage(*children("a")).boot().stop()
    world.orders()
    world.stop().kill()
    assert world.orders() == []


# ---- 1.10

ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


def significant(ids: str, restart: Restart = TRANSIENT) -> tuple[ChildSpec, ...]:
    return children(ids, restart=restart, significant=True)


def ended(world: World) -> bool:
    return world.root.supervisor.phase is Phase.ENDED


@pytest.mark.parametrize(
    ("auto_shutdown", "restart", "reason", "ends"),
    [
        (ANY, TRANSIENT, ExitReason.normal(), True),
        (ANY, TRANSIENT, CRASH, False),
        (ANY, TEMPORARY, CRASH, True),
        (ANY, TEMPORARY, ExitReason.normal(), True),
        (ALL, TRANSIENT, ExitReason.normal(), False),
        (ALL, TEMPORARY, CRASH, False),
    ],
)
def test_the_end_of_a_significant_child(
    auto_shutdown: AutoShutdown, restart: Restart, reason: ExitReason, ends: bool
) -> None:
    """1.10: it counts if the child ended by itself and is not restarted; `b` is still running."""
    world = stage(*significant("ab", restart), *children("c"), auto_shutdown=auto_shutdown).boot().die("a", reason)
    assert ended(world) is ends
    if ends:
        assert world.orders()[-3:] == ["shutdown c1", "shutdown b1", "ended shutdown"]


def test_all_significant_waits_for_the_last_one() -> None:
    """1.10."""
    world = stage(*significant("ab"), *children("c"), auto_shutdown=ALL).boot().die("a", ExitReason.normal())
    assert not ended(world)
    assert ended(world.die("b", ExitReason.normal()))


def test_a_child_that_is_not_significant_never_counts() -> None:
    """1.10: even if no significant child is alive."""
    world = stage(*significant("a"), *children("b", restart=TRANSIENT), auto_shutdown=ALL).boot()
    world.call("t", "terminate_child", "a").die("b", ExitReason.normal())
    assert not ended(world)


@pytest.mark.parametrize("auto_shutdown", [ANY, ALL])
def test_a_stop_by_call_never_counts(auto_shutdown: AutoShutdown) -> None:
    """1.10."""
    world = stage(*significant("a"), auto_shutdown=auto_shutdown).boot().call("t", "terminate_child", "a")
    assert not ended(world)


def test_a_stop_with_siblings_never_counts() -> None:
    """1.10."""
    world = stage(*significant("a", TEMPORARY), *children("b"), auto_shutdown=ANY, strategy=Strategy.ONE_FOR_ALL).boot()
    assert not ended(world.die("b"))
    assert world.states() == {"b": "running"}


@pytest.mark.parametrize("how", ["terminated", "ignored"])
def test_one_that_was_stopped_or_ignored_does_not_count_as_remaining(how: str) -> None:
    """1.10."""
    world = stage(*significant("ab"), auto_shutdown=ALL)
    if how == "ignored":
        world.script.starts = {"b": [Fate(0, "ignored")]}
    world.boot()
    if how == "terminated":
        world.call("t", "terminate_child", "b")
    assert ended(world.die("a", ExitReason.normal()))


def test_one_that_is_restarting_counts_as_remaining() -> None:
    """1.10."""
    world = stage(*significant("ab"), auto_shutdown=ALL, intensity=10).boot()
    world.script.starts = {"a": [Fate(1.0, CRASH)]}
    world.die("a").die("b", ExitReason.normal()).run()
    assert not ended(world)
    assert world.lives == {"a": 3}


def test_it_escalates_through_significant_supervisors() -> None:
    """1.10: the nested one ends with shutdown, which is a normal end of a significant child."""
    pool = Tree(SupervisorFlags(auto_shutdown=ANY), significant("x"))
    world = stage(
        ChildSpec("pool", pool, TRANSIENT, significant=True, type=ChildType.SUPERVISOR), auto_shutdown=ANY
    ).boot()
    world.die("x", ExitReason.normal(), world.child("pool")).run()
    assert ended(world)


def test_timers_name_the_instant() -> None:
    """1.8: seconds of the shell's clock, at which the patience is over."""
    world = stage(*children("a", shutdown=1500))
    world.run(100.25).boot()
    commands = world.root.supervisor.terminate_child("t", "a", 100.25)
    assert [command.at for command in commands if isinstance(command, SetTimer)] == [101.75]
