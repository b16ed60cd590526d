"""The dynamic strategy: OTP's simple_one_for_one by ids, with what Elixir's DynamicSupervisor adds (1.22)."""

from __future__ import annotations

from typing import Any

import pytest
from supervised_world import CRASH, Fate, World, children, stage

from theater.core.child_spec import AutoShutdown, ChildSpec, ChildType, Restart, ShutdownRule, Strategy, SupervisorFlags
from theater.core.exit_reason import ExitReason
from theater.core.supervision import Accepted, ChildCounts, ChildRef, Phase, Refusal, Refused, Supervisor
from theater.errors import SpecError

A = ChildSpec("a", "start a")
A1, A2 = ChildRef("a", 1), ChildRef("a", 2)


def dynamic(**flags: Any) -> World:
    return stage(strategy=Strategy.DYNAMIC, **{"intensity": 100, **flags}).boot()


def with_children(*specs: ChildSpec, **flags: Any) -> World:
    world = dynamic(**flags)
    for spec in specs:
        world.call(f"start {spec.id}", "start_child", spec)
    world.orders()
    world.reports()
    return world


# ---- what it is made of


def test_it_starts_without_children() -> None:
    """1.3.5, 1.22: children come by calls."""
    assert dynamic().orders() == ["up"]
    with pytest.raises(SpecError) as caught:
        Supervisor(SupervisorFlags(Strategy.DYNAMIC), (A,))
    assert caught.value.details["term"] == "bad_start_spec"


def test_its_name_in_otp_is_understood() -> None:
    """1.1."""
    text: Any = "simple_one_for_one"
    assert SupervisorFlags(text).strategy is Strategy.DYNAMIC


