"""Saying exactly what is wrong with a Python value, and where; or making it canonical.

The generated encoders test only what is cheap to test and refuse everything else. What they refuse comes here: a walk
of type and value together, which either returns the canonical value (see `theater.core.values`) or raises with the
place, the WIT type and what was found. So being strict costs nothing on the path of right values.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any

from theater.core.values import Case, Err, Ok, Some
from theater.wasm.types import BYTES, Signature, Type, can_be_none, wit

_MAX_TYPE_TEXT = 80


def conform(t: Type, value: Any, place: str) -> Any:
    """`value` as the canonical Python value of type `t`.

    Args:
        place: where the value stands, in words the caller knows: `msg`, `params[1]`, `config.port`.

    Raises:
        TypeError: the value has a Python type that does not stand for `t`, or lacks a field.
        ValueError: the Python type is right and the value is not: out of range, an unknown case, a lone surrogate.
    """
    if t == BYTES:
        return _bytes(t, value, place)
    return _RULES[t if isinstance(t, str) else t[0]](t, value, place)


def conform_arguments(signature: Signature, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a call, each canonical; places begin with the parameters' names."""
    return tuple(conform(t, v, name) for (name, t), v in zip(signature.params, arguments, strict=True))


# ---- words


def _describe(t: Type) -> str:
    text = wit(t)
    return text if len(text) <= _MAX_TYPE_TEXT else text[: _MAX_TYPE_TEXT - 4] + " ..."


def _found(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, str | int | float):
        return f"{type(value).__name__} {reprlib.repr(value)}"
    return type(value).__name__


def _wrong_type(t: Type, value: Any, place: str, python: str) -> TypeError:
    return TypeError(f"{place}: {_describe(t)} is {python} in Python, found {_found(value)}")


def _wrong_value(t: Type, place: str, what: str) -> ValueError:
    return ValueError(f"{place}: {what} (the type is {_describe(t)})")


# ---- one rule per constructor


def _bool(t: Any, value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(t, value, place, "a bool")
    return value


def _integer(t: Any, value: Any, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(t, value, place, "an int")
    lowest, highest = integer_range(str(t))
    if not lowest <= value <= highest:
        raise _wrong_value(t, place, f"{reprlib.repr(value)} is not between {lowest} and {highest}")
    return int(value)


def integer_range(t: str) -> tuple[int, int]:
    """The least and the greatest value of an integer type such as `u16`."""
    bits = int(t[1:])
    return (0, 2**bits - 1) if t[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _float(t: Any, value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(t, value, place, "a float")
    try:
        number = float(value)
    except OverflowError:
        raise _wrong_value(t, place, "the number is too large") from None
    if t == "f32" and abs(number) > _MOST_F32 and number not in (float("inf"), float("-inf")):
        raise _wrong_value(t, place, f"{number!r} is too large")
    return number


_MOST_F32 = float.fromhex("0x1.fffffefffffffp+127")
"""The greatest double that rounds to a finite f32."""


def _string(t: Any, value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(t, value, place, "a str")
    try:
        str.encode(value)
    except UnicodeEncodeError as error:
        raise _wrong_value(t, place, f"lone surrogate at index {error.start}") from None
    return str(value)


def _char(t: Any, value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(t, value, place, "a str of one character")
    if len(value) != 1:
        raise _wrong_value(t, place, f"expected one character, found {len(value)}")
    return _string(t, value, place)


def _bytes(t: Any, value: Any, place: str) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _wrong_type(t, value, place, "bytes")
    return bytes(value)


def _list(t: Any, value: Any, place: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _wrong_type(t, value, place, "a list")
    return [conform(t[1], item, f"{place}[{i}]") for i, item in enumerate(value)]


def _tuple(t: Any, value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong_type(t, value, place, "a tuple")
    if len(value) != len(t[1]):
        raise _wrong_value(t, place, f"expected {len(t[1])} items, found {len(value)}")
    return tuple(conform(x, item, f"{place}[{i}]") for i, (x, item) in enumerate(zip(t[1], value, strict=True)))


def _record(t: Any, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong_type(t, value, place, "a dict")
    names = [name for name, _ in t[1]]
    missing = [name for name in names if name not in value]
    if missing:
        raise TypeError(f"{place}: no field {missing[0]!r} (the type is {_describe(t)})")
    extra = [name for name in value if name not in names]
    if extra:
        raise _wrong_value(t, place, f"no field is called {reprlib.repr(extra[0])}")
    return {name: conform(x, value[name], f"{place}.{name}") for name, x in t[1]}


def _variant(t: Any, value: Any, place: str) -> Case:
    if not isinstance(value, Case):
        raise _wrong_type(t, value, place, "a Case")
    for name, payload in t[1]:
        if name == value.name:
            return Case(name, _payload(payload, value.payload, f"{place}.{name}"))
    raise _wrong_value(t, place, f"no case is called {reprlib.repr(value.name)}")


def _enum(t: Any, value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(t, value, place, "a str")
    if value not in t[1]:
        raise _wrong_value(t, place, f"no case is called {reprlib.repr(value)}")
    return str(value)


def _flags(t: Any, value: Any, place: str) -> frozenset[str]:
    if not isinstance(value, frozenset | set | list | tuple) or not all(isinstance(name, str) for name in value):
        raise _wrong_type(t, value, place, "a frozenset of str")
    unknown = [name for name in value if name not in t[1]]
    if unknown:
        raise _wrong_value(t, place, f"no flag is called {reprlib.repr(unknown[0])}")
    return frozenset(map(str, value))


def _option(t: Any, value: Any, place: str) -> Any:
    if value is None:
        return None
    payload: Type = t[1]
    if not can_be_none(payload):
        return conform(payload, value, place)
    if not isinstance(value, Some):
        raise _wrong_type(t, value, place, "None or Some(value)")
    return Some(conform(payload, value.value, place))


def _result(t: Any, value: Any, place: str) -> Ok | Err:
    if isinstance(value, Ok):
        return Ok(_payload(t[1], value.value, f"{place}.ok"))
    if isinstance(value, Err):
        return Err(_payload(t[2], value.value, f"{place}.err"))
    raise _wrong_type(t, value, place, "Ok or Err")


def _payload(t: Type | None, value: Any, place: str) -> Any:
    if t is not None:
        return conform(t, value, place)
    if value is not None:
        raise TypeError(f"{place}: there is no payload, found {_found(value)}")
    return None


def _resource(t: Any, value: Any, place: str) -> int:
    return _integer("u32", value, place)


_RULES: dict[str, Callable[[Any, Any, str], Any]] = {
    "bool": _bool,
    **{f"{sign}{bits}": _integer for sign in "us" for bits in (8, 16, 32, 64)},
    "f32": _float,
    "f64": _float,
    "char": _char,
    "string": _string,
    "list": _list,
    "tuple": _tuple,
    "record": _record,
    "variant": _variant,
    "enum": _enum,
    "flags": _flags,
    "option": _option,
    "result": _result,
    "own": _resource,
    "borrow": _resource,
}
