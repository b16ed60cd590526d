"""The text of the outer component: what it imports, how guest and adapters are connected, what it exports.

What is not rewritten is handed through as it is, resources included. What is rewritten is imported with the host's
types, and the guest gets an instance put together from the adapter's functions and, where nothing had to change, from
the host's own. Record types need no conversion: two with the same members are the same type.
"""

from __future__ import annotations

from collections.abc import Iterator

from theater.wasm.adapter_forward import Direction, adapter, host_signature, host_type, mentions_bytes
from theater.wasm.adapter_types import GIVEN_NAME, CannotWrap, Scope, instance_type, names_of, quoted
from theater.wasm.hatch import OF_ADAPTERS
from theater.wasm.types import Interface, Interfaces, Signature, Type, any_type, children, is_named

ROOT = ""
"""The name under which `Interfaces` has what stands at the root of the world."""


def outer_text(interfaces: Interfaces, imports: frozenset[str], exports: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """The text, with an empty component in the guest's place, and the hatches of its adapters.

    Args:
        interfaces: the guest's type.
        imports: names of the imported interfaces to rewrite.
        exports: names of the exported interfaces to rewrite.

    Raises:
        CannotWrap: something cannot be expressed.
    """
    outer = _Outer(interfaces, imports, exports)
    return outer.text(), tuple(outer.hatches)


class _Outer:
    def __init__(self, interfaces: Interfaces, imports: frozenset[str], exports: frozenset[str]) -> None:
        self._interfaces = interfaces
        self._imports = imports
        self._exports = exports
        self._scope = Scope("w", lambda t, index, named: None)  # types out here are only passed on, so need no names
        self._lines = self._scope.lines
        self._resources: dict[int, str] = {}
        self._guest_arguments: list[str] = []
        self.hatches: list[str] = []

    def text(self) -> str:
        self._write_imports()
        self._lines.append("(component $guest)")
        self._lines.append(f"(instance $g (instantiate $guest {' '.join(self._guest_arguments)}))")
        self._write_exports()
        return "(component $outer\n  " + "\n  ".join(self._lines) + ")"

    # ---- imports

    def _write_imports(self) -> None:
        forwarded: list[tuple[Signature, str]] = []
        given: list[str] = []
        for number, (name, interface) in enumerate(self._interfaces.imports.items()):
            index = f"$i{number}"
            if name == ROOT:
                self._import_root(interface, forwarded)
            elif name in self._imports:
                self._import_rewritten(index, name, interface)
                given.append(self._instance_for_guest(index, interface, forwarded))
                self._guest_arguments.append(f"(with {quoted(name)} (instance {index}g))")
            else:
                self._import_as_it_is(index, name, interface)
        self._place_adapter("imports", Direction.IMPORTS, forwarded)
        self._lines += given

    def _import_root(self, root: Interface, forwarded: list[tuple[Signature, str]]) -> None:
        if root.types or root.resources or root.others or any(any_type(f, is_named) for f in root.functions.values()):
            raise CannotWrap("the world imports types, not only functions and interfaces")
        for number, (name, f) in enumerate(root.functions.items()):
            index = f"$f{number}"
            rewritten = ROOT in self._imports and mentions_bytes(f)
            signature = self._scope.signature(host_signature(f) if rewritten else f)
            self._lines.append(f"(import {quoted(name)} (func {index} {signature}))")
            source = f'(func $imports "f{len(forwarded)}")' if rewritten else f"(func {index})"
            self._guest_arguments.append(f"(with {quoted(name)} {source})")
            if rewritten:
                forwarded.append((f, index))

    def _import_as_it_is(self, index: str, name: str, interface: Interface) -> None:
        body, new = instance_type(interface, index[1:] + "_", self._resources)
        self._lines.append(f"(import {quoted(name)} (instance {index}\n    {body}))")
        for number, resource in new.items():
            self._resources[number] = f"$resource{number}"
            self._lines.append(f"(alias export {index} {quoted(resource)} (type $resource{number}))")
        self._guest_arguments.append(f"(with {quoted(name)} (instance {index}))")

    def _import_rewritten(self, index: str, name: str, interface: Interface) -> None:
        functions = {n: host_signature(f) for n, f in interface.functions.items()}
        types = {n: host_type(t) for n, t in interface.types.items() if is_named(t)}
        body, _ = instance_type(Interface(functions, types), index[1:] + "_", {})
        self._lines.append(f"(import {quoted(name)} (instance {index}\n    {body}))")

    def _instance_for_guest(self, index: str, interface: Interface, forwarded: list[tuple[Signature, str]]) -> str:
        """The instance that the guest imports: its own types, forwarded functions, and the host's where they fit."""
        items = [f"(export {quoted(name)} (type {self._scope.define(t)}))" for name, t in interface.types.items()]
        for name, f in interface.functions.items():
            if mentions_bytes(f):
                items.append(f'(export {quoted(name)} (func $imports "f{len(forwarded)}"))')
                forwarded.append((f, f"{index} {quoted(name)}"))
            else:
                items.append(f"(export {quoted(name)} (func {index} {quoted(name)}))")
        return f"(instance {index}g {' '.join(items)})"

    # ---- exports

    def _write_exports(self) -> None:
        exports = self._interfaces.exports
        forwarded = [
            (f, f"$g {quoted(name)} {quoted(function)}" if name != ROOT else f"$g {quoted(function)}")
            for name in exports
            if name in self._exports
            for function, f in exports[name].functions.items()
        ]
        types = self._place_adapter("exports", Direction.EXPORTS, forwarded)
        numbers = iter(range(len(forwarded)))
        for position, (name, interface) in enumerate(exports.items()):
            if name == ROOT:
                self._export_root(interface, numbers)
            elif name in self._exports:
                self._export_rewritten(f"$e{position}", name, interface, types, numbers)
            else:
                self._lines.append(f"(export {quoted(name)} (instance $g {quoted(name)}))")

    def _export_root(self, root: Interface, numbers: Iterator[int]) -> None:
        if root.others:
            raise CannotWrap(f"the world exports {root.others[0]!r}, which is neither function, type nor interface")
        for name in (*root.resources, *root.types):
            self._lines.append(f"(export {quoted(name)} (type $g {quoted(name)}))")
        for name in root.functions:
            source = f'$exports "f{next(numbers)}"' if ROOT in self._exports else f"$g {quoted(name)}"
            self._lines.append(f"(export {quoted(name)} (func {source}))")

    def _export_rewritten(
        self, index: str, name: str, interface: Interface, types: dict[Type, str], numbers: Iterator[int]
    ) -> None:
        names = names_of({n: host_type(t) for n, t in interface.types.items()})
        needed = _named_types(host_signature(f) for f in interface.functions.values())
        items = [
            f'(export {quoted(names.get(t) or GIVEN_NAME + str(i))} (type $exports "{types[t]}"))'
            for i, t in enumerate(needed)
        ]
        items += [f'(export {quoted(function)} (func $exports "f{next(numbers)}"))' for function in interface.functions]
        self._lines.append(f"(instance {index} {' '.join(items)})")
        self._lines.append(f"(export {quoted(name)} (instance {index}))")

    # ---- adapters

    def _place_adapter(
        self, name: str, direction: Direction, forwarded: list[tuple[Signature, str]]
    ) -> dict[Type, str]:
        """Write an adapter and its instance `$name`; returns the types it exports."""
        if not forwarded:
            return {}
        made = adapter(f"${name}-adapter", [f for f, _ in forwarded], direction)
        self._lines.append(made.text)
        arguments = [f'(with "t{i}" (type {self._scope.define(t)}))' for i, t in enumerate(made.types_in)]
        arguments += [f'(with "i{i}" (func {source}))' for i, (_, source) in enumerate(forwarded)]
        self._lines.append(f"(instance ${name} (instantiate ${name}-adapter {' '.join(arguments)}))")
        self._export_hatch(f"theater:hatch/{name}", f"${name}")
        return made.types_out

    def _export_hatch(self, interface: str, adapter: str) -> None:
        functions = " ".join(f'(export "{function}" (func {adapter} "{function}"))' for function in OF_ADAPTERS)
        self._lines.append(f'(instance {adapter}-hatch {functions}) (export "{interface}" (instance {adapter}-hatch))')
        self.hatches.append(interface)


def _named_types(signatures: Iterator[Signature]) -> list[Type]:
    """The types in the signatures that must have names, each after those it is made of."""
    found: dict[Type, None] = {}

    def visit(t: Type) -> None:
        for child in children(t):
            visit(child)
        if is_named(t):
            found.setdefault(t)

    for f in signatures:
        for _, t in f.params:
            visit(t)
        if f.result is not None:
            visit(f.result)
    return list(found)
