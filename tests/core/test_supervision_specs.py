"""Flags and child specs (1.1, 1.2): defaults, what is refused, in which order, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

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
    check_child_specs,
)
from theater.core.supervision import Supervisor
from theater.errors import SpecError


def term_of(make: Any) -> object:
    with pytest.raises(SpecError) as caught:
        make()
    return caught.value.details["term"]


def test_flags_have_the_defaults_of_otp() -> None:
    """1.1."""
    assert SupervisorFlags() == SupervisorFlags(Strategy.ONE_FOR_ONE, 1, 5, AutoShutdown.NEVER)


@pytest.mark.parametrize(
    ("fields", "term"),
    [
        ({"strategy": "one_for_none"}, "invalid_strategy"),
        ({"strategy": None}, "invalid_strategy"),
        ({"intensity": -1}, "invalid_intensity"),
        ({"intensity": "infinity"}, "invalid_intensity"),
        ({"intensity": 1.0}, "invalid_intensity"),
        ({"intensity": True}, "invalid_intensity"),
        ({"period": 0}, "invalid_period"),
        ({"period": "infinity"}, "invalid_period"),
        ({"period": 2.5}, "invalid_period"),
        ({"auto_shutdown": "sometimes"}, "invalid_auto_shutdown"),
        ({"strategy": "dynamic", "auto_shutdown": "any_significant"}, "bad_combination"),
        ({"max_children": 0}, "invalid_max_children"),
        ({"max_children": "infinity"}, "invalid_max_children"),
        ({"stop": "backwards"}, "invalid_stop"),
        ({"stop_deadline": -1}, "invalid_stop_deadline"),
        ({"stop_deadline": 0.5}, "invalid_stop_deadline"),
        ({"auto_shutdown": "x", "period": 0}, "invalid_period"),
        ({"period": 0, "intensity": -1}, "invalid_intensity"),
        ({"intensity": -1, "strategy": "x"}, "invalid_strategy"),
    ],
)
def test_a_wrong_flag_is_refused_and_the_first_one_is_named(fields: dict[str, Any], term: str) -> None:
    """1.1."""
    assert term_of(lambda: SupervisorFlags(**fields)) == term


def test_a_spec_has_the_defaults_of_otp() -> None:
    """1.2: shutdown depends on the type."""
    worker, supervisor = ChildSpec("a", "x"), ChildSpec("a", "x", type=ChildType.SUPERVISOR)
    assert (worker.restart, worker.significant, worker.type) == (Restart.PERMANENT, False, ChildType.WORKER)
    assert (worker.shutdown, supervisor.shutdown) == (5000, ShutdownRule.INFINITY)


@pytest.mark.parametrize(
    ("fields", "term"),
    [
        ({"id": None}, "missing_id"),
        ({"id": ""}, "missing_id"),
        ({"id": 7}, "invalid_id"),
        ({"start": None}, "missing_start"),
        ({"restart": "always"}, "invalid_restart_type"),
        ({"significant": "yes"}, "invalid_significant"),
        ({"significant": True, "restart": "permanent"}, "bad_combination"),
        ({"type": "gen_server"}, "invalid_child_type"),
        ({"shutdown": -1}, "invalid_shutdown"),
        ({"shutdown": 1.5}, "invalid_shutdown"),
        ({"shutdown": "soon"}, "invalid_shutdown"),
        ({"shutdown": True}, "invalid_shutdown"),
        ({"shutdown": None}, "invalid_shutdown"),
        ({"modules": ["m"]}, "invalid_modules"),
        ({"modules": (1,)}, "invalid_module"),
        ({"start_deadline": 0}, "invalid_start_deadline"),
        ({"start_deadline": "infinity"}, "invalid_start_deadline"),
    ],
)
def test_a_wrong_field_is_refused(fields: dict[str, Any], term: str) -> None:
    """1.2."""
    assert term_of(lambda: ChildSpec(**{"id": "a", "start": "x", **fields})) == term


@pytest.mark.parametrize(
    "fields",
    [
        {"initial": 0},
        {"initial": 0.5},
        {"initial": 200, "max": 100},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": "some"},
        {"jitter": True},
        {"jitter": float("nan")},
    ],
)
def test_a_wrong_backoff_is_refused(fields: dict[str, Any]) -> None:
    """1.23."""
    assert term_of(lambda: Backoff(**fields)) == "invalid_backoff"


def test_what_otp_lacks_is_off_unless_asked_for() -> None:
    """1.1, 1.2, 1.25: no pauses, no deadlines, no limit, one stop after the other."""
    flags, spec = SupervisorFlags(), ChildSpec("a", "x")
    assert (flags.backoff, flags.max_children, flags.stop_deadline) == (None, None, None)
    assert flags.stop is StopOrder.SEQUENTIAL
    assert (spec.start_deadline, spec.backoff) == (None, None)


def test_fields_are_checked_in_the_order_of_otp() -> None:
    """1.2: id, start, restart, significant, type, shutdown, modules; the first fault is the answer."""
    faults: dict[str, tuple[Any, str]] = {
        "id": (None, "missing_id"),
        "start": (None, "missing_start"),
        "restart": ("x", "invalid_restart_type"),
        "significant": ("x", "invalid_significant"),
        "type": ("x", "invalid_child_type"),
        "shutdown": ("x", "invalid_shutdown"),
        "modules": ("x", "invalid_modules"),
    }
    fields: dict[str, Any] = {"id": "a", "start": "x"} | {field: wrong for field, (wrong, _) in faults.items()}
    good: dict[str, Any] = {
        "id": "a", "start": "x", "restart": "transient", "significant": False, "type": "worker", "shutdown": 1,
    }  # fmt: skip
    for field, (_, term) in faults.items():
        assert term_of(lambda: ChildSpec(**fields)) == term
        fields[field] = good.get(field)


@pytest.mark.parametrize("shutdown", [0, 1, 5000, "brutal_kill", "infinity", ShutdownRule.INFINITY])
def test_every_rule_of_shutdown_is_accepted(shutdown: Any) -> None:
    """1.2: 0 is legal."""
    assert ChildSpec("a", "x", shutdown=shutdown).shutdown == shutdown


def test_words_stand_for_the_members_of_enums() -> None:
    """1.2: specs come from text."""
    text: Any = {"restart": "transient", "type": "supervisor", "shutdown": "brutal_kill"}
    spec = ChildSpec("a", "x", **text)
    assert (spec.restart, spec.type, spec.shutdown) == (
        Restart.TRANSIENT, ChildType.SUPERVISOR, ShutdownRule.BRUTAL_KILL,
    )  # fmt: skip
    assert isinstance(spec.restart, Restart)
    assert isinstance(spec.shutdown, ShutdownRule)


def test_an_unknown_field_is_refused() -> None:
    """1.1: where OTP ignores it."""
    unknown: Any = {"restrat": "transient"}
    with pytest.raises(TypeError, match="restrat"):
        ChildSpec("a", "x", **unknown)


def test_ids_are_unique() -> None:
    """1.2."""
    specs = (ChildSpec("a", "x"), ChildSpec("b", "x"), ChildSpec("a", "y"))
    assert term_of(lambda: Supervisor(SupervisorFlags(), specs)) == "duplicate_child_name"


def test_significance_needs_a_supervisor_that_minds() -> None:
    """1.2: true with auto_shutdown never is a bad combination; without knowing the supervisor it is not checked."""
    spec = ChildSpec("a", "x", Restart.TEMPORARY, significant=True)
    assert term_of(lambda: check_child_specs([spec], AutoShutdown.NEVER)) == "bad_combination"
    check_child_specs([spec])
    check_child_specs([spec], AutoShutdown.ANY_SIGNIFICANT)


def test_a_refusal_is_a_sentence_that_says_what_is_allowed() -> None:
    """1.2."""
    wrong: Any = "allways"
    with pytest.raises(SpecError, match=r"^`restart` of child 'Ann' is one of permanent, .*, not 'allways'\.$"):
        ChildSpec("Ann", "x", wrong)
    with pytest.raises(SpecError, match=r"^`period` of a supervisor, in seconds, is a whole number from 1, not 0\.$"):
        SupervisorFlags(period=0)
    with pytest.raises(SpecError, match=r"^Child 'Ann' cannot be both significant and permanent"):
        ChildSpec("Ann", "x", significant=True)
