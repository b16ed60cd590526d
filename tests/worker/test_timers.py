"""Timers: due in order, once or again and again, and still there in the next life."""

from __future__ import annotations

from pathlib import Path

import pytest

from theater.core.overdue import CatchUp
from theater.errors import LimitExceeded
from theater.worker.timers import MOST, Timers


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timers"


def timers(path: Path, clock: Clock) -> Timers:
    return Timers(path, clock, lambda: b"origin")


def test_a_timer_is_due_when_its_time_has_come(path: Path, clock: Clock) -> None:
    table = timers(path, clock)
    number = table.start(100, 0, b"hello")
    assert table.next_due() == pytest.approx(0.1)
    assert table.take_due() is None
    clock.now += 100
    due = table.take_due()
    assert due is not None
    assert (due.number, due.msg, due.cause) == (number, b"hello", b"origin")
    assert table.take_due() is None
    assert table.next_due() is None


def test_timers_are_due_in_the_order_of_their_times(path: Path, clock: Clock) -> None:
    table = timers(path, clock)
    for delay in (300, 100, 200):
        table.start(delay, 0, b"%d" % delay)
    clock.now += 1000
    assert [due.msg for due in iter(table.take_due, None)] == [b"100", b"200", b"300"]


def test_an_interval_goes_on_and_skips_what_was_missed(path: Path, clock: Clock) -> None:
    table = timers(path, clock)
    table.start(100, 100, b"tick")
    clock.now += 1050
    assert table.take_due() is not None
    assert table.take_due() is None
    assert table.next_due() == pytest.approx(0.05)


def test_a_cancelled_timer_is_not_due(path: Path, clock: Clock) -> None:
    table = timers(path, clock)
    number = table.start(100, 100, b"")
    assert table.cancel(number)
    assert not table.cancel(number)
    clock.now += 1000
    assert table.take_due() is None
    assert not path.exists()


def test_the_next_life_has_the_timers_of_the_last(path: Path, clock: Clock) -> None:
    first = timers(path, clock)
    kept, taken = first.start(500, 0, b"kept"), first.start(100, 0, b"taken")
    clock.now += 100
    assert first.take_due().number == taken  # type: ignore[union-attr]
    second = timers(path, clock)
    clock.now += 10_000
    assert [due.number for due in iter(second.take_due, None)] == [kept]
    assert second.start(1, 0, b"") > kept  # numbers are not used again


def test_a_file_that_is_damaged_means_no_timers(path: Path, clock: Clock) -> None:
    path.write_bytes(b"\xc1 not msgpack")
    assert timers(path, clock).next_due() is None


@pytest.mark.parametrize("rows", [b"\x01", b"\x91\x01", b"\x91\x92\x01\x02", b"\x80", b"\xc0"])
def test_a_file_of_another_shape_means_no_timers(path: Path, clock: Clock, rows: bytes) -> None:
    path.write_bytes(rows)
    assert timers(path, clock).next_due() is None


def test_an_actor_may_have_so_many_timers_and_no_more(path: Path, clock: Clock) -> None:
    table = timers(path, clock)
    for _ in range(MOST):
        table.start(1000, 0, b"")
    with pytest.raises(LimitExceeded, match=str(MOST)):
        table.start(1000, 0, b"")


def test_a_timer_is_written_after_the_entry_that_sets_it(path: Path, clock: Clock) -> None:
    """Whoever says which entry that is has written it by then; a life that ends in between has set no timer."""

    def origin() -> bytes:
        assert not path.exists()
        raise RuntimeError("the disk refuses the entry")

    table = Timers(path, clock, origin)
    with pytest.raises(RuntimeError):
        table.start(100, 0, b"hello")
    assert not path.exists()
    assert table.next_due() is None


@pytest.mark.parametrize(
    ("policy", "missed"),
    [(CatchUp.ONE, [b"tick"]), (CatchUp.ALL, [b"tick"] * 4), (CatchUp.SKIP, [])],
)
def test_the_catch_up_policy_says_what_becomes_of_moments_missed_while_down(
    path: Path, clock: Clock, policy: CatchUp, missed: list[bytes]
) -> None:
    first = timers(path, clock)
    first.start(100, 100, b"tick")
    clock.now += 250
    assert first.take_due() is not None
    up_until = clock.now
    clock.now += 400  # Away for 4 moments.
    second = Timers(path, clock, lambda: b"", catch_up=policy, up_until_ms=lambda: up_until)
    assert [due.msg for due in iter(second.take_due, None)] == missed
    assert second.next_due() == pytest.approx(0.05)


def test_when_the_last_life_ended_is_asked_only_for_an_interval(path: Path, clock: Clock) -> None:
    def never() -> int:
        raise AssertionError("asked")

    timers(path, clock).start(100, 0, b"once")
    clock.now += 1000
    assert Timers(path, clock, lambda: b"", up_until_ms=never).take_due() is not None
