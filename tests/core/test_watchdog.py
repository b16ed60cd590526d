"""The watchdog: progress counts, idleness does not, and a starved machine is nobody's fault."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from theater.core.watchdog import Watchdog


def test_it_barks_at_a_busy_actor_that_does_nothing() -> None:
    dog = Watchdog(2.0, since=10.0)
    assert dog.look(10.5, 7, is_busy=True) is None
    assert dog.look(12.5, 7, is_busy=True) is None  # exactly the limit
    assert dog.look(12.75, 7, is_busy=True) == 2.25


def test_an_idle_actor_is_never_hung() -> None:
    dog = Watchdog(2.0, since=0.0)
    assert dog.look(100.0, 7, is_busy=False) is None
    assert dog.look(101.0, 7, is_busy=True) is None, "the time before the work came does not count"


def test_whoever_does_something_may_take_any_time() -> None:
    dog = Watchdog(2.0, since=0.0)
    assert all(dog.look(float(second), second, is_busy=True) is None for second in range(100))


def test_time_without_a_processor_does_not_count() -> None:
    dog = Watchdog(2.0, since=0.0)
    assert dog.look(0.0, 7, is_busy=True) is None
    dog.excuse(3.0)
    assert dog.look(4.0, 7, is_busy=True) is None
    assert dog.look(5.5, 7, is_busy=True) == 2.5


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 3), st.booleans()), max_size=50))
def test_it_barks_exactly_when_nothing_was_done_for_longer_than_the_limit(
    looks: list[tuple[float, int, bool]],
) -> None:
    dog, now, last, done = Watchdog(5.0, since=0.0), 0.0, 0.0, None
    for pause, work, busy in looks:
        now += pause
        if not busy or work != done:
            last, done = now, work
        assert (dog.look(now, work, is_busy=busy) is not None) == (now - last > 5.0)
