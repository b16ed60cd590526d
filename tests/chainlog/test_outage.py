"""What is left of a chain when its machine has died."""

from __future__ import annotations

import os
from pathlib import Path

import chains
import long_chains
import pytest

from theater.chainlog import outage
from theater.chainlog.chain_file import ChainFile, Walk
from theater.chainlog.keys import open_signer
from theater.chainlog.outage import read_known, take_stock
from theater.chainlog.signed import signed_marks
from theater.chainlog.writer import ChainWriter
from theater.core.chain import MARKS, SIGNED, SNAPSHOT, START, Checkpoint, Head, Kind, Lifecycle, Mark
from theater.core.verification import SUPERVISOR

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


# ---- long chains


def test_what_is_before_a_durable_mark_is_not_read(path: Path) -> None:
    durable = chains.write(path, ["word"] * 500)
    late = chains.write(path, ["word"] * 500)
    lose_page(path, 2)
    assert take_stock(path, [durable, late], durable) is None
    lose_page(path, durable.offset // PAGE + 2)
    left = take_stock(path, [durable, late], durable)
    assert left is not None
    assert left.known == late
    assert durable.entries < left.mark.entries < late.entries


def test_a_durable_mark_that_the_chain_does_not_have_is_not_believed(path: Path) -> None:
    durable = chains.write(path, ["word"] * 500)
    lose_page(path, 2)
    left = take_stock(path, [], durable._replace(digest=bytes(32)))
    assert left is not None
    assert left.mark.offset <= 2 * PAGE


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Head]:
    """Where it was begun to read, each time."""
    found: list[Head] = []

    class Watched(Walk):
        def __init__(self, file: ChainFile, head: Head) -> None:
            found.append(head)
            super().__init__(file, head)

    monkeypatch.setattr(outage, "Walk", Watched)
    return found


def test_what_is_compressed_is_not_read_since_it_was_synced(tmp_path: Path, begun: list[Head]) -> None:
    home = chains.Living.at(tmp_path / "home")
    path = home.chain(chains.ACTOR)
    first, early = (home.live(chains.ACTOR, ["word"] * 2000) for _ in range(2))
    home.live(chains.ACTOR, ["word"] * 10)
    long_chains.compress(home)
    late = home.live(chains.ACTOR, ["word"] * 2000)
    lost = late.offset // PAGE - 2
    lose_page(path, lost)
    left = take_stock(path, [first, early, late])
    assert left is not None
    assert early.offset < left.mark.offset <= lost * PAGE
    assert left.mark.incarnation == early.incarnation
    assert early.entries < begun[0].entries < late.entries, "behind what is compressed: is anything missing at all?"
    assert begun[1] == early.head
    take_stock(path, [first, early._replace(digest=bytes(32)), late])
    take_stock(path, [late])
    assert begun[2:] == [begun[0], begun[0], START], "what was written anew is no loss, and seen at once"


def test_if_nothing_is_missing_what_is_compressed_is_not_read_whatever_is_known(
    tmp_path: Path, begun: list[Head]
) -> None:
    home = chains.Living.at(tmp_path / "home")
    home.live(chains.ACTOR, ["word"] * 2000)
    long_chains.compress(home)
    late = home.live(chains.ACTOR, ["word"] * 10)
    assert take_stock(home.chain(chains.ACTOR), [late]) is None
    (head,) = begun
    assert head.entries > 1900


# ---- what the supervisor's chain knows


def test_of_very_many_marks_the_newest_are_known_and_some_of_the_others(tmp_path: Path) -> None:
    home = chains.Living.at(tmp_path / "home")
    home.checkpoint(actor1=Mark(1, bytes(32), 100))
    with ChainWriter.open(home.supervisor_chain) as writer:
        for entries in range(2, 5001):
            row = list(Mark(entries, bytes(32), 100 * entries))
            writer.append(Kind.CHECKPOINT, Checkpoint({chains.ACTOR: row}))
    found = [mark.entries for mark in read_known(home.supervisor_chain).marks[chains.ACTOR]]
    assert found == sorted(found)
    assert found[-100:] == list(range(4901, 5001))
    assert found[0] == 1
    assert len(found) > 128
    assert len(found) < 300


def test_a_snapshot_is_enough_to_begin_with(tmp_path: Path) -> None:
    home = chains.Living.at(tmp_path / "home")
    marks = [Mark(number, bytes(32), 100 * number) for number in range(1, 5)]
    for mark in marks[:3]:
        home.checkpoint(actor1=mark)
    offset = home.supervisor_chain.stat().st_size
    home.record(Kind.LIFECYCLE, Lifecycle(SNAPSHOT, {MARKS: {chains.ACTOR: list(marks[2])}}))
    home.checkpoint(actor1=marks[3])
    assert read_known(home.supervisor_chain).marks[chains.ACTOR] == [*marks[:3], *marks[2:]]
    assert read_known(home.supervisor_chain, since=offset).marks[chains.ACTOR] == marks[2:]
    for other in (offset + 1, 0, 10**9):
        assert len(read_known(home.supervisor_chain, since=other).marks[chains.ACTOR]) == 5


def sign(home: chains.Living, snapshot: int | None = None) -> Mark:
    """The server signs its chain; returns the mark before that."""
    signer = open_signer(home)
    with ChainWriter.open(home.supervisor_chain) as writer:
        mark = writer.mark
        text = signer.sign(bytes(32), {SUPERVISOR: (mark.entries, mark.digest)}, 1).text.decode()
        writer.append(Kind.LIFECYCLE, Lifecycle(SIGNED, {"checkpoint": text, SNAPSHOT: snapshot}))
    return mark


def test_what_was_signed_is_found_from_the_end_of_a_torn_chain(tmp_path: Path) -> None:
    home = chains.Living.at(tmp_path / "home")
    key = open_signer(home).public
    signed = []
    for number in range(4):
        for _ in range(400):
            home.record(Kind.LIFECYCLE, Lifecycle("something", {"number": number}))
        signed.append(Mark(*sign(home, number * 10 or None).head, snapshot_at=number * 10 or None))
    assert signed_marks(home.supervisor_chain, key, 2) == [signed[3], signed[2]]
    assert signed_marks(home.supervisor_chain, key, 9) == signed[::-1]
    assert signed_marks(home.supervisor_chain, bytes(32), 2) == []
    home.record(Kind.LIFECYCLE, Lifecycle("something", {"what": "x" * 3 * PAGE}))
    os.truncate(home.supervisor_chain, home.supervisor_chain.stat().st_size - 1)
    assert signed_marks(home.supervisor_chain, key, 2) == [signed[3], signed[2]]
    with home.supervisor_chain.open("r+b") as file:
        os.pwrite(file.fileno(), b"?", signed[3].offset - 1)  # in the digest of the entry before
    assert signed_marks(home.supervisor_chain, key, 1) == [signed[2]]
