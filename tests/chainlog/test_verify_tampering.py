"""What somebody can do to a record: every bit, every cut, every exchange of entries is found, with its entry.

A chain alone shows what was changed in it; what is missing from its end, and what was written anew as a whole, show
the checkpoints of the supervisor's chain; and where that was written anew, too, the one that an operator has kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from chains import ACTOR, OTHER, Living

from theater.chainlog import HomeVerdict, verify_chain, verify_home
from theater.core.chain import REMOVED, SIGNED, Kind, Lifecycle, Scanner
from theater.core.signed_checkpoint import SignedCheckpoint, Signer
from theater.core.verification import SUPERVISOR, Verdict

SIGNER = Signer(bytes(range(32)))
WORDS = ["a", b"x" * 5000, "c"]


@pytest.fixture
def home(tmp_path: Path) -> Living:
    """A home in which two actors have lived, and the supervisor knows it."""
    return lived(tmp_path / "home")


def lived(root: Path, words: Sequence[Any] = WORDS) -> Living:
    home = Living.at(root)
    home.checkpoint(actor1=home.live(ACTOR, words), actor2=home.live(OTHER, "b"))
    return home


def records(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[record.offset : record.end] for record in Scanner().feed(data)]


def verdict_of(home: Living, actor: str = ACTOR, checkpoint: SignedCheckpoint | None = None) -> Verdict:
    (verdict,) = verify_home(home, home.store, [actor], checkpoint=checkpoint).actors
    return verdict


def entry_of_error(verdict: Verdict) -> int:
    """The number of the entry that a verdict complains about."""
    assert not verdict.ok
    assert verdict.error is not None
    word, number = verdict.error.split()[:2]
    assert word == "entry"
    return int(number.rstrip(":"))


# ---- against the supervisor's chain


def test_every_flipped_bit_is_reported_with_its_entry(home: Living) -> None:
    path = home.chain(ACTOR)
    good = path.read_bytes()
    owner = [number for number, record in enumerate(records(path)) for _ in record]
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        verdict = verdict_of(home)
        assert entry_of_error(verdict) == verdict.entries == owner[bit // 8], bit
        assert verdict.torn_bytes == 0, bit


def test_a_chain_that_is_covered_by_a_checkpoint_is_not_taken_for_torn_wherever_it_is_cut(home: Living) -> None:
    path = home.chain(ACTOR)
    good, all_of_them = path.read_bytes(), len(records(path))
    ends = [sum(map(len, records(path)[:count])) for count in range(all_of_them + 1)]
    for cut in range(len(good)):
        path.write_bytes(good[:cut])
        verdict = verdict_of(home)
        assert verdict.entries == sum(end <= cut for end in ends) - 1
        assert entry_of_error(verdict) == all_of_them - 1
    path.write_bytes(good)
    assert verdict_of(home).ok


def test_what_was_written_after_the_last_checkpoint_is_torn_wherever_it_is_cut(home: Living) -> None:
    path = home.chain(ACTOR)
    covered = len(path.read_bytes())
    home.live(ACTOR, ["later"])
    longer = path.read_bytes()
    for cut in range(covered, len(longer)):
        path.write_bytes(longer[:cut])
        verdict = verdict_of(home)
        assert (verdict.ok, verdict.torn_bytes) == (True, cut - covered)


def exchanged(rows: list[bytes]) -> list[tuple[int, list[bytes]]]:
    """Chains in which an entry was removed, doubled or swapped with the next; and the first entry that is wrong."""
    found = [(number, rows[:number] + rows[number + 1 :]) for number in range(len(rows))]
    found += [(number + 1, rows[: number + 1] + rows[number:]) for number in range(len(rows))]
    neighbours = range(len(rows) - 1)
    swapped = [[*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]] for at in neighbours]
    return found + list(enumerate(swapped))


def test_entries_removed_doubled_or_swapped_are_found_at_the_first_that_is_wrong(home: Living) -> None:
    path = home.chain(ACTOR)
    for wrong, rows in exchanged(records(path)):
        path.write_bytes(b"".join(rows))
        assert entry_of_error(verdict_of(home)) == wrong


@pytest.mark.parametrize("changed", range(len(WORDS)))
def test_a_chain_written_anew_with_valid_hashes_is_found_by_the_checkpoint(home: Living, changed: int) -> None:
    path = home.chain(ACTOR)
    words = [*WORDS[:changed], "something else", *WORDS[changed + 1 :]]
    path.unlink()
    home.live(ACTOR, [*words, "and", "more"])
    assert verify_chain(path).ok
    assert entry_of_error(verdict_of(home)) == len(WORDS)


def test_all_of_it_is_true_of_the_supervisors_chain_as_well(home: Living, tmp_path: Path) -> None:
    kept = checkpoint_of(home)
    path = home.supervisor_chain
    good, rows = path.read_bytes(), records(path)
    owner = [number for number, record in enumerate(rows) for _ in record]
    for bit in range(0, len(good) * 8, 3):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert entry_of_error(supervisors(home, kept)) == owner[bit // 8]
    for cut in range(len(good)):
        path.write_bytes(good[:cut])
        assert not supervisors(home, kept).ok
    for wrong, changed in exchanged(rows):
        path.write_bytes(b"".join(changed))
        # An entry behind the checkpoint is none that this one knows.
        assert entry_of_error(supervisors(home, kept)) == wrong


# ---- against what an operator has kept


def head_of(path: Path) -> tuple[int, bytes]:
    scanner = Scanner()
    scanner.feed(path.read_bytes())
    return scanner.head.entries, scanner.head.digest


def checkpoint_of(home: Living, signer: Signer = SIGNER) -> SignedCheckpoint:
    """What the server of `home` would have given."""
    positions = {actor: head_of(home.chain(actor)) for actor in (ACTOR, OTHER)}
    first = Scanner().feed(home.supervisor_chain.read_bytes())[0].digest
    return signer.sign(first, {SUPERVISOR: head_of(home.supervisor_chain), **positions}, 1)


def supervisors(home: Living, checkpoint: SignedCheckpoint) -> Verdict:
    return verify_home(home, home.store, [], checkpoint=checkpoint).supervisor


def test_a_good_home_that_went_on_agrees_with_a_checkpoint_from_before(home: Living) -> None:
    kept = checkpoint_of(home)
    home.checkpoint(actor1=home.live(ACTOR, ["more"]))
    found = verify_home(home, home.store, checkpoint=kept)
    assert found.ok
    assert [verdict.entries for verdict in found.actors] == [5, 2]


def without_supervisor(home: Living, change: Callable[[], None]) -> None:
    """Does something to a chain, and makes the supervisor's chain one that agrees with it."""
    change()
    rows = records(home.supervisor_chain)
    home.supervisor_chain.unlink()
    home.record(Kind.LIFECYCLE, Lifecycle("server-started", {}))
    assert records(home.supervisor_chain)[0] == rows[0]


