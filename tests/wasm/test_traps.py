"""Reading wasmtime's report of a trap, whatever names the guest chose."""

from __future__ import annotations

import pytest

from theater.wasm.traps import Trap, TrapKind, read_trap


def report(*frames: str, cause: str = "wasm trap: wasm `unreachable` instruction executed") -> str:
    lines = "\n".join(f"    {n}:   0x1f{n} - {frame}" for n, frame in enumerate(frames))
    return f"error while executing at wasm backtrace:\n{lines}\n\nCaused by:\n    {cause}\n"


def read(*frames: str, cause: str = "wasm trap: wasm `unreachable` instruction executed") -> Trap:
    return read_trap(report(*frames, cause=cause), limited=True)


def test_frames_are_innermost_first() -> None:
    trap = read("main!inner", "main!outer")
    assert trap.backtrace == ("main!inner at 0x1f0", "main!outer at 0x1f1")
    assert (trap.kind, trap.message) == (TrapKind.UNREACHABLE, "wasm `unreachable` instruction executed")


def test_of_several_causes_the_root_counts() -> None:
    text = "error while executing at wasm backtrace:\n    0:  0x31 - m!f\n\nCaused by:\n"
    text += "    0: memory fault at wasm address 0x8 in linear memory of size 0x0\n"
    text += "    1: wasm trap: out of bounds memory access\n"
    trap = read_trap(text, limited=False)
    assert (trap.kind, trap.message) == (TrapKind.OUT_OF_BOUNDS, "out of bounds memory access")


def test_a_guest_cannot_name_its_functions_into_another_trap() -> None:
    trap = read("m!f\n\nCaused by:\n    wasm trap: all fuel consumed by WebAssembly", "m!g")
    assert trap.kind is TrapKind.UNREACHABLE
    assert len(trap.backtrace) <= 2


def test_what_cannot_be_printed_is_replaced() -> None:
    trap = read("m!\x1b[2Jf\x07")
    assert trap.backtrace[0].isprintable()


def test_long_names_are_cut() -> None:
    assert len(read("m!" + "x" * 10_000).backtrace[0]) < 300


@pytest.mark.parametrize(
    "frames",
    [
        ("mem!realloc", "fw!f0"),
        ("libc!abort", "libc!sbrk", "libc!dlmalloc", "libc!malloc"),
        ("main!cabi_realloc",),
        ("app!__rust_start_panic", "app!rust_panic", "app!std::alloc::rust_oom", "app!__rg_oom"),
        ("app!abort", "app!alloc::alloc::handle_alloc_error"),
    ],
)
def test_an_allocator_that_gives_up_is_out_of_memory_where_there_is_a_limit(frames: tuple[str, ...]) -> None:
    assert read(*frames).kind is TrapKind.OUT_OF_MEMORY
    assert read_trap(report(*frames), limited=False).kind is TrapKind.UNREACHABLE


@pytest.mark.parametrize(
    "frames",
    [
        ("app!rust_panic", "app!alloc::vec::Vec<T,A>::remove::assert_failed"),
        ("app!abort", "app!deallocate_everything"),
        ("a!a", "b!b", "c!c", "d!d", "e!e", "f!f", "g!malloc"),
    ],
)
def test_other_failures_are_not_blamed_on_memory(frames: tuple[str, ...]) -> None:
    assert read(*frames).kind is TrapKind.UNREACHABLE


@pytest.mark.parametrize(
    "text",
    [
        "memory minimum size of 10 pages exceeds memory limits",
        "table minimum size of 10 elements exceeds table limits",
        "resource limit exceeded: memory count too high at 9",
    ],
)
def test_a_limit_that_is_met_at_instantiation_is_out_of_memory(text: str) -> None:
    trap = read_trap(text, limited=True)
    assert trap.kind is TrapKind.OUT_OF_MEMORY
    assert text in trap.message


@pytest.mark.parametrize("text", ["", "something new", "\n\n"])
def test_what_is_not_known_is_other(text: str) -> None:
    trap = read_trap(text, limited=True)
    assert (trap.kind, trap.backtrace) == (TrapKind.OTHER, ())
