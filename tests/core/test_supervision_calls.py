"""The calls (1.11): OTP's answer for every state of the child, in order of arrival. And the reports (1.17)."""

from __future__ import annotations

from typing import Any

import pytest
from supervised_world import CRASH, Fate, World, children, stage

from theater.core.child_spec import AutoShutdown, ChildSpec, ChildType, Restart, ShutdownRule
from theater.core.exit_reason import ExitReason
from theater.core.supervision import Accepted, ChildCounts, ChildRef, NoteKind, Refusal, Refused
from theater.errors import Conflict, LifecycleError, NotFound, SpecError, StartFailed

A = ChildSpec("a", "start a")
A1, A2 = ChildRef("a", 1), ChildRef("a", 2)


def running() -> World:
    return stage(A, intensity=100).boot()


def undefined() -> World:
    return running().call("setup", "terminate_child", "a")


def restarting() -> World:
    """`a` died and its restart failed; the retry is not posted yet, as when the mailbox holds the call before it."""
    world = running()
    world.script.starts = {"a": [Fate(0, CRASH)]}
    world.drop("a")
    world.step()
    assert world.states() == {"a": "restarting"}
    return world


def unknown() -> World:
    return stage().boot()


ANSWERS: list[tuple[Any, str, Any, Any]] = [
    (unknown, "start_child", A, Accepted(A1)),
    (running, "start_child", A, Refused(Refusal.ALREADY_STARTED, "a", A1)),
    (undefined, "start_child", A, Refused(Refusal.ALREADY_PRESENT, "a")),
    (restarting, "start_child", A, Refused(Refusal.ALREADY_PRESENT, "a")),
    (running, "terminate_child", "a", Accepted()),
    (undefined, "terminate_child", "a", Accepted()),
    (restarting, "terminate_child", "a", Accepted()),
    (unknown, "terminate_child", "a", Refused(Refusal.NOT_FOUND, "a")),
    (undefined, "restart_child", "a", Accepted(A2)),
    (running, "restart_child", "a", Refused(Refusal.RUNNING, "a", A1)),
    (restarting, "restart_child", "a", Refused(Refusal.RESTARTING, "a")),
    (unknown, "restart_child", "a", Refused(Refusal.NOT_FOUND, "a")),
    (undefined, "delete_child", "a", Accepted()),
    (running, "delete_child", "a", Refused(Refusal.RUNNING, "a", A1)),
    (restarting, "delete_child", "a", Refused(Refusal.RESTARTING, "a")),
    (unknown, "delete_child", "a", Refused(Refusal.NOT_FOUND, "a")),
    (running, "get_childspec", "a", A),
    (undefined, "get_childspec", "a", A),
    (restarting, "get_childspec", "a", A),
    (unknown, "get_childspec", "a", Refused(Refusal.NOT_FOUND, "a")),
    (unknown, "which_child", "a", Refused(Refusal.NOT_FOUND, "a")),
]


@pytest.mark.parametrize(("situation", "call", "argument", "answer"), ANSWERS)
def test_the_answer_depends_on_the_state_of_the_child(situation: Any, call: str, argument: Any, answer: Any) -> None:
    """1.11, the whole table for static supervisors."""
    world = situation()
    world.ask("t", call, argument)
    world.run()
    assert world.answers["t"] == answer


@pytest.mark.parametrize(
    ("situation", "state", "active"),
    [(running, "running", 1), (undefined, "undefined", 0), (restarting, "restarting", 0)],
)
def test_listings_show_the_state(situation: Any, state: str, active: int) -> None:
    """1.11, 1.7.6."""
    world = situation()
    for call in ("which_children", "count_children"):
        world.ask(call, call)
    world.ask("which_child", "which_child", "a")
    (view,) = world.answers["which_children"]
    assert (view.id, view.state, view.type, view.modules) == ("a", state, ChildType.WORKER, ())
    assert view.child == (A1 if state == "running" else None)
    assert world.answers["which_child"] == view
    assert world.answers["count_children"] == ChildCounts(specs=1, active=active, supervisors=0, workers=1)


