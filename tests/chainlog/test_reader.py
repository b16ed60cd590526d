"""Reading a chain that is being written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import chains
import pytest

from theater.chainlog import ChainReader, ChainWriter
from theater.core.chain import Encoder, Genesis, Head, HostResult, Kind
from theater.errors import ChainBroken, NotFound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain"


def words(entries: list[object]) -> list[object]:
    return [entry.payload[0] for entry in entries]  # type: ignore[attr-defined]


def test_entries_come_in_order_and_once(path: Path) -> None:
    mark = chains.write(path, range(1000))
    with ChainReader(path) as reader:
        seen = [entry for _ in range(400) for entry in reader.read(3)]
        assert [entry.seq for entry in seen] == list(range(1001))
        assert reader.read(3) == []
        assert reader.head == mark.head


def test_what_is_appended_is_seen_by_whom_reads_already(path: Path) -> None:
    chains.write(path, "a")
    with ChainReader(path) as reader:
        assert len(reader.read(10)) == 2
        assert reader.read(10) == []
        chains.write(path, "bc")
        assert words(reader.read(1)) == ["b"]
        assert words(reader.read(10)) == ["c"]


def test_half_an_entry_is_not_there_yet(path: Path) -> None:
    chains.write(path, "a")
    whole = path.read_bytes()
    with ChainReader(path) as reader:
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            assert len(reader.read(10)) <= 1
        path.write_bytes(whole)
        assert words(reader.read(10)) == ["a"]


def test_half_an_entry_that_is_cut_and_written_anew_is_read_as_it_is_then(path: Path) -> None:
    chains.write(path, "a")
    with ChainReader(path) as reader:
        reader.read(10)
        with path.open("ab") as file:
            file.write(bytes(9))
        assert reader.read(10) == []
        chains.write(path, "b")
        assert words(reader.read(10)) == ["b"]


def test_reading_can_begin_at_a_known_head(path: Path) -> None:
    mark = chains.write(path, "ab")
    chains.write(path, "c")
    with ChainReader(path, mark.head) as reader:
        (entry,) = reader.read(10)
        assert (entry.seq, entry.previous) == (3, mark.digest)


@pytest.mark.parametrize("head", [Head(2, bytes(32), 150), Head(9, bytes(32), 10_000), Head(1, bytes(32), 5)])
def test_a_head_that_the_file_does_not_have_is_refused(path: Path, head: Head) -> None:
    chains.write(path, "ab")
    with pytest.raises(ChainBroken):
        ChainReader(path, head)


def test_no_file_is_an_error_that_names_it(path: Path) -> None:
    with pytest.raises(NotFound, match=str(path)):
        ChainReader(path)


def test_good_entries_come_before_the_damage_is_said(path: Path) -> None:
    chains.write(path, "abc")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with ChainReader(path) as reader:
        assert len(reader.read(10)) == 3
        with pytest.raises(ChainBroken, match="entry 3"):
            reader.read(10)


def test_a_file_that_becomes_shorter_than_what_was_read_is_broken(path: Path) -> None:
    chains.write(path, "abc")
    with ChainReader(path) as reader:
        reader.read(10)
        path.write_bytes(path.read_bytes()[:-80])
        with pytest.raises(ChainBroken):
            reader.read(10)


# ---- the newest


@pytest.mark.parametrize("entries", [0, 1, 5, 3000])
@pytest.mark.parametrize("limit", [0, 1, 5, 6, 1000, 10_000])
def test_the_newest_entries_are_the_last_ones(path: Path, entries: int, limit: int) -> None:
    chains.write(path, range(entries))
    with ChainReader(path) as reader:
        newest = reader.tail(limit)
        every = reader.read(10_000)
    assert newest == every[max(0, len(every) - limit) :]


def test_the_newest_of_an_empty_chain_are_none(path: Path) -> None:
    path.touch()
    with ChainReader(path) as reader:
        assert reader.tail(5) == reader.read(5) == []


@pytest.mark.parametrize("tail", [b"\0\0\1", bytes(30), bytes(300)], ids=["torn", "few zeros", "many zeros"])
@pytest.mark.parametrize("entries", [3, 3000])
def test_the_newest_of_a_torn_chain_are_the_last_whole_ones(path: Path, entries: int, tail: bytes) -> None:
    chains.write(path, range(entries))
    with path.open("ab") as file:
        file.write(tail)
    with ChainReader(path) as reader:
        assert words(reader.tail(2)) == [entries - 2, entries - 1]


def test_long_entries_are_found_from_behind(path: Path) -> None:
    chains.write(path, [bytes([number]) * 150_000 for number in range(20)])
    with ChainReader(path) as reader:
        assert [word[0] for word in words(reader.tail(3))] == [17, 18, 19]  # type: ignore[index]


def test_a_guest_cannot_pass_off_its_words_as_entries(path: Path) -> None:
    """It knows the format, and the head of its own chain, and puts a chain of its own making into what it says."""
    mark = chains.write(path, range(5000))
    forger = Encoder(mark.head)
    forged = b"".join(forger.entry(Kind.HOST_RESULT, HostResult("forged"), 1)[0] for _ in range(30))
    chains.write(path, [mark.digest + forged, *["true"] * 5, bytes(64) + forged, mark.digest + forged])
    with ChainReader(path) as reader:
        for limit in (1, 5, 9, 2000):
            newest = reader.tail(limit)
            assert [entry.seq for entry in newest] == list(range(5009 - limit, 5009))
            assert "forged" not in words(newest)


# ---- anywhere


def test_an_entry_is_found_by_its_number(path: Path) -> None:
    chains.write(path, range(3000))
    with ChainReader(path) as reader:
        for seq in (2999, 0, 1, 1500, 3000):
            reader.seek(seq)
            (entry,) = reader.read(1)
            assert entry.seq == seq
        with pytest.raises(NotFound, match="no entry 3001"):
            reader.seek(3001)


def test_long_entries_are_skipped_unread(path: Path) -> None:
    chains.write(path, [bytes(400_000)] * 10)
    with ChainReader(path) as reader:
        reader.seek(10)
        assert [entry.seq for entry in reader.read(5)] == [10]


# ---- beside a writer

_WRITER = """
import sys
from theater.chainlog import ChainWriter
from theater.core.chain import HostResult, Kind
with ChainWriter.open(sys.argv[1]) as writer:
    for number in range(20_000):
        writer.append(Kind.HOST_RESULT, HostResult(bytes([number % 251]) * (number % 700)))
        if number % 5 == 0:
            writer.flush()
"""


def test_a_reader_beside_a_writer_sees_every_entry_as_it_is(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, Genesis("a", "n", None, None, None, {}))
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)])
    try:
        with ChainReader(path) as reader:
            seen = len(reader.read(1))
            while seen < 20_001:
                running = process.poll() is None
                entries = reader.read(100)
                assert all(entry.seq == seen + place for place, entry in enumerate(entries))
                seen += len(entries)
                newest = reader.tail(3)
                assert not newest or newest[-1].seq + 1 >= seen
                assert entries or running
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
