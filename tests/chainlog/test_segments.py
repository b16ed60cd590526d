"""Segments: what is in one is the range that was given, or it is refused, and it takes no more memory than it may."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
import subprocess
from itertools import pairwise
from pathlib import Path

import disks
import pytest
import zstandard
from chains import ACTOR, Living
from hypothesis import given
from hypothesis import strategies as st
from long_chains import SIGNER, compress, drop, live, order, records

from theater.chainlog import holes, segments, verify_chain, verify_home
from theater.chainlog.chain_file import ChainFile
from theater.chainlog.retention import Candidate, Cuts, choose
from theater.chainlog.segments import BLOCK_SIZE, SEGMENT_MAX, Place, Segment
from theater.chainlog.shrinking import shrink
from theater.core.chain import OVERHEAD, Head, Mark, Record
from theater.core.codec import content_digest
from theater.core.manifest import Retention
from theater.errors import ChainBroken, DiskFull, WrongState

BEGIN = Head(1, b"a" * 32, 100)
PLACE = Place(100, 1)


def made(folder: Path, data: bytes) -> Path:
    """A segment that holds `data`."""
    path = folder / PLACE.name
    until = Head(2, b"b" * 32, 100 + len(data))
    blocks = [data[at : at + BLOCK_SIZE] for at in range(0, len(data), BLOCK_SIZE)]
    segments.write(path, BEGIN, until, blocks)
    return path


def content(path: Path) -> bytes:
    segment = Segment(path, PLACE)
    try:
        return b"".join(segment.blocks())
    finally:
        segment.close()


# ---- the format


@pytest.mark.parametrize("size", [1, 100, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE, 1_000_000])
def test_a_segment_gives_back_what_was_put_into_it(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert content(made(tmp_path, data)) == data


def test_zstd_can_read_it(tmp_path: Path) -> None:
    data = b"words " * 100_000
    path = made(tmp_path, data)
    with path.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read() == data
    if shutil.which("zstd"):
        assert subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout == data


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, b"words " * 100)
    good = path.read_bytes()
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ChainBroken):
            content(path)


def test_every_cut_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, b"words " * 100)
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        with pytest.raises(ChainBroken):
            content(path)


def forged(frames: list[bytes], size: int, *, count: int | None = None, until_entries: int = 2) -> bytes:
    """A segment whose digests are right, whatever it says."""
    rows = b"".join(struct.pack("<I32s", len(frame), content_digest(frame)) for frame in frames)
    length = 8 + 18 + 96 + 4 + len(rows) + 36
    sealed = struct.pack("<II", 0x184D2A5D, length - 8) + b"theater segment 1\n"
    sealed += struct.pack("<Q32sQ", *BEGIN) + struct.pack("<Q32sQ", until_entries, b"b" * 32, 100 + size)
    sealed += struct.pack("<I", len(frames) if count is None else count) + rows
    return b"".join(frames) + sealed + content_digest(sealed) + struct.pack("<I", length)


def test_what_would_become_too_long_is_refused_before_it_is_decompressed(tmp_path: Path) -> None:
    path = tmp_path / PLACE.name
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 30))
    unknown = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(5000))
    for frames, size in (
        ([bomb], 5000),
        ([bomb], 1 << 30),
        ([bomb], SEGMENT_MAX),
        ([unknown], 5000),
        ([b"no frame at all"], 5000),
        ([b""], 5000),
        ([zstandard.compress(bytes(5000)) + zstandard.compress(bytes(5000))], 5000),
        ([zstandard.compress(bytes(4999))], 5000),
        ([zstandard.compress(bytes(5000))] * 2, 5000),
        ([], 5000),
        ([], 0),
        ([zstandard.compress(b"x")], -1),
    ):
        path.write_bytes(forged(frames, size))
        with pytest.raises(ChainBroken):
            content(path)


def test_an_index_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / PLACE.name
    good = forged([zstandard.compress(bytes(5000))], 5000)
    path.write_bytes(good)
    assert content(path) == bytes(5000)
    for length in (0, 1, 161, 1 << 20, (1 << 32) - 1):
        path.write_bytes(good[:-4] + struct.pack("<I", length))
        with pytest.raises(ChainBroken):
            content(path)
    for wrong in (forged([zstandard.compress(bytes(9))], 9, count=1 << 31), forged([b"x"], 9, until_entries=1)):
        path.write_bytes(wrong)
        with pytest.raises(ChainBroken):
            content(path)


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / PLACE.name
    os.mkfifo(path)
    with pytest.raises(ChainBroken):
        content(path)


@pytest.mark.parametrize(
    "name", ["", "1-2", "-1.zst", "1-.zst", "01-2.zst", "1-2.zst.new", "1-2-3.zst", "x-2.zst", "²-1.zst"]
)
def test_a_name_that_is_no_segments_is_passed_over(name: str) -> None:
    assert Place.read(name) is None


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_name_says_where_a_segment_begins(offset: int, entries: int) -> None:
    assert Place.read(Place(offset, entries).name) == (offset, entries)


# ---- in a chain


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Living, bytes]:
    """A home with a chain that was compressed twice and goes on behind that; and what the chain's bytes are."""
    home = Living.at(tmp_path_factory.mktemp("h") / "home")
    content = b""
    for calls in (150, 60, 25):
        if content:
            compress(home)
        with ChainFile.open(home.chain(ACTOR)) if content else open(os.devnull) as file:
            before = file.read(len(content), 0) if isinstance(file, ChainFile) else b""
        live(home.chain(ACTOR), home.store, calls)
        content = before + home.chain(ACTOR).read_bytes()[len(before) :]
    return home, content


