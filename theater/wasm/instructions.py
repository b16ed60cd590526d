"""Finds the few instructions that matter here in the code of a core module, at the speed of a regular expression.

An instruction is an opcode and its immediates, whose lengths follow from the opcode, so code can only be read from its
beginning. One pattern matches as many instructions as it can of those that nobody asks for; Python sees the others
alone, and `br_table`, which has as many immediates as it says.
Format: "Instructions" in the binary format of the WebAssembly core specification, with SIMD and relaxed SIMD.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from theater.wasm.binary import Cursor, MalformedComponent

GLOBAL_SET: Final = 0x24
TABLE_SET: Final = 0x26
REF_FUNC: Final = 0xD2
PREFIX: Final = 0xFC
MEMORY_INIT, DATA_DROP, TABLE_INIT, ELEM_DROP, TABLE_COPY, TABLE_GROW, TABLE_FILL = (8, 9, 12, 13, 14, 15, 17)


class Instruction(NamedTuple):
    """An instruction that was asked for: its opcode, and its first immediate (behind 0xFC the second opcode)."""

    opcode: int
    immediate: int


_LEB: Final = rb"[\x80-\xff]*+[\x00-\x7f]"
_MEMARG: Final = rb"(?:[\x00-\x3f]|[\x40-\x7f]" + _LEB + rb")" + _LEB

_PLAIN: Final = b"|".join(
    (
        rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]",
        rb"[\x0c\x0d\x10\x20\x21\x22\x23\x25\x3f-\x42]" + _LEB,
        rb"[\x28-\x3e]" + _MEMARG,
        rb"[\x02-\x04]" + _LEB,
        rb"\x44.{8}",
        rb"\x43.{4}",
        rb"\x11" + _LEB + _LEB,
        rb"\x1c\x01.",
        rb"\xd0" + _LEB,
        rb"\xfc(?:[\x00-\x07]|\x0a" + _LEB + _LEB + rb"|[\x0b\x10]" + _LEB + rb")",
        rb"\xfd(?:[\x00-\x0b\x5c\x5d]" + _MEMARG + rb"|[\x54-\x5b]" + _MEMARG + rb".|[\x0c\x0d].{16}"
        rb"|[\x15-\x22].|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff][\x01\x02])",
    )
)
_SKIP: Final = re.compile(b"(?:" + _PLAIN + b")*+", re.DOTALL)
_BR_TABLE: Final = 0x0E


def instructions(code: bytes, start: int, end: int) -> Iterator[Instruction]:
    """Those from `start` to `end` that set a global, change a table or a segment, or refer to a function.

    Raises:
        MalformedComponent: an instruction is not known here.
    """
    cursor = Cursor(code, start)
    while True:
        found = _SKIP.match(code, cursor.at, end)
        assert found is not None  # it matches nothing, too
        cursor.at = found.end()
        if cursor.at >= end:
            return
        opcode = cursor.byte()
        if opcode == _BR_TABLE:
            for _ in range(cursor.number() + 1):
                cursor.number()
        elif opcode in (GLOBAL_SET, TABLE_SET, REF_FUNC):
            yield Instruction(opcode, cursor.number())
        elif opcode == PREFIX:
            yield Instruction(opcode, _prefixed(cursor))
        else:
            raise MalformedComponent(f"instruction {opcode:#x} at byte {cursor.at - 1} is not known here")


_IMMEDIATES: Final = {
    MEMORY_INIT: 2,
    DATA_DROP: 1,
    TABLE_INIT: 2,
    ELEM_DROP: 1,
    TABLE_COPY: 2,
    TABLE_GROW: 1,
    TABLE_FILL: 1,
}


def _prefixed(cursor: Cursor) -> int:
    second = cursor.number()
    if second not in _IMMEDIATES:
        raise MalformedComponent(f"instruction 0xfc {second:#x} at byte {cursor.at} is not known here")
    for _ in range(_IMMEDIATES[second]):
        cursor.number()
    return second
