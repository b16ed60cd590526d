"""Values that came over a wire, in the shape that guests take: a wire knows lists and no tuples.

Encoders accept the canonical value of `theater.core.values` and nothing else; what they refuse is walked and mended
(theater/wasm/conform.py), which costs ten times as much as what is done here: only the parts of a type that hold a
tuple are made anew, by a function that is made once for each type. A value of another type stays as it is, for the
encoder to refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from theater.core.values import Case, Err, Ok, Some
from theater.wasm.types import BYTES, Type, can_be_none

Shape = Callable[[Any], Any]


@lru_cache(maxsize=256)
def shape(t: Type) -> Shape | None:
    """What makes a value of type `t` out of one that came over a wire; None if it is one already."""
    if isinstance(t, str) or t == BYTES:
        return None
    maker = _MAKERS.get(t[0])
    return maker(t) if maker is not None else None


def _list(t: Any) -> Shape | None:
    item = shape(t[1])
    return None if item is None else lambda value: [item(part) for part in value] if type(value) is list else value


def _tuple(t: Any) -> Shape:
    items = tuple(map(shape, t[1]))
    if not any(items):
        return lambda value: tuple(value) if type(value) is list else value

    def make(value: Any) -> Any:
        if type(value) not in (list, tuple) or len(value) != len(items):
            return value
        return tuple([part if item is None else item(part) for item, part in zip(items, value, strict=True)])

    return make


def _record(t: Any) -> Shape | None:
    fields = [(name, item) for name, field in t[1] if (item := shape(field)) is not None]
    if not fields:
        return None

    def make(value: Any) -> Any:
        if type(value) is not dict:
            return value
        return {**value, **{name: item(value[name]) for name, item in fields if name in value}}

    return make


def _option(t: Any) -> Shape | None:
    item = shape(t[1])
    if item is None:
        return None
    if can_be_none(t[1]):
        return lambda value: Some(item(value.value)) if type(value) is Some else value
    return lambda value: None if value is None else item(value)


def _result(t: Any) -> Shape | None:
    ok, err = (None if part is None else shape(part) for part in t[1:])
    if ok is None and err is None:
        return None

    def make(value: Any) -> Any:
        if type(value) is Ok and ok is not None:
            return Ok(ok(value.value))
        if type(value) is Err and err is not None:
            return Err(err(value.value))
        return value

    return make


def _variant(t: Any) -> Shape | None:
    cases = {name: item for name, payload in t[1] if payload is not None and (item := shape(payload)) is not None}
    if not cases:
        return None

    def make(value: Any) -> Any:
        of_payload = cases.get(value.name) if type(value) is Case else None
        return value if of_payload is None else Case(value.name, of_payload(value.payload))

    return make


_MAKERS: dict[str, Callable[[Any], Shape | None]] = {
    "list": _list,
    "tuple": _tuple,
    "record": _record,
    "option": _option,
    "result": _result,
    "variant": _variant,
}