@given(st.data())
def test_any_range_of_a_compressed_chain_is_what_it_was(compressed: tuple[Living, bytes], data: st.DataObject) -> None:
    home, whole = compressed
    offset = data.draw(st.integers(0, len(whole) + 10))
    size = data.draw(st.integers(0, len(whole) + 10))
    with ChainFile.open(home.chain(ACTOR)) as file:
        assert len(file.segments) == 2
        assert file.read(size, offset) == whole[offset : offset + size]
        piecewise = max(size, len(whole) // 300)
        assert b"".join(piece for piece in file.pieces(offset, piecewise) if isinstance(piece, bytes)) == whole[offset:]


def test_every_flipped_bit_of_a_chains_segment_is_reported_with_its_entry(tmp_path: Path) -> None:
    home = Living.at(tmp_path / "home")
    live(home.chain(ACTOR), home.store, 5, 4, 7000)
    compress(home)
    (path,) = home.actor(ACTOR).glob("segments/*")
    entries = len(records(home.chain(ACTOR)))
    good = path.read_bytes()
    dice = random.Random(8)
    # Each bit of the index, and a share of what is compressed, of which each bit is tried above.
    index = range(len(good) * 8 - 300 * 8, len(good) * 8)
    for bit in [*dice.sample(range(len(good) * 8), 1000), *index]:
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        verdict = verify_chain(home.chain(ACTOR))
        assert verdict.error is not None, bit
        assert 1 <= int(verdict.error.split()[1].rstrip(":")) < entries


def test_a_segment_that_is_missing_is_reported(tmp_path: Path) -> None:
    home = Living.at(tmp_path / "home")
    live(home.chain(ACTOR), home.store)
    compress(home)
    (path,) = home.actor(ACTOR).glob("segments/*")
    path.unlink()
    verdict = verify_chain(home.chain(ACTOR))
    assert not verdict.ok
    assert verdict.entries < 5


def test_a_damaged_segment_does_no_harm_as_long_as_the_file_has_its_bytes(tmp_path: Path) -> None:
    home = Living.at(tmp_path / "home")
    live(home.chain(ACTOR), home.store)
    before = home.chain(ACTOR).read_bytes()
    compress(home)
    (path,) = home.actor(ACTOR).glob("segments/*")
    path.write_bytes(b"nothing of use")
    home.chain(ACTOR).write_bytes(before)
    assert verify_chain(home.chain(ACTOR)).ok


def test_a_damaged_segment_does_not_keep_a_life_from_beginning_far_behind_it(tmp_path: Path) -> None:
    from theater.chainlog import ChainWriter

    home = Living.at(tmp_path / "home")
    live(home.chain(ACTOR), home.store)
    compress(home)
    mark = live(home.chain(ACTOR), home.store, 30)
    (path,) = home.actor(ACTOR).glob("segments/*")
    path.write_bytes(b"nothing of use")
    with ChainWriter.open(home.chain(ACTOR), known=mark, get=home.store.get) as writer:
        assert writer.recovery.state is not None


# ---- disks


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    home = Living.at(small_disk / "h")
    mark = live(home.chain(ACTOR), home.store, 20, 10, 9000)
    home.checkpoint(actor1=mark)
    before = records(home.chain(ACTOR))
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    for _ in range(20):
        try:
            drop(home)
        except DiskFull:
            assert records(home.chain(ACTOR)) == before
            assert not list(home.actor(ACTOR).glob("**/*.new"))
            os.truncate(ballast, ballast.stat().st_size - 8192)
        else:
            break
    assert verify_home(home, home.store, key=SIGNER.public).ok
    assert records(home.chain(ACTOR))[1].seq > 1


@pytest.fixture
def without_holes(tmp_path: Path) -> Path:
    """A file system that cannot punch holes."""
    folder = tmp_path / "ramfs"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "ramfs", "none", folder], check=False).returncode:
        pytest.skip("no ramfs can be mounted here: that needs root")
    return folder