def cut_one_entry(path: Path) -> None:
    path.write_bytes(b"".join(records(path)[:-1]))


def test_a_cut_tail_is_found_though_the_supervisors_chain_was_made_to_agree(home: Living) -> None:
    kept = checkpoint_of(home)
    without_supervisor(home, lambda: cut_one_entry(home.chain(ACTOR)))
    assert verify_home(home, home.store).ok
    verdict = verdict_of(home, ACTOR, kept)
    assert entry_of_error(verdict) == 3
    assert "found the end of the chain after 3 entries" in str(verdict.error)
    assert entry_of_error(supervisors(home, kept)) == 1


def test_a_missing_chain_is_found_though_the_supervisors_chain_was_made_to_agree(home: Living) -> None:
    kept = checkpoint_of(home)

    def remove() -> None:
        home.chain(OTHER).unlink()
        home.actor(OTHER).rmdir()

    without_supervisor(home, remove)
    found = verify_home(home, home.store)
    assert found.ok
    assert [verdict.id for verdict in found.actors] == [ACTOR]
    missing = {verdict.id: verdict for verdict in verify_home(home, home.store, checkpoint=kept).actors}[OTHER]
    assert "found the end of the chain after 0 entries" in str(missing.error)


def test_a_home_written_anew_as_a_whole_is_found(home: Living, tmp_path: Path) -> None:
    kept = checkpoint_of(home)
    forged = lived(tmp_path / "forged", ["a", "nothing happened", "c"])
    assert verify_home(forged, forged.store).ok
    found = verify_home(forged, forged.store, checkpoint=kept)
    assert [verdict.ok for verdict in found.actors] == [False, True]
    assert entry_of_error(found.supervisor) == 1


