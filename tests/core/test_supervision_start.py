"""How a supervisor starts (1.3), and what it sees of odd events (1.12)."""

from __future__ import annotations

import pytest
from supervised_world import CRASH, Fate, children, stage

from theater.core.child_spec import ChildSpec, Restart
from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.supervision import Accepted, ChildRef, Ended, Phase, Refusal, Refused, Start, Supervisor, Up

IGNORED = Fate(0, "ignored")
SLOW = Fate(1.0, "started")


def test_children_start_in_order_one_after_the_other() -> None:
    """1.3.2: the next begins when the one before has started; `Up` follows the last."""
    world = stage(*children("abc"))
    world.script.starts = {"a": [SLOW], "b": [SLOW]}
    world.boot()
    assert world.orders() == ["start a1"]
    world.run(1.5)
    assert world.orders() == ["start b1"]
    world.run()
    assert world.orders() == ["start c1", "up"]
    assert world.root.supervisor.phase is Phase.RUNNING


def test_a_supervisor_without_children_is_up_at_once() -> None:
    """1.3.2."""
    assert stage().boot().orders() == ["up"]


def test_an_ignored_start_is_a_success_without_a_process() -> None:
    """1.2, 1.3.2: the spec stays, except that of a temporary child."""
    world = stage(ChildSpec("a", "x"), ChildSpec("b", "x", Restart.TEMPORARY), ChildSpec("c", "x"))
    world.script.starts = {"a": [IGNORED], "b": [IGNORED]}
    world.boot()
    assert world.orders() == ["start a1", "start b1", "start c1", "up"]
    assert world.states() == {"a": "undefined", "c": "running"}
    assert world.reports() == ["progress c"]


def test_a_failed_start_stops_the_others_in_reverse_and_fails_the_supervisor() -> None:
    """1.3.3, 1.3.6: later ones are never attempted, nothing is restarted, and the end comes when nothing is left."""
    world = stage(*children("abcd"), intensity=10)
    world.script.starts = {"c": [Fate(0, CRASH)]}
    world.boot()
    assert world.orders() == [
        "start a1", "start b1", "start c1", "shutdown b1", "shutdown a1", "ended start_failed",
    ]  # fmt: skip
    assert world.reports() == ["progress a", "progress b", "start_error c"]
    assert world.root.ended is not None
    assert "'c'" in str(world.root.ended.reason.detail)
    assert "unreachable" in str(world.root.ended.reason.detail)


def test_a_child_that_dies_in_its_start_has_failed_to_start() -> None:
    """1.3.3: whichever of the two the shell reports."""
    world = stage(*children("a"))
    world.script.starts = {"a": [None]}
    world.boot().die("a")
    assert world.orders() == ["start a1", "ended start_failed"]


def test_a_death_during_the_start_of_later_siblings_is_a_restart_after_it() -> None:
    """1.3.4: it does not fail the start."""
    world = stage(*children("ab"))
    world.script.starts = {"b": [SLOW]}
    world.boot().die("a").run()
    assert world.orders() == ["start a1", "start b1", "up", "start a2"]
    assert world.lives == {"a": 2, "b": 1}


def test_a_call_during_the_start_is_answered_after_it() -> None:
    """1.11: a supervisor that is busy answers nobody."""
    world = stage(*children("a"))
    world.script.starts = {"a": [SLOW]}
    world.boot().call("count", "count_children")
    assert world.answers == {}
    world.run()
    assert world.answers["count"].active == 1  # type: ignore[union-attr]


def test_a_call_during_a_start_that_fails_is_refused() -> None:
    """1.3.3, 1.11: its server is gone, and the answer says why."""
    world = stage(*children("a"))
    world.script.starts = {"a": [Fate(1.0, CRASH)]}
    world.boot().call("count", "count_children").run()
    refused = world.answers["count"]
    assert isinstance(refused, Refused)
    assert (refused.why, refused.reason and refused.reason.kind) == (Refusal.DOWN, ExitKind.START_FAILED)


def test_every_start_has_a_fresh_incarnation_that_goes_on_over_deletion_and_supervisors() -> None:
    """1.25: a late exit of an older life is to be recognised."""
    lives: dict[str, int] = {"a": 7}
    world = stage(*children("a"))
    first = Supervisor(world.root.supervisor.flags, children("a"), last_incarnations=lives)
    assert first.start(0.0) == [Start(ChildRef("a", 8), children("a")[0])]
    first.started(ChildRef("a", 8), 0.0)
    first.terminate_child("t", "a", 0.0)
    first.exited(ChildRef("a", 8), ExitReason.shutdown(), 0.0)
    first.delete_child("d", "a", 0.0)
    again = first.start_child("s", children("a")[0], 0.0)
    assert again[0] == Start(ChildRef("a", 9), children("a")[0])
    second = Supervisor(world.root.supervisor.flags, children("a"), last_incarnations=lives)
    assert second.start(0.0)[0] == Start(ChildRef("a", 10), children("a")[0])


