"""Generating the code that lays Python values out as component values.

A *frame* is memory for all values of one call, laid out when the code is generated: kinds, counts, names and the
addresses between its parts are written once, when the frame is made, so a call writes only what changes. Lists have a
length that only the call knows, so each list type has a function that builds a frame for its elements.

The code tests the class of each value and refuses (any of `REFUSED`) what is not canonical; what then happens is
decided outside, see `conform`. Nothing is left behind by a refused value: the next one overwrites it.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from theater.core.values import Case, Err, Ok, Some
from theater.wasm import native
from theater.wasm.conform import integer_range
from theater.wasm.mode import Mode
from theater.wasm.native import CELL, ENTRY, KINDS, NAME
from theater.wasm.source import Block, Source, TextCell, UnsupportedType, dispatch
from theater.wasm.types import BYTES, Type, can_be_none, wit

REFUSED = (TypeError, ValueError, KeyError, AttributeError, OverflowError)
"""What the generated code raises for a value that is not canonical. KeyboardInterrupt and MemoryError pass through."""


@dataclass
class Frame:
    """The layout of one frame in words. `constants` and `links` are what is written when it is made.

    Attributes:
        constants: (word, value).
        links: (word, target word): the address of `target`.
    """

    words: int = 0
    constants: list[tuple[int, int]] = field(default_factory=list)
    links: list[tuple[int, int]] = field(default_factory=list)

    def take(self, words: int) -> int:
        """Room for so many words; returns the first."""
        first = self.words
        self.words += words
        return first

    def at(self, word: int) -> str:
        """The index of a word, as an expression."""
        return str(word)

    def address(self, word: int) -> str:
        """The address of a word, as an expression."""
        return f"a + {8 * word}"


class ElementFrame(Frame):
    """The layout of one element of a list: its cell stands at `h` among its siblings, the rest at `o` behind them."""

    def at(self, word: int) -> str:
        return f"h + {word}" if word < CELL else f"o + {word - CELL}"

    def address(self, word: int) -> str:
        return f"a + 8 * ({self.at(word)})"


@dataclass(frozen=True, slots=True)
class Arena:
    """A frame made real: its words, its address, and the memory itself."""

    words: memoryview
    address: int
    memory: bytearray


def make_arena(frame: Frame) -> Arena:
    """Memory for `frame` with everything in it that no call changes."""
    memory = bytearray(8 * max(frame.words, 1))
    address = native.buffer_address(memory)
    q = memoryview(memory).cast("Q")
    for word, value in frame.constants:
        q[word] = value
    for word, target in frame.links:
        q[word] = address + 8 * target
    return Arena(q, address, memory)


class Encoder:
    """Writes the code for values of one call. It uses the names `q` and `a` (words and address of the frame) and `keep`
    (a list that holds until the call is over what the frame only points to)."""

    def __init__(self, source: Source, mode: Mode, *, resources: bool) -> None:
        self._source = source
        self._mode = mode
        self._resources = resources
        self._lists: dict[Type, str] = {}
        source.names.update(_NAMES)

    def put(self, block: Block, frame: Frame, word: int, t: Type, value: str) -> None:
        """Write the statements that store the value of the expression `value` in the cell at `word`."""
        if t == BYTES:
            self._put_bytes(block, frame, word, value)
            return
        kind = t if isinstance(t, str) else t[0]
        rule = _RULES.get(kind)
        if rule is None:
            raise UnsupportedType(f"values of {wit(t)} cannot be given to a component")
        frame.constants.append((word, KINDS.get(kind, KINDS["resource"])))
        rule(self, block, frame, word, t, value)

    # ---- texts and bytes: the frame points to a bytes object, which a variable or `keep` holds

    def _point(self, block: Block, frame: Frame, word: int, held: str, address: str) -> None:
        block(f"q[{frame.at(word + 1)}] = len({held})", f"q[{frame.at(word + 2)}] = {address}")
        self._hold(block, frame, held)

    def _hold(self, block: Block, frame: Frame, held: str) -> None:
        if isinstance(frame, ElementFrame):
            block(f"keep.append({held})")

    def _put_string(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        held = self._source.fresh("s")
        block(f"{held} = encode_text({value})")
        self._point(block, frame, word, held, _content(held))

    def _put_bytes(self, block: Block, frame: Frame, word: int, value: str) -> None:
        held = self._source.fresh("b")
        if self._mode is Mode.BYTES:
            frame.constants.append((word, KINDS["string"]))
            block(f"if {value}.__class__ is not bytes: raise TypeError")
            block(f"{held} = {value} if {value}.isascii() else hex_form({value})")
            address = f"{_content(held)} if {held}.__class__ is bytes else buffer_address({held})"
            self._point(block, frame, word, held, address)
        else:
            frame.constants.append((word, KINDS["list"]))
            block(f"{held} = byte_cells({value})", f"q[{frame.at(word + 1)}] = len({value})")
            block(f"q[{frame.at(word + 2)}] = buffer_address({held})")
            self._hold(block, frame, held)

    # ---- numbers

    def _put_bool(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        block(f"if {value}.__class__ is not bool: raise TypeError", f"q[{frame.at(word + 1)}] = {value}")

    def _put_integer(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        lowest, highest = integer_range(t)
        block(f"if {value}.__class__ is not int or not {lowest} <= {value} <= {highest}: raise TypeError")
        block(f"q[{frame.at(word + 1)}] = {value}" + ("" if lowest == 0 else " & 0xFFFFFFFFFFFFFFFF"))

    def _put_float(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        block(f"q[{frame.at(word + 1)}] = {t}_bits({value})")

    def _put_char(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        block(f"q[{frame.at(word + 1)}] = scalar({value})")

    # ---- products

    def _put_tuple(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        first = frame.take(CELL * len(t[1]))
        self._link(frame, word, len(t[1]), first)
        items = [self._source.fresh("i") for _ in t[1]]
        block(f"if {value}.__class__ is not tuple: raise TypeError", f"[{', '.join(items)}] = {value}")
        for i, (item, x) in enumerate(zip(items, t[1], strict=True)):
            self.put(block, frame, first + CELL * i, x, item)

    def _put_record(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        first = frame.take(ENTRY * len(t[1]))
        self._link(frame, word, len(t[1]), first)
        block(f"if {value}.__class__ is not dict or len({value}) != {len(t[1])}: raise TypeError")
        for i, (name, x) in enumerate(t[1]):
            entry = first + ENTRY * i
            self._name(frame, entry, self._source.text(name))
            member = self._source.fresh("m")
            block(f"{member} = {value}[{name!r}]")
            self.put(block, frame, entry + NAME, x, member)

    def _link(self, frame: Frame, word: int, size: int, target: int) -> None:
        frame.constants.append((word + 1, size))
        frame.links.append((word + 2, target))

    def _name(self, frame: Frame, word: int, text: TextCell) -> None:
        frame.constants += [(word, text[0]), (word + 1, text[1])]

    # ---- sums: each payload has its own cell in the frame, so that its kind stands there already

    def _put_option(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        with block.under(f"if {value} is None:"):
            block(f"q[{frame.at(word + 1)}] = 0")
        with block.under("else:"):
            payload = value
            if can_be_none(t[1]):
                payload = self._source.fresh("p")
                block(f"if {value}.__class__ is not Some: raise TypeError", f"{payload} = {value}.value")
            self._put_payload(block, frame, word + 1, t[1], payload)

    def _put_result(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        for head, is_ok, payload in (("if", 1, t[1]), ("elif", 0, t[2])):
            with block.under(f"{head} {value}.__class__ is {'Ok' if is_ok else 'Err'}:"):
                name = self._source.fresh("p")
                block(f"{name} = {value}.value", f"q[{frame.at(word + 1)}] = {is_ok}")
                self._put_payload(block, frame, word + 2, payload, name)
        block("else: raise TypeError")

    def _put_variant(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        index, payload = self._source.fresh("n"), self._source.fresh("p")
        numbers = self._source.constant({name: i for i, (name, _) in enumerate(t[1])})
        texts = self._source.constant(tuple(self._source.text(name) for name, _ in t[1]))
        block(f"if {value}.__class__ is not Case: raise TypeError")
        block(f"{index} = {numbers}[{value}.name]", f"{payload} = {value}.payload")
        block(f"q[{frame.at(word + 1)}], q[{frame.at(word + 2)}] = {texts}[{index}]")

        dispatch(block, index, [x for _, x in t[1]], lambda x: self._put_payload(block, frame, word + 3, x, payload))

    def _put_payload(self, block: Block, frame: Frame, pointer: int, t: Type | None, value: str) -> None:
        """Store the payload and its address at the word `pointer`; 0 there when the case has none."""
        if t is None:
            block(f"if {value} is not None: raise TypeError", f"q[{frame.at(pointer)}] = 0")
            return
        cell = frame.take(CELL)
        self.put(block, frame, cell, t, value)
        block(f"q[{frame.at(pointer)}] = {frame.address(cell)}")

    # ---- names

    def _put_enum(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        texts = self._source.constant({name: self._source.text(name) for name in t[1]})
        block(f"q[{frame.at(word + 1)}], q[{frame.at(word + 2)}] = {texts}[{value}]")

    def _put_flags(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        texts = self._source.constant({name: self._source.text(name) for name in t[1]})
        first = frame.take(NAME * len(t[1]))
        frame.links.append((word + 2, first))
        block(f"q[{frame.at(word + 1)}] = put_names(q, {frame.at(first)}, {texts}, {value})")

    # ---- lists

    def _put_list(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        function = self._lists.get(t[1]) or self._list_function(t[1])
        block(f"q[{frame.at(word + 2)}] = {function}({value}, keep{', ctx' if self._resources else ''})")
        block(f"q[{frame.at(word + 1)}] = len({value})")

    def _list_function(self, t: Type) -> str:
        """A function that builds the cells of a list and returns their address."""
        function = self._lists[t] = self._source.fresh("list")
        body, element = Block(), ElementFrame()
        element.take(CELL)
        self.put(body, element, 0, t, "e")
        template = bytearray(8 * element.words)
        for word, value in element.constants:
            struct.pack_into("<Q", template, 8 * word, value)
        head = self._source.constant(bytes(template[: 8 * CELL]))
        tail = self._source.constant(bytes(template[8 * CELL :]))

        with self._source.function(f"def {function}(v, keep{', ctx' if self._resources else ''}):") as block:
            block("if v.__class__ is not list: raise TypeError", "size = len(v)", "if not size: return 0")
            block(f"memory = bytearray({head} * size + {tail} * size)", "keep.append(memory)")
            block("a = buffer_address(memory)", "q = memoryview(memory).cast('Q')", f"h = 0; o = {CELL} * size")
            with block.under("for e in v:"):
                for word, target in element.links:
                    block(f"q[{element.at(word)}] = {element.address(target)}")
                block(*body.lines)
                block(f"h += {CELL}; o += {element.words - CELL}")
            block("return a")
        return function

    # ---- resources

    def _put_own(self, block: Block, frame: Frame, word: int, t: Any, value: str) -> None:
        if not self._resources:
            raise UnsupportedType(f"values of {wit(t)} cannot be given to an export")
        held = self._source.fresh("r")
        block(f"if {value}.__class__ is not int: raise TypeError", f"{held} = OwnedResource(ctx, {value}, {t[1]})")
        block(f"q[{frame.at(word + 1)}] = {held}.handle", f"keep.append({held})")


_Rule = Callable[[Encoder, Block, Frame, int, Any, str], None]
_RULES: dict[str, _Rule] = {
    "bool": Encoder._put_bool,
    **{f"{sign}{bits}": Encoder._put_integer for sign in "us" for bits in (8, 16, 32, 64)},
    "f32": Encoder._put_float,
    "f64": Encoder._put_float,
    "char": Encoder._put_char,
    "string": Encoder._put_string,
    "list": Encoder._put_list,
    "tuple": Encoder._put_tuple,
    "record": Encoder._put_record,
    "variant": Encoder._put_variant,
    "enum": Encoder._put_enum,
    "flags": Encoder._put_flags,
    "option": Encoder._put_option,
    "result": Encoder._put_result,
    "own": Encoder._put_own,
}


def _content(held: str) -> str:
    """The expression for the address of a bytes object's content."""
    return f"id({held}) + {native.BYTES_OFFSET}"


