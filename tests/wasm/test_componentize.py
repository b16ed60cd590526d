"""A core module is generated for each interface, with just the functions that are asked for, and made into a component.

Whether the component is right is for the engine to say: it compiles it, and its type is compared with the .wit files.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import wasmtime
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from wasm_guests import ENGINE

from theater.errors import BuildFailed
from theater.wasm.assemble import assemble, validated
from theater.wasm.componentize import Direction, componentize, core_signature
from theater.wasm.types import Signature, describe_binary
from theater.wasm.wit import known_interfaces, resolve

KNOWN = known_interfaces()
EVERYTHING = [(interface, name) for interface in KNOWN.values() for name in interface.functions]
NAMES = [(interface.name, name) for interface, name in EVERYTHING]
HANDLERS = [
    (interface, name)
    for interface, name in NAMES
    if interface == "theater:simple/actor" or interface.endswith(("-client", "-handlers"))
]
MEMORY = """
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
"""


def signature(interface: str, name: str) -> Signature:
    given = KNOWN[interface].functions[name]
    return Signature(
        tuple((param, resolve(tree, KNOWN)) for param, tree in given.params),
        None if given.result is None else resolve(given.result, KNOWN),
    )


def core_text(interface: str, name: str, direction: Direction) -> str:
    core = core_signature(signature(interface, name), direction)
    params = f"(param {' '.join(core.params)})" if core.params else ""
    results = f"(result {' '.join(core.results)})" if core.results else ""
    return f"{params} {results}"


def module(
    imports: Iterable[tuple[str, str]] = (), exports: Iterable[tuple[str, str]] = (), more: str = MEMORY
) -> bytes:
    """A module with these functions, which do nothing."""
    lines = [f'(import "{i}" "{f}" (func {core_text(i, f, Direction.IMPORT)}))' for i, f in imports]
    lines.append(more)
    for i, f in exports:
        lines.append(f'(func (export "{i}#{f}") {core_text(i, f, Direction.EXPORT)} unreachable)')
        lines.append(f'(func (export "cabi_post_{i}#{f}") (param i32))')
    return bytes(wasmtime.wat2wasm(f"(module {' '.join(lines)})"))


def functions(interfaces: object) -> dict[tuple[str, str], Signature]:
    return {
        (name, function): found
        for name, interface in interfaces.items()  # type: ignore[attr-defined]
        for function, found in interface.functions.items()
    }


def test_all_that_can_be_imported_and_exported_at_once_makes_a_component() -> None:
    found = validated(componentize(module(NAMES, HANDLERS)))
    assert functions(found.imports) == {place: signature(*place) for place in NAMES}
    assert functions(found.exports) == {place: signature(*place) for place in HANDLERS}


@settings(max_examples=effort(30, 200), deadline=None)
@given(
    st.lists(st.sampled_from(NAMES), unique=True, max_size=6),
    st.lists(st.sampled_from(HANDLERS), unique=True, max_size=4),
)
def test_any_subset_makes_a_component_of_just_that(
    imports: list[tuple[str, str]], exports: list[tuple[str, str]]
) -> None:
    found = describe_binary(componentize(module(imports, exports)), ENGINE)
    assert functions(found.imports) == {place: signature(*place) for place in imports}
    assert functions(found.exports) == {place: signature(*place) for place in exports}


def test_the_module_is_in_the_component_as_it_is() -> None:
    core = module()
    assert core in componentize(core)


def test_initialize_runs_when_imports_can_be_called() -> None:
    text = f"""(module
      (import "theater:simple/runtime" "log" (func $log (param i32 i32))) {MEMORY}
      (data (i32.const 8) "hi")
      (func (export "_initialize") (call $log (i32.const 8) (i32.const 2))))"""
    component = wasmtime.component.Component(ENGINE, assemble(text, "a.wat"))
    linker = wasmtime.component.Linker(ENGINE)
    said: list[str] = []
    with linker.root() as root, root.add_instance("theater:simple/runtime") as runtime:
        runtime.add_func("log", lambda _, line: said.append(line))
    linker.instantiate(wasmtime.Store(ENGINE), component)
    assert said == ["hi"]


def refused(text: str) -> str:
    with pytest.raises(BuildFailed) as caught:
        assemble(text, "a.wat")
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(module)", "the module does not export memory, with which values get in and out"),
        ('(module (memory (export "memory") 1))', "the module does not export cabi_realloc"),
        (f'(module (import "env" "f" (func)) {MEMORY})', "the module imports f of 'env'; allowed: the interfaces"),
        (f'(module (import "env" "m" (global i32)) {MEMORY})', "the module imports env.m, which is no function"),
        (
            f'(module (import "theater:simple/runtime" "lag" (func)) {MEMORY})',
            "the module imports lag of theater:simple/runtime, which has only: log, get-chain, shutdown",
        ),
        (
            f'(module (import "theater:simple/runtime" "log" (func (param i32))) {MEMORY})',
            "the module imports theater:simple/runtime#log as (i32) -> (); its WIT signature asks for (i32, i32) -> ()",
        ),
        (
            f'(module (import "wasi_snapshot_preview1" "fd_write" (func)) {MEMORY})',
            "the program uses fd_write of the operating system, which an actor has not",
        ),
        (
            f'(module {MEMORY} (func (export "theater:simple/nobody#f")))',
            "the module exports f of 'theater:simple/nobody'; allowed: the interfaces",
        ),
        (
            f'(module {MEMORY} (func (export "theater:otp/identity@0.1.0#self") (result i32) i32.const 0))',
            "theater:otp/identity@0.1.0 declares types of its own; this version cannot export such an interface",
        ),
    ],
)
def test_a_module_that_fits_no_interface_is_refused_by_name(text: str, expected: str) -> None:
    assert expected in refused(text)
