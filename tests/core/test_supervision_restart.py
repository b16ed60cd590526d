"""Restarts: who is restarted (1.4), how often (1.5), with whom (1.6), and what if that fails (1.7)."""

from __future__ import annotations

import pytest
from simulator import REASONS
from supervised_world import CRASH, Fate, Tree, World, children, stage

from theater.core.child_spec import ChildSpec, ChildType, Restart, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import Accepted, NoteKind, Phase

FAILS = Fate(0, CRASH)
STARTS = Fate(0, "started")
IGNORED = Fate(0, "ignored")
EXITS = [*REASONS, ExitReason.gave_up(), ExitReason.deadline()]


def phase(world: World) -> Phase:
    return world.root.supervisor.phase


# ---- 1.4


@pytest.mark.parametrize("reason", EXITS, ids=str)
@pytest.mark.parametrize("restart", Restart)
def test_the_restart_type_and_the_reason_decide(restart: Restart, reason: ExitReason) -> None:
    """1.4: restarted, kept, or removed; reported or silent."""
    world = stage(*children("a", restart=restart)).boot()
    world.reports()
    world.die("a", reason)
    if restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and not reason.is_normal):
        assert (world.lives, world.reports()) == ({"a": 2}, ["child_terminated a", "progress a"])
        return
    kept = {"a": "undefined"} if restart is Restart.TRANSIENT else {}
    assert (world.lives, world.states()) == ({}, kept)
    assert world.reports() == ([] if reason.is_normal else ["child_terminated a"])


def test_a_stranger_who_shuts_a_child_down_ends_a_transient_one_for_good() -> None:
    """1.4: death by SIGTERM, whoever sent it."""
    world = stage(*children("a", restart=Restart.TRANSIENT)).boot().die("a", ExitReason.by_signal(15))
    assert world.states() == {"a": "undefined"}


def test_a_child_that_stays_can_be_restarted_by_hand() -> None:
    """1.4: the spec is kept."""
    world = stage(*children("a", restart=Restart.TRANSIENT)).boot().die("a", ExitReason.normal())
    world.call("t", "restart_child", "a")
    assert isinstance(world.answers["t"], Accepted)
    assert world.lives == {"a": 2}


# ---- 1.5


@pytest.mark.parametrize("intensity", [0, 1, 3])
def test_one_crash_more_than_the_intensity_is_fatal(intensity: int) -> None:
    """1.5.2, 1.5.6: the offender is not restarted, the others are stopped, the reason counts as shutdown."""
    world = stage(*children("ab"), intensity=intensity).boot()
    for _ in range(intensity):
        world.die("b")
    world.orders()
    world.die("b")
    assert world.orders() == ["shutdown a1", "ended gave_up"]
    assert world.root.ended is not None
    assert world.root.ended.reason.is_normal
    assert world.reports()[-2:] == ["child_terminated b", "gave_up b"]