# ---- what the generated code calls

_pack_f32 = struct.Struct("<f").pack
_pack_f64 = struct.Struct("<d").pack
_unpack_u32 = struct.Struct("<I").unpack
_unpack_u64 = struct.Struct("<Q").unpack
_BYTE_CELL = bytes((KINDS["u8"],)).ljust(8 * CELL, b"\0")


def _f32_bits(value: float) -> int:
    if value.__class__ is not float:
        raise TypeError
    return int(_unpack_u32(_pack_f32(value))[0]) if value == value else 0x7FC00000


def _f64_bits(value: float) -> int:
    if value.__class__ is not float:
        raise TypeError
    return int(_unpack_u64(_pack_f64(value))[0]) if value == value else 0x7FF8000000000000


def _scalar(value: str) -> int:
    str.encode(value)  # refuses what is no str, and surrogates
    return ord(value)


def _byte_cells(value: bytes) -> bytearray:
    """`list<u8>` as wasmtime wants it without the adapter: 32 bytes for each byte."""
    if value.__class__ is not bytes:
        raise TypeError
    cells = bytearray(_BYTE_CELL * (len(value) or 1))
    if value:
        cells[8 :: 8 * CELL] = value
    return cells


_MARK = b"\xc3\xbf"
_CHUNK = 32 << 10


