"""Exit reasons: which are normal (1.4, 1.25), and their form on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.child_spec import Restart
from theater.core.exit_reason import DETAIL_LIMIT, ExitKind, ExitReason
from theater.core.supervision import is_reported, is_restarted
from theater.errors import WireError

NORMAL = [
    ExitReason.normal(),
    ExitReason.shutdown(),
    ExitReason.shutdown("moved"),
    ExitReason.by_signal(15),
    ExitReason.gave_up(),
]
ABNORMAL = [
    ExitReason.trap("unreachable", "wasm trap"),
    ExitReason.error("no such file"),
    ExitReason.by_signal(9),
    ExitReason.by_signal(11),
    ExitReason.by_status(0),
    ExitReason.by_status(3),
    ExitReason.out_of_memory(signal=9),
    ExitReason.deadline("30 s"),
    ExitReason.killed(),
    ExitReason.start_failed("a", ExitReason.error("no")),
    ExitReason.no_process(),
]


def test_every_kind_is_in_one_of_the_lists() -> None:
    assert {reason.kind for reason in NORMAL + ABNORMAL} == set(ExitKind)


@pytest.mark.parametrize("reason", NORMAL, ids=ExitReason.describe)
def test_normal_is_what_returned_or_was_shut_down(reason: ExitReason) -> None:
    """1.4, 1.25: death by SIGTERM is a shutdown, whoever sent it; a supervisor that gave up ended with shutdown."""
    assert reason.is_normal


@pytest.mark.parametrize("reason", ABNORMAL, ids=ExitReason.describe)
def test_everything_else_is_abnormal(reason: ExitReason) -> None:
    """1.4, 1.25: also status 0 without a final word."""
    assert not reason.is_normal


@pytest.mark.parametrize(
    ("restart", "normal", "abnormal"),
    [
        (Restart.PERMANENT, (True, True), (True, True)),
        (Restart.TRANSIENT, (False, False), (True, True)),
        (Restart.TEMPORARY, (False, False), (False, True)),
    ],
)
def test_restart_and_report_follow_the_table(
    restart: Restart, normal: tuple[bool, bool], abnormal: tuple[bool, bool]
) -> None:
    """1.4: restarted?, reported? for each restart type."""
    for reasons, expected in ((NORMAL, normal), (ABNORMAL, abnormal)):
        assert {(is_restarted(restart, reason), is_reported(restart, reason)) for reason in reasons} == {expected}


def test_a_bare_shutdown_has_no_term() -> None:
    """1.8: the one answer that a permanent child may give."""
    bare = [reason for reason in NORMAL + ABNORMAL if reason.is_bare_shutdown]
    assert bare == [ExitReason.shutdown(), ExitReason.by_signal(15), ExitReason.gave_up()]


def test_the_wire_form_has_the_five_published_fields() -> None:
    assert ExitReason.by_signal(9).as_killed().to_dict() == {
        "reason": "killed",
        "detail": None,
        "signal": 9,
        "status": None,
        "commanded": True,
    }
    assert ExitReason.trap("unreachable", "bad\nluck", "0: f\n1: g").to_dict() == {
        "reason": "trap",
        "detail": "unreachable: bad luck\n0: f\n1: g",
        "signal": None,
        "status": None,
        "commanded": False,
    }


def test_a_trap_can_be_taken_apart_again() -> None:
    trap = ExitReason.from_dict(ExitReason.trap("out_of_bounds", "memory: access", "0: f\n1: g").to_dict())
    assert (trap.trap_kind, trap.backtrace) == ("out_of_bounds", "0: f\n1: g")
    assert ExitReason.trap("unreachable", "x").backtrace == ""
    assert ExitReason.error("unreachable: x").trap_kind is None


reasons = st.builds(
    ExitReason,
    st.sampled_from(ExitKind),
    st.none() | st.text(),
    st.none() | st.integers(1, 64),
    st.none() | st.integers(0, 255),
    st.booleans(),
)


@given(reasons)
def test_a_reason_survives_the_wire(reason: ExitReason) -> None:
    assert ExitReason.from_dict(reason.to_dict()) == reason


@given(reasons)
def test_every_reason_has_a_line_for_people(reason: ExitReason) -> None:
    assert reason.describe()
    assert "{" not in ExitReason(reason.kind).describe()


GOOD = ExitReason.normal().to_dict()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {key: value for key, value in GOOD.items() if key != "signal"},
        GOOD | {"extra": 1},
        GOOD | {"reason": "tired"},
        GOOD | {"reason": None},
        GOOD | {"reason": []},
        GOOD | {"detail": 3},
        GOOD | {"signal": "9"},
        GOOD | {"signal": True},
        GOOD | {"status": 1.0},
        GOOD | {"commanded": 1},
    ],
)
def test_what_is_no_reason_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        ExitReason.from_dict(data)


def test_a_detail_has_a_limit() -> None:
    """A guest chooses its messages."""
    reason = ExitReason.error("x" * (DETAIL_LIMIT * 3))
    assert reason.detail is not None
    assert len(reason.detail) == DETAIL_LIMIT


def test_a_kill_of_ours_is_told_from_a_strangers() -> None:
    """1.4: both are `killed` to OTP."""
    stranger, ours = ExitReason.by_signal(9), ExitReason.by_signal(9).as_killed()
    assert (stranger.kind, stranger.commanded, stranger.is_kill) == (ExitKind.SIGNAL, False, True)
    assert (ours.kind, ours.commanded, ours.is_kill) == (ExitKind.KILLED, True, True)
    crash = ExitReason.error("x").as_killed()
    assert (crash.kind, crash.commanded, crash.is_kill) == (ExitKind.ERROR, True, False)
