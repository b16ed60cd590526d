"""Secrets do not stand in what is recorded, and come back to whoever has them, to the last digest."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.chain import (
    START,
    Call,
    Encoder,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    Scanner,
    outcome_ok,
    read_payload,
    resolve,
    state_digest,
)
from theater.core.codec import Veiled, content_digest, pack, unpack
from theater.core.secrets import Promise, Secret, Veil, find, nothing_to_open, promises, redacted
from theater.core.values import Case, Err, Ok, Some
from theater.errors import ChainBroken, IntegrityError, UnknownSecret, WireError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "secrets.json").read_text())
KEY = bytes(range(32))
TOKEN = b'tok/en "\xc3\xa9"=? 42'


def secret(name: str, value: bytes, number: int = 1, key: bytes = KEY) -> Secret:
    return Secret(name, number, key, value)


def veil(*values: bytes) -> Veil:
    return Veil([secret(f"s{number}", value) for number, value in enumerate(values)])


SECRET = st.binary(min_size=8, max_size=24) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=8, max_size=16
).map(str.encode)


def mixed(secrets: list[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes with secrets, and parts of secrets, anywhere."""
    part = st.sampled_from(secrets)
    cut = st.tuples(part, st.integers(0, 24), st.integers(0, 24)).map(lambda found: found[0][found[1] : found[2]])
    return st.lists(part | cut | st.binary(max_size=6), max_size=8).map(b"".join)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    first = draw(st.lists(SECRET, min_size=1, max_size=3, unique=True))
    inner = first[0][: draw(st.integers(8, len(first[0])))]
    secrets = [*first, *([inner] if draw(st.booleans()) and inner not in first else [])]
    return secrets, draw(mixed(secrets))


@given(scenes())
def test_no_secret_is_left_in_bytes_and_they_come_back(scene: tuple[list[bytes], bytes]) -> None:
    secrets, data = scene
    hides = veil(*secrets)
    hidden = hides.hide(data)
    assert hides.show(unpack(pack(hidden), max_len=1 << 20, references=True)) == data
    pieces = hidden.parts[::2] if isinstance(hidden, Veiled) else [hidden]
    assert not any(value in piece for value in secrets for piece in pieces)
    assert isinstance(hidden, Veiled) == any(value in data for value in secrets)
    assert not any(value in redacted(hidden) for value in secrets if b"[" not in value and b"s" not in value)


