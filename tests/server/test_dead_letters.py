"""The folder of dead letters: bounded, whole after a restart, and listed in a frame that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from theater import log
from theater.core.codec import pack
from theater.core.wire import MAX_FRAME
from theater.errors import UnknownDeadLetter
from theater.server.dead_letters import MOST, MOST_BYTES, SHOWN, DeadLetters


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dead"


def letters(folder: Path) -> DeadLetters:
    return DeadLetters(folder, log.logger())


def test_a_letter_is_kept_as_it_was(folder: Path) -> None:
    kept = letters(folder)
    kept.add("sender", "receiver", b"body", b"cause", "it was down")
    (row,) = kept.rows()
    letter = kept.get(row["number"])
    assert (letter.sender, letter.receiver, letter.body, letter.cause) == ("sender", "receiver", b"body", b"cause")
    assert (row["why"], row["size"], row["body"]) == ("it was down", 4, b"body")


def test_letters_are_there_after_a_restart_and_numbers_go_on(folder: Path) -> None:
    first = letters(folder)
    for number in range(12):
        first.add(None, f"r{number % 2}", b"%d" % number, b"", "why")
    first.drop(3)
    second = letters(folder)
    assert [row["body"] for row in second.rows()] == [b"%d" % number for number in range(12) if number != 2]
    assert second.count_for("r0") == 5
    second.add(None, "r0", b"next", b"", "why")
    assert second.rows()[-1]["number"] == 13


def test_a_listing_fits_into_a_frame_however_long_the_letters_are(folder: Path) -> None:
    kept = letters(folder)
    kept.add(None, "r", bytes(2_000_000), b"", "w" * 100_000)
    (row,) = kept.rows()
    assert row["size"] == 2_000_000
    assert len(row["body"]) == SHOWN
    assert len(pack(row)) * MOST < MAX_FRAME
    assert len(kept.get(row["number"]).body) == 2_000_000


def test_when_there_are_too_many_the_oldest_go(folder: Path) -> None:
    kept = letters(folder)
    for number in range(MOST + 5):
        kept.add(None, "r", b"%d" % number, b"", "why")
    assert len(kept.rows()) == MOST
    assert kept.rows()[0]["body"] == b"5"
    assert len(list(folder.iterdir())) == MOST


def test_when_they_are_too_large_the_oldest_go(folder: Path) -> None:
    kept = letters(folder)
    for _ in range(6):
        kept.add(None, "r", bytes(MOST_BYTES // 4), b"", "why")
    assert len(kept.rows()) == 4
    for row in list(kept.rows()):
        kept.drop(row["number"])
    assert list(folder.iterdir()) == []


def test_a_letter_that_is_not_there_is_an_error(folder: Path) -> None:
    kept = letters(folder)
    for act in (kept.get, kept.drop):
        with pytest.raises(UnknownDeadLetter, match="7"):
            act(7)


def test_a_damaged_letter_is_passed_over(folder: Path) -> None:
    kept = letters(folder)
    for body in (b"one", b"two"):
        kept.add(None, "r", body, b"", "why")
    (folder / "1").write_bytes(b"\xc1 damaged")
    (folder / "3").write_bytes(pack([1, 2]))
    (folder / "4.new").write_bytes(b"half")
    (folder / "readme").write_text("nothing of ours")
    assert [row["body"] for row in letters(folder).rows()] == [b"two"]
