"""A chain that was compressed, or whose oldest entries were dropped, is the same chain for whoever reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chains import ACTOR, Living
from long_chains import SIGNER, compress, drop, live, order, records

from theater.chainlog import ChainReader, ChainWriter, collect_references, verify_chain, verify_home
from theater.chainlog.chain_file import ChainFile
from theater.chainlog.recovery import record_at, recover
from theater.chainlog.shrinking import on_disk, shrink
from theater.core.chain import SNAPSHOT, Entry, HostResult, Kind, Lifecycle, Mark
from theater.core.manifest import Retention
from theater.errors import ChainBroken, NotFound, WrongState


@pytest.fixture
def home(tmp_path: Path) -> Living:
    return Living.at(tmp_path / "home")


@pytest.fixture
def mark(home: Living) -> Mark:
    """An actor has lived, and the supervisor knows how far."""
    found = live(home.chain(ACTOR), home.store)
    home.checkpoint(actor1=found)
    return found


def is_snapshot(entry: Entry) -> bool:
    payload = entry.read()
    return isinstance(payload, Lifecycle) and payload.event == SNAPSHOT


# ---- compressed


def test_a_compressed_chain_reads_as_before(home: Living, mark: Mark) -> None:
    path = home.chain(ACTOR)
    before, size, blocks = records(path), path.stat().st_size, on_disk(path)
    done = compress(home)
    assert records(path) == before
    assert path.stat().st_size == size
    assert 0 < done.compressed <= size
    assert done.freed == blocks - on_disk(path) > 0
    assert verify_home(home, home.store).ok


def test_each_record_of_a_compressed_chain_is_found_at_its_offset(home: Living, mark: Mark) -> None:
    before = records(home.chain(ACTOR))
    compress(home)
    with ChainFile.open(home.chain(ACTOR)) as file:
        assert [record_at(file, record.offset) for record in before] == before


def test_each_entry_of_a_compressed_chain_can_be_gone_to(home: Living, mark: Mark) -> None:
    before = records(home.chain(ACTOR))
    compress(home)
    for record in before:
        with ChainReader(home.chain(ACTOR)) as reader:
            reader.seek(record.seq)
            assert reader.records(1) == [record]


def test_the_newest_entries_are_the_same_when_they_are_compressed(home: Living, mark: Mark) -> None:
    with ChainReader(home.chain(ACTOR)) as reader:
        before = {count: reader.tail(count) for count in (0, 1, 5, 50, 1000)}
    compress(home)
    with ChainReader(home.chain(ACTOR)) as reader:
        assert {count: reader.tail(count) for count in before} == before


def test_a_writer_goes_on_while_its_chain_is_compressed(home: Living, mark: Mark) -> None:
    path = home.chain(ACTOR)
    with ChainWriter.open(path, known=mark, get=home.store.get) as writer:
        compress(home)
        writer.append(Kind.HOST_RESULT, HostResult("later"))
        writer.flush()
        compress(home)
        writer.append(Kind.HOST_RESULT, HostResult("latest"))
    assert verify_home(home, home.store).ok
    assert records(path)[-1].seq == mark.entries + 1


def test_a_reader_goes_on_while_its_chain_is_compressed_and_dropped(home: Living, mark: Mark) -> None:
    before = records(home.chain(ACTOR))
    with ChainReader(home.chain(ACTOR)) as reader:
        assert reader.records(10) == before[:10]
        compress(home)
        assert reader.records(10) == before[10:20]
        drop(home)
        rest = reader.records(1000)
    snapshot = next(record for record in rest if record.seq > before[20].seq and is_snapshot(record.entry()))
    assert rest[-1] == before[-1]
    assert snapshot in rest


def test_a_second_time_there_is_nothing_to_compress(home: Living, mark: Mark) -> None:
    compress(home)
    segments = sorted(home.actor(ACTOR).glob("segments/*"))
    assert compress(home).compressed == 0
    assert sorted(home.actor(ACTOR).glob("segments/*")) == segments


def test_what_was_written_since_goes_into_a_segment_of_its_own(home: Living, mark: Mark) -> None:
    compress(home)
    live(home.chain(ACTOR), home.store, 40)
    before = records(home.chain(ACTOR))
    assert compress(home).compressed > 0
    assert len(list(home.actor(ACTOR).glob("segments/*"))) == 2
    assert records(home.chain(ACTOR)) == before
    assert verify_home(home, home.store).ok


def test_a_life_that_begins_finds_its_state_in_what_was_compressed(home: Living, mark: Mark) -> None:
    with ChainFile.open(home.chain(ACTOR)) as file:
        before = recover(file, None, home.store.get)
    with ChainWriter.open(home.chain(ACTOR), get=home.store.get) as writer:
        for _ in range(3):
            writer.append(Kind.HOST_RESULT, HostResult(b"x" * 9000))
    compress(home)
    with ChainFile.open(home.chain(ACTOR)) as file:
        assert file.segments
        for known in (mark, None, mark.head):
            found = recover(file, known, home.store.get)
            assert (found.state, found.state_digest) == (before.state, before.state_digest)
            assert found.mark.state_at == mark.state_at


def test_the_newest_bytes_are_left_as_they_are_but_for_what_is_before_a_snapshot(home: Living, mark: Mark) -> None:
    path = home.chain(ACTOR)
    assert shrink(path, order(hot=1 << 30), home.store).compressed > 0
    with ChainFile.open(path) as file:
        (place,) = file.segments
        segment = file.segment(place)
        assert segment is not None
        assert segment.until.offset == mark.snapshot_at


def test_what_is_not_worth_a_segment_waits(home: Living, mark: Mark) -> None:
    assert shrink(home.chain(ACTOR), order(least=1 << 30), home.store).compressed == 0
    assert not home.actor(ACTOR).joinpath("segments").exists()


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(home: Living, mark: Mark) -> None:
    def look() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_size, p.stat().st_blocks) for p in home.root.rglob("*")}

    before = look()
    said = drop(home, dry_run=True)
    assert look() == before
    done = drop(home)
    assert (said.compressed, said.dropped_entries, said.dropped_bytes) == (
        done.compressed,
        done.dropped_entries,
        done.dropped_bytes,
    )


def test_only_one_does_it_at_a_time(home: Living, mark: Mark) -> None:
    import fcntl

    fd = os.open(home.actor(ACTOR), os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(WrongState, match="another process"):
            compress(home)
    finally:
        os.close(fd)


def test_a_chain_that_does_not_verify_is_left_alone(home: Living, mark: Mark) -> None:
    path = home.chain(ACTOR)
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChainBroken):
        drop(home)
    assert path.read_bytes() == data


def test_a_chain_that_was_written_anew_is_not_signed_for(home: Living, mark: Mark) -> None:
    from theater.core.verification import Checkpoints

    false = Checkpoints([(30, bytes(32))])
    with pytest.raises(ChainBroken, match="entry 29"):
        drop(home, checkpoints=false)
    assert not home.actor(ACTOR).joinpath("dropped").exists()


# ---- dropped


def test_what_is_left_begins_with_the_genesis_and_a_snapshot(home: Living, mark: Mark) -> None:
    before = records(home.chain(ACTOR))
    done = drop(home)
    left = records(home.chain(ACTOR))
    assert left[0] == before[0]
    assert is_snapshot(left[1].entry())
    assert left[1:] == before[left[1].seq :]
    assert done.dropped_entries == left[1].seq - 1 == done.until - 1  # type: ignore[operator]
    assert left[1].offset == mark.snapshot_at


def test_verify_accepts_what_the_trusted_key_has_signed_and_names_it(home: Living, mark: Mark) -> None:
    drop(home)
    (verdict,) = verify_home(home, home.store, key=SIGNER.public).actors
    assert verdict.ok
    assert verdict.entries == mark.entries
    assert verdict.head == mark.digest.hex()
    assert verdict.dropped is not None
    assert verdict.dropped.until.offset == mark.snapshot_at
    assert str(verdict.dropped) == f"entries 1 to {verdict.dropped.until.entries - 1} were dropped by retention"


def test_a_later_drop_covers_both_and_names_the_former_statement(home: Living, mark: Mark) -> None:
    drop(home)
    with ChainFile.open(home.chain(ACTOR)) as file:
        first = file.dropped
    live(home.chain(ACTOR), home.store)
    drop(home)
    with ChainFile.open(home.chain(ACTOR)) as file:
        second = file.dropped
    assert first is not None
    assert second is not None
    assert (second.former, second.start) == (first.digest, first.start)
    assert second.until.entries > first.until.entries
    (verdict,) = verify_home(home, home.store, key=SIGNER.public).actors
    assert verdict.ok


def test_dropping_up_to_the_midst_of_a_segment_keeps_what_follows(home: Living, mark: Mark) -> None:
    live(home.chain(ACTOR), home.store)
    before = records(home.chain(ACTOR))
    compress(home)
    done = drop(home, Retention(entries=before[-1].seq - 70))
    assert done.dropped_entries > 0
    left = records(home.chain(ACTOR))
    assert left[1:] == before[left[1].seq :]
    with ChainFile.open(home.chain(ACTOR)) as file:
        assert file.dropped is not None
        assert [place.offset for place in file.segments] == [file.dropped.until.offset]
    assert verify_home(home, home.store, key=SIGNER.public).ok


def test_a_life_that_begins_behind_what_was_dropped_has_its_state(home: Living, mark: Mark) -> None:
    with ChainFile.open(home.chain(ACTOR)) as file:
        before = recover(file, None, home.store.get)
        early = next(iter(recover_marks(home)))
    drop(home)
    for known in (None, mark, mark.head, early):
        with ChainFile.open(home.chain(ACTOR)) as file:
            found = recover(file, known, home.store.get)
        assert (found.mark, found.state) == (before.mark, before.state)


def recover_marks(home: Living) -> list[Mark]:
    """A mark in the midst of what is going to be dropped."""
    record = records(home.chain(ACTOR))[10]
    return [Mark(record.seq + 1, record.digest, record.end, incarnation=1)]


def test_going_to_an_entry_that_was_dropped_leads_to_the_snapshot(home: Living, mark: Mark) -> None:
    drop(home)
    with ChainReader(home.chain(ACTOR)) as reader:
        reader.seek(5)
        (entry,) = reader.read(1)
        assert is_snapshot(entry)
        reader.seek(0)
        assert [entry.seq for entry in reader.read(2)] == [0, entry.seq]
        with pytest.raises(NotFound):
            reader.seek(mark.entries)
        assert len(reader.tail(10_000)) == len(records(home.chain(ACTOR)))


def test_nothing_that_is_to_be_kept_is_dropped(home: Living, mark: Mark) -> None:
    live(home.chain(ACTOR), home.store, 200)
    total = len(records(home.chain(ACTOR)))
    for entries in (total - 50, total - 300, 150, 1):
        drop(home, Retention(entries=entries))
        assert len(records(home.chain(ACTOR))) - 1 >= entries


def test_a_bit_in_the_statement_breaks_the_chain(home: Living, mark: Mark) -> None:
    drop(home)
    statement = home.actor(ACTOR) / "dropped"
    good = statement.read_bytes()
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        statement.write_bytes(flipped)
        verdict = verify_chain(home.chain(ACTOR), key=SIGNER.public)
        assert not verdict.ok, bit
        assert verdict.error is not None
        assert verdict.error.startswith(("entry 1: ", "entry 0: ")), verdict.error


def test_content_that_only_dropped_entries_refer_to_is_garbage(home: Living, mark: Mark) -> None:
    store = home.store
    needed = collect_references(home, store.get)
    assert store.gc(needed, 0, 1e12).count == 0
    drop(home)
    needed = collect_references(home, store.get)
    assert store.gc(needed, 0, 1e12).count > 50
    assert verify_home(home, store, key=SIGNER.public).ok


def test_it_is_said_why_nothing_can_be_dropped(home: Living) -> None:
    path = home.chain(ACTOR)
    live(path, home.store, 30, every=1000)
    assert "has no snapshot" in str(drop(home).note)
    with ChainWriter.open(path, get=home.store.get) as writer:
        said = {"state": [None], "committed": False, "life": {}, "root": None, "memory": None, "why": "it is strange"}
        writer.append(Kind.LIFECYCLE, Lifecycle(SNAPSHOT, said))
    assert "since it is strange" in str(drop(home).note)
    assert drop(home, Retention(entries=10_000)).note is None
    assert not home.actor(ACTOR).joinpath("dropped").exists()


def test_a_chain_that_ends_where_its_snapshot_should_be_is_broken_for_everybody(home: Living, mark: Mark) -> None:
    drop(home)
    path = home.chain(ACTOR)
    assert mark.snapshot_at is not None
    os.truncate(path, mark.snapshot_at)
    assert "entry" in str(verify_chain(path, key=SIGNER.public).error)
    with pytest.raises(ChainBroken, match="expected the snapshot"):
        ChainWriter.open(path)
    with pytest.raises(ChainBroken, match="expected the snapshot"):
        records(path)
