"""Why a guest ended: wasmtime's report of a trap, read into a kind, a sentence and a backtrace.

The C API gives the trap of a component as text only. Its last line is the root cause, written by wasmtime alone; the
lines of the backtrace carry names that the guest chose, so nothing is concluded from them but where memory ran out,
and what cannot be printed is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final


class TrapKind(StrEnum):
    """What ended a guest."""

    UNREACHABLE = "unreachable"
    """An `unreachable` instruction: a panic, an abort, a failed assertion."""
    STACK_OVERFLOW = "stack-overflow"
    OUT_OF_BOUNDS = "out-of-bounds"
    """An access outside of the linear memory."""
    DIVIDE_BY_ZERO = "divide-by-zero"
    INTEGER_OVERFLOW = "integer-overflow"
    BAD_CONVERSION = "bad-conversion"
    """A float without an integer value was converted to one."""
    INDIRECT_CALL = "indirect-call"
    """A call through a table met no function, or one of another type."""
    TIMEOUT = "timeout"
    """The deadline of the call passed."""
    OUT_OF_MEMORY = "out-of-memory"
    """The memory limit was met. Told only where it can be: by an allocator that gave up, or at instantiation."""
    FUEL = "fuel"
    """All fuel was consumed."""
    EXIT = "exit"
    """The guest called `wasi:cli/exit`."""
    HOST = "host"
    """The guest called a WASI function that no actor has, or broke its rules."""
    OTHER = "other"


class Trap(Exception):
    """A guest ended during a call. Its instance is lost; a new one is needed.

    It does not leave the process of the actor, where it becomes the outcome of the call.

    Attributes:
        kind: what ended it.
        message: one sentence.
        backtrace: the innermost wasm frames, innermost first, as `module!function at 0x1f3`. The names are the guest's.
        exit_code: the code given to `wasi:cli/exit`, for kind EXIT alone.
    """

    def __init__(
        self, kind: TrapKind, message: str, backtrace: Sequence[str] = (), exit_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.backtrace = tuple(backtrace)
        self.exit_code = exit_code


_KINDS: Final = {
    "wasm `unreachable` instruction executed": TrapKind.UNREACHABLE,
    "call stack exhausted": TrapKind.STACK_OVERFLOW,
    "out of bounds memory access": TrapKind.OUT_OF_BOUNDS,
    "integer divide by zero": TrapKind.DIVIDE_BY_ZERO,
    "integer overflow": TrapKind.INTEGER_OVERFLOW,
    "invalid conversion to integer": TrapKind.BAD_CONVERSION,
    "undefined element: out of bounds table access": TrapKind.INDIRECT_CALL,
    "uninitialized element": TrapKind.INDIRECT_CALL,
    "indirect call type mismatch": TrapKind.INDIRECT_CALL,
    "interrupt": TrapKind.TIMEOUT,
    "all fuel consumed by WebAssembly": TrapKind.FUEL,
    "allocation size too large": TrapKind.OUT_OF_MEMORY,
}
"""Texts of `enum Trap` in wasmtime's crate `wasmtime-environ`, src/trap_encoding.rs."""

_LIMIT: Final = re.compile(r"(memory|table) minimum size of \d+ \w+ exceeds \w+ limits|resource limit exceeded: .*")
"""What wasmtime's `StoreLimits` says at instantiation."""
_FRAME: Final = re.compile(r"^ *\d+: +(?:(0x[0-9a-f]+) - )?(.*)$")
_ALLOCATOR: Final = re.compile(
    r"\b(?:cabi_|dl|m|c|re)?(?:m|c|re)alloc\b|sbrk|alloc_error|rust_oom|__rg_oom|out_of_memory", re.I
)
_ALLOCATOR_DEPTH: Final = 6
"""Frames within which an allocator stands when it gives up: Rust's panic machinery is some four deep."""
_MAX_NAME: Final = 200


def read_trap(report: str, *, limited: bool) -> Trap:
    """The trap that wasmtime's text describes.

    Args:
        report: the whole text of the error.
        limited: whether the memory has a limit that may have been met.
    """
    lines = report.strip().splitlines() or [""]
    cause = re.sub(r"^\s*(\d+: )?(wasm trap: )?", "", lines[-1])
    backtrace = _frames(lines)
    kind = _KINDS.get(cause, TrapKind.OTHER)
    if _LIMIT.fullmatch(cause):
        return Trap(TrapKind.OUT_OF_MEMORY, f"the guest needs more than it is allowed: {cause}", backtrace)
    if kind is TrapKind.UNREACHABLE and limited and _gave_up_allocating(backtrace):
        return Trap(TrapKind.OUT_OF_MEMORY, "the guest could not allocate memory within its limit", backtrace)
    return Trap(kind, _printable(cause, 500), backtrace)


def is_link_error(report: str) -> bool:
    """Whether an error at instantiation means that imports and host do not fit, and no guest ran."""
    return "matching implementation was not found in the linker" in report or "component imports" in report


def _frames(lines: list[str]) -> list[str]:
    """The frames between the headline and the causes."""
    if not lines[0].startswith("error while executing at wasm backtrace"):
        return []
    frames = []
    for line in lines[1:]:
        if line.startswith("Caused by:"):
            break
        found = _FRAME.match(line)
        if found:
            name = _printable(found[2], _MAX_NAME)
            frames.append(f"{name} at {found[1]}" if found[1] else name)
    return frames


def _gave_up_allocating(backtrace: Sequence[str]) -> bool:
    return any(_ALLOCATOR.search(frame) for frame in backtrace[:_ALLOCATOR_DEPTH])


def _printable(text: str, limit: int) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:limit])
