"""Generating the code that reads component values into Python values.

The code reads wasmtime's memory in place, by index into `native.words` and `native.octets`, and trusts it: wasmtime has
checked each value against the function's type, and the signature must be that very type. It copies what it reads, so
the component values may be dropped as soon as the code is through.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from itertools import repeat
from typing import Any

from theater.core.values import Case, Err, Ok, Some
from theater.wasm import native
from theater.wasm.mode import Mode
from theater.wasm.native import CELL, ENTRY, NAME
from theater.wasm.source import Block, Source, UnsupportedType, dispatch
from theater.wasm.types import BYTES, Type, can_be_none, wit


class Place:
    """Where a cell is: a variable that holds a word index, and words to add to it."""

    def __init__(self, variable: str, offset: int = 0) -> None:
        self.variable = variable
        self.offset = offset

    def __add__(self, words: int) -> Place:
        return Place(self.variable, self.offset + words)

    def __str__(self) -> str:
        return f"{self.variable} + {self.offset}" if self.offset else self.variable


class Decoder:
    """Writes the code that reads the values of one call. It uses the name `ctx` where there are resources."""

    def __init__(self, source: Source, mode: Mode, *, resources: bool) -> None:
        self._source = source
        self._mode = mode
        self._resources = resources
        self._items: dict[Type, str] = {}
        source.names.update(_NAMES)

    def get(self, block: Block, place: Place, t: Type) -> str:
        """Write what must be done before, and return the expression for the value of the cell at `place`."""
        if t == BYTES:
            return self._get_bytes(block, place)
        rule = _RULES.get(t if isinstance(t, str) else t[0])
        if rule is None:
            raise UnsupportedType(f"values of {wit(t)} cannot be taken from a component")
        return rule(self, block, place, t)

    def _fresh(self, prefix: str) -> str:
        return self._source.fresh(prefix)

    # ---- texts and bytes

    def _get_string(self, block: Block, place: Place, t: Any) -> str:
        start = self._fresh("s")
        block(f"{start} = W[{place + 2}]")
        return f"str(B[{start} : {start} + W[{place + 1}]], 'utf-8')"

    def _get_bytes(self, block: Block, place: Place) -> str:
        start = self._fresh("s")
        block(f"{start} = W[{place + 2}]")
        if self._mode is Mode.PLAIN:
            return f"bytes(B[{start} + 8 : {start} + 8 + {8 * CELL} * W[{place + 1}] : {8 * CELL}])"
        seen = self._fresh("b")
        block(f"{seen} = B[{start} : {start} + W[{place + 1}]]")
        return f"(unhex({seen}[2:]) if {seen} and {seen}[0] > 127 else bytes({seen}))"

    # ---- numbers: the bits of a word above the value's own are not defined

    def _get_bool(self, block: Block, place: Place, t: Any) -> str:
        return f"(W[{place + 1}] & 1 == 1)"

    def _get_unsigned(self, block: Block, place: Place, t: Any) -> str:
        return f"W[{place + 1}]" if t == "u64" else f"(W[{place + 1}] & {(1 << int(t[1:])) - 1})"

    def _get_signed(self, block: Block, place: Place, t: Any) -> str:
        bits = int(t[1:])
        return f"(((W[{place + 1}] & {(1 << bits) - 1}) ^ {1 << (bits - 1)}) - {1 << (bits - 1)})"

    def _get_f32(self, block: Block, place: Place, t: Any) -> str:
        return self._canonical(block, f"F[2 * ({place + 1})]")

    def _get_f64(self, block: Block, place: Place, t: Any) -> str:
        return self._canonical(block, f"D[{place + 1}]")

    def _canonical(self, block: Block, number: str) -> str:
        name = self._fresh("f")
        block(f"{name} = {number}")
        return f"({name} if {name} == {name} else NAN)"

    def _get_char(self, block: Block, place: Place, t: Any) -> str:
        return f"chr(W[{place + 1}] & 0x1FFFFF)"

    # ---- products

    def _get_tuple(self, block: Block, place: Place, t: Any) -> str:
        if not t[1]:
            return "()"
        cells = self._target(block, place + 2)
        items = [self.get(block, cells + CELL * i, x) for i, x in enumerate(t[1])]
        return f"({', '.join(items)},)"

    def _get_record(self, block: Block, place: Place, t: Any) -> str:
        entries = self._target(block, place + 2)
        members = [f"{name!r}: {self.get(block, entries + (ENTRY * i + NAME), x)}" for i, (name, x) in enumerate(t[1])]
        return "{" + ", ".join(members) + "}"

    def _target(self, block: Block, pointer: Place) -> Place:
        """The place that the address in a word leads to."""
        name = self._fresh("x")
        block(f"{name} = W[{pointer}] >> 3")
        return Place(name)

    def _get_list(self, block: Block, place: Place, t: Any) -> str:
        cells = self._target(block, place + 2)
        item = self._items.get(t[1]) or self._item_function(t[1])
        # no comprehension: it would make `ctx` a cell, and the callback a function that `cover_entry` cannot cover
        more = ", repeat(ctx)" if self._resources else ""
        return f"[*map({item}, range({cells}, {cells} + {CELL} * W[{place + 1}], {CELL}){more})]"

    def _item_function(self, t: Type) -> str:
        """A function that reads one element of a list."""
        function = self._items[t] = self._fresh("item")
        body = Block()
        value = self.get(body, Place("i"), t)
        with self._source.function(f"def {function}(i{', ctx' if self._resources else ''}):") as block:
            block(*body.lines, f"return {value}")
        return function

    # ---- sums

    def _get_option(self, block: Block, place: Place, t: Any) -> str:
        value = self._fresh("v")
        cell = self._target(block, place + 1)
        with block.under(f"if {cell}:"):
            payload = self.get(block, cell, t[1])
            block(f"{value} = Some({payload})" if can_be_none(t[1]) else f"{value} = {payload}")
        block(f"else: {value} = None")
        return value

    def _get_result(self, block: Block, place: Place, t: Any) -> str:
        value = self._fresh("v")
        for head, name, payload in ((f"if W[{place + 1}] & 1:", "Ok", t[1]), ("else:", "Err", t[2])):
            with block.under(head):
                if payload is None:
                    block(f"{value} = EMPTY_{name}")
                else:  # as `Ok(payload)`, without the cost of a frozen dataclass's own __init__
                    expression = self.get(block, self._target(block, place + 2), payload)
                    block(f"{value} = new({name})", f"set_{name}({value}, {expression})")
        return value

    def _get_variant(self, block: Block, place: Place, t: Any) -> str:
        value, start, index = self._fresh("v"), self._fresh("s"), self._fresh("n")
        numbers = self._source.constant({name.encode(): i for i, (name, _) in enumerate(t[1])})
        block(f"{start} = W[{place + 2}]", f"{index} = {numbers}[bytes(B[{start} : {start} + W[{place + 1}]])]")

        empty = self._source.constant(tuple(Case(name) for name, _ in t[1]))

        def read(case: tuple[str, Type] | None) -> None:
            if case is None:
                block(f"{value} = {empty}[{index}]")
            else:
                payload = self.get(block, self._target(block, place + 3), case[1])
                block(f"{value} = Case({case[0]!r}, {payload})")

        dispatch(block, index, [None if x is None else (name, x) for name, x in t[1]], read)
        return value

    # ---- names

    def _get_enum(self, block: Block, place: Place, t: Any) -> str:
        start = self._fresh("s")
        names = self._source.constant({name.encode(): name for name in t[1]})
        block(f"{start} = W[{place + 2}]")
        return f"{names}[bytes(B[{start} : {start} + W[{place + 1}]])]"

    def _get_flags(self, block: Block, place: Place, t: Any) -> str:
        return f"get_names(W[{place + 2}] >> 3, W[{place + 1}])"

    # ---- resources

    def _get_resource(self, block: Block, place: Place, t: Any) -> str:
        if not self._resources:
            raise UnsupportedType(f"values of {wit(t)} cannot be taken from an export")
        number = self._fresh("r")
        block(f"{number} = resource_number(ctx, W[{place + 1}])")
        return number


_Rule = Callable[[Decoder, Block, Place, Any], str]
_RULES: dict[str, _Rule] = {
    "bool": Decoder._get_bool,
    **{f"u{bits}": Decoder._get_unsigned for bits in (8, 16, 32, 64)},
    **{f"s{bits}": Decoder._get_signed for bits in (8, 16, 32, 64)},
    "f32": Decoder._get_f32,
    "f64": Decoder._get_f64,
    "char": Decoder._get_char,
    "string": Decoder._get_string,
    "list": Decoder._get_list,
    "tuple": Decoder._get_tuple,
    "record": Decoder._get_record,
    "variant": Decoder._get_variant,
    "enum": Decoder._get_enum,
    "flags": Decoder._get_flags,
    "option": Decoder._get_option,
    "result": Decoder._get_result,
    "own": Decoder._get_resource,
    "borrow": Decoder._get_resource,
}


def owns_memory(t: Type) -> bool:
    """Whether a component value of type `t` holds memory that must be given back with `val_delete`."""
    return not isinstance(t, str) or t == "string"


# ---- what the generated code calls


def _get_names(place: int, size: int) -> frozenset[str]:
    w, b = native.words, native.octets
    pairs = ((w[i], w[i + 1]) for i in range(place, place + NAME * size, NAME))
    return frozenset(str(b[start : start + length], "utf-8") for length, start in pairs)


_NAMES: dict[str, Any] = {
    "B": native.octets,
    "Case": Case,
    "D": native.octets.cast("d"),
    "EMPTY_Err": Err(),
    "EMPTY_Ok": Ok(),
    "Err": Err,
    "F": native.octets.cast("f"),
    "NAN": float("nan"),
    "Ok": Ok,
    "Some": Some,
    "W": native.words,
    "get_names": _get_names,
    "new": object.__new__,
    "repeat": repeat,
    "resource_number": native.resource_number,
    "set_Err": vars(Err)["value"].__set__,
    "set_Ok": vars(Ok)["value"].__set__,
    "unhex": binascii.unhexlify,
}
