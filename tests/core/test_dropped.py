"""The statement about dropped entries: it has one form, and nothing but what was signed is taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.chain import Head
from theater.core.dropped import TEXT_MAX, Dropped, state
from theater.core.signed_checkpoint import Signer
from theater.errors import ChainBroken

VECTOR = json.loads((Path(__file__).parent / "vectors" / "dropped.json").read_text())
ACTOR = "00000000-0000-8000-8000-000000000001"
SIGNER = Signer(bytes(range(32)))
GOOD = state(SIGNER, ACTOR, Head(1, b"g" * 32, 500), Head(9, b"u" * 32, 5000), b"s" * 32, None, 1_700_000_000 * 10**9)
LATER = state(SIGNER, ACTOR, GOOD.start, Head(20, b"v" * 32, 9000), b"t" * 32, GOOD, 1_800_000_000 * 10**9)

digests = st.binary(min_size=32, max_size=32)


def head(plain: list[object]) -> Head:
    entries, digest, offset = plain
    return Head(entries, bytes.fromhex(str(digest)), offset)  # type: ignore[arg-type]


def signed_again(text: bytes) -> bytes:
    """A text in another form than the right one, with a right signature."""
    statement = text[: text.index(b"signature ")]
    return statement + b"signature " + SIGNER.sign_text(statement).hex().encode() + b"\n"


def test_the_text_that_is_written_down_is_written_and_read() -> None:
    signer = Signer(bytes.fromhex(VECTOR["seed"]))
    former = None
    for each in VECTOR["statements"]:
        made = state(
            signer, each["actor"], head(each["from"]), head(each["until"]), bytes.fromhex(each["snapshot"]), former,
            each["time_ns"],
        )  # fmt: skip
        assert made.text.decode() == each["text"]
        assert Dropped.read(each["text"].encode()) == made
        made.require_key(signer.public)
        former = made


@given(digests, digests, digests, st.integers(65, 10**6), st.integers(2, 10**6), st.integers(0, 10**18), st.booleans())
def test_what_is_stated_is_read(
    first: bytes, last: bytes, snapshot: bytes, begin: int, entries: int, time_ns: int, again: bool
) -> None:
    until = Head(entries, last, begin + 100 * entries)
    made = state(SIGNER, ACTOR, Head(1, first, begin), until, snapshot, GOOD if again else None, time_ns)
    assert Dropped.read(made.text) == made
    assert len(made.text) <= TEXT_MAX
    made.require_key(SIGNER.public)


@pytest.mark.parametrize("stated", [GOOD, LATER], ids=["first", "later"])
def test_no_flipped_bit_is_accepted(stated: Dropped) -> None:
    text = stated.text
    for bit in range(len(text) * 8):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ChainBroken):
            Dropped.read(bytes(flipped)).require_key(SIGNER.public)


def test_no_part_of_it_is_accepted() -> None:
    for cut in range(len(LATER.text)):
        with pytest.raises(ChainBroken):
            Dropped.read(LATER.text[:cut])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: signed_again(text.replace(b"75" * 32, b"7F" * 32)),
        lambda text: signed_again(text.replace(b"until 9 ", b"until 09 ")),
        lambda text: signed_again(text.replace(b"until 9 ", b"until 1 ")),
        lambda text: signed_again(text.replace(b"until 9 ", b"until 0 ")),
        lambda text: signed_again(text.replace(b"until 9 ", b"until 999 ")),
        lambda text: signed_again(text.replace(b"until 9 ", b"until 99999999999999999999 ")),
        lambda text: signed_again(text.replace(b"from 1 ", b"from 2 ")),
        lambda text: signed_again(text.replace(b" 5000\n", b" 499\n")),
        lambda text: signed_again(text.replace(b" 500\n", b" 5\n")),
        lambda text: signed_again(text.replace(b"dropped 1", b"dropped 2")),
        lambda text: signed_again(text.replace(b"former -", b"former")),
        lambda text: b"x" * (1 << 20),
    ],
)
def test_a_text_in_another_form_is_refused_even_if_it_is_signed(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ChainBroken):
        Dropped.read(change(GOOD.text))


def test_who_signed_is_compared_with_whom_one_trusts() -> None:
    other = Signer(bytes(32)).public
    with pytest.raises(ChainBroken, match=f"expected a statement signed by key {other.hex()}, found one by key"):
        GOOD.require_key(other)
    with pytest.raises(ChainBroken, match="no key is trusted here"):
        GOOD.require_key(None)
    with pytest.raises(ChainBroken, match="its signature is not one of key"):
        replace(GOOD, key=other).require_key(other)


def test_a_later_one_names_the_one_that_it_replaces() -> None:
    assert LATER.former == GOOD.digest
    assert (LATER.entries, LATER.size) == (19, 8500)


def test_it_says_what_was_dropped_in_words() -> None:
    assert str(GOOD) == "entries 1 to 8 were dropped by retention"
    assert str(replace(GOOD, until=Head(5001, b"", 10**7))) == "entries 1 to 5,000 were dropped by retention"
    assert str(replace(GOOD, until=Head(2, b"", 10**7))) == "entry 1 was dropped by retention"
