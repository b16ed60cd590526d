from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from wit_strategies import types, values

from theater.core.codec import pack, unpack
from theater.wasm.shape import shape
from theater.wasm.types import Type

HEADERS: Type = ("record", (("uri", "string"), ("headers", ("list", ("tuple", ("string", "string")))), ("n", "u8")))


@st.composite
def typed(draw: st.DrawFn) -> tuple[Type, Any]:
    kind = draw(types)
    return kind, draw(values(kind))


def over_a_wire(value: Any) -> Any:
    return unpack(pack(value), max_len=1 << 24)


@given(typed())
def test_a_value_that_came_over_a_wire_is_the_canonical_one_again(drawn: tuple[Type, Any]) -> None:
    kind, value = drawn
    make = shape(kind)
    came = over_a_wire(value)
    shaped = came if make is None else make(came)
    # A text tells lists from tuples, and one NaN is like another; only the order of a record's fields is open.
    assert sorted(repr(shaped)) == sorted(repr(value))
    assert str(type(shaped)) == str(type(value))


@given(types, st.recursive(st.integers() | st.text() | st.none(), lambda inner: st.lists(inner), max_leaves=5))
def test_a_value_of_another_type_is_left_to_whoever_refuses_it(kind: Type, value: Any) -> None:
    make = shape(kind)
    if make is not None:
        make(value)


def test_only_what_holds_a_tuple_is_made_anew() -> None:
    headers = {"uri": "/", "headers": [["a", "b"]], "n": 1}
    make = shape(HEADERS)
    assert make is not None
    assert make(headers) == {"uri": "/", "headers": [("a", "b")], "n": 1}
    assert shape(("record", (("uri", "string"), ("all", ("list", "string"))))) is None