@pytest.mark.parametrize("auto_shutdown", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_it_never_shuts_itself_down(auto_shutdown: AutoShutdown) -> None:
    """1.1: a bad combination."""
    with pytest.raises(SpecError) as caught:
        SupervisorFlags(Strategy.DYNAMIC, auto_shutdown=auto_shutdown)
    assert caught.value.details["term"] == "bad_combination"


def test_no_child_of_it_is_significant() -> None:
    """1.22."""
    world = dynamic().call("t", "start_child", ChildSpec("a", "x", Restart.TEMPORARY, significant=True))
    refused = world.answers["t"]
    assert isinstance(refused, Refused)
    assert (refused.why, refused.fault and refused.fault.details["term"]) == (Refusal.BAD_SPEC, "bad_combination")


def test_each_child_has_a_spec_of_its_own() -> None:
    """1.22: where OTP has one for all."""
    specs = (
        ChildSpec("a", "x", Restart.TRANSIENT, shutdown=ShutdownRule.BRUTAL_KILL),
        ChildSpec("b", "y", Restart.PERMANENT),
    )
    world = with_children(*specs)
    assert tuple(view.spec for view in world.root.supervisor.snapshot()) == specs
    world.call("t", "terminate_child", "a").call("u", "terminate_child", "b")
    assert world.orders() == ["kill a1", "shutdown b1"]


# ---- 1.4, 1.6: ends and restarts


@pytest.mark.parametrize(
    ("restart", "reason", "lives"),
    [
        (Restart.PERMANENT, ExitReason.normal(), {"a": 2, "b": 1}),
        (Restart.PERMANENT, CRASH, {"a": 2, "b": 1}),
        (Restart.TRANSIENT, CRASH, {"a": 2, "b": 1}),
        (Restart.TRANSIENT, ExitReason.normal(), {"b": 1}),
        (Restart.TEMPORARY, CRASH, {"b": 1}),
    ],
)
def test_nothing_is_kept_of_a_child_that_is_not_restarted(
    restart: Restart, reason: ExitReason, lives: dict[str, int]
) -> None:
    """1.4, 1.6: as one_for_one, but for the specs."""
    world = with_children(*children("ab", restart=restart)).die("a", reason)
    assert world.lives == lives
    assert set(world.states()) == set(lives)


def test_a_restart_that_is_ignored_drops_the_child() -> None:
    """1.6: where a static supervisor keeps the spec."""
    world = with_children(A)
    world.script.starts = {"a": [Fate(0, "ignored")]}
    world.die("a")
    assert world.states() == {}


def test_a_restart_that_fails_is_tried_again_and_counts() -> None:
    """1.5.3, 1.7.1."""
    world = with_children(A)
    world.script.starts = {"a": [Fate(0, CRASH), Fate(0, CRASH)]}
    world.die("a").run()
    assert world.lives == {"a": 4}
    assert len(world.root.ledger.attempts) == 3


def test_one_restart_too_many_ends_it() -> None:
    """1.5.2."""
    world = with_children(*children("ab"), intensity=1).die("a").die("b").run()
    assert world.root.supervisor.phase is Phase.ENDED
    assert world.root.ended is not None
    assert world.root.ended.reason == ExitReason.gave_up()


# ---- 1.11, the column for simple_one_for_one


def running() -> World:
    return with_children(A)


def restarting() -> World:
    world = running()
    world.script.starts = {"a": [Fate(0, CRASH)]}
    world.drop("a")
    world.step()
    assert world.states() == {"a": "restarting"}
    return world


def ended() -> World:
    return running().call("setup", "terminate_child", "a")


def unknown() -> World:
    return dynamic()


ANSWERS: list[tuple[Any, str, Any, Any]] = [
    (unknown, "start_child", A, Accepted(A1)),
    (ended, "start_child", A, Accepted(A2)),
    (running, "start_child", A, Refused(Refusal.ALREADY_STARTED, "a", A1)),
    (restarting, "start_child", A, Refused(Refusal.ALREADY_PRESENT, "a")),
    (running, "terminate_child", "a", Accepted()),
    (restarting, "terminate_child", "a", Accepted()),
    (ended, "terminate_child", "a", Accepted()),
    (unknown, "terminate_child", "a", Refused(Refusal.NOT_FOUND, "a")),
    *[
        (situation, call, "a", Refused(Refusal.DYNAMIC, "a"))
        for situation in (running, restarting, ended, unknown)
        for call in ("restart_child", "delete_child")
    ],
    (running, "get_childspec", "a", A),
    (restarting, "get_childspec", "a", A),
    (ended, "get_childspec", "a", Refused(Refusal.NOT_FOUND, "a")),
    (unknown, "get_childspec", "a", Refused(Refusal.NOT_FOUND, "a")),
    (ended, "which_child", "a", Refused(Refusal.NOT_FOUND, "a")),
    (unknown, "which_child", "a", Refused(Refusal.NOT_FOUND, "a")),
]


@pytest.mark.parametrize(("situation", "call", "argument", "answer"), ANSWERS)
def test_the_answer_depends_on_the_state_of_the_child(situation: Any, call: str, argument: Any, answer: Any) -> None:
    """1.11, 1.22: an id that has ended is like a dead pid, one that was never heard of like somebody else's."""
    world = situation()
    world.ask("t", call, argument)
    world.run()
    assert world.answers["t"] == answer


def test_one_that_was_terminated_while_restarting_stays_away() -> None:
    """1.7.2, 1.11."""
    world = restarting().call("t", "terminate_child", "a").run()
    assert (world.states(), world.lives) == ({}, {})


@pytest.mark.parametrize(
    ("fate", "answer"),
    [
        (Fate(0, "ignored"), Accepted()),
        (Fate(0, CRASH), Refused(Refusal.START_FAILED, "a", reason=CRASH)),
    ],
)
def test_a_start_without_a_process_leaves_nothing(fate: Fate, answer: Any) -> None:
    """1.11, 1.22: neither an ignored start nor one that failed."""
    world = dynamic()
    world.script.starts = {"a": [fate]}
    world.call("t", "start_child", A).run()
    assert (world.answers["t"], world.states()) == (answer, {})


def test_what_a_start_has_to_say_goes_to_the_caller() -> None:
    """1.11."""
    world = dynamic()
    world.script.starts = {"a": [Fate(0, "started", info=7)]}
    assert world.call("t", "start_child", A).answers["t"] == Accepted(A1, 7)


def test_specs_are_counted_one_for_each_child() -> None:
    """1.11, 1.22: as Elixir counts; OTP has one spec only."""
    specs = (*children("ab"), ChildSpec("s", "x", type=ChildType.SUPERVISOR))
    world = with_children(*specs)
    world.script.starts = {"a": [Fate(1.0, CRASH)]}
    world.die("a").call("t", "count_children").run(1.0)
    assert world.answers["t"] == ChildCounts(specs=3, active=2, supervisors=1, workers=2)


def test_children_are_listed_with_their_ids() -> None:
    """1.11: where OTP has no ids."""
    world = with_children(*children("abc")).call("t", "which_children")
    assert [view.id for view in world.answers["t"]] == ["c", "b", "a"]  # type: ignore[union-attr]


def test_a_child_that_cannot_be_killed_is_not_said_to_be_terminated() -> None:
    """1.8, 1.11: nor does another of its id start before it is dead."""
    world = with_children(ChildSpec("a", "x", shutdown=ShutdownRule.BRUTAL_KILL))
    world.script.kills = {"a": [Fate(30, ExitReason.by_signal(9))]}
    world.call(1, "terminate_child", "a").run(20).call(2, "terminate_child", "a").call(3, "start_child", A)
    refused = Refused(Refusal.UNKILLABLE, "a", A1)
    assert [world.answers[1], world.answers[2]] == [refused, refused]
    assert isinstance(world.answers[3], Refused)
    world.run(31).call(4, "terminate_child", "a").call(5, "start_child", A)
    assert [world.answers[4], world.answers[5]] == [Accepted(), Accepted(A2)]


# ---- 1.22: max_children


def test_a_child_over_the_limit_is_refused_before_its_start() -> None:
    """1.22."""
    world = with_children(*children("ab"), max_children=2).call("t", "start_child", ChildSpec("c", "x"))
    assert world.answers["t"] == Refused(Refusal.MAX_CHILDREN, "c")
    assert world.orders() == []


def test_one_that_is_being_restarted_counts_for_the_limit() -> None:
    """1.22."""
    world = with_children(*children("ab"), max_children=2)
    world.script.never_starts["a"] = CRASH
    world.drop("a")
    world.step()
    world.ask("t", "start_child", ChildSpec("c", "x"))
    assert world.answers["t"] == Refused(Refusal.MAX_CHILDREN, "c")


def test_one_that_has_ended_makes_room() -> None:
    """1.22."""
    world = with_children(*children("ab", restart=Restart.TRANSIENT), max_children=2).die("a", ExitReason.normal())
    assert isinstance(world.call("t", "start_child", ChildSpec("c", "x")).answers["t"], Accepted)


# ---- 1.9.4


def test_its_end_stops_all_children_at_once() -> None:
    """1.9.4: five children of 200 ms each take 200 ms."""
    world = with_children(*children("abcde"))
    world.script.shutdowns = {id: [Fate(0.2, ExitReason.shutdown())] for id in "abcde"}
    world.stop()
    assert world.orders() == [f"shutdown {id}1" for id in "edcba"]
    world.run()
    assert world.history[-1] == "0.200 > ended shutdown"


def test_each_child_is_stopped_by_its_own_rule() -> None:
    """1.9.4, 1.22: one timer for each that has a time."""
    specs = (
        ChildSpec("a", "x", shutdown=100),
        ChildSpec("b", "x", shutdown=300),
        ChildSpec("c", "x", shutdown=ShutdownRule.BRUTAL_KILL),
        ChildSpec("d", "x", shutdown=0),
    )
    world = with_children(*specs)
    world.script.shutdowns = {id: [None] for id in "abd"}
    world.stop()
    assert world.orders() == ["shutdown d1", "kill d1", "kill c1", "shutdown b1", "shutdown a1"]
    world.run(0.1)
    assert world.orders() == ["kill a1"]
    world.run()
    assert world.orders() == ["kill b1", "ended shutdown"]


def test_each_child_that_was_stopped_badly_has_a_report_of_its_own() -> None:
    """1.17: where OTP groups them by reason."""
    world = with_children(*children("abc"))
    world.script.shutdowns = {id: [Fate(0, CRASH)] for id in "ac"}
    world.stop().run()
    assert world.reports() == ["shutdown_error c", "shutdown_error a"]


def test_an_exit_that_waits_when_the_end_comes_is_used_up() -> None:
    """1.9.4: nothing is restarted."""
    world = with_children(*children("ab"))
    world.script.starts = {"c": [Fate(1.0, "started")]}
    world.call("busy", "start_child", ChildSpec("c", "x")).die("a")
    world.orders()
    world.stop().run()
    assert world.orders() == ["shutdown c1", "shutdown b1", "ended shutdown"]
    assert world.reports() == ["shutdown_error a"]


def test_its_starts_are_noted_as_asked_for() -> None:
    """1.17: where OTP says nothing of them; restarts are the supervisor's own."""
    world = with_children().call("t", "start_child", A).die("a")
    progress = [(note.child, note.commanded) for note in world.notes if note.kind.value == "progress"]
    assert progress == [(A1, True), (A2, False)]
