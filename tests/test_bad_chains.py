"""What somebody, or a disk, may do to a chain, and the tests which show that each is found.

The list is the one that the project has set itself. Each row names tests by file; one that is missing fails here. The
tests of this file are about a chain on a disk that a server is about to go on with, since there a bit that passes for a
torn tail would be cut off for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from theater.chainlog import ChainWriter, verify_chain
from theater.core.chain import Call, Genesis, HostResult, Kind, Mark, Scanner, outcome_ok, state_digest
from theater.core.verification import Checkpoints
from theater.errors import ChainBroken

TESTS = Path(__file__).parent
LIST = {
    "each bit flipped is reported with its entry": (
        "chainlog/test_verify_tampering.py::test_every_flipped_bit_is_reported_with_its_entry",
        "chainlog/test_second_verifier.py::test_both_find_every_flipped_bit_in_its_entry",
        "core/test_chain.py::test_no_flipped_bit_is_taken_for_a_torn_tail",
        "test_bad_chains.py::test_no_bit_can_be_flipped_in_what_was_acknowledged",
        "test_bad_chains.py::test_no_flipped_bit_is_cut_off_as_a_torn_tail",
    ),
    "cut at every byte": (
        "chainlog/test_writer.py::test_a_file_cut_anywhere_goes_on_from_its_last_whole_entry",
        "chainlog/test_verify_tampering.py::test_what_was_written_after_the_last_checkpoint_is_torn_wherever_it_is_cut",
        "chainlog/test_second_verifier.py::test_both_know_a_torn_tail_wherever_it_is_cut",
        "test_bad_chains.py::test_a_chain_that_is_cut_below_what_was_acknowledged_is_refused_wherever_that_is",
    ),
    "entries removed, swapped, doubled": (
        "chainlog/test_verify_tampering.py::test_entries_removed_doubled_or_swapped_are_found_at_the_first_that_is_wrong",
        "chainlog/test_second_verifier.py::test_both_find_entries_removed_swapped_or_doubled",
        "core/test_chain.py::test_an_entry_left_out_or_doubled_is_damage",
        "test_bad_chains.py::test_no_server_goes_on_with_entries_removed_swapped_or_doubled",
    ),
    "a chain rewritten whole, with valid hashes": (
        "chainlog/test_verify_tampering.py::test_a_chain_written_anew_with_valid_hashes_is_found_by_the_checkpoint",
        "chainlog/test_verify_tampering.py::test_a_home_written_anew_as_a_whole_is_found",
        "server/test_power_cut.py::test_a_chain_that_was_written_anew_is_refused_though_the_machine_has_died",
        "test_bad_chains.py::test_no_server_goes_on_with_a_chain_that_was_written_anew",
    ),
    "content missing or altered": (
        "chainlog/test_verify.py::test_content_that_is_missing_or_damaged_is_found",
        "chainlog/test_verify.py::test_a_manifest_and_a_component_that_a_genesis_names_must_be_there",
        "core/test_chain.py::test_content_that_is_not_what_the_chain_says_is_damage",
        "server/test_replay_of_false_records.py::test_content_that_is_missing",
    ),
    "another component than the genesis names": (
        "server/test_replay_of_false_records.py::test_another_component_than_the_one_that_was_run",
    ),
    "another wasmtime": (
        "server/test_replay_of_false_records.py::test_another_wasmtime_is_said_in_a_sentence",
        "server/test_replay_of_false_records.py::test_another_engine_in_a_later_life",
    ),
    "a full disk, and failing writes in the middle of appends": (
        "server/test_full_disk.py::test_nothing_acknowledged_is_lost_on_a_full_disk",
        "chainlog/test_writer.py::test_a_write_that_ends_in_the_middle_leaves_whole_entries",
        "server/test_failing_disk.py::test_whichever_write_or_sync_of_an_actor_fails_nothing_acknowledged_is_missing",
        "server/test_failing_disk.py::test_whichever_write_or_sync_of_the_server_fails_its_chain_is_whole",
    ),
    "a power cut, simulated by dropping what was not synced": (
        "server/test_power_cut.py::test_what_a_durable_actor_has_acknowledged_survives",
        "server/test_power_cut.py::test_what_a_durable_actor_has_stored_survives",
        "server/test_power_cut.py::test_what_was_lost_without_durability_is_written_down_and_the_actor_goes_on",
    ),
}


@pytest.mark.parametrize("what", LIST)
def test_whatever_is_done_to_a_chain_has_its_tests(what: str) -> None:
    for name in LIST[what]:
        file, _, test = name.partition("::")
        assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"there is no {name}"


# ---- a chain that a server is about to go on with


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    return tmp_path / "chain"


def live(path: Path, words: str = "abc", time_ns: int = 1) -> Mark:
    """Writes a small chain with all that the life of an actor consists of; returns the mark that was acknowledged."""
    with ChainWriter.open(path, clock=lambda: time_ns) as writer:
        writer.append(Kind.GENESIS, Genesis("id", "name", None, None, None, {}))
        before = None
        for word in words:
            state = word.encode()
            writer.append(Kind.CALL, Call("i", "f", (word,)))
            writer.append(Kind.HOST_RESULT, HostResult(word))
            writer.append(Kind.OUTCOME, outcome_ok(None, state, state_digest(before)))
            before = state
        return writer.mark


def records(data: bytes) -> list[bytes]:
    return [data[record.offset : record.end] for record in Scanner().feed(data)]


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each bit changed: the byte's offset, and what the file is then."""
    for at in range(len(data)):
        for bit in range(8):
            yield at, data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def entry_at(parts: list[bytes], offset: int) -> int:
    """The number of the entry to which a byte belongs."""
    for number, part in enumerate(parts):
        if offset < len(part):
            return number
        offset -= len(part)
    raise AssertionError("behind the chain")


