"""The one mapping between WIT values and Python values.

It is directed by the WIT type, so every value has exactly one meaning, in every direction and with or without the
bytes adapter. A chain records these values, a replay gives them back, a host function takes and returns them.

    WIT                             Python
    bool                            bool
    u8 u16 u32 u64 s8 s16 s32 s64   int, in range
    f32 f64                         float; every NaN is the canonical one
    char                            str of one Unicode scalar value
    string                          str without lone surrogates
    list<u8>                        bytes
    list<T>                         list
    tuple<A, B>                     tuple
    record { a: A, b-c: B }         dict {"a": ..., "b-c": ...}: the WIT names, all of them, no others
    variant { a, b(T) }             Case("a"), Case("b", payload)
    enum { a, b }                   str, the name of the case
    flags { a, b }                  frozenset of the names that are set
    option<T>                       None, or the value; Some(value) when T is itself an option
    result<T, E>                    Ok(value) or Err(value); Ok() and Err() when there is no payload
    own<R>, borrow<R>               int, the number that the host gave its resource (host functions only)

Decoding gives these classes exactly. Encoding also takes what a record of such a value may have become on its way
through a file: a list where a tuple stands and the reverse, any set or list of names for flags, an int for a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ok:
    """A `result` that succeeded; `value` is None when the type has no payload."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class Err:
    """A `result` that failed; `value` is None when the type has no payload."""

    value: Any = None


@dataclass(frozen=True, slots=True)
class Some:
    """A present value of an `option<option<T>>`, where a bare None could mean either level."""

    value: Any


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a `variant` by its WIT name; `payload` is None when the case has none."""

    name: str
    payload: Any = None
