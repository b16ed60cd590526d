"""The writer of a chain file: what it has written is there, and a failure is never papered over."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from theater.chainlog import ChainReader, ChainWriter, verify_chain
from theater.core.chain import Call, Genesis, HostResult, Kind, Mark, outcome_ok, resolve
from theater.core.codec import content_digest
from theater.core.verification import Verdict
from theater.errors import ChainBroken, DiskFull, IntegrityError, MessageTooLarge, WrongState
from theater.store import ContentStore

ACTOR = "00000000-0000-8000-8000-000000000001"
GENESIS = Genesis(ACTOR, "name", None, None, None, {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain"


def ticking() -> Callable[[], int]:
    """A clock that goes on by one at each look."""
    ticks: Iterator[int] = iter(range(1 << 62))
    return lambda: next(ticks)


def begin(path: Path, words: str = "") -> Mark:
    """A new chain: a genesis and a host result for each letter."""
    with ChainWriter.open(path, clock=ticking()) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        for word in words:
            writer.append(Kind.HOST_RESULT, HostResult(word))
        return writer.mark


def test_what_was_flushed_is_in_the_file(path: Path) -> None:
    writer = ChainWriter.open(path, clock=ticking())
    digest = writer.append(Kind.GENESIS, GENESIS)
    assert path.stat().st_size == 0
    assert writer.staged_bytes == writer.head.offset > 0
    writer.flush()
    assert path.stat().st_size == writer.head.offset
    assert writer.staged_bytes == 0
    assert writer.written == writer.head == (1, digest, path.stat().st_size)
    (entry,) = ChainReader(path).read(10)
    assert (entry.digest, entry.time_ns, entry.read()) == (digest, 0, GENESIS)
    writer.close()


def test_the_file_is_private_and_not_inherited(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        assert path.stat().st_mode & 0o777 == 0o600
        fd = writer._fd
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND


def test_many_entries_are_written_with_one_write(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        before = _writes()
        for _ in range(1000):
            writer.append(Kind.HOST_RESULT, HostResult("x" * 50))
        writer.flush()
        assert _writes() - before == 1
    assert verify_chain(path).entries == 1000


def _writes() -> int:
    """Write system calls of this process so far."""
    rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(rows["syscw"])


def test_a_call_that_says_very_much_is_written_before_it_ends(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        for _ in range(100):
            writer.append(Kind.HOST_RESULT, HostResult("x" * 50_000))
        assert path.stat().st_size > 3_000_000
        assert writer.staged_bytes < 2_000_000


def test_a_chain_goes_on_where_it_ended(path: Path) -> None:
    mark = begin(path, "ab")
    for known in (mark, mark.head, None):
        with ChainWriter.open(path, known=known) as writer:
            assert writer.mark == mark
            writer.append(Kind.HOST_RESULT, HostResult("c"))
            mark = writer.mark
    assert verify_chain(path).entries == 6


def test_long_values_go_to_the_content_store_and_the_last_state_comes_back(path: Path, tmp_path: Path) -> None:
    content = ContentStore(tmp_path / "content")
    state = os.urandom(100_000)
    with ChainWriter.open(path, put=content.put, get=content.get) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        writer.append(Kind.CALL, Call("i", "f", (state[:5000],)))
        writer.append(Kind.OUTCOME, outcome_ok(None, state, None))
        mark = writer.mark
    assert path.stat().st_size < 1000
    with ChainReader(path) as reader:
        assert resolve(reader.read(3)[1].payload, content.get)[2] == [state[:5000]]
    with ChainWriter.open(path, known=mark, put=content.put, get=content.get) as writer:
        assert writer.recovery.state == state
        assert writer.recovery.state_digest == content_digest(state)


def test_an_entry_that_cannot_be_recorded_changes_nothing(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        before = writer.mark
        with pytest.raises(TypeError):
            writer.append(Kind.HOST_RESULT, HostResult(object()))
        with pytest.raises(MessageTooLarge):
            writer.append(Kind.HOST_RESULT, HostResult(bytes(1 << 24)))
        assert writer.mark == before
        writer.append(Kind.HOST_RESULT, HostResult(1))
    assert verify_chain(path).entries == 2


# ---- what is found at opening


@pytest.mark.parametrize("tail", [b"\0\0\0", b"\0" * 5000, b"half"], ids=["three zeros", "many zeros", "four letters"])
def test_a_torn_tail_is_cut_and_said(path: Path, tail: bytes) -> None:
    mark = begin(path, "ab")
    with path.open("ab") as file:
        file.write(tail)
    with ChainWriter.open(path, known=mark) as writer:
        assert writer.recovery.torn_bytes == len(tail)
        assert writer.mark == mark
        writer.append(Kind.HOST_RESULT, HostResult("c"))
    assert verify_chain(path) == Verdict(ACTOR, "name", 4, writer.head.digest.hex(), ok=True)


def test_a_file_cut_anywhere_goes_on_from_its_last_whole_entry(path: Path) -> None:
    begin(path, "ab")
    data = path.read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        with ChainWriter.open(path) as writer:
            assert path.stat().st_size == writer.head.offset == cut - writer.recovery.torn_bytes
        assert verify_chain(path).ok


def test_damage_is_never_cut(path: Path) -> None:
    mark = begin(path, "ab")
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    for known in (None, mark.head):
        with pytest.raises(ChainBroken, match="entry 2 at byte") as caught:
            ChainWriter.open(path, known=known)
        assert caught.value.details["reason"] == "damaged"
    assert path.read_bytes() == data


def test_a_chain_shorter_than_known_is_not_taken_for_a_torn_one(path: Path) -> None:
    mark = begin(path, "ab")
    data = path.read_bytes()[:-10]
    path.write_bytes(data)
    for known in (mark, mark.head):
        with pytest.raises(ChainBroken, match="entry 2: expected digest") as caught:
            ChainWriter.open(path, known=known)
        assert caught.value.details["reason"] == "shortened"
    assert path.read_bytes() == data


def test_a_chain_that_was_rewritten_is_refused(path: Path) -> None:
    mark = begin(path, "ab")
    path.unlink()
    begin(path, "xb")
    for known in (mark, mark.head):
        with pytest.raises(ChainBroken) as caught:
            ChainWriter.open(path, known=known)
        assert caught.value.details["reason"] == "rewritten"


def test_there_is_one_writer(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        with pytest.raises(WrongState, match="another process"):
            ChainWriter.open(path)
    ChainWriter.open(path).close()


def test_a_link_in_the_place_of_a_chain_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError):
        ChainWriter.open(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_chain_that_is_written_cannot_be_read_or_mapped_through_its_descriptor(path: Path) -> None:
    """So that whoever takes a writer over can add to its chain, and change nothing of it."""
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        writer.flush()
        (fd,) = [int(name) for name in os.listdir("/proc/self/fd") if _is(name, path)]
        with pytest.raises(OSError):
            os.read(fd, 1)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 1, mmap.MAP_SHARED, mmap.PROT_WRITE)


def _is(name: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}") == str(path)
    except OSError:
        return False


def test_a_closed_writer_takes_nothing(path: Path) -> None:
    writer = ChainWriter.open(path)
    writer.append(Kind.GENESIS, GENESIS)
    writer.close()
    writer.close()
    for refused in (lambda: writer.append(Kind.GENESIS, GENESIS), writer.flush, writer.commit):
        with pytest.raises(WrongState, match="closed"):
            refused()
    assert verify_chain(path).entries == 1


# ---- durability


def test_a_host_durable_chain_syncs_at_most_every_two_milliseconds(path: Path) -> None:
    now = [10_000_000]
    writer = ChainWriter.open(path, durability="host", monotonic=lambda: now[0])
    writer.append(Kind.GENESIS, GENESIS)
    assert writer.commit(wait=False)
    writer.append(Kind.HOST_RESULT, HostResult(1))
    assert not writer.commit(wait=False)
    assert writer.due_in() == 0.002
    assert writer.written == writer.head
    now[0] += 1_500_000
    assert not writer.commit(wait=False)
    assert writer.due_in() == 0.0005
    now[0] += 500_000
    assert writer.commit(wait=False)
    assert writer.due_in() == 0
    assert writer.commit(wait=False)
    writer.append(Kind.HOST_RESULT, HostResult(2))
    assert writer.commit()
    writer.close()


def test_a_process_durable_chain_is_committed_when_it_is_written(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        assert writer.commit(wait=False)
        assert path.stat().st_size == writer.head.offset


# ---- failing disks


def test_a_full_disk_keeps_what_was_acknowledged_and_ends_the_writer(small_disk: Path) -> None:
    path = small_disk / "chain"
    writer = ChainWriter.open(path)
    writer.append(Kind.GENESIS, GENESIS)
    acknowledged = []

    def fill() -> None:
        for _ in range(100):
            writer.append(Kind.HOST_RESULT, HostResult(b"x" * 30_001))
            writer.append(Kind.HOST_RESULT, HostResult(b"y" * 101))
            writer.flush()
            acknowledged.append(writer.head)

    with pytest.raises(DiskFull):
        fill()
    with pytest.raises(WrongState, match="open it again"):
        writer.append(Kind.HOST_RESULT, HostResult(1))
    verdict = verify_chain(path)
    assert (verdict.ok, verdict.torn_bytes) == (True, 0)
    with ChainWriter.open(path, known=acknowledged[-1]) as again:
        assert again.head.entries in (acknowledged[-1].entries, acknowledged[-1].entries + 1)
    (small_disk / "chain").unlink()


_LIMITED = """
import resource, signal, sys
from theater.chainlog import ChainWriter
from theater.core.chain import Genesis, HostResult, Kind
from theater.errors import IntegrityError, WrongState
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
writer = ChainWriter.open(sys.argv[1])
for number in range(1000):
    writer.append(Kind.HOST_RESULT, HostResult(number))
try:
    writer.flush()
except IntegrityError as error:
    print(writer.written.entries, error)
"""


def test_a_write_that_ends_in_the_middle_leaves_whole_entries(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(path)], capture_output=True, text=True, check=True)
    verdict = verify_chain(path)
    assert done.stdout.startswith(f"{verdict.entries} ")  # and the writer knows which they are
    assert verdict.torn_bytes == 0
    assert 100 < verdict.entries < 1000
    assert 10_000 - 100 < path.stat().st_size <= 10_000


def test_a_disk_that_refuses_to_be_written_is_an_integrity_error(path: Path) -> None:
    begin(path)
    writer = ChainWriter.open(path)
    os.dup2(os.open(path, os.O_RDONLY), writer._fd)
    writer.append(Kind.HOST_RESULT, HostResult(1))
    with pytest.raises(IntegrityError, match="writing"):
        writer.flush()
    with pytest.raises(WrongState):
        writer.flush()
    assert verify_chain(path).entries == 1
