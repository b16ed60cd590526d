"""What somebody can do with the statement about dropped entries, and that it is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from chains import ACTOR, OTHER, Living
from long_chains import OTHER_SIGNER, SIGNER, drop, live, records

from theater.chainlog import ChainWriter, verify_chain, verify_home
from theater.chainlog.chain_file import ChainFile
from theater.core.chain import SNAPSHOT, Head, HostResult, Kind, Lifecycle, Record
from theater.core.dropped import Dropped
from theater.core.signed_checkpoint import Signer
from theater.core.verification import Checkpoints, Verdict
from theater.errors import ChainBroken


@pytest.fixture
def home(tmp_path: Path) -> Living:
    return Living.at(tmp_path / "home")


@pytest.fixture
def before(home: Living) -> list[Record]:
    """All records of the chain, of which most were dropped now."""
    live(home.chain(ACTOR), home.store)
    live(home.chain(ACTOR), home.store, 10, every=1000)
    found = records(home.chain(ACTOR))
    drop(home, hot=1 << 30)
    return found


def stated(home: Living) -> Dropped:
    with ChainFile.open(home.chain(ACTOR)) as file:
        found = file.dropped
    assert found is not None
    return found


def restate(home: Living, signer: Signer = SIGNER, **changes: object) -> None:
    """Puts another statement in the place of the right one, signed."""
    false = replace(stated(home), key=signer.public, **changes)  # type: ignore[arg-type]
    signed = replace(false, signature=signer.sign_text(false.statement))
    home.actor(ACTOR).joinpath("dropped").write_bytes(signed.text)


def verify(home: Living, key: bytes | None = SIGNER.public) -> Verdict:
    return verify_chain(home.chain(ACTOR), key=key, actor=ACTOR)


def refused(home: Living, words: str, key: bytes | None = SIGNER.public) -> None:
    verdict = verify(home, key)
    assert verdict.error is not None
    assert words in verdict.error, verdict.error
    assert verdict.dropped is None or "snapshot" in verdict.error


def test_entries_that_are_missing_without_a_statement(home: Living, before: list[Record]) -> None:
    home.actor(ACTOR).joinpath("dropped").unlink()
    refused(home, "entry 1 at byte")


def test_no_byte_of_what_was_dropped_is_left(home: Living, before: list[Record]) -> None:
    gap = stated(home)
    data = home.chain(ACTOR).read_bytes()
    assert not any(data[gap.start.offset : gap.until.offset])
    assert data[: gap.start.offset].endswith(before[0].digest)
    assert before[gap.until.entries].body in data


def test_a_statement_that_another_key_has_signed(home: Living, before: list[Record]) -> None:
    refused(home, f"entry 1: it was dropped, but expected a statement signed by key {'00' * 32}", bytes(32))
    refused(home, "no key is trusted here", None)
    restate(home, OTHER_SIGNER)
    refused(home, f"found one by key {OTHER_SIGNER.public.hex()}")
    assert verify(home, OTHER_SIGNER.public).ok


def test_a_statement_of_another_key_is_not_signed_again(home: Living, before: list[Record]) -> None:
    restate(home, OTHER_SIGNER)
    live(home.chain(ACTOR), home.store)
    with pytest.raises(ChainBroken, match="found one by key"):
        drop(home)


def test_a_statement_about_another_chain(home: Living, before: list[Record]) -> None:
    restate(home, actor=OTHER)
    refused(home, f"entry 1: expected a statement about {ACTOR}, found one about {OTHER}")


@pytest.mark.parametrize("field", ["entries", "digest", "offset"])
def test_a_range_that_does_not_fit(home: Living, before: list[Record], field: str) -> None:
    right = stated(home)
    changes = {"entries": -1, "offset": -1}
    if field != "entries":
        start = {"digest": bytes(32)} if field == "digest" else {"offset": right.start.offset + 1}
        restate(home, start=right.start._replace(**start))  # type: ignore[arg-type]
        assert not verify(home).ok
    restate(home, start=right.start)
    assert verify(home).ok
    until = {"digest": bytes(32)} if field == "digest" else {field: getattr(right.until, field) + changes[field]}
    restate(home, until=right.until._replace(**until))
    verdict = verify(home)
    assert verdict.error is not None
    assert verdict.error.startswith("entry ")


def test_a_snapshot_that_is_not_what_follows(home: Living, before: list[Record]) -> None:
    restate(home, snapshot=bytes(32))
    refused(home, "expected the snapshot that the statement names, found another entry")
    with pytest.raises(ChainBroken, match="expected the snapshot"):
        records(home.chain(ACTOR))


def test_an_entry_that_is_no_snapshot(home: Living, before: list[Record]) -> None:
    after = before[stated(home).until.entries + 1]
    restate(home, until=Head(after.seq, after.previous, after.offset), snapshot=after.digest)
    refused(home, f"entry {after.seq}: expected the snapshot that the statement names, found another entry")


def test_checkpoints_outside_of_the_range_and_at_its_end_are_compared(home: Living, before: list[Record]) -> None:
    until = stated(home).until.entries
    for entries in (1, until, until + 1, len(before)):
        for digest, ok in ((before[entries - 1].digest, True), (bytes(32), False)):
            known = Checkpoints([(entries, digest)])
            verdict = verify_chain(home.chain(ACTOR), known, key=SIGNER.public)
            assert verdict.ok is ok, entries
            assert ok or f"entry {entries - 1}: " in str(verdict.error)


def test_checkpoints_within_the_range_cannot_be_compared(home: Living, before: list[Record]) -> None:
    until = stated(home).until.entries
    known = Checkpoints([(entries, bytes(32)) for entries in range(2, until)])
    assert verify_chain(home.chain(ACTOR), known, key=SIGNER.public).ok


def test_a_flipped_bit_behind_the_range_is_reported_with_its_entry(home: Living, before: list[Record]) -> None:
    path = home.chain(ACTOR)
    after = before[stated(home).until.entries + 3]
    with path.open("r+b") as file:
        file.seek(after.offset + 30)
        byte = file.read(1)
        file.seek(after.offset + 30)
        file.write(bytes([byte[0] ^ 4]))
    assert str(verify(home).error).startswith(f"entry {after.seq} at byte")


def test_an_actors_chain_says_so_in_the_verdict_about_its_home(home: Living, before: list[Record]) -> None:
    (verdict,) = verify_home(home, home.store, key=SIGNER.public).actors
    assert verdict.dropped == stated(home)
    (verdict,) = verify_home(home, home.store, key=OTHER_SIGNER.public).actors
    assert verdict.dropped is None
    assert not verdict.ok


def test_a_snapshot_inside_of_a_call_is_not_dropped_up_to(home: Living) -> None:
    from long_chains import snapshot

    from theater.core.chain import Call

    live(home.chain(ACTOR), home.store, 40, every=1000)
    with ChainWriter.open(home.chain(ACTOR), put=home.store.put, get=home.store.get) as writer:
        writer.append(Kind.CALL, Call("i", "f", ()))
        open_call = writer.head.offset
        for number in range(5):
            writer.append(Kind.HOST_RESULT, HostResult(number))
    assert drop(home).dropped_entries == 0
    with ChainWriter.open(home.chain(ACTOR), put=home.store.put, get=home.store.get) as writer:
        taken = snapshot(home.store, b"state")
        writer.append(Kind.LIFECYCLE, Lifecycle(SNAPSHOT, {**taken.details, "committed": False}))
        assert writer.mark.state_at is not None
        assert writer.mark.state_at < open_call
    assert drop(home).dropped_entries == 0  # the last state is before it