def test_failed_attempts_count_like_crashes() -> None:
    """1.5.3: intensity 3 and a start that always fails make three attempts."""
    world = stage(*children("a"), intensity=3).boot()
    world.script.never_starts["a"] = CRASH
    world.die("a")
    assert world.orders() == ["start a1", "up", "start a2", "start a3", "start a4", "ended gave_up"]
    assert world.reports() == ["progress a", "child_terminated a", *["start_error a"] * 3, "gave_up a"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_restart_of_many_counts_one(strategy: Strategy) -> None:
    """1.5.4."""
    world = stage(*children("abcde"), strategy=strategy, intensity=2).boot().die("a").die("a")
    assert phase(world) is Phase.RUNNING
    assert world.lives == dict.fromkeys("abcde", 3)
    world.die("a").run()
    assert phase(world) is Phase.ENDED


def test_attempts_are_pooled_over_the_children() -> None:
    """1.5.4."""
    world = stage(*children("abc"), intensity=2).boot().die("a").die("b").die("c")
    assert phase(world) is Phase.ENDED


def test_ends_without_a_restart_and_restarts_by_hand_cost_nothing() -> None:
    """1.5.5."""
    world = stage(*children("ab", restart=Restart.TRANSIENT), intensity=0).boot()
    for number in range(3):
        world.die("a", ExitReason.normal()).call(number, "restart_child", "a")
        world.call(f"t{number}", "terminate_child", "b").call(f"r{number}", "restart_child", "b")
    world.call("n", "start_child", ChildSpec("n", "x", Restart.TEMPORARY)).die("n")
    assert phase(world) is Phase.RUNNING


def test_old_attempts_are_forgotten() -> None:
    """1.5.1: measured with period 1; the first at .01 of a second, the next 2.1 s later."""
    world = stage(*children("a"), intensity=1, period=1)
    world.run(10.01).boot().die("a").run(12.11)
    assert phase(world.die("a")) is Phase.RUNNING
    assert phase(world.run(13.9).die("a")) is Phase.ENDED


@pytest.mark.parametrize(
    ("restart", "survives"), [(Restart.PERMANENT, True), (Restart.TRANSIENT, False), (Restart.TEMPORARY, False)]
)
def test_a_supervisor_that_gave_up_is_restarted_only_if_it_is_permanent(restart: Restart, survives: bool) -> None:
    """1.5.6: giving up is a normal end to the parent."""
    pool = Tree(SupervisorFlags(intensity=0), children("x"))
    world = stage(ChildSpec("pool", pool, restart, type=ChildType.SUPERVISOR)).boot()
    world.die("x", node=world.child("pool")).run()
    assert phase(world) is Phase.RUNNING
    assert ("pool" in world.lives) is survives
    if survives:
        assert world.child("pool").supervisor.snapshot()[0].state == "running"


def test_nested_supervisors_multiply_what_they_allow() -> None:
    """1.5.7: three levels of intensity 1 give up at the eighth death."""
    one = SupervisorFlags(intensity=1)
    bottom = ChildSpec("bottom", Tree(one, children("x")), type=ChildType.SUPERVISOR)
    middle = ChildSpec("middle", Tree(one, (bottom,)), type=ChildType.SUPERVISOR)
    world = stage(middle, intensity=1).boot()
    deaths = 0
    while phase(world) is Phase.RUNNING:
        world.die("x", node=world.child("middle", "bottom")).run()
        deaths += 1
    assert deaths == 8


# ---- 1.6

AFTER_A_DEATH_OF_C = [
    (Strategy.ONE_FOR_ONE, ["start c2"], {"a": 1, "b": 1, "c": 2, "d": 1}),
    (
        Strategy.ONE_FOR_ALL,
        ["shutdown d1", "shutdown b1", "shutdown a1", "start a2", "start b2", "start c2", "start d2"],
        {"a": 2, "b": 2, "c": 2, "d": 2},
    ),
    (Strategy.REST_FOR_ONE, ["shutdown d1", "start c2", "start d2"], {"a": 1, "b": 1, "c": 2, "d": 2}),
]


@pytest.mark.parametrize(("strategy", "orders", "lives"), AFTER_A_DEATH_OF_C)
def test_the_strategy_says_who_is_concerned(strategy: Strategy, orders: list[str], lives: dict[str, int]) -> None:
    """1.6: stopped in reverse order of start, started in order."""
    world = stage(*children("abcd"), strategy=strategy).boot()
    world.orders()
    world.die("c")
    assert world.orders() == orders
    assert world.lives == lives


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_one_stop_follows_the_other_and_the_starts_follow_the_last(strategy: Strategy) -> None:
    """1.6: each by its own rule."""
    world = stage(*children("abc", shutdown=2000), strategy=strategy).boot()
    world.script.shutdowns = {"c": [Fate(0.5, ExitReason.shutdown())], "b": [None]}
    world.orders()
    world.die("a")
    assert world.orders() == ["shutdown c1"]
    world.run(0.6)
    assert world.orders() == ["shutdown b1"]
    world.run()
    assert world.orders() == ["kill b1", "start a2", "start b2", "start c2"]


@pytest.mark.parametrize(("restart", "reason"), [(Restart.TEMPORARY, CRASH), (Restart.TRANSIENT, ExitReason.normal())])
def test_only_a_child_that_is_restarted_concerns_others(restart: Restart, reason: ExitReason) -> None:
    """1.6.1."""
    world = stage(ChildSpec("a", "x", restart), *children("bc"), strategy=Strategy.ONE_FOR_ALL).boot()
    world.orders()
    world.die("a", reason)
    assert world.orders() == []


def test_temporary_siblings_are_stopped_and_forgotten() -> None:
    """1.6.2."""
    specs = (ChildSpec("a", "x"), ChildSpec("b", "x", Restart.TEMPORARY), ChildSpec("c", "x", Restart.TRANSIENT))
    world = stage(*specs, strategy=Strategy.ONE_FOR_ALL).boot()
    world.orders()
    world.die("a")
    assert world.orders() == ["shutdown c1", "shutdown b1", "start a2", "start c2"]
    assert world.states() == {"a": "running", "c": "running"}


def test_a_mass_restart_starts_every_spec_whether_it_ran_or_not() -> None:
    """1.6.3: one that finished, one that was ignored, one that was terminated."""
    world = stage(*children("abcd", restart=Restart.TRANSIENT), strategy=Strategy.ONE_FOR_ALL)
    world.script.starts = {"b": [IGNORED]}
    world.boot().die("a", ExitReason.normal()).call("t", "terminate_child", "c")
    assert world.lives == {"d": 1}
    world.die("d")
    assert world.lives == {"a": 2, "b": 2, "c": 2, "d": 2}


def test_a_child_that_was_added_takes_part_in_its_place() -> None:
    """1.6.4: and is forgotten when the supervisor is restarted."""
    pool = Tree(SupervisorFlags(Strategy.REST_FOR_ONE, intensity=0), children("ab"))
    world = stage(*children("ab"), strategy=Strategy.REST_FOR_ONE).boot()
    world.call("t", "start_child", ChildSpec("c", "x"))
    world.orders()
    world.die("b")
    assert world.orders() == ["shutdown c1", "start b2", "start c2"]

    world = stage(ChildSpec("pool", pool, type=ChildType.SUPERVISOR)).boot()
    nested = world.child("pool")
    world.ask("t", "start_child", ChildSpec("c", "x"), node=nested)
    world.run(0)
    assert [view.id for view in nested.supervisor.snapshot()] == ["a", "b", "c"]
    world.die("a", node=nested).run()
    assert [view.id for view in world.child("pool").supervisor.snapshot()] == ["a", "b"]


@pytest.mark.parametrize(("strategy", "restarts"), [(Strategy.ONE_FOR_ALL, 1), (Strategy.ONE_FOR_ONE, 2)])
def test_two_deaths_at_once_are_one_restart_of_all_or_two_of_one(strategy: Strategy, restarts: int) -> None:
    """1.6.5: the exit that waits is used up by the stop."""
    world = stage(*children("ab"), strategy=strategy, intensity=restarts).boot()
    world.drop("a")
    world.drop("b")
    world.run()
    assert phase(world) is Phase.RUNNING
    assert world.lives == {"a": 2, "b": 2}
    assert len(world.root.ledger.attempts) == restarts


def test_a_death_that_a_stop_uses_up_is_its_outcome() -> None:
    """1.6.5, 1.8: the real reason is reported as a failure of the stop."""
    world = stage(*children("abc"), strategy=Strategy.ONE_FOR_ALL).boot()
    world.script.shutdowns = {"c": [Fate(1.0, ExitReason.shutdown())]}
    world.reports()
    world.die("b").die("a").run()
    assert world.reports()[:2] == ["child_terminated b", "shutdown_error a"]
    assert world.lives == {"a": 2, "b": 2, "c": 2}


def test_an_ignored_restart_keeps_the_spec() -> None:
    """1.6: one_for_one, and a temporary child is never restarted."""
    world = stage(*children("a")).boot()
    world.script.starts = {"a": [IGNORED]}
    world.die("a")
    assert world.states() == {"a": "undefined"}


def test_there_is_no_delay() -> None:
    """1.6.6."""
    world = stage(*children("a")).boot().die("a")
    assert (world.now, world.lives) == (0.0, {"a": 2})


# ---- 1.7


def test_a_restart_that_failed_is_tried_again_after_what_is_waiting() -> None:
    """1.7.1: calls are served between attempts."""
    world = stage(*children("a"), intensity=10).boot()
    world.script.starts = {"a": [Fate(1.0, CRASH), STARTS]}
    world.die("a").call("seen", "which_child", "a")
    world.run()
    view = world.answers["seen"]
    assert (view.state, view.child) == ("restarting", None)  # type: ignore[union-attr]
    assert world.lives == {"a": 3}


def test_a_cancelled_retry_stays_cancelled() -> None:
    """1.7.2: only a child that is still restarting is tried again, and a later failure is none of its business."""
    world = stage(*children("a"), intensity=10).boot()
    world.script.starts = {"a": [Fate(1.0, CRASH), Fate(1.0, CRASH), STARTS]}
    world.die("a").call("t", "terminate_child", "a").call("r", "restart_child", "a")
    world.run()
    assert world.answers["t"] == Accepted()
    assert world.orders() == ["start a1", "up", "start a2", "start a3"]
    assert world.states() == {"a": "undefined"}


def test_one_for_all_starts_over_when_one_of_them_fails() -> None:
    """1.7.4: those started in this pass are stopped again, in reverse order."""
    world = stage(*children("abc"), strategy=Strategy.ONE_FOR_ALL).boot()
    world.script.starts = {"c": [FAILS]}
    world.orders()
    world.die("b")
    assert world.orders() == [
        "shutdown c1", "shutdown a1", "start a2", "start b2", "start c2",
        "shutdown b2", "shutdown a2", "start a3", "start b3", "start c3",
    ]  # fmt: skip


def test_between_two_passes_the_started_run_and_the_later_wait() -> None:
    """1.7.4."""
    world = stage(*children("abc"), strategy=Strategy.ONE_FOR_ALL).boot()
    world.script.starts = {"b": [Fate(1.0, CRASH)]}
    world.die("c").call("seen", "which_children").run()
    views = world.answers["seen"]
    states = {view.id: view.state for view in views}  # type: ignore[union-attr]
    assert states == {"a": "running", "b": "restarting", "c": "undefined"}


def test_rest_for_one_resumes_at_the_child_that_failed() -> None:
    """1.7.5: b was killed, c fails three times: b is started once, c four times, d once."""
    world = stage(*children("abcd"), strategy=Strategy.REST_FOR_ONE, intensity=5).boot()
    world.script.starts = {"c": [FAILS, FAILS, FAILS]}
    world.orders()
    world.die("b")
    assert world.orders() == [
        "shutdown d1", "shutdown c1", "start b2", "start c2", "start c3", "start c4", "start c5", "start d2",
    ]  # fmt: skip
    assert world.lives == {"a": 1, "b": 2, "c": 5, "d": 2}
    assert len(world.root.ledger.attempts) == 4


def test_a_death_between_two_passes_makes_its_own_restart() -> None:
    """1.7.4, 1.6: it takes the failed child along, whose retry then finds nothing to do."""
    world = stage(*children("abc"), strategy=Strategy.ONE_FOR_ALL, intensity=10).boot()
    world.script.starts = {"b": [Fate(1.0, CRASH)]}
    world.die("c").die("a").run()
    assert world.lives == {"a": 3, "b": 3, "c": 2}
    assert world.states() == dict.fromkeys("abc", "running")


def test_the_last_offender_is_named_when_the_retries_use_up_the_intensity() -> None:
    """1.7.3, 1.17."""
    world = stage(*children("ab"), intensity=2).boot()
    world.script.never_starts["a"] = ExitReason.deadline("start")
    world.die("a")
    (note,) = [note for note in world.notes if note.kind is NoteKind.GAVE_UP]
    assert (note.child.id, note.child.incarnation, note.reason and note.reason.kind) == ("a", 3, ExitKind.DEADLINE)


def test_a_restart_counter_and_the_last_exit_can_be_seen() -> None:
    """1.11: what a listing shows."""
    world = stage(*children("a")).boot().die("a")
    (view,) = world.root.supervisor.snapshot()
    assert (view.restarts, view.last_exit) == (1, CRASH)
