"""The Python form of WIT values: what is canonical, what is taken as well, and what is refused with which words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wit_strategies import signatures, types, values

from theater.core.values import Case, Err, Ok, Some
from theater.wasm.conform import conform, conform_arguments
from theater.wasm.types import (
    BYTES,
    Interface,
    Interfaces,
    Signature,
    Type,
    from_plain,
    signature_from_plain,
    signature_to_plain,
    to_plain,
    wit,
)


@pytest.mark.parametrize("value", [Ok(1), Err("no"), Some(None), Case("a", 2)])
def test_values_are_frozen_hashable_and_compare_by_content(value: Any) -> None:
    assert value == dataclasses.replace(value)
    assert hash(value) == hash(dataclasses.replace(value))
    assert not hasattr(value, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, 0)


def test_an_ok_is_no_err_and_no_tuple() -> None:
    assert Ok(1) != Err(1)
    assert Ok() == Ok(None)
    assert not isinstance(Ok(), tuple)


@given(st.data())
def test_a_canonical_value_conforms_to_its_type_as_it_is(data: st.DataObject) -> None:
    t = data.draw(types)
    value = data.draw(values(t))
    assert conform(t, value, "value") == value


RECORD: Type = ("record", (("port", "u16"), ("host-name", ("option", "string"))))
VARIANT: Type = ("variant", (("text", None), ("other", "string")))


@pytest.mark.parametrize(
    ("t", "given_value", "canonical"),
    [
        (("tuple", ("u8", "string")), [1, "a"], (1, "a")),
        (("list", "u8"), bytearray(b"ab"), b"ab"),
        (("list", "u16"), (1, 2), [1, 2]),
        (("flags", ("a", "b")), ["b"], frozenset("b")),
        (("flags", ("a", "b")), {"a", "b"}, frozenset("ab")),
        ("f64", 2, 2.0),
        (("list", ("tuple", ("string", "f32"))), [["a", 1]], [("a", 1.0)]),
    ],
)
def test_what_a_value_becomes_in_a_file_is_taken_as_well(t: Type, given_value: Any, canonical: Any) -> None:
    found = conform(t, given_value, "value")
    assert found == canonical
    assert type(found) is type(canonical)


@pytest.mark.parametrize(
    ("t", "value", "error", "words"),
    [
        ("u8", 256, ValueError, "x: 256 is not between 0 and 255"),
        ("s8", -129, ValueError, "x: -129 is not between -128 and 127"),
        ("u64", -1, ValueError, "x: -1 is not between 0"),
        ("u32", "1", TypeError, "x: u32 is an int in Python, found str '1'"),
        ("u32", True, TypeError, "x: u32 is an int in Python, found bool True"),
        ("u32", 1.0, TypeError, "found float 1.0"),
        ("bool", 1, TypeError, "x: bool is a bool in Python, found int 1"),
        ("f32", 1e39, ValueError, "too large"),
        ("f64", "1", TypeError, "a float"),
        ("f64", 10**400, ValueError, "too large"),
        ("char", "ab", ValueError, "expected one character, found 2"),
        ("char", "\ud800", ValueError, "lone surrogate"),
        ("char", 65, TypeError, "a str of one character"),
        ("string", b"a", TypeError, "x: string is a str in Python, found bytes"),
        ("string", "ab\udfff", ValueError, "x: lone surrogate at index 2"),
        (BYTES, "a", TypeError, "x: list<u8> is bytes in Python, found str 'a'"),
        (BYTES, [1, 2], TypeError, "found list"),
        (("list", "u16"), {1}, TypeError, "a list in Python, found set"),
        (("list", "u16"), [1, 70000], ValueError, r"x\[1\]: 70000"),
        (("tuple", ("u8", "u8")), (1,), ValueError, "expected 2 items, found 1"),
        (("tuple", ("u8", "u8")), 5, TypeError, "a tuple"),
        (RECORD, {"port": 1}, TypeError, "x: no field 'host-name'"),
        (RECORD, {"port": 1, "host-name": None, "more": 1}, ValueError, "no field is called 'more'"),
        (RECORD, {"port": -1, "host-name": None}, ValueError, r"x\.port: -1"),
        (RECORD, {"port": 1, "host-name": 5}, TypeError, r"x\.host-name: string"),
        (RECORD, (1, None), TypeError, "a dict in Python, found tuple"),
        (VARIANT, "text", TypeError, "a Case in Python, found str 'text'"),
        (VARIANT, Case("none"), ValueError, "no case is called 'none'"),
        (VARIANT, Case("text", 1), TypeError, r"x\.text: there is no payload, found int 1"),
        (VARIANT, Case("other"), TypeError, r"x\.other: string is a str in Python, found None"),
        (("enum", ("a", "b")), "c", ValueError, "no case is called 'c'"),
        (("enum", ("a", "b")), 0, TypeError, "found int 0"),
        (("flags", ("a", "b")), frozenset("c"), ValueError, "no flag is called 'c'"),
        (("flags", ("a", "b")), 1, TypeError, "a frozenset of str"),
        (("option", ("option", "u8")), 5, TypeError, r"None or Some\(value\) in Python, found int 5"),
        (("option", "u8"), Some(5), TypeError, "u8 is an int in Python, found Some"),
        (("result", None, "string"), None, TypeError, "Ok or Err in Python, found None"),
        (("result", None, "string"), Ok(1), TypeError, r"x\.ok: there is no payload"),
        (("result", "u8", "string"), Err(5), TypeError, r"x\.err: string"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(t: Type, value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        conform(t, value, "x")


def test_a_refusal_shows_no_more_of_a_value_than_a_line_holds() -> None:
    with pytest.raises(TypeError) as refused:
        conform("u8", "x" * 10_000, "value")
    assert len(str(refused.value)) < 200
    with pytest.raises(ValueError) as unknown:
        conform(("enum", ("a",)), "\x1b[31m" * 1000, "value")
    assert "\x1b" not in str(unknown.value)
    assert len(str(unknown.value)) < 200


def test_places_of_arguments_begin_with_the_parameters_name() -> None:
    f = Signature((("state", ("option", BYTES)), ("params", ("tuple", ("string", RECORD)))), None)
    with pytest.raises(ValueError, match=r"params\[1\]\.port: 99999"):
        conform_arguments(f, (None, ("a", {"port": 99999, "host-name": None})))


# ---- types as words and as metadata


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (Signature((), None), "func()"),
        (
            Signature((("actor-id", "string"), ("msg", BYTES)), ("result", None, "string")),
            "func(actor-id: string, msg: list<u8>) -> result<_, string>",
        ),
        (Signature((), ("result", None, None)), "func() -> result"),
        (Signature((), ("result", "u8", None)), "func() -> result<u8>"),
        (Signature((("a", ("option", ("tuple", ("u8", "char")))),), RECORD), "func(a: option<tuple<u8, char>>) -> "),
        (
            Signature((("v", VARIANT),), ("enum", ("a", "b"))),
            "func(v: variant { text, other(string) }) -> enum { a, b }",
        ),
    ],
)
def test_a_signature_reads_as_in_wit(f: Signature, words: str) -> None:
    assert str(f).startswith(words)


@given(st.dictionaries(st.text(max_size=5), signatures(), max_size=3), types)
def test_a_description_survives_as_metadata(functions: dict[str, Signature], t: Type) -> None:
    interface = Interface(functions, {"t": t}, {"r": 3}, ("m",))
    interfaces = Interfaces({"a:b/c": interface}, {"": Interface()})
    assert from_plain(to_plain(interfaces)) == interfaces
    for f in functions.values():
        assert signature_from_plain(signature_to_plain(f)) == f
        assert hash(signature_from_plain(signature_to_plain(f))) == hash(f)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"imports": {}},
        {"imports": {"a": {}}, "exports": {}},
        {"imports": {"a": {"functions": {"f": [1, 2]}, "types": {}, "resources": {}, "others": []}}, "exports": {}},
        {"imports": {"a": {"functions": {"f": [[], "u9"]}, "types": {}, "resources": {}, "others": []}}, "exports": {}},
        {"imports": {"a": {"functions": {"f": [[], ["enum", [1]]]}, "types": {}}}, "exports": {}},
    ],
)
def test_damaged_metadata_is_refused(data: Any) -> None:
    with pytest.raises(ValueError):
        from_plain(data)


def test_a_type_that_nothing_here_can_carry_still_has_a_name() -> None:
    assert wit(("list", ("unsupported", "FutureType"))) == "list<FutureType>"