def _hex_form(value: bytes) -> bytes | bytearray:
    """The adapter's form of bytes that are not all ASCII, see `adapter`.

    Of a large value no second copy is made: to allocate that, and to touch it first, costs three times what hex does.
    """
    size = len(value)
    if size <= _CHUNK:
        return _MARK + binascii.hexlify(value)
    form = bytearray(len(_MARK) + 2 * size)
    form[: len(_MARK)] = _MARK
    source, target = memoryview(value), memoryview(form)[len(_MARK) :]
    for start in range(0, size, _CHUNK):
        target[2 * start : 2 * (start + _CHUNK)] = binascii.hexlify(source[start : start + _CHUNK])
    return form


def _put_names(q: memoryview, word: int, texts: dict[str, TextCell], value: frozenset[str]) -> int:
    if value.__class__ is not frozenset:
        raise TypeError
    for name in value:
        q[word], q[word + 1] = texts[name]
        word += NAME
    return len(value)


_NAMES: dict[str, Any] = {
    "Case": Case,
    "Err": Err,
    "Ok": Ok,
    "OwnedResource": native.OwnedResource,
    "Some": Some,
    "buffer_address": native.buffer_address,
    "byte_cells": _byte_cells,
    "encode_text": str.encode,
    "f32_bits": _f32_bits,
    "f64_bits": _f64_bits,
    "hex_form": _hex_form,
    "put_names": _put_names,
    "scalar": _scalar,
}
