"""Values and bytes: one form for each value, and no bytes that do more harm than a WireError."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import notation
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.codec import (
    MAX_NESTING,
    MAX_WRAPPING,
    REF_MARK,
    Form,
    Ref,
    Stand,
    Veiled,
    content_digest,
    digest,
    pack,
    unpack,
)
from theater.core.values import Case, Err, Ok, Some
from theater.errors import WireError

VECTORS = json.loads((Path(__file__).parent / "vectors" / "codec.json").read_text())
ANY = 1 << 30

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=40)
    | st.frozensets(TEXT, max_size=4)
    | st.builds(Ref, st.binary(min_size=32, max_size=32), st.integers(0, (1 << 64) - 1), st.sampled_from(Form))
    | st.builds(
        Veiled,
        st.sampled_from([Form.BYTES, Form.TEXT]),
        st.tuples(
            st.binary(max_size=9),
            st.builds(Stand, TEXT, st.binary(max_size=8), TEXT, st.none(), st.none())
            | st.builds(Stand, TEXT, st.binary(max_size=8), TEXT, st.integers(0, 99), st.integers(0, 99)),
            st.binary(max_size=9),
        ),
    )
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT, inner, max_size=4)
        | st.builds(Ok, inner)
        | st.builds(Err, inner)
        | st.builds(Some, inner)
        | st.builds(Case, TEXT, inner)
    )


VALUES = st.recursive(LEAVES, containers, max_leaves=20)


def read(data: bytes) -> Any:
    return unpack(data, max_len=ANY, references=True)


# ---- the vectors


@pytest.mark.parametrize("vector", VECTORS["values"], ids=lambda vector: vector["about"])
def test_a_value_has_the_form_that_is_written_down(vector: dict[str, Any]) -> None:
    value = notation.read(vector["value"])
    assert pack(value).hex() == vector["form"]
    assert read(bytes.fromhex(vector["form"])) == value


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["about"])
def test_what_is_not_a_value_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        read(bytes.fromhex(vector["form"]))


@pytest.mark.parametrize("vector", VECTORS["digests"], ids=lambda vector: vector["about"])
def test_digests_are_those_that_are_written_down(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    tag = vector["tag"]
    found = content_digest(data) if tag is None else digest(data, tag.encode())
    assert found.hex() == vector["digest"]


# ---- writing


@given(VALUES)
def test_what_was_packed_is_read_back(value: Any) -> None:
    assert read(pack(value)) == value


@given(st.dictionaries(TEXT, VALUES, max_size=6))
def test_the_order_in_which_a_map_was_made_does_not_matter(value: dict[str, Any]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert pack(value) == pack(backwards)
    assert pack([1, (value, Ok({"x": value}))]) == pack([1, [backwards, Ok({"x": backwards})]])


def test_a_tuple_and_a_list_have_one_form() -> None:
    assert pack((1, (2, [3]))) == pack([1, [2, [3]]])
    assert read(pack((1, (2,)))) == [1, [2]]


def test_every_nan_and_infinity_can_be_read_back() -> None:
    assert math.isnan(read(pack(math.nan)))
    assert read(pack([math.inf, -math.inf])) == [math.inf, -math.inf]


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, {1: 2}, {"a": 1, b"b": 2}, {None: 1}, [{(1,): 1}], Ok({1: 1}), frozenset({1}), 1j],
    ids=lambda value: repr(value).partition(" at ")[0],
)
def test_what_has_no_form_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)


@pytest.mark.parametrize("value", ["\ud800", 1 << 64, -(1 << 63) - 1, [Ok("a\udfffb")], {"\ud800": 1}], ids=ascii)
def test_what_is_out_of_range_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError):
        pack(value)


def nested(depth: int, kind: str) -> Any:
    value: Any = None
    for _ in range(depth):
        value = {"list": lambda v: [v], "map": lambda v: {"a": v}, "ok": Ok, "case": lambda v: Case("x", v)}[kind](
            value
        )
    return value


@pytest.mark.parametrize(
    ("kind", "limit"), [("list", MAX_NESTING), ("map", MAX_NESTING), ("ok", MAX_WRAPPING), ("case", MAX_WRAPPING)]
)
def test_what_can_be_written_can_be_read_and_nests_no_deeper(kind: str, limit: int) -> None:
    deepest = nested(limit, kind)
    assert read(pack(deepest)) == deepest
    for depth in (limit + 1, 10 * limit):
        with pytest.raises(ValueError, match="more than"):
            pack(nested(depth, kind))


def test_packing_fails_without_a_trace() -> None:
    with pytest.raises(TypeError):
        pack([1, Ok([2, object()])])
    assert read(pack([1, Ok([2])])) == [1, Ok([2])]


def test_threads_do_not_mix_their_values() -> None:
    values = [[number, Ok({"k": Some(["x" * number, Err(number)])})] for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        forms = list(pool.map(pack, values * 10))
    assert forms == [pack(value) for value in values] * 10


# ---- reading


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes) -> None:
    try:
        value = read(data)
    except WireError:
        return
    pack(value)


@given(VALUES, st.data())
def test_a_damaged_form_is_a_value_or_a_wire_error(value: Any, data: st.DataObject) -> None:
    form = bytearray(pack(value))
    at = data.draw(st.integers(0, len(form) - 1))
    form[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = read(bytes(form))
    except WireError:
        return
    pack(found)


@given(VALUES, st.data())
def test_a_form_that_was_cut_is_refused(value: Any, data: st.DataObject) -> None:
    form = pack(value)
    with pytest.raises(WireError):
        read(form[: data.draw(st.integers(0, len(form) - 1))])


@pytest.mark.parametrize(("kind", "limit"), [("list", MAX_NESTING), ("map", MAX_NESTING)])
def test_deep_nesting_is_refused_and_not_followed(kind: str, limit: int) -> None:
    for depth in (limit + 1, 500, 900):
        with pytest.raises(WireError):
            read(msgpack.packb(nested(depth, kind)))


def test_extensions_nested_so_deep_that_the_parser_would_overflow_are_refused() -> None:
    form = b"\xc0"
    for _ in range(2000):
        form = b"\xc9" + len(form).to_bytes(4, "big") + b"\x01" + form
    with pytest.raises(WireError, match="wrapped"):
        read(form)


def test_arrays_that_claim_more_than_there_is_cost_nothing() -> None:
    size = 1 << 20
    form = (b"\xdd" + size.to_bytes(4, "big")) * 60
    with pytest.raises(WireError):
        read(form + bytes(size - len(form)))


def test_what_is_longer_than_allowed_is_refused_unread() -> None:
    with pytest.raises(WireError, match="11 bytes are more than the 10"):
        unpack(pack("x" * 10), max_len=10)


def test_a_reference_is_refused_where_it_is_not_expected() -> None:
    form = pack([Ok(Ref(bytes(32), 1))])
    assert read(form) == [Ok(Ref(bytes(32), 1))]
    with pytest.raises(WireError, match="reference"):
        unpack(form, max_len=ANY)


@given(VALUES)
def test_bytes_without_the_mark_hold_no_reference(value: Any) -> None:
    assert REF_MARK in pack([value, Ref(bytes(32), 1)])
    assert REF_MARK in pack(Ok(Ref(bytes(32), 1)))


def test_a_memoryview_is_read_like_bytes() -> None:
    assert unpack(memoryview(pack([1, Ok(b"x")])), max_len=ANY) == [1, Ok(b"x")]


# ---- digests


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=20), st.binary(max_size=20))
def test_digests_of_different_domains_never_meet(data: bytes, other: bytes, tag: bytes, other_tag: bytes) -> None:
    same = data == other and tag == other_tag
    assert (digest(data, tag) == digest(other, other_tag)) is same
