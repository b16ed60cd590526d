"""The checkpoint that is kept elsewhere: it has one form, and nothing but what was signed is taken for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.signed_checkpoint import Position, SignedCheckpoint, Signer
from theater.core.verification import SUPERVISOR
from theater.errors import CheckpointRefused, InvalidInput, TheaterError

VECTOR = json.loads((Path(__file__).parent / "vectors" / "signed_checkpoint.json").read_text())
ACTOR = "00000000-0000-8000-8000-000000000001"
OTHER = "00000000-0000-8000-8000-000000000002"
SIGNER = Signer(bytes(range(32)))
POSITIONS: dict[str, Position] = {OTHER: (7, b"o" * 32), SUPERVISOR: (3, b"s" * 32), ACTOR: (1, b"a" * 32)}
GOOD = SIGNER.sign(bytes(32), POSITIONS, 1_700_000_000_000_000_000)


def signed_again(text: bytes) -> bytes:
    """A text in another form than the right one, with a right signature."""
    statement = text[: text.index(b"signature ")]
    return statement + b"signature " + SIGNER._private.sign(statement).hex().encode() + b"\n"


def test_the_text_that_is_written_down_is_written_and_read() -> None:
    signer = Signer(bytes.fromhex(VECTOR["seed"]))
    positions = {actor: (entries, bytes.fromhex(digest)) for actor, entries, digest in VECTOR["chains"]}
    made = signer.sign(bytes.fromhex(VECTOR["home"]), positions, VECTOR["time_ns"])
    assert made.text.decode() == VECTOR["text"]
    assert SignedCheckpoint.read(VECTOR["text"].encode()) == made


positions_of_chains = st.dictionaries(
    st.uuids().map(str), st.tuples(st.integers(1, 10**18), st.binary(min_size=32, max_size=32)), max_size=5
)


@given(positions_of_chains, st.integers(0, 10**18))
def test_what_is_signed_is_read(positions: dict[str, Position], time_ns: int) -> None:
    made = SIGNER.sign(b"h" * 32, {SUPERVISOR: (9, b"s" * 32), **positions}, time_ns)
    assert SignedCheckpoint.read(made.text) == made


def test_no_flipped_bit_is_accepted() -> None:
    text = GOOD.text
    for bit in range(len(text) * 8):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CheckpointRefused, InvalidInput)):
            SignedCheckpoint.read(bytes(flipped))


def test_no_part_of_it_is_accepted() -> None:
    for cut in range(len(GOOD.text)):
        with pytest.raises(TheaterError):
            SignedCheckpoint.read(GOOD.text[:cut])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"73" * 32, b"7S" * 32),
        lambda text: signed_again(text.replace(b"6f" * 32, b"6F" * 32)),
        lambda text: signed_again(text.replace(b" 7 ", b" 07 ")),
        lambda text: signed_again(text.replace(b" 7 ", b" 0 ")),
        lambda text: signed_again(text.replace(b" 7 ", b" 18446744073709551616 ")),
        lambda text: signed_again(text.replace(b"chain supervisor", b"chain superviser")),
        lambda text: signed_again(text.replace(OTHER.encode(), ACTOR.encode())),
        lambda text: signed_again(text.replace(ACTOR.encode(), b"ffff")),
        lambda text: signed_again(text.replace(b"home ", b"house ")),
    ],
)
def test_a_text_in_another_form_is_refused_even_if_it_is_signed(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CheckpointRefused, match="damaged"):
        SignedCheckpoint.read(change(GOOD.text))


def test_a_changed_fact_is_not_what_was_signed() -> None:
    with pytest.raises(CheckpointRefused, match="its signature is not one of key"):
        SignedCheckpoint.read(GOOD.text.replace(b"supervisor 3", b"supervisor 4"))
    with pytest.raises(CheckpointRefused, match="its signature is not one of key"):
        SignedCheckpoint.read(GOOD.text.replace(SIGNER.public.hex().encode(), Signer(bytes(32)).public.hex().encode()))


def test_something_else_and_another_version_are_bad_input() -> None:
    with pytest.raises(InvalidInput, match="no checkpoint"):
        SignedCheckpoint.read(b'{"ok": true}')
    with pytest.raises(InvalidInput, match="of version '2'; this Theater knows version 1"):
        SignedCheckpoint.read(GOOD.text.replace(b"checkpoint 1", b"checkpoint 2"))


def test_who_signed_is_compared_with_whom_one_trusts() -> None:
    GOOD.require_key(SIGNER.public, "the key of this home")
    other = Signer(bytes(32)).public
    with pytest.raises(CheckpointRefused) as refused:
        GOOD.require_key(other, "the key of this home")
    assert str(refused.value) == (
        f"the checkpoint was signed by key {SIGNER.public.hex()}, and the key of this home is {other.hex()}"
    )


def test_a_tool_that_knows_nothing_of_theater_can_check_the_signature_as_the_docs_say(tmp_path: Path) -> None:
    if shutil.which("openssl") is None or shutil.which("xxd") is None:
        pytest.skip("there is no openssl, or no xxd")
    page = (Path(__file__).parents[2] / "docs" / "proof.md").read_text()
    (block,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "openssl" in block]
    for text, said in ((GOOD.text, "Verified Successfully"), (GOOD.text.replace(b"time 1", b"time 2"), "Failure")):
        (tmp_path / "kept").write_bytes(text)
        done = subprocess.run(["sh", "-c", block], cwd=tmp_path, capture_output=True, text=True)
        assert said in done.stdout, done.stderr