@pytest.mark.parametrize(("given", "number"), [(0, 1), (6, 7)])
def test_a_child_that_lived_elsewhere_goes_on_counting(given: int, number: int) -> None:
    """1.25: and a number that is behind what the supervisor knows itself does no harm."""
    machine = Supervisor(stage().root.supervisor.flags)
    machine.start(0.0)
    spec = children("a")[0]
    first = ChildRef("a", number)
    assert machine.start_child(1, spec, 0.0, last_incarnation=given) == [Start(first, spec)]
    machine.start_failed(first, CRASH, 0.0)
    again = machine.start_child(2, spec, 0.0, last_incarnation=given)
    assert again == [Start(ChildRef("a", number + 1), spec)]


@pytest.mark.parametrize("late", [ChildRef("a", 1), ChildRef("a", 3), ChildRef("nobody", 1)])
def test_news_of_another_incarnation_or_of_strangers_is_ignored(late: ChildRef) -> None:
    """1.9.1, 1.12: silently; the end of a stranger ends nobody."""
    world = stage(*children("a")).boot().die("a")
    machine = world.root.supervisor
    before = machine.snapshot()
    assert machine.exited(late, CRASH, 1.0) == []
    assert machine.started(late, 1.0) == []
    assert machine.ignored(late, 1.0) == []
    assert machine.start_failed(late, CRASH, 1.0) == []
    assert machine.retry(late, 1.0) == []
    assert machine.snapshot() == before


def test_an_exit_that_is_reported_twice_counts_once() -> None:
    """1.25: a shell may learn of a death on two ways."""
    world = stage(*children("ab"))
    world.script.starts = {"a": [Fate(0, "started"), SLOW]}
    world.boot().die("b").die("a").call("c", "count_children")
    world.report_exit(world.root, ChildRef("a", 1), CRASH)
    world.run()
    assert world.lives == {"a": 2, "b": 2}


def test_a_stop_overtakes_a_start_that_hangs() -> None:
    """1.3, 1.9.7: where OTP's parent would wait, for ever if it is the starting child that asks for the stop.

    The half-started child is stopped by its own rule, then the others.
    """
    world = stage(*children("abc"))
    world.script.starts = {"b": [None]}
    world.boot().call("waits", "count_children").stop()
    assert world.orders() == ["start a1", "start b1", "shutdown b1", "shutdown a1", "ended shutdown"]
    assert world.answers["waits"] == Refused(Refusal.DOWN, reason=ExitReason.shutdown())


def test_a_start_that_succeeds_while_it_is_being_cut_short_changes_nothing() -> None:
    """1.9: the `started` crosses the stop on its way."""
    world = stage(*children("a"))
    world.script.starts = {"a": [Fate(1.0, "started")]}
    world.script.shutdowns = {"a": [Fate(2.0, ExitReason.shutdown())]}
    world.boot().stop().run()
    assert world.orders() == ["start a1", "shutdown a1", "ended shutdown"]


@pytest.mark.parametrize("what", ["ignored", CRASH])
def test_a_start_that_fails_while_it_is_being_cut_short_needs_no_further_exit(what: object) -> None:
    """1.9: nothing of the incarnation is left, which is all that a stop wants."""
    world = stage(*children("a"))
    world.script.starts = {"a": [Fate(1.0, what)]}
    world.script.shutdowns = {"a": [None]}
    world.boot().stop().run()
    assert world.orders() == ["start a1", "shutdown a1", "ended shutdown"]
    assert world.reports() == []


def test_a_supervisor_that_is_stopped_before_it_was_started_ends_without_a_start() -> None:
    """1.9."""
    machine = Supervisor(stage().root.supervisor.flags, children("a"))
    assert machine.stop(0.0) == [Ended(ExitReason.shutdown())]
    assert machine.start(0.0) == []


def test_a_call_before_the_start_waits_for_it() -> None:
    """1.11: it is in the mailbox already."""
    machine = Supervisor(stage().root.supervisor.flags)
    assert machine.get_childspec("t", "a", 0.0) == []
    assert machine.start(0.0)[0] == Up()


def test_what_a_start_has_to_say_goes_to_the_caller() -> None:
    """1.2: `{ok, Pid, Info}`."""
    world = stage().boot()
    world.script.starts = {"a": [Fate(0, "started", info={"port": 80})]}
    world.call("t", "start_child", ChildSpec("a", "x"))
    assert world.answers["t"] == Accepted(ChildRef("a", 1), {"port": 80})
