"""Which messages of an interval an actor gets for the time that it was down: properties, over any moments."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from theater.core.overdue import MOST_CAUGHT_UP, CatchUp, following, next_moment, resumed

MOMENTS = st.integers(0, 10**6)
PERIODS = st.integers(1, 10**4)
POLICIES = st.sampled_from(CatchUp)


def messages(due: int, period: int, down_since: int, back: int, policy: CatchUp) -> tuple[list[int], int]:
    """The moments whose messages an actor gets at once when it is back, and the next one."""
    found = []
    at = resumed(due, period, down_since, back, policy)
    while at <= back:
        found.append(at)
        at = following(at, period, back, back, policy)
    return found, at


def missed(due: int, period: int, down_since: int, back: int) -> list[int]:
    """The moments after it went down, up to when it is back, counted one by one."""
    last = min(due + period * 2000, back) if due > down_since else back
    first = due if due > down_since else due + period * ((down_since - due) // period + 1)
    return list(range(first, last + 1, period))


@given(MOMENTS, PERIODS, MOMENTS, MOMENTS, POLICIES)
def test_the_policy_says_how_many_of_the_missed_ones_come(
    due: int, period: int, down: int, away: int, policy: CatchUp
) -> None:
    back = down + away
    assume((back - due) // period < 2000)
    gone = missed(due, period, down, back)
    found, _ = messages(due, period, down, back, policy)
    match policy:
        case CatchUp.SKIP:
            assert found == []
        case CatchUp.ONE:
            assert len(found) == min(1, len(gone))
        case CatchUp.ALL:
            assert found == gone[-MOST_CAUGHT_UP:]


@given(MOMENTS, PERIODS, MOMENTS, MOMENTS, POLICIES)
def test_the_next_moment_is_one_of_the_interval_and_the_first_to_come(
    due: int, period: int, down: int, away: int, policy: CatchUp
) -> None:
    back = down + away
    assume((back - due) // period < 2000)
    _, upcoming = messages(due, period, down, back, policy)
    assert (upcoming - due) % period == 0
    assert back < upcoming <= max(back + period, due)


@given(MOMENTS, PERIODS, MOMENTS)
def test_a_busy_actor_gets_one_message_for_all_that_passed(due: int, period: int, late: int) -> None:
    now = due + late
    for policy in CatchUp:
        assert following(due, period, due - 1, now, policy) == next_moment(due + period, period, now) > now


@given(MOMENTS, MOMENTS, MOMENTS, POLICIES)
def test_a_timer_that_is_due_once_stays_due(due: int, down: int, away: int, policy: CatchUp) -> None:
    assert resumed(due, 0, down, down + away, policy) == due


@given(MOMENTS, PERIODS, MOMENTS, POLICIES)
def test_what_was_due_while_the_actor_was_up_is_not_caught_up_with(
    due: int, period: int, down: int, policy: CatchUp
) -> None:
    """A clock that was set back makes no message of moments that passed before."""
    assert resumed(due, period, down, down, policy) > min(down, due - 1)
    assert resumed(due, period, down + 10, down, policy) > min(down, due - 1)
