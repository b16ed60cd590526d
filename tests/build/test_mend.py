"""A component's runtime that forgets to free is given one that does."""

from __future__ import annotations

import pytest
import wasmtime

from theater.build.mend import NotUnderstood, mended
from theater.wasm.binary import COMPONENT_CORE_MODULE, sections

RUNTIME = """
  (core module
    (import "env" "tell" (func $tell (param i32 i32 i32 i32 i32)))
    (import "env" "table" (table 1 funcref))
    (import "env" "memory" (memory 1))
    (import "env" "base" (global i32))
    (func $pop (export "wit_dylib_pop_list") (param i32 i32 i32) (result i32)
      (i32.store (local.get 2) (local.get 1))
      (i32.add (local.get 0) (local.get 1)))
    (func (export "wit_dylib_dealloc_bytes") (param i32 i32 i32 i32 i32)
      (call $tell (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
    (func (export "indirectly") (param i32 i32 i32) (result i32)
      (call $pop (local.get 0) (local.get 1) (local.get 2))))
"""
OTHER = '(core module (func (export "something")))'


def component(*modules: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(component {' '.join(modules)})"))


def modules(binary: bytes) -> list[bytes]:
    return [binary[s.body : s.end] for s in sections(binary) if s.id == COMPONENT_CORE_MODULE]


def test_a_copy_is_freed_when_the_call_is_over_and_nothing_else_is():
    told: list[tuple[int, ...]] = []
    store = wasmtime.Store()
    i32 = wasmtime.ValType.i32()
    given = [
        wasmtime.Func(store, wasmtime.FuncType([i32] * 5, []), lambda *args: told.append(args)),
        wasmtime.Table(store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(1, None)), None),
        wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None))),
        wasmtime.Global(store, wasmtime.GlobalType(i32, False), wasmtime.Val.i32(0)),
    ]
    _, runtime = modules(mended(component(OTHER, RUNTIME)))
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, runtime), given).exports(store)
    pop = exports["wit_dylib_pop_list"]
    # The stand-in writes its second argument to `out`, as the pointer, and returns the sum of the first two.
    assert pop(store, 7, 4096, 64) == 4103
    assert told == [(7, 4096, 4103, 1, 1)]
    assert pop(store, 7, 0, 64) == 7
    assert exports["indirectly"](store, 7, 4096, 64) == 4103
    assert len(told) == 1


def test_everything_else_in_the_component_stays():
    before = component(OTHER, RUNTIME, OTHER)
    after = mended(before)
    assert [modules(after)[0], modules(after)[2]] == [modules(before)[0], modules(before)[2]]
    assert [section.id for section in sections(after)] == [section.id for section in sections(before)]


@pytest.mark.parametrize("binary", [component(OTHER), component(RUNTIME, RUNTIME)])
def test_a_component_that_is_built_otherwise_is_left_alone(binary):
    with pytest.raises(NotUnderstood, match=r"expected one runtime .* found [02]"):
        mended(binary)
