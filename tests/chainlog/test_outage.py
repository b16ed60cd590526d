"""What is left of a chain when its machine has died."""

from __future__ import annotations

import os
from pathlib import Path

import chains
import pytest

from theater.chainlog.outage import take_stock
from theater.core.chain import Mark

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain"


def lose_page(path: Path, number: int) -> None:
    """The page was never written: the file is as long as it was, and has zeros there."""
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(PAGE), number * PAGE)


def test_a_page_is_missed_that_was_lost_before_the_newest_mark(path: Path) -> None:
    early = chains.write(path, ["word"] * 20)
    late = chains.write(path, ["word"] * 500)
    assert late.offset > 5 * PAGE > PAGE > early.offset
    lose_page(path, 2)
    left = take_stock(path, [early, late])
    assert left is not None
    assert left.known == late
    assert early.entries < left.mark.entries < late.entries
    assert left.mark.offset <= 2 * PAGE


def test_nothing_is_missed_of_a_chain_that_is_whole(path: Path) -> None:
    early, late = chains.write(path, ["word"] * 20), chains.write(path, ["word"] * 20)
    assert take_stock(path, [early, late]) is None
    assert take_stock(path, []) is None


def test_an_end_that_is_gone_is_missed_and_one_that_nobody_knew_is_not(path: Path) -> None:
    early, late = chains.write(path, ["word"] * 20), chains.write(path, ["word"] * 20)
    os.truncate(path, early.offset)
    left = take_stock(path, [early, late])
    assert left is not None
    assert (left.mark.entries, left.known) == (early.entries, late)
    assert take_stock(path, [early]) is None


def test_a_chain_that_was_written_anew_is_not_taken_for_a_loss(path: Path, tmp_path: Path) -> None:
    known = chains.write(path, ["word"] * 20)
    other = tmp_path / "other"
    chains.write(other, ["another"] * 40)
    assert take_stock(other, [known]) is None
    assert take_stock(other, [Mark(*known._replace(digest=bytes(32)))]) is None
