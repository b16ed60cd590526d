"""So many things a second, and a share of a processor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from theater.core.pace import Pace, Share


def test_a_second_of_rest_allows_a_seconds_worth_at_once_and_then_one_at_a_time() -> None:
    pace = Pace(10, 0.0)
    assert [pace.take(5.0) for _ in range(11)] == [True] * 10 + [False]
    assert not pace.take(5.05)
    assert pace.take(5.11)
    assert not pace.take(5.11)


@given(st.integers(1, 1000), st.lists(st.floats(0, 0.5), max_size=200))
def test_in_no_time_is_more_taken_than_the_rate_and_one_burst(rate: int, steps: list[float]) -> None:
    pace, now, taken = Pace(rate, -1.0), 0.0, 0
    for step in steps:
        now += step
        taken += pace.take(now)
    assert taken <= rate * (now + 1.0) + 1


def test_what_had_to_be_done_is_paid_for_afterwards() -> None:
    pace = Pace(2, -1.0)
    assert [round(pace.spend(0.0), 6) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]


def test_who_used_twice_its_share_rests_as_long_as_it_worked() -> None:
    share = Share(0.5, 0.0, 0.0)
    share.begins(0.0)
    assert share.ends(10.0, 10.0) == 10.0


def test_rest_saves_up_a_second_and_no_more() -> None:
    share = Share(0.5, 0.0, 0.0)
    share.begins(100.0)
    assert share.ends(110.0, 10.0) == 9.0


def test_who_keeps_to_its_share_never_rests() -> None:
    share, now = Share(0.5, 0.0, 0.0), 0.0
    for call in range(100):
        share.begins(now)
        now += 1.0
        assert share.ends(now, 0.5 * (call + 1)) < 1e-9
