"""Numbers from random bytes: exact ranges, and the same stream from the same seed."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.randomness import Draw, Source, seeded

LARGEST = (1 << 64) - 1


def fixed(*numbers: int) -> Source:
    """Gives these u64, one after the other."""
    rest = iter(numbers)
    return lambda size: next(rest).to_bytes(size, "little")


def test_one_seed_is_one_stream() -> None:
    first, second = seeded("a seed", "dice", 1), seeded("a seed", "dice", 1)
    pieces = b"".join(first(size) for size in (1, 0, 7, 100, 3))
    assert pieces == second(111)


@pytest.mark.parametrize("other", [("2", "dice", 1), (2, "dice", 1), ("1", "cards", 1), ("1", "dice", 2)])
def test_another_seed_actor_or_life_is_another_stream(other: tuple[int | str, str, int]) -> None:
    assert seeded("1", "dice", 1)(32) != seeded(*other)(32)


def test_the_stream_is_a_format_that_stays() -> None:
    """A change of it would change what every recorded seed means."""
    assert seeded(1, "dice", 1)(16).hex() == "4491f06e0e59dbb33f090e7a23d07e54"


@given(st.integers(1, 1 << 64), st.integers(0, 1 << 32))
def test_a_number_is_below_its_bound(bound: int, seed: int) -> None:
    assert 0 <= Draw(seeded(seed, "x", 1)).below(bound) < bound


def test_the_full_range_of_u64_is_drawn() -> None:
    assert Draw(fixed(LARGEST)).below(1 << 64) == LARGEST
    assert Draw(fixed(0)).below(1 << 64) == 0


def test_numbers_that_would_make_some_likelier_are_drawn_again() -> None:
    bound = (1 << 63) + 1  # A remainder alone would make the lower numbers twice as likely.
    assert Draw(fixed(LARGEST, bound, bound - 1)).below(bound) == bound - 1
    assert Draw(fixed(LARGEST, 17)).below(3) == 2  # 2^64 leaves 1 over when it is divided by 3.


def test_a_die_is_fair() -> None:
    draw = Draw(seeded("fair", "die", 1))
    seen = Counter(draw.below(6) for _ in range(60_000))
    assert all(9_500 < seen[face] < 10_500 for face in range(6))


def test_a_fraction_is_below_one() -> None:
    assert Draw(fixed(LARGEST)).fraction() == 1 - 2**-53
    assert Draw(fixed(0)).fraction() == 0.0
    assert Draw(fixed(1 << 63)).fraction() == 0.5


@given(st.integers(0, 1 << 32))
def test_a_uuid_is_of_version_4(seed: int) -> None:
    text = Draw(seeded(seed, "x", 1)).uuid()
    assert uuid.UUID(text).version == 4
    assert uuid.UUID(text).variant == uuid.RFC_4122
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)


def test_a_draw_takes_no_more_than_it_needs() -> None:
    numbers = count(5)
    draw = Draw(lambda size: next(numbers).to_bytes(size, "little"))
    assert [draw.below(10), draw.below(10), next(numbers)] == [5, 6, 7]