def test_a_chain_that_a_checkpoint_names_must_be_there_also_if_its_actor_was_removed_since(home: Living) -> None:
    kept = checkpoint_of(home)
    home.record(Kind.LIFECYCLE, Lifecycle(REMOVED, {"actor": OTHER}))
    assert verify_home(home, home.store, checkpoint=kept).ok
    home.chain(OTHER).unlink()
    assert verify_home(home, home.store).ok
    assert not verify_home(home, home.store, checkpoint=kept).ok


def test_the_supervisors_chain_of_another_home_is_another(home: Living, tmp_path: Path) -> None:
    kept = checkpoint_of(home)
    elsewhere = SIGNER.sign(b"?" * 32, kept.positions, 1)
    verdict = supervisors(home, elsewhere)
    assert entry_of_error(verdict) == 0


# ---- what the server has signed in its own chain


def sign(home: Living, signer: Signer = SIGNER, **false: Any) -> None:
    entries, digest = false.get("position", head_of(home.supervisor_chain))
    text = signer.sign(bytes(32), {SUPERVISOR: (entries, digest)}, 7).text.decode()
    home.record(Kind.LIFECYCLE, Lifecycle(SIGNED, {"checkpoint": false.get("text", text)}))


def signed(home: Living, key: bytes | None = SIGNER.public) -> HomeVerdict:
    return verify_home(home, home.store, key=key)


def test_the_last_signature_says_how_far_the_supervisors_chain_is_signed(home: Living) -> None:
    assert signed(home).signed is None
    sign(home)
    home.record(Kind.LIFECYCLE, Lifecycle("something", {}))
    sign(home)
    home.record(Kind.LIFECYCLE, Lifecycle("something", {}))
    found = signed(home)
    assert found.ok
    assert found.signed is not None
    assert found.signed.positions[SUPERVISOR] == (4, digest_after(home, 4))


def digest_after(home: Living, entries: int) -> bytes:
    return Scanner().feed(home.supervisor_chain.read_bytes())[entries - 1].digest


def test_what_another_key_has_signed_counts_for_nothing(home: Living) -> None:
    sign(home, Signer(bytes(32)))
    assert (signed(home).ok, signed(home).signed) == (True, None)
    assert signed(home, None).signed is None


@pytest.mark.parametrize(
    "false",
    [
        {"position": (1, b"?" * 32)},
        {"position": (2, b"?" * 32)},
        {"text": f"theater checkpoint 1\nkey {SIGNER.public.hex()}\nand no more"},
    ],
)
def test_a_false_signature_is_an_error_of_its_entry(home: Living, false: dict[str, Any]) -> None:
    sign(home, **false)
    found = signed(home)
    assert (found.supervisor.ok, found.signed) == (False, None)
    assert entry_of_error(found.supervisor) == 2
    assert "expected a signature of all before it" in str(found.supervisor.error)


def test_an_entry_signed_without_a_text_is_passed_over(home: Living) -> None:
    home.record(Kind.LIFECYCLE, Lifecycle(SIGNED, {}))
    home.record(Kind.LIFECYCLE, Lifecycle(SIGNED, {"checkpoint": 7}))
    assert signed(home).ok