def test_where_no_holes_can_be_punched_nothing_is_done_and_that_is_said(without_holes: Path) -> None:
    try:
        home = Living.at(without_holes / "h")
        live(home.chain(ACTOR), home.store)
        before = home.chain(ACTOR).read_bytes()
        with pytest.raises(WrongState, match="cannot punch holes"):
            drop(home)
        assert home.chain(ACTOR).read_bytes() == before
        assert [path.name for path in home.actor(ACTOR).iterdir()] == ["chain"]
    finally:
        disks.unmount(without_holes)


def test_a_hole_has_whole_pages_and_no_byte_beyond_its_range(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 50_000)
    with path.open("r+b") as file:
        holes.punch(file.fileno(), 100, 4000, "file")
        assert path.stat().st_blocks * 512 >= 50_000
        holes.punch(file.fileno(), 100, 20_000, "file")
        assert holes.data_in(file.fileno(), 100, 20_000) is False
        assert holes.data_in(file.fileno(), 100, 30_000) is True
    found = path.read_bytes()
    assert found.count(0) == 3 * holes.PAGE
    assert not any(found[holes.PAGE : 4 * holes.PAGE])


def test_of_what_is_erased_no_byte_is_left_and_none_beyond_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 50_000)
    with path.open("r+b") as file:
        holes.erase(file.fileno(), 100, 20_000, "file")
        holes.erase(file.fileno(), 30_000, 30_010, "file")
    expected = b"x" * 100 + bytes(19_900) + b"x" * 10_000 + bytes(10) + b"x" * 19_990
    assert path.read_bytes() == expected


# ---- rules


class Body(bytes):
    """A body of which only the length counts, since it may be long."""

    def __new__(cls, size: int) -> Body:
        made = super().__new__(cls)
        made.size = size  # type: ignore[attr-defined]
        return made

    def __len__(self) -> int:
        return int(self.size)  # type: ignore[attr-defined]


def heads(sizes: list[int]) -> list[Head]:
    found = [Head(0, b"", 0)]
    for size in sizes:
        found.append(Head(found[-1].entries + 1, b"", found[-1].offset + size))
    return found


@given(st.lists(st.integers(OVERHEAD + 1, SEGMENT_MAX // 3), min_size=2, max_size=40), st.data())
def test_ranges_lie_side_by_side_and_none_is_too_long(sizes: list[int], data: st.DataObject) -> None:
    known = heads(sizes)
    first = data.draw(st.integers(0, len(known) - 2))
    cuts = Cuts(known[first])
    for before, after in pairwise(known):
        cuts.note(Record(before.entries, before.offset, Body(after.offset - before.offset - OVERHEAD), b"", b""))
    begin = data.draw(st.integers(first, len(known) - 1))
    until = data.draw(st.integers(0, len(known) - 1))
    least = data.draw(st.sampled_from([1, SEGMENT_MAX // 4]))
    found = cuts.ranges(known[begin], known[until], least)
    assert all(last.offset - start.offset <= SEGMENT_MAX for start, last in found)
    assert all(last == start for (_, last), (start, _) in pairwise(found))
    if found:
        assert found[0][0] == known[begin]
        assert 0 <= known[until].offset - found[-1][1].offset < least
        assert found[-1][1].offset - found[-1][0].offset >= least
    else:
        assert known[until].offset - known[begin].offset < least


limits = st.one_of(st.none(), st.integers(0, 200))


@given(st.sets(st.integers(1, 100)), st.integers(101, 150), limits, limits, limits, limits, limits)
def test_what_is_chosen_is_the_newest_that_keeps_what_must_be_kept(
    at: set[int],
    end: int,
    entries: int | None,
    size: int | None,
    age: int | None,
    state_at: int | None,
    call_at: int | None,
) -> None:
    snapshots = [Candidate(Head(seq, b"", seq), b"", seq * 1_000_000, True) for seq in sorted(at)]
    mark = Mark(end, b"", end, state_at=state_at, call_at=call_at)
    found = choose(snapshots, mark, Retention(entries, size, age), 150 * 1_000_000)

    def may_go(snapshot: Candidate) -> bool:
        seq = snapshot.head.entries
        needed = any(each is not None and each < seq for each in (state_at, call_at))
        over = (
            (entries is not None and end - seq >= entries)
            or (size is not None and end - seq >= size)
            or (age is not None and 150 - seq >= age)
        )
        return seq > 1 and over and not needed

    assert found == next(filter(may_go, reversed(snapshots)), None)


def test_ages_that_are_kept_are_reckoned_from_the_snapshot(tmp_path: Path) -> None:
    home = Living.at(tmp_path / "home")
    live(home.chain(ACTOR), home.store)
    kept = Retention(age=3_600_000)
    for now, dropped in ((1_000_000_000 + 3599 * 10**9, False), (1_000_000_000 + 3600 * 10**9, True)):
        done = shrink(home.chain(ACTOR), order(kept, now_ns=now), home.store)
        assert bool(done.dropped_entries) is dropped
