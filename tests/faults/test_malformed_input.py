"""Mutations of good input, for a moment; and all that have ever done harm, again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from effort import effort

from tests.faults.fuzz import CASES, Field, fuzz, is_taken, private_folder, pure_fields


@pytest.fixture(scope="module")
def fields() -> Iterator[list[Field]]:
    with private_folder() as folder:
        yield pure_fields(folder)


def test_what_is_good_is_taken(fields: list[Field]) -> None:
    for field in fields:
        assert any(is_taken(field, each) for each in field.corpus) or field.name in ("memory", "key"), field.name


@pytest.mark.parametrize("seed", range(effort(1, 20)))
def test_mutations_are_refused_or_taken_for_what_they_are(fields: list[Field], seed: int) -> None:
    found = fuzz(fields, seed, 3.0)
    assert not found.wrong, found.wrong
    assert min(found.tried[field.name] for field in fields) > 0


@pytest.mark.parametrize("path", sorted(CASES.glob("*.hex")), ids=lambda path: path.stem)
def test_what_has_done_harm_does_none_any_more(fields: list[Field], path: Path) -> None:
    (field,) = (each for each in fields if each.name == path.stem.partition("-")[0])
    is_taken(field, bytes.fromhex(path.read_text()))
