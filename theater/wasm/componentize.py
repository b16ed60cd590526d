"""Makes a component of a core module, for any subset of the interfaces of this version.

What `wasm-tools component new` does, without it: a compiler for C (or any language with no component toolchain)
produces a core module whose imports and exports carry WIT names,

    import  module "theater:simple/message-server-host", name "send"
    export  "theater:simple/actor#init", optionally "cabi_post_theater:simple/actor#init", "cabi_realloc", "memory"

and this module writes the component around it as text: signatures come from the `.wit` files, an empty module of
the right type stands for the real one, the text is assembled, and the real module is put in its place. Host
functions need the module's memory to exist before they can be lowered, and the module needs its imports before it
can be instantiated; so it gets trampolines through a table, which is filled afterwards.

Of WASI only `proc_exit` is served, as a trap. What a C library needs for files and terminals is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import wasmtime

from theater.errors import BuildFailed
from theater.wasm.adapter_abi import MAX_FLAT_PARAMETERS, MAX_FLAT_RESULTS, flat
from theater.wasm.binary import COMPONENT_CORE_MODULE, leb, sections
from theater.wasm.types import Signature, Type
from theater.wasm.wit import WitInterface, known_interfaces, named, resolve


class Direction(Enum):
    """Which way a function crosses: the guest calls the host, or the host the guest."""

    IMPORT = "import"
    EXPORT = "export"


class CoreSignature(NamedTuple):
    """Parameters and results of a core function, as `i32`, `i64`, `f32`, `f64`."""

    params: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.params)}) -> ({', '.join(self.results)})"


REALLOC = CoreSignature(("i32",) * 4, ("i32",))
INITIALIZE = "_initialize"
WASI = "wasi_snapshot_preview1"
EXIT = "proc_exit"


@dataclass(frozen=True, slots=True)
class _Function:
    """One function of an interface that the module imports or exports."""

    interface: str
    name: str
    signature: Signature
    core: CoreSignature

    @property
    def export(self) -> str:
        return f"{self.interface}#{self.name}"

    @property
    def post_return(self) -> str:
        return f"cabi_post_{self.export}"


def componentize(core: bytes, interfaces: Mapping[str, WitInterface] | None = None) -> bytes:
    """The component of a core module.

    Args:
        core: the module's binary.
        interfaces: what it may import and export, by full name; those of this version unless given.

    Raises:
        BuildFailed: the module is not valid, imports something else, or a function has the wrong signature.
    """
    module = _Module(core, known_interfaces() if interfaces is None else interfaces)
    text = "\n".join(_component(module))
    try:
        outer = bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise BuildFailed(f"the component around the module is not valid: {cause(error)}") from error
    return _with_module(outer, core)


def cause(error: wasmtime.WasmtimeError) -> str:
    """The last of the causes that the compiler lists, which is the one that says something."""
    lines = str(error).strip().splitlines()
    return re.sub(r"^\s*\d+: ", "", lines[-1]) if lines else "no reason was given"


class _Module:
    """What a core module imports and exports, matched with the interfaces."""

    def __init__(self, core: bytes, interfaces: Mapping[str, WitInterface]) -> None:
        self.interfaces = interfaces
        try:
            module = wasmtime.Module(wasmtime.Engine(), core)
        except wasmtime.WasmtimeError as error:
            raise BuildFailed(f"the module is not valid: {cause(error)}") from error
        self._exports = {item.name: item.type for item in module.exports}
        self.exits = False
        self.imports = [found for item in module.imports for found in self._import(item)]
        self.exports = [self._export(name) for name in self._exports if "#" in name and not name.startswith("cabi_")]
        self._check_support()

    @property
    def initializes(self) -> bool:
        return INITIALIZE in self._exports

    def has(self, name: str) -> bool:
        return name in self._exports

    def _import(self, item: wasmtime.ImportType) -> Iterator[_Function]:
        if item.module == WASI and item.name == EXIT:
            self.exits = True
            return
        if not isinstance(item.type, wasmtime.FuncType):
            raise BuildFailed(f"the module imports {item.module}.{item.name}, which is no function")
        yield self._match(item.module, item.name or "", item.type, Direction.IMPORT)

    def _export(self, name: str) -> _Function:
        interface, _, function = name.rpartition("#")
        kind = self._exports[name]
        if not isinstance(kind, wasmtime.FuncType):
            raise BuildFailed(f"the module's export {name} is no function")
        return self._match(interface, function, kind, Direction.EXPORT)

    def _match(self, interface: str, name: str, kind: wasmtime.FuncType, direction: Direction) -> _Function:
        verb = f"{direction.value}s"
        if interface == WASI:
            raise BuildFailed(
                f"the program uses {name} of the operating system, which an actor has not (printf, files, exit "
                "handlers and clocks of the C library need it); use the functions of theater.h"
            )
        if interface not in self.interfaces:
            known = ", ".join(sorted(self.interfaces))
            raise BuildFailed(f"the module {verb} {name} of {interface!r}; allowed: the interfaces {known}")
        signature = self.interfaces[interface].functions.get(name)
        if signature is None:
            known = ", ".join(self.interfaces[interface].functions)
            raise BuildFailed(f"the module {verb} {name} of {interface}, which has only: {known}")
        expected = core_signature(_resolved(signature, self.interfaces), direction)
        found = CoreSignature(tuple(map(str, kind.params)), tuple(map(str, kind.results)))
        if found != expected:
            raise BuildFailed(f"the module {verb} {interface}#{name} as {found}; its WIT signature asks for {expected}")
        return _Function(interface, name, signature, expected)

    def _check_support(self) -> None:
        for name, kind in (("memory", wasmtime.MemoryType), ("cabi_realloc", wasmtime.FuncType)):
            if not isinstance(self._exports.get(name), kind):
                raise BuildFailed(f"the module does not export {name}, with which values get in and out")


def _resolved(signature: Signature, interfaces: Mapping[str, WitInterface]) -> Signature:
    return Signature(
        tuple((name, resolve(tree, interfaces)) for name, tree in signature.params),
        None if signature.result is None else resolve(signature.result, interfaces),
    )


def core_signature(signature: Signature, direction: Direction) -> CoreSignature:
    """The core signature of a function: "Flattening" in CanonicalABI.md.

    Args:
        signature: without named types (`wit.resolve`).
        direction: of the call; a large result is written where the caller says, or where the callee says.
    """
    params = tuple(part for _, tree in signature.params for part in flat(tree))
    results = tuple(flat(signature.result))
    if len(params) > MAX_FLAT_PARAMETERS:
        params = ("i32",)
    if len(results) <= MAX_FLAT_RESULTS:
        return CoreSignature(params, results)
    return CoreSignature((*params, "i32"), ()) if direction is Direction.IMPORT else CoreSignature(params, ("i32",))


# ---- the text


def _component(module: _Module) -> Iterator[str]:
    yield "(component"
    yield from _imported_instances(module)
    # The stand-in comes first among the core modules, so that it can be found again.
    yield from _stand_in(module)
    yield from _trampolines(module)
    yield from _filling(module)
    yield from _instances(module)
    yield from _lifted(module)
    yield ")"


def _imported_instances(module: _Module) -> Iterator[str]:
    """The imports, those that only declare types before those that use them."""
    needed = _needed_types(module)
    functions = _by_interface(module.imports)
    for interface in _in_order(set(functions) | set(needed), module.interfaces):
        yield f'(import "{interface}" (instance ${interface}'
        for name in needed.get(interface, ()):
            tree = module.interfaces[interface].types[name]
            yield f"  (type $declared-{name} {_text(tree, interface)})"
            yield f'  (export "{name}" (type ${name} (eq $declared-{name})))'
        for function in functions.get(interface, ()):
            yield f'  (export "{function.name}" {_function_text(function.signature, interface)})'
        yield "))"
        for name in needed.get(interface, ()):
            yield f'(alias export ${interface} "{name}" (type ${interface}.{name}))'


def _needed_types(module: _Module) -> dict[str, list[str]]:
    """The named types that the functions use, by interface, each after what it is made of."""
    found: dict[str, list[str]] = {}

    def add(interface: str, name: str) -> None:
        if name in found.get(interface, ()):
            return
        for inner in named(_members(module.interfaces[interface].types[name])):
            add(*inner)
        found.setdefault(interface, []).append(name)

    for function in (*module.imports, *module.exports):
        for tree in (*(tree for _, tree in function.signature.params), function.signature.result):
            for interface, name in named(tree):
                add(interface, name)
    exported = {function.interface for function in module.exports}
    for interface in exported & set(found):
        raise BuildFailed(f"{interface} declares types of its own; this version cannot export such an interface")
    return found


def _members(tree: Type) -> Type:
    """A type that mentions what a declared type is made of; enums and flags are made of nothing."""
    return ("tuple", ()) if tree[0] in ("enum", "flags") else tree


def _in_order(wanted: Iterable[str], interfaces: Mapping[str, WitInterface]) -> list[str]:
    """Interfaces that only declare types first: only they are used by others."""
    return sorted(wanted, key=lambda interface: (bool(interfaces[interface].functions), interface))


def _by_interface(functions: Iterable[_Function]) -> dict[str, list[_Function]]:
    found: dict[str, list[_Function]] = {}
    for function in functions:
        found.setdefault(function.interface, []).append(function)
    return found


def _stand_in(module: _Module) -> Iterator[str]:
    yield "(core module $main"
    if module.exits:
        yield f'  (import "{WASI}" "{EXIT}" (func (param i32)))'
    for function in module.imports:
        yield f'  (import "{function.interface}" "{function.name}" (func {_core_text(function.core)}))'
    yield '  (memory (export "memory") 0)'
    yield f'  (func (export "cabi_realloc") {_core_text(REALLOC)} unreachable)'
    if module.initializes:
        yield f'  (func (export "{INITIALIZE}"))'
    for function in module.exports:
        yield f'  (func (export "{function.export}") {_core_text(function.core)} unreachable)'
        if module.has(function.post_return):
            results = CoreSignature(function.core.results, ())
            yield f'  (func (export "{function.post_return}") {_core_text(results)})'
    yield ")"


def _trampolines(module: _Module) -> Iterator[str]:
    yield "(core module $trampolines"
    yield f'  (table (export "table") {len(module.imports)} funcref)'
    for number, function in enumerate(module.imports):
        arguments = " ".join(f"local.get {index}" for index in range(len(function.core.params)))
        yield f"  (type $t{number} (func {_core_text(function.core)}))"
        yield f'  (func (export "{number}") (type $t{number}) {arguments}'
        yield f"    i32.const {number} call_indirect (type $t{number}))"
    yield ")"


def _filling(module: _Module) -> Iterator[str]:
    """The module that puts the lowered host functions into the table, and the one that starts the main module."""
    numbers = range(len(module.imports))
    yield "(core module $filling"
    for number in numbers:
        yield f'  (import "" "{number}" (func {_core_text(module.imports[number].core)}))'
    yield f'  (import "" "table" (table {len(numbers)} funcref))'
    yield f"  (elem (i32.const 0) func {' '.join(map(str, numbers))}))"
    if module.initializes:
        yield f'(core module $starting (import "" "{INITIALIZE}" (func $start)) (start $start))'
    if module.exits:
        yield f'(core module $exiting (func (export "{EXIT}") (param i32) unreachable))'


def _instances(module: _Module) -> Iterator[str]:
    yield "(core instance $trampolines (instantiate $trampolines))"
    arguments = []
    for interface, functions in _by_interface(module.imports).items():
        yield f"(core instance $to-{interface}"
        for function in functions:
            number = module.imports.index(function)
            yield f'  (export "{function.name}" (func $trampolines "{number}"))'
        yield ")"
        arguments.append(f'(with "{interface}" (instance $to-{interface}))')
    if module.exits:
        yield "(core instance $exiting (instantiate $exiting))"
        arguments.append(f'(with "{WASI}" (instance $exiting))')
    yield f"(core instance $main (instantiate $main {' '.join(arguments)}))"
    yield '(alias core export $main "memory" (core memory $memory))'
    yield '(alias core export $main "cabi_realloc" (core func $realloc))'
    for number, function in enumerate(module.imports):
        yield f'(core func $lowered-{number} (canon lower (func ${function.interface} "{function.name}")'
        yield "  (memory $memory) (realloc $realloc) string-encoding=utf8))"
    yield '(core instance $lowered (export "table" (table $trampolines "table"))'
    for number in range(len(module.imports)):
        yield f'  (export "{number}" (func $lowered-{number}))'
    yield ")"
    yield '(core instance (instantiate $filling (with "" (instance $lowered))))'
    if module.initializes:
        yield '(core instance (instantiate $starting (with "" (instance $main))))'


def _lifted(module: _Module) -> Iterator[str]:
    for interface, functions in _by_interface(module.exports).items():
        for function in functions:
            yield f"(func ${function.export} {_signature_text(function.signature, None)}"
            yield f'  (canon lift (core func $main "{function.export}") (memory $memory) (realloc $realloc)'
            post = (
                f'(post-return (core func $main "{function.post_return}"))' if module.has(function.post_return) else ""
            )
            yield f"  string-encoding=utf8 {post}))"
        names = " ".join(f'(export "{function.name}" (func ${function.export}))' for function in functions)
        yield f"(instance $from-{interface} {names})"
        yield f'(export "{interface}" (instance $from-{interface}))'


def _core_text(core: CoreSignature) -> str:
    params = f"(param {' '.join(core.params)})" if core.params else ""
    results = f"(result {' '.join(core.results)})" if core.results else ""
    return f"{params} {results}"


def _function_text(signature: Signature, interface: str | None) -> str:
    return f"(func {_signature_text(signature, interface)})"


def _signature_text(signature: Signature, interface: str | None) -> str:
    params = " ".join(f'(param "{name}" {_text(tree, interface)})' for name, tree in signature.params)
    return params if signature.result is None else f"{params} (result {_text(signature.result, interface)})"


def _text(tree: Type, interface: str | None) -> str:
    """A type as component text; `interface` is the one being declared, whose own types have short names there."""
    if isinstance(tree, str):
        return tree
    kind, rest = tree[0], tree[1:]
    if kind == "named":
        return f"${rest[1]}" if rest[0] == interface else f"${rest[0]}.{rest[1]}"
    if kind in ("list", "option"):
        return f"({kind} {_text(rest[0], interface)})"
    if kind == "tuple":
        return f"(tuple {' '.join(_text(inner, interface) for inner in rest[0])})"
    if kind == "result":
        ok = "" if rest[0] is None else _text(rest[0], interface)
        err = "" if rest[1] is None else f"(error {_text(rest[1], interface)})"
        return f"(result {ok} {err})"
    if kind in ("enum", "flags"):
        return f"({kind} {' '.join(f'{chr(34)}{name}{chr(34)}' for name in rest[0])})"
    word = {"record": "field", "variant": "case"}[kind]
    members = " ".join(
        f'({word} "{name}"{"" if inner is None else " " + _text(inner, interface)})' for name, inner in rest[0]
    )
    return f"({kind} {members})"


def _with_module(outer: bytes, core: bytes) -> bytes:
    """`outer` with `core` in the place of its first core module."""
    hole = next(section for section in sections(outer) if section.id == COMPONENT_CORE_MODULE)
    section = bytes((COMPONENT_CORE_MODULE,)) + leb(len(core)) + core
    return outer[: hole.start] + section + outer[hole.end :]
