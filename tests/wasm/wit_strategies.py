"""Hypothesis strategies: WIT types, values of a type, and signatures."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from theater.core.values import Case, Err, Ok, Some
from theater.wasm.conform import integer_range
from theater.wasm.types import BYTES, PRIMITIVES, Signature, Type, can_be_none

_INTEGERS = sorted(p for p in PRIMITIVES if p[1:].isdigit() and p[0] in "us")
_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_leaf = st.sampled_from([*sorted(PRIMITIVES), BYTES, BYTES, BYTES])
_wide = st.sampled_from(
    [
        ("enum", tuple(f"e{i}" for i in range(257))),
        ("variant", tuple((f"c{i}", {7: BYTES, 260: "u64", 299: "string"}.get(i)) for i in range(300))),
    ]
)
"""Types whose discriminant takes two bytes."""


def _named(prefix: str, members: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[Any]:
    named = st.lists(members, min_size=1, max_size=most)
    return named.map(lambda ms: tuple((f"{prefix}-{i}", m) for i, m in enumerate(ms)))


def _names(prefix: str, counts: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    return counts.map(lambda n: tuple(f"{prefix}{i}" for i in range(n)))


def _compound(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    maybe = st.none() | inner
    return st.one_of(
        st.tuples(st.just("list"), inner),
        st.tuples(st.just("option"), inner),
        st.tuples(st.just("result"), maybe, maybe),
        st.tuples(st.just("tuple"), st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.tuples(st.just("record"), _named("field", inner, 5)),
        st.tuples(st.just("variant"), _named("case", maybe, 6)),
        st.tuples(st.just("enum"), _names("e", st.sampled_from((1, 2, 7)))),
        st.tuples(st.just("flags"), _names("f", st.sampled_from((1, 3, 8, 9, 16, 17, 32)))),
    )


types: st.SearchStrategy[Type] = st.recursive(st.one_of(*[_leaf] * 9, _wide), _compound, max_leaves=6)
"""Any WIT type that has neither resources nor futures."""


@st.composite
def signatures(draw: st.DrawFn) -> Signature:
    """Functions with none to many parameters, enough of them to overflow the core parameters at times."""
    params = draw(st.lists(types, max_size=draw(st.sampled_from((1, 3, 12)))))
    return Signature(tuple((f"p-{i}", t) for i, t in enumerate(params)), draw(st.none() | types))


def values(t: Type | None) -> st.SearchStrategy[Any]:
    """The canonical Python values of a type; None alone for no type."""
    if t is None:
        return st.none()
    if t == BYTES:
        return st.one_of(
            st.binary(max_size=70), st.binary(max_size=70).map(lambda b: bytes(x & 127 for x in b)), _alike
        )
    if isinstance(t, str):
        return _primitive(t)
    kind, *rest = t
    if kind == "list":
        return st.lists(values(rest[0]), max_size=4)
    if kind == "tuple":
        return st.tuples(*map(values, rest[0]))
    if kind == "record":
        return st.fixed_dictionaries({name: values(x) for name, x in rest[0]})
    if kind == "variant":
        return st.sampled_from(rest[0]).flatmap(lambda case: values(case[1]).map(lambda v: Case(case[0], v)))
    if kind == "enum":
        return st.sampled_from(rest[0])
    if kind == "flags":
        return st.frozensets(st.sampled_from(rest[0]), max_size=8)
    if kind == "option":
        return st.none() | (values(rest[0]).map(Some) if can_be_none(rest[0]) else values(rest[0]))
    return values(rest[0]).map(Ok) | values(rest[1]).map(Err)


_alike = st.sampled_from((b"\xc3\xbf", b"\xc3\xbf61", b"\xff61", "ÿ61".encode(), b"61", b"\x80", b"a" * 16 + b"\xff"))
"""Bytes that look like the form in which the adapter sends bytes."""


def _primitive(t: str) -> st.SearchStrategy[Any]:
    if t in _INTEGERS:
        lowest, highest = integer_range(t)
        return st.integers(lowest, highest) | st.sampled_from((lowest, highest))
    if t == "bool":
        return st.booleans()
    if t == "char":
        return st.characters(exclude_categories=("Cs",))
    if t == "string":
        return _text
    return st.floats(width=32 if t == "f32" else 64, allow_nan=False)