def test_children_are_listed_newest_first() -> None:
    """1.11; a snapshot is in start order."""
    world = stage(*children("abc")).boot().call("t", "which_children")
    assert [view.id for view in world.answers["t"]] == ["c", "b", "a"]  # type: ignore[union-attr]
    assert [view.id for view in world.root.supervisor.snapshot()] == ["a", "b", "c"]


def test_children_are_counted_by_type_whether_alive_or_not() -> None:
    """1.11: active are those alive this instant, even if the exit of one is still waiting to be handled."""
    specs = (ChildSpec("s", "x", type=ChildType.SUPERVISOR), *children("abc"))
    world = stage(*specs).boot().call("t", "terminate_child", "s")
    world.script.shutdowns = {"a": [Fate(1.0, ExitReason.shutdown())]}
    world.call(1, "terminate_child", "a").call(2, "count_children").die("b").run()
    assert world.answers[2] == ChildCounts(specs=4, active=1, supervisors=1, workers=3)


def test_start_child_that_is_ignored_keeps_the_spec_unless_temporary() -> None:
    """1.11: `{ok, undefined}`."""
    world = stage().boot()
    world.script.starts = {"a": [Fate(0, "ignored")], "b": [Fate(0, "ignored")]}
    world.call(1, "start_child", A).call(2, "start_child", ChildSpec("b", "x", Restart.TEMPORARY))
    assert [world.answers[1], world.answers[2]] == [Accepted(), Accepted()]
    assert world.states() == {"a": "undefined"}


def test_start_child_that_fails_keeps_nothing_and_reports_nothing() -> None:
    """1.11, 1.17: the failure goes to the caller alone, and is not tried again."""
    world = stage().boot()
    world.script.starts = {"a": [Fate(0, CRASH)]}
    world.call("t", "start_child", A).run()
    assert world.answers["t"] == Refused(Refusal.START_FAILED, "a", reason=CRASH)
    assert (world.states(), world.reports()) == ({}, [])


def test_restart_child_that_fails_or_is_ignored_keeps_the_spec() -> None:
    """1.11."""
    world = undefined()
    world.script.starts = {"a": [Fate(0, CRASH), Fate(0, "ignored")]}
    world.call(1, "restart_child", "a").call(2, "restart_child", "a").run()
    assert [world.answers[1], world.answers[2]] == [Refused(Refusal.START_FAILED, "a", reason=CRASH), Accepted()]
    assert world.states() == {"a": "undefined"}


def test_start_child_is_refused_if_the_spec_does_not_fit_the_supervisor() -> None:
    """1.11, 1.2."""
    world = stage(auto_shutdown=AutoShutdown.NEVER).boot()
    world.call("t", "start_child", ChildSpec("a", "x", Restart.TEMPORARY, significant=True))
    refused = world.answers["t"]
    assert isinstance(refused, Refused)
    assert refused.fault is not None
    assert (refused.why, refused.fault.details["term"]) == (Refusal.BAD_SPEC, "bad_combination")
    assert world.states() == {}


def test_a_temporary_child_is_forgotten_when_it_is_terminated() -> None:
    """1.11."""
    world = stage(*children("a", restart=Restart.TEMPORARY)).boot().call("t", "terminate_child", "a")
    assert world.states() == {}
    assert isinstance(world.call("s", "start_child", A).answers["s"], Accepted)


def test_a_deleted_child_comes_back_as_the_newest() -> None:
    """1.11: start order is order of addition."""
    world = stage(*children("abc")).boot()
    world.call(1, "terminate_child", "a").call(2, "delete_child", "a").call(3, "start_child", A)
    assert list(world.states()) == ["b", "c", "a"]


def test_calls_wait_for_a_busy_supervisor_and_are_answered_in_order() -> None:
    """1.11: while it starts or stops somebody it answers nobody."""
    world = stage(*children("ab")).boot()
    world.script.shutdowns = {"a": [Fate(1.0, ExitReason.shutdown())]}
    world.script.starts = {"c": [Fate(1.0, "started")]}
    world.call(1, "terminate_child", "a")
    world.call(2, "which_children").call(3, "start_child", ChildSpec("c", "x"))
    world.call(4, "restart_child", "a").call(5, "count_children")
    assert world.answers == {}
    assert world.root.supervisor.busy
    world.run(1.5)
    assert list(world.answers) == [1, 2]
    world.run()
    assert list(world.answers) == [1, 2, 3, 4, 5]
    assert not world.root.supervisor.busy


