"""One chain at any place."""

from __future__ import annotations

from pathlib import Path

import pytest

from theater.chainlog import ChainReader, ChainWriter
from theater.core.chain import Entry, Genesis, HostCall, HostResult, Kind
from theater.errors import ChainBroken, NotFound
from theater.lookback import survey
from theater.lookback.survey import Survey


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A chain with records of all sizes from some bytes to a few thousand, and of more than 256 entries."""
    path = tmp_path / "chain"
    with ChainWriter.open(path, clock=lambda: 1) as writer:
        writer.append(Kind.GENESIS, Genesis("a", "a", None, None, None, {}))
        for number in range(300):
            writer.append(Kind.HOST_CALL, HostCall("i", "f", (b"x" * (number * 7 % 97),)))
            if number % 50 == 0:
                writer.append(Kind.HOST_RESULT, HostResult(b"y" * 3000))
    return path


def entries(path: Path) -> list[Entry]:
    with ChainReader(path) as reader:
        return reader.read(1000)


@pytest.fixture(params=[64, 100, 4096, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How much is read at once: so little that records and digests lie on its borders."""
    size: int = request.param
    monkeypatch.setattr(survey, "_BLOCK", size)
    monkeypatch.setattr(survey, "_SEARCHED_AT_ONCE", size)
    return size


def test_every_entry_is_there_by_number_kind_and_digest(chain: Path, block: int) -> None:
    written = entries(chain)
    with Survey(chain) as found:
        assert len(found) == len(written)
        for entry in written:
            assert found.entry(entry.seq) == entry
            assert found.kind_number(entry.seq) == entry.kind
            assert found.glance(entry.seq) == entry.payload
        for entry in written[:: 1 if block > 64 else 25]:
            assert found.find(entry.digest) == entry.seq
        assert found.find(b"n" * 32) is None


def test_going_back_gives_the_numbers_of_the_kinds_newest_first(chain: Path, block: int) -> None:
    written = entries(chain)
    with Survey(chain) as found:
        for before in (0, 1, 100, len(written)):
            for kinds in ({Kind.HOST_RESULT}, {Kind.GENESIS, Kind.HOST_RESULT}, {Kind.OUTCOME}):
                expected = [entry.seq for entry in written[:before] if entry.kind in kinds]
                assert list(found.back_from(before, kinds)) == expected[::-1]


def test_it_walks_no_further_than_is_asked_for(chain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "_BLOCK", 100)
    content = bytearray(chain.read_bytes())
    content[5000:] = b"?" * (len(content) - 5000)
    chain.write_bytes(content)
    with Survey(chain) as found:
        assert found.entry(3).seq == 3
        with pytest.raises(ChainBroken):
            len(found)


def test_a_chain_that_is_cut_anywhere_ends_with_its_last_whole_entry(chain: Path, tmp_path: Path) -> None:
    content = chain.read_bytes()
    ends = [entry.offset for entry in entries(chain)[1:]]
    cut = tmp_path / "cut"
    for size in range(900):
        cut.write_bytes(content[:size])
        with Survey(cut) as found:
            assert len(found) == sum(end <= size for end in ends)


def test_what_a_dying_machine_leaves_is_not_there(chain: Path) -> None:
    count = len(entries(chain))
    content = chain.read_bytes()
    for left in (content + bytes(1000), content[:-32] + bytes(32)):
        chain.write_bytes(left)
        with Survey(chain) as found:
            assert len(found) == count - (left[-40:-32] == content[-40:-32])
            assert found.entry(5).seq == 5


def test_a_header_that_is_not_what_it_was_is_no_end(chain: Path) -> None:
    written = entries(chain)
    content = chain.read_bytes()
    for place in (0, 3, 7, 11):
        broken = bytearray(content)
        broken[written[200].offset + place] ^= 1
        chain.write_bytes(broken)
        with Survey(chain) as found, pytest.raises(ChainBroken):
            found.verify(0, len(found) - 1)


def test_a_body_that_is_not_what_it_was_is_found_when_it_is_read(chain: Path) -> None:
    written = entries(chain)
    content = bytearray(chain.read_bytes())
    content[written[200].offset + 20] ^= 1
    chain.write_bytes(content)
    with Survey(chain) as found:
        assert found.entry(199) == written[199]
        with pytest.raises(ChainBroken):
            found.entry(200)
        found.verify(0, 199)
        with pytest.raises(ChainBroken):
            found.verify(0, 200)


def test_a_chain_that_grows_is_seen_as_it_was(chain: Path) -> None:
    count = len(entries(chain))
    with Survey(chain) as found:
        with ChainWriter.open(chain) as writer:
            writer.append(Kind.HOST_RESULT, HostResult(None))
        assert len(found) == count


def test_no_chain_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no chain"):
        Survey(tmp_path / "chain")
    (tmp_path / "chain").write_bytes(b"")
    with Survey(tmp_path / "chain") as found:
        assert len(found) == 0
        with pytest.raises(IndexError):
            found.entry(0)