@given(scenes())
def test_no_byte_of_an_occurrence_is_left(scene: tuple[list[bytes], bytes]) -> None:
    """Where secrets overlap, the whole of both is hidden: what is clear is what belongs to no occurrence."""
    secrets, data = scene
    covered = bytearray(len(data))
    for value in secrets:
        for at in range(len(data)):
            if data.startswith(value, at):
                covered[at : at + len(value)] = b"\1" * len(value)
    hidden = veil(*secrets).hide(data)
    left = b"".join(hidden.parts[::2]) if isinstance(hidden, Veiled) else hidden
    forms = [part.form for part in hidden.parts[1::2]] if isinstance(hidden, Veiled) else []
    if set(forms) <= {"raw"}:
        assert left == bytes(byte for byte, is_secret in zip(data, covered, strict=True) if not is_secret)


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_wherever_the_secret_begins_in_it(before: int, after: int, encode: Any) -> None:
    value = b"s3cr3t~~\xff\xfe-value"
    data = b"Basic " + encode(b"u" * before + value + b"p" * after)
    hides = veil(value)
    hidden = hides.hide(data)
    assert isinstance(hidden, Veiled)
    assert hides.show(hidden) == data
    left = b"".join(hidden.parts[::2])
    assert len(left) <= 6 + -(-4 * before // 3) + 4 + -(-4 * after // 3)


@pytest.mark.parametrize(
    "written",
    [
        TOKEN,
        TOKEN.hex().encode(),
        TOKEN.hex().upper().encode(),
        json.dumps({"a": TOKEN.decode()}).encode(),
        json.dumps({"a": TOKEN.decode()}, ensure_ascii=False).encode(),
        quote(TOKEN).encode(),
        quote(TOKEN, safe="").encode(),
        quote_plus(TOKEN).encode(),
        repr(TOKEN.decode()).encode(),
        base64.b64encode(TOKEN),
    ],
)
def test_the_forms_that_protocols_give_a_secret_are_found(written: bytes) -> None:
    hides = veil(TOKEN)
    hidden = hides.hide(written)
    assert isinstance(hidden, Veiled)
    assert sum(map(len, hidden.parts[::2])) <= len(b'{"a": ""}')
    assert hides.show(hidden) == written


def test_a_text_stays_a_text_and_a_secret_that_is_no_text_is_found_in_its_bytes() -> None:
    value = "é12345678".encode()[1:]
    hides = veil(value)
    hidden = hides.hide("caf\u00e912345678!")
    assert isinstance(hidden, Veiled)
    assert hides.show(hidden) == "caf\u00e912345678!"


def test_long_runs_of_one_byte_do_not_take_for_ever() -> None:
    hides = veil(b"a" * 8)
    data = b"a" * 1_000_003
    hidden = hides.hide(data)
    assert hides.show(hidden) == data
    assert b"".join(hidden.parts[::2]) == b""


# ---- entries


def written(hides: Veil, payloads: list[Payload], contents: dict[str, bytes]) -> bytes:
    """A chain of these payloads, hidden as a worker does."""

    def put(content: bytes) -> str:
        name = content_digest(content).hex()
        contents[name] = content
        return name

    encoder = Encoder(START, put)
    return b"".join(encoder.entry(_kind(payload), hides.hide_in(payload), 7)[0] for payload in payloads)


def _kind(payload: Payload) -> Kind:
    kinds: Mapping[type, Kind] = {
        Call: Kind.CALL,
        HostCall: Kind.HOST_CALL,
        HostResult: Kind.HOST_RESULT,
        Outcome: Kind.OUTCOME,
        Lifecycle: Kind.LIFECYCLE,
    }
    return kinds[type(payload)]


def anything(data: bytes) -> list[Any]:
    text = data.decode("latin-1")
    return [data, text, Ok(data), Err(text), Some([data]), Case("c", {"k": text}), (data, [text]), 1, None, True]


@given(scenes(), st.integers(0, 5000))
def test_no_entry_and_no_content_has_a_secret_and_all_of_it_can_be_put_back(
    scene: tuple[list[bytes], bytes], padding: int
) -> None:
    secrets, middle = scene
    data = b"." * padding + middle
    hides = veil(*secrets)
    hides.hold(None)
    given = anything(data)
    payloads: list[Payload] = [
        Call("i", "f", given),
        HostCall("i", "f", given),
        HostResult(Ok(given)),
        outcome_ok(given, data, None),
        Lifecycle("ended", {"detail": given[1], "data": data}),
    ]
    contents: dict[str, bytes] = {}
    chain = written(hides, payloads, contents)
    for value in secrets:
        if len(set(value)) > 2:  # Else it may stand in a header, or in the padding.
            assert value not in chain
            assert not any(value in content for content in contents.values())
    read = [record.entry() for record in Scanner().feed(chain)]
    shown = [hides.show_in(read_payload(each.kind, resolve(each.payload, contents.__getitem__))) for each in read]
    assert [pack(each[:-1] if isinstance(each, Outcome) else each) for each in map(_undigested, shown)] == [
        pack(each[:-1] if isinstance(each, Outcome) else each) for each in map(_undigested, payloads)
    ]


def _undigested(payload: Payload) -> Payload:
    return payload._replace(state_digest=None) if isinstance(payload, Outcome) else payload


def test_the_digest_of_a_state_with_a_secret_is_that_of_its_hidden_form() -> None:
    value, state = b"hunter22", b"before hunter22 after"
    hides = veil(value)
    hides.hold(None)
    first = hides.hide_in(outcome_ok(None, state, None))
    second = hides.hide_in(outcome_ok(None, state, state_digest(state)))
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert first.state_digest == content_digest(pack(first.state[0])) == second.state_digest
    assert state_digest(state) not in (first.state_digest, second.state_digest)
    assert not second.state
    plain = hides.hide_in(outcome_ok(None, b"nothing", state_digest(state)))
    assert isinstance(plain, Outcome)
    assert plain.state_digest == content_digest(b"nothing")


def test_a_state_root_is_not_that_of_the_memory() -> None:
    hides = veil(b"hunter22")
    hides.hold(None)
    outcome = outcome_ok(None, None, None)._replace(root=bytes(32))
    hidden = hides.hide_in(outcome)
    assert isinstance(hidden, Outcome)
    assert hidden.root not in (None, bytes(32))
    assert hidden == hides.hide_in(outcome)


# ---- the vectors


def of_vectors() -> Veil:
    rows = VECTORS["secrets"]
    read = bytes.fromhex
    return Veil([Secret(row["name"], row["number"], read(row["key"]), read(row["value"])) for row in rows])


def test_commitments_and_roots_are_those_that_are_written_down() -> None:
    found = of_vectors()
    assert [each.commitment.hex() for each in found.secrets] == [row["commitment"] for row in VECTORS["secrets"]]
    root = found.root(bytes.fromhex(VECTORS["root"]["root"]))
    assert root is not None
    assert root.hex() == VECTORS["root"]["recorded"]


@pytest.mark.parametrize("vector", VECTORS["hidden"], ids=lambda vector: vector["about"])
def test_what_stands_in_a_record_is_what_is_written_down(vector: dict[str, Any]) -> None:
    clear = bytes.fromhex(vector["clear"])
    value = clear.decode() if vector["is_text"] else clear
    assert pack(of_vectors().hide(value)).hex() == vector["form"]
    assert of_vectors().show(unpack(bytes.fromhex(vector["form"]), max_len=1 << 16, references=True)) == value


# ---- promises


def test_a_secret_is_found_by_its_commitment_and_no_other_passes_for_it() -> None:
    old, new = secret("s", b"old-value", 1), secret("s", b"new-value", 2, bytes(32))
    given = [(each.name, each.key + each.value) for each in (new, old)]
    for each in (old, new):
        promise = Promise("s", each.number, each.commitment)
        assert find(given)(promise) == each
        with pytest.raises(UnknownSecret, match="is not the value that the chain was recorded with"):
            find([("s", each.key + b"another value")])(promise)
        with pytest.raises(UnknownSecret, match="give it with --secret s=FILE"):
            nothing_to_open(promise)


def test_the_same_value_has_another_commitment_with_another_key() -> None:
    assert secret("s", b"old-value").commitment != secret("s", b"old-value", key=bytes(32)).commitment
    assert secret("ab", b"c23456789").commitment != secret("a", b"bc23456789").commitment


def test_what_a_life_announces_can_be_read_and_nothing_else() -> None:
    hides = veil(b"hunter22", b"hunter33")
    event = hides.announcement()
    read = unpack(pack(event), max_len=1 << 16)
    assert [each.commitment for each in promises(Lifecycle(*read))] == [each.commitment for each in hides.secrets]
    for details in ({}, {"secrets": 1}, {"secrets": [["a", 1]]}, {"secrets": [["../x", 1, bytes(32)]]}):
        with pytest.raises(ChainBroken):
            promises(Lifecycle("secrets", details))


def test_what_stands_for_a_secret_that_is_not_there_is_an_error() -> None:
    hidden = veil(b"hunter22").hide(b"xx hunter22")
    with pytest.raises(IntegrityError):
        veil(b"another one").show(hidden)


def test_a_guest_cannot_make_what_stands_for_a_secret() -> None:
    """On a wire it is refused, and no value of a guest has its form."""
    hidden = pack(veil(b"hunter22").hide(b"hunter22"))
    with pytest.raises(WireError):
        unpack(hidden, max_len=1 << 16)
    assert veil(b"other secret").hide(hidden) == hidden


def test_nobody_sees_a_value_by_mistake() -> None:
    assert "hunter22" not in repr(secret("s", b"hunter22"))
    hides = veil(b"hunter22")
    assert hides.redact("it is hunter22, you see") == "it is [secret s0], you see"
    assert hides.redact_bytes(b"hunter22") == b"[secret s0]"
    assert redacted(hides.hide({"a": [b"x hunter22"]})) == {"a": [b"x [secret s0]"]}
