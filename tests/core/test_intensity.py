"""The window of 1.5: whole seconds, both ends included, attempts and not crashes."""

from __future__ import annotations

from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.intensity import RestartIntensity


@pytest.mark.parametrize(("second_ms", "survives"), [(500, False), (1100, False), (1900, False), (2100, True)])
def test_a_period_of_one_lasts_until_the_second_after_it_is_over(second_ms: int, survives: bool) -> None:
    """1.5.1, with the instants that were measured on OTP: intensity 1, period 1, first attempt just after a second."""
    window = RestartIntensity(1, 1)
    assert window.admit(100.01)
    assert window.admit(100.01 + second_ms / 1000) is survives


@pytest.mark.parametrize(
    ("first", "second", "survives"),
    [
        (10.0, 15.999, False),  # 15 - 5 = 10, still inside
        (10.999, 15.0, False),
        (10.999, 16.0, True),  # 5.001 s apart
        (10.0, 16.0, True),
    ],
)
def test_the_true_window_depends_on_where_in_a_second_the_attempts_fall(
    first: float, second: float, survives: bool
) -> None:
    """1.5.1: between the period and just under the period and a second."""
    window = RestartIntensity(1, 5)
    window.admit(first)
    assert window.admit(second) is survives


@pytest.mark.parametrize("intensity", [0, 1, 2, 10])
def test_an_intensity_admits_as_many_attempts_and_refuses_the_next(intensity: int) -> None:
    """1.5.2: 0 allows none."""
    window = RestartIntensity(intensity, 5)
    assert [window.admit(7.0) for _ in range(intensity + 1)] == [True] * intensity + [False]


def test_the_oldest_attempt_makes_room_when_it_leaves_the_window() -> None:
    """1.5: the window slides, it does not tumble."""
    window = RestartIntensity(2, 2)
    assert [window.admit(second) for second in (0.0, 2.0, 3.0, 4.0, 5.0, 8.0)] == [True, True, True, False, False, True]


@given(
    st.integers(0, 4),
    st.integers(1, 4),
    st.lists(st.floats(0, 3, allow_nan=False), max_size=30),
)
def test_it_agrees_with_the_definition(intensity: int, period: int, pauses: list[float]) -> None:
    """1.5, as a newest-first list of whole seconds that is cut at the first one too old."""
    window, restarts, now = RestartIntensity(intensity, period), list[int](), 0.0
    for pause in pauses:
        now += pause
        kept = list[int]()
        for second in restarts:
            if second < floor(now) - period:
                break
            kept.append(second)
        restarts = [floor(now), *kept]
        expected = len(restarts) <= intensity
        assert window.admit(now) is expected
        if not expected:
            return


def test_no_more_is_remembered_than_can_count() -> None:
    """1.5.8: the cost is that of the attempts within the window."""
    window = RestartIntensity(3, 2)
    for second in range(1000):
        assert window.admit(float(second))
        assert window.recent(float(second)) <= 3


@pytest.mark.parametrize(("intensity", "period", "survives"), [(2, 5, True), (1, 5, False), (1, 1, True)])
def test_other_bounds_hold_from_now_on(intensity: int, period: int, survives: bool) -> None:
    """1.5, 1.18: what was counted still counts."""
    window = RestartIntensity(9, 9)
    window.admit(10.0)
    window.change(intensity, period)
    assert window.admit(12.0) is survives
