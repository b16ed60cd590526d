"""Verifying a chain beside its bytes: what only a checkpoint can see, and what a chain needs of the content store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from theater.core.chain import Encoder, Genesis, HostResult, Kind, Lifecycle, Scanner
from theater.core.codec import Form, Ref, content_digest
from theater.core.verification import ANY_SIZE, SUPERVISOR, Checkpoints, Verdict, Verifier, needed_content
from theater.errors import ChainBroken

ACTOR = "00000000-0000-8000-8000-000000000001"


def chain(words: Sequence[Any], actor: str = ACTOR) -> tuple[list[bytes], list[bytes]]:
    """Records and digests of a genesis and a host result for each of `words`."""
    encoder = Encoder()
    made = [encoder.entry(Kind.GENESIS, Genesis(actor, "name", None, None, None, {}), 1)]
    made += [encoder.entry(Kind.HOST_RESULT, HostResult(word), 1) for word in words]
    return [record for record, _ in made], [digest for _, digest in made]


RECORDS, DIGESTS = chain("abcdef")
KNOWN = [(number + 1, digest) for number, digest in enumerate(DIGESTS)]


def verify(records: Sequence[bytes], known: Sequence[tuple[int, bytes]] = (), actor: str | None = ACTOR) -> Verdict:
    verifier = Verifier(actor, Checkpoints(known))
    for record in records:
        verifier.feed(record)
    return verifier.verdict()


def test_a_good_chain_is_good() -> None:
    assert verify(RECORDS, KNOWN) == Verdict(ACTOR, "name", 7, DIGESTS[-1].hex(), ok=True)


def test_a_chain_without_an_actor_to_compare_bears_the_id_of_its_genesis() -> None:
    assert verify(RECORDS, actor=None).id == ACTOR
    verifier = Verifier(label=SUPERVISOR)
    verifier.feed(RECORDS[0])
    assert verifier.verdict().id == SUPERVISOR


def test_the_chain_of_another_actor_is_refused() -> None:
    verdict = verify(RECORDS, actor="00000000-0000-8000-8000-000000000002")
    assert not verdict.ok
    assert verdict.error is not None
    assert (
        f"entry 0: expected the chain of 00000000-0000-8000-8000-000000000002, found that of {ACTOR}" in verdict.error
    )


def test_a_chain_that_does_not_begin_with_a_genesis_is_refused() -> None:
    record, _ = Encoder().entry(Kind.HOST_RESULT, HostResult(1), 1)
    assert verify([record]).error == "entry 0: expected a genesis, found host-result"
    record, _ = Encoder().entry(Kind.GENESIS, (1, 2, 3), 1)
    assert not verify([record]).ok


@pytest.mark.parametrize("left", range(7))
def test_a_chain_without_its_tail_is_caught_by_any_later_checkpoint(left: int) -> None:
    verdict = verify(RECORDS[:left], KNOWN[left:])
    assert not verdict.ok
    assert verdict.error is not None
    assert verdict.error.startswith(f"entry {left}: expected digest {DIGESTS[left].hex()} by a checkpoint")
    assert f"after {left} entries" in verdict.error


def test_without_a_checkpoint_a_missing_tail_cannot_be_seen() -> None:
    assert verify(RECORDS[:3], KNOWN[:3]).ok
    assert verify([]).ok


@pytest.mark.parametrize("changed", range(6))
def test_a_chain_that_was_rewritten_is_caught_by_the_checkpoint_behind_the_change(changed: int) -> None:
    words = list("abcdef")
    words[changed] = "x"
    records, digests = chain(words)
    assert verify(records).ok
    verdict = verify(records, KNOWN)
    assert verdict.error == (
        f"entry {changed + 1}: expected digest {DIGESTS[changed + 1].hex()} by a checkpoint, "
        f"found {digests[changed + 1].hex()}"
    )


def test_a_chain_that_was_rewritten_and_went_on_is_caught_by_the_older_checkpoint() -> None:
    records, digests = chain("xbcdef")
    newer = [(7, digests[6])]
    assert not verify(records, [*KNOWN[:3], *newer]).ok
    assert not verify(records, [*newer, *KNOWN[:3]]).ok


def test_damage_is_reported_with_its_entry() -> None:
    records = [*RECORDS[:3], RECORDS[3][:-1] + bytes([RECORDS[3][-1] ^ 1]), *RECORDS[4:]]
    verdict = verify(records, KNOWN)
    assert (verdict.entries, verdict.ok) == (3, False)
    assert verdict.error is not None
    assert verdict.error.startswith("entry 3 at byte")


def test_a_torn_tail_is_no_error_but_is_said() -> None:
    verdict = verify([*RECORDS, chain("abcdefg")[0][-1][:20]], KNOWN)
    assert (verdict.ok, verdict.torn_bytes, verdict.entries) == (True, 20, 7)


def test_the_first_error_counts() -> None:
    verifier = Verifier(ACTOR)
    verifier.fail("first")
    verifier.fail("second")
    assert verifier.failed
    assert verifier.verdict().error == "first"


def test_checkpoints_come_in_order_however_they_were_written() -> None:
    known = Checkpoints([(3, b"c" * 32), (1, b"a" * 32), (3, b"d" * 32)])
    assert list(known.in_order()) == [(1, b"a" * 32), (3, b"c" * 32), (3, b"d" * 32)]
    assert len(known) == 3


def test_a_genesis_needs_the_manifest_the_component_and_the_initial_state_that_it_names() -> None:
    manifest, component, initial = content_digest(b"m"), content_digest(b"c"), content_digest(b"i")
    genesis = Genesis(ACTOR, "n", manifest, component, b"w" * 32, {}, initial=initial)
    data, _ = Encoder().entry(Kind.GENESIS, genesis, 1)
    (record,) = Scanner().feed(data)
    assert needed_content(record) == [Ref(named, ANY_SIZE) for named in (manifest, component, initial)]


def test_a_later_life_needs_what_it_was_made_of() -> None:
    encoder = Encoder()
    program, manifest, initial = content_digest(b"p"), content_digest(b"m"), content_digest(b"i")
    facts = {"fuel": False, "program": program.hex()}
    scanner = Scanner()
    (first,) = scanner.feed(encoder.entry(Kind.GENESIS, Genesis(ACTOR, "n", None, None, None, facts), 1)[0])
    assert needed_content(first) == [Ref(program, ANY_SIZE)]
    made_of = {"manifest": manifest, "component": "no digest", "program": program.hex(), "initial": initial.hex()}
    details = {"incarnation": 2, **made_of}
    (later,) = scanner.feed(encoder.entry(Kind.LIFECYCLE, Lifecycle("incarnation", details), 1)[0])
    assert needed_content(later) == [Ref(named, ANY_SIZE) for named in (manifest, program, initial)]


def test_an_entry_needs_what_it_refers_to() -> None:
    encoder = Encoder()
    encoder.entry(Kind.GENESIS, Genesis(ACTOR, "n", None, None, None, {}), 1)
    scanner = Scanner(encoder.head)
    ref = Ref(bytes(32), 5000, Form.TEXT)
    (record,) = scanner.feed(encoder.entry(Kind.HOST_RESULT, HostResult([ref]), 1)[0])
    assert needed_content(record) == [ref]
    (record,) = scanner.feed(encoder.entry(Kind.HOST_RESULT, HostResult(1), 1)[0])
    assert needed_content(record) == []


def test_a_record_that_is_no_entry_needs_what_nobody_can_say() -> None:
    data, _ = Encoder().entry(Kind.GENESIS, (Ref(bytes(32), 1),), 1)
    (record,) = Scanner().feed(data)
    with pytest.raises(ChainBroken):
        needed_content(record)
