"""What a new life finds: where the chain goes on, the last committed state, and the call that was running."""

from __future__ import annotations

import os
from pathlib import Path

import chains
import pytest

from theater.chainlog import ChainWriter, Recovery, recover
from theater.chainlog.chain_file import ChainFile
from theater.core.chain import (
    INCARNATION,
    Call,
    Head,
    HostCall,
    Kind,
    Lifecycle,
    Mark,
    outcome_err,
    outcome_ok,
    outcome_trap,
    state_digest,
)
from theater.errors import ChainBroken, ContentDamaged, UnknownContent
from theater.store import ContentStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain"


def look(path: Path, known: Mark | Head | None = None, content: ContentStore | None = None) -> Recovery:
    with ChainFile.open(path) as file:
        return recover(file, known, content.get if content else None)


def live(path: Path) -> list[Mark]:
    """A life with several states; the marks behind each step."""
    steps = []
    with ChainWriter.open(path, clock=lambda: 1) as writer:
        writer.append(Kind.GENESIS, chains.genesis())
        steps.append(writer.mark)
        chains.handle(writer, b"one", None)
        steps.append(writer.mark)
        chains.handle(writer, b"one", b"one")
        steps.append(writer.mark)
        writer.append(Kind.OUTCOME, outcome_err("no", state_digest(b"one")))
        steps.append(writer.mark)
        chains.handle(writer, b"two", b"one")
        writer.append(Kind.OUTCOME, outcome_trap("oom", "out of memory", "", state_digest(b"two")))
        steps.append(writer.mark)
        writer.append(Kind.CALL, Call("i", "g", ("the last words",)))
        writer.append(Kind.HOST_CALL, HostCall("i", "log", ()))
        steps.append(writer.mark)
    return steps


def test_the_last_state_and_the_open_call_are_found_from_anywhere(path: Path) -> None:
    for known in (None, *live(path)):
        found = look(path, known)
        assert found.state == b"two"
        assert found.state_digest == state_digest(b"two")
        assert found.open_call is not None
        assert found.open_call.read() == Call("i", "g", ["the last words"])
        assert (found.mark.incarnation, found.torn_bytes) == (1, 0)


def test_a_head_without_what_a_mark_knows_serves_too(path: Path) -> None:
    for mark in live(path):
        assert look(path, mark.head).state == b"two"


def test_each_step_has_its_own_state(path: Path) -> None:
    steps = live(path)
    data = path.read_bytes()
    states = []
    for mark in steps:
        path.write_bytes(data[: mark.offset])
        found = look(path, mark)
        assert found == look(path)
        assert found.mark == mark
        states.append((found.state, found.open_call is not None))
    assert states == [(None, False), (b"one", False), (b"one", False), (b"one", False), (b"two", False), (b"two", True)]


def test_no_state_is_a_state(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, chains.genesis())
        chains.handle(writer, b"one", None)
        chains.handle(writer, None, b"one")
    found = look(path)
    assert (found.state, found.state_digest) == (None, None)
    assert found.mark.state_at is not None


def test_a_new_life_closes_the_call_that_ended_the_old_one(path: Path) -> None:
    live(path)
    with ChainWriter.open(path) as writer:
        assert writer.recovery.open_call is not None
        writer.append(Kind.LIFECYCLE, Lifecycle(INCARNATION, {INCARNATION: 2}))
    found = look(path)
    assert (found.open_call, found.mark.incarnation, found.state) == (None, 2, b"two")


def test_an_empty_chain_has_nothing(path: Path) -> None:
    path.touch()
    assert look(path) == Recovery(Mark(0, bytes(32), 0), None, None, None, 0)


def test_a_torn_tail_is_measured(path: Path) -> None:
    mark = live(path)[-1]
    with path.open("ab") as file:
        file.write(b"torn")
    assert look(path, mark).torn_bytes == look(path).torn_bytes == 4


def test_a_long_state_comes_from_the_content_store(path: Path, tmp_path: Path) -> None:
    content = ContentStore(tmp_path / "content")
    state = os.urandom(10_000)
    with ChainWriter.open(path, put=content.put) as writer:
        writer.append(Kind.GENESIS, chains.genesis())
        chains.handle(writer, state, None)
    assert look(path, content=content).state == state
    with pytest.raises(ContentDamaged, match="no content store"):
        look(path)
    content.delete(next(iter(content)))
    with pytest.raises(UnknownContent):
        look(path, content=content)


@pytest.mark.parametrize("shift", [-10_000, -1, 1, 10_000, 1 << 64])
def test_a_mark_that_points_elsewhere_is_refused(path: Path, shift: int) -> None:
    mark = live(path)[-1]
    assert mark.state_at is not None
    assert mark.call_at is not None
    with pytest.raises(ChainBroken):
        look(path, mark._replace(state_at=mark.state_at + shift))
    with pytest.raises(ChainBroken):
        look(path, mark._replace(call_at=mark.call_at + shift))
    with pytest.raises(ChainBroken):
        look(path, mark._replace(offset=mark.offset + shift))
    with pytest.raises(ChainBroken):
        look(path, mark._replace(state_at=mark.call_at))


def test_damage_before_the_mark_is_not_looked_for_and_behind_it_is_found(path: Path) -> None:
    steps = live(path)
    data = bytearray(path.read_bytes())
    data[steps[0].offset + 20] ^= 1
    path.write_bytes(data)
    assert look(path, steps[-1]).state == b"two"
    with pytest.raises(ChainBroken, match="entry 1"):
        look(path, steps[0])


def test_a_state_that_was_changed_with_all_digests_is_refused(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, chains.genesis())
        writer.append(Kind.OUTCOME, outcome_ok(None, b"true", None)._replace(state=(b"false",)))
    with pytest.raises(ChainBroken, match="does not have its digest"):
        look(path)


def test_a_state_that_is_no_bytes_is_refused(path: Path) -> None:
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, chains.genesis())
        writer.append(Kind.OUTCOME, outcome_ok(None, b"true", None)._replace(state=("text",)))
    with pytest.raises(ChainBroken, match="no bytes"):
        look(path)


def test_recovering_reads_only_what_is_behind_the_mark(path: Path) -> None:
    chains.write(path, [b"x" * 4000] * 2000)
    with ChainWriter.open(path) as writer:
        chains.handle(writer, b"state", None)
        mark = writer.mark
    before = _bytes_read()
    assert look(path, mark).state == b"state"
    assert _bytes_read() - before < 10_000


def _bytes_read() -> int:
    rows = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(rows["rchar"])