def test_a_call_and_an_exit_are_handled_in_the_order_of_their_arrival() -> None:
    """1.11, 1.13: one mailbox for both."""
    for death_first in (True, False):
        world = stage(*children("ab", restart=Restart.TRANSIENT)).boot()
        world.script.shutdowns = {"b": [Fate(1.0, ExitReason.shutdown())]}
        world.call("busy", "terminate_child", "b")
        steps = [lambda w: w.die("a", ExitReason.normal()), lambda w: w.call("t", "restart_child", "a")]
        for step in steps if death_first else reversed(steps):
            step(world)
        world.run()
        assert world.answers["t"] == (Accepted(A2) if death_first else Refused(Refusal.RUNNING, "a", A1))


@pytest.mark.parametrize("token", [None, 0, "", ("a", 1)])
def test_any_token_comes_back(token: object) -> None:
    assert token in stage().boot().call(token, "count_children").answers


@pytest.mark.parametrize(
    ("refused", "error", "words"),
    [
        (Refused(Refusal.NOT_FOUND, "a"), NotFound, "no child 'a'"),
        (Refused(Refusal.RUNNING, "a", A1), Conflict, "terminate it first"),
        (Refused(Refusal.ALREADY_PRESENT, "a"), Conflict, "restart or delete it"),
        (Refused(Refusal.START_FAILED, "a", reason=CRASH), StartFailed, "did not start: it trapped"),
        (Refused(Refusal.DOWN, reason=ExitReason.gave_up()), LifecycleError, "gave up"),
        (Refused(Refusal.BAD_SPEC, "a", fault=SpecError("Wrong.")), SpecError, "Wrong."),
    ],
)
def test_a_refusal_can_be_shown_to_a_person(refused: Refused, error: type[Exception], words: str) -> None:
    shown = refused.to_error()
    assert isinstance(shown, error)
    assert words in shown.message


@pytest.mark.parametrize("why", Refusal)
def test_every_refusal_has_a_sentence(why: Refusal) -> None:
    assert "{" not in Refused(why, "a").to_error().message


# ---- 1.17


def test_progress_says_whether_a_caller_asked_for_it() -> None:
    """1.17: the initial start and automatic restarts at one level, starts by call at another."""
    world = stage(*children("a")).boot().die("a").call(1, "start_child", ChildSpec("b", "x"))
    world.call(2, "terminate_child", "b").call(3, "restart_child", "b")
    progress = [(note.child.id, note.commanded) for note in world.notes if note.kind is NoteKind.PROGRESS]
    assert progress == [("a", False), ("a", False), ("b", True), ("b", True)]


def test_a_note_carries_the_offender_with_its_spec() -> None:
    """1.17: pid, id, restart type, significance, shutdown, type."""
    spec = ChildSpec("a", "x", Restart.TRANSIENT, shutdown=ShutdownRule.BRUTAL_KILL)
    world = stage(spec).boot().die("a")
    (note,) = [note for note in world.notes if note.kind is NoteKind.CHILD_TERMINATED]
    assert (note.child, note.spec, note.reason, note.commanded) == (A1, spec, CRASH, False)


def test_every_incarnation_that_was_up_exits_once() -> None:
    """1.17 has no such report for silent ends; the record needs it."""
    world = stage(*children("abc", restart=Restart.TRANSIENT)).boot()
    world.die("a", ExitReason.normal()).die("b").call("t", "terminate_child", "c").stop()
    exits = [(note.child, note.commanded) for note in world.notes if note.kind is NoteKind.EXITED]
    assert exits == [
        (A1, False), (ChildRef("b", 1), False), (ChildRef("c", 1), True), (ChildRef("b", 2), True),
    ]  # fmt: skip
