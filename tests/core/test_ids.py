"""Ids, and the words with which a user finds an actor."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.ids import Known, child_id, is_id, resolve, root_id
from theater.errors import AmbiguousActor, UnknownActor

A = "aaaa1111-0000-4000-8000-000000000001"
B = "aaaa2222-0000-4000-8000-000000000002"
ACTORS = [Known(A, "counter", frozenset({"first"})), Known(B, "counter")]


@given(st.binary(min_size=16, max_size=32))
def test_a_root_id_is_a_uuid_of_version_4(randomness: bytes) -> None:
    found = root_id(randomness)
    assert is_id(found)
    assert uuid.UUID(found).version == 4


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1))
def test_a_child_id_follows_from_its_parents_chain(head: bytes, number: int) -> None:
    found = child_id(head, number)
    assert uuid.UUID(found).version == 8
    assert found == child_id(head, number)
    assert found != child_id(head, (number + 1) % 2**64)


@pytest.mark.parametrize(("words", "found"), [(A, A), ("first", A), ("aaaa2", B), ("AAAA1", A)])
def test_an_actor_is_found_by_id_registered_name_or_unique_prefix(words: str, found: str) -> None:
    assert resolve(words, ACTORS) == found


def test_a_manifest_name_finds_its_only_actor() -> None:
    assert resolve("counter", ACTORS[1:]) == B


@pytest.mark.parametrize("words", ["counter", "aaaa"])
def test_words_that_mean_several_are_refused_with_the_list(words: str) -> None:
    with pytest.raises(AmbiguousActor, match=f"means 2 actors: {A}, {B}"):
        resolve(words, ACTORS)


@pytest.mark.parametrize("words", ["nobody", "bbbb", ""])
def test_words_that_mean_nobody_are_refused(words: str) -> None:
    with pytest.raises(UnknownActor):
        resolve(words, ACTORS)
