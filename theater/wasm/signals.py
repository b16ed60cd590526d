"""Closing the one gap through which a signal could crash a host function.

While wasm runs, Python's signal handlers wait. They run at the first instruction of the next Python function, which is
the callback that wasmtime calls, at its *entry*, before any `try` in it has begun. A KeyboardInterrupt raised there
leaves the callback as an exception; ctypes then prints it and returns to C without a return value, and wasmtime takes
what happens to lie there for the address of an error.

CPython keeps the ranges that `try` covers in a table beside the code, and the compiler begins the first range after the
instruction that looks for signals. `cover_entry` adds a range for what stands before it, with the same handler.
Format: Objects/exception_handling_notes.txt in CPython 3.11, InternalDocs/exception_handling.md from 3.14 on.
"""

from __future__ import annotations

from collections.abc import Callable
from opcode import opmap
from types import CodeType
from typing import Any

_RESUME = opmap["RESUME"]


def cover_entry(function: Callable[..., Any]) -> bool:
    """Make the outermost `try` at the beginning of `function` cover the function's entry too.

    Returns:
        Whether it does now. It cannot where the function has a closure or does not begin with `try`.
    """
    code: CodeType = function.__code__
    start, _, target, depth = _first_entry(code.co_exceptiontable)
    if code.co_code[0] != _RESUME or depth >> 1 or code.co_cellvars or code.co_freevars:
        return False
    entry = _entry(0, start, target, depth)
    function.__code__ = code.replace(co_exceptiontable=entry + code.co_exceptiontable)
    return True


def _first_entry(table: bytes) -> tuple[int, int, int, int]:
    """Start and length of the first range, its handler, and stack depth and a flag in one; all in code units."""
    numbers, number = [], 0
    for byte in table:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            numbers.append(number)
            number = 0
            if len(numbers) == 4:
                break
    start, length, target, depth = numbers
    return start, length, target, depth


def _entry(*numbers: int) -> bytes:
    """One entry of the table: numbers in groups of six bits, the first byte of the entry marked with bit 7."""
    encoded = b"".join(map(_number, numbers))
    return bytes((encoded[0] | 0x80,)) + encoded[1:]


def _number(number: int) -> bytes:
    groups = [number & 0x3F]
    while number := number >> 6:
        groups.append(number & 0x3F | 0x40)
    return bytes(reversed(groups))