def test_no_bit_can_be_flipped_in_what_was_acknowledged(chain: Path) -> None:
    """The head is known, as by a checkpoint: no flip is accepted, and each is told with its entry."""
    head = live(chain, "ab")
    data = chain.read_bytes()
    parts = records(data)
    for at, changed in flipped(data):
        chain.write_bytes(changed)
        verdict = verify_chain(chain, Checkpoints([(head.entries, head.digest)]))
        assert not verdict.ok
        assert verdict.error is not None
        assert verdict.error.startswith(f"entry {entry_at(parts, at)} at byte "), verdict.error


def test_no_flipped_bit_is_cut_off_as_a_torn_tail(chain: Path) -> None:
    """A new life reads all of a chain of which it knows the genesis alone: it goes on behind no flipped bit."""
    head = live(chain, "ab")
    data = chain.read_bytes()
    parts = records(data)
    for at, changed in flipped(data):
        if entry_at(parts, at) == 0:
            continue  # Verified when it was written; a mark says so.
        chain.write_bytes(changed)
        with pytest.raises(ChainBroken) as caught:
            ChainWriter.open(chain, known=begun_from_first(parts))
        assert caught.value.details["index"] == entry_at(parts, at)
        assert chain.read_bytes() == changed, "nothing was cut"
    assert head.entries == len(parts)


def begun_from_first(parts: list[bytes]) -> Mark:
    return Mark(1, parts[0][-32:], len(parts[0]))


def test_a_chain_that_is_cut_below_what_was_acknowledged_is_refused_wherever_that_is(chain: Path) -> None:
    head = live(chain)
    data = chain.read_bytes()
    for size in range(len(data)):
        chain.write_bytes(data[:size])
        with pytest.raises(ChainBroken) as caught:
            ChainWriter.open(chain, known=head)
        assert caught.value.details["reason"] == "shortened"
        assert chain.stat().st_size == size, "nothing was cut"


def test_no_server_goes_on_with_entries_removed_swapped_or_doubled(chain: Path) -> None:
    live(chain)
    parts = records(chain.read_bytes())
    for at in range(1, len(parts) - 1):
        removed = parts[:at] + parts[at + 1 :]
        doubled = [*parts[: at + 1], *parts[at:]]
        swapped = [*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]]
        for wrong in (removed, doubled, swapped):
            chain.write_bytes(b"".join(wrong))
            with pytest.raises(ChainBroken):
                ChainWriter.open(chain, known=begun_from_first(parts))


def test_no_server_goes_on_with_a_chain_that_was_written_anew(chain: Path) -> None:
    head = live(chain)
    chain.unlink()
    live(chain, "abd")
    with pytest.raises(ChainBroken) as caught:
        ChainWriter.open(chain, known=head)
    assert caught.value.details["reason"] == "rewritten"
    chain.unlink()
    live(chain, "abc", time_ns=2)
    with pytest.raises(ChainBroken):
        ChainWriter.open(chain, known=head)
