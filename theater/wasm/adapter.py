"""The outer component that lets bytes cross at the speed of strings.

The C API converts `list<u8>` one element at a time, 48 bytes of budget for each, and fails at 2.67 MiB; a `string` it
copies. So an unmodified guest is put into a component that is generated for it, when it is compiled:

    (component $outer
      (import ...)                        ;; the guest's imports, `string` where they say `list<u8>`
      (component $imports-adapter ...)    ;; host's types in, guest's types out
      (component $guest ...)              ;; the bytes of the guest as they are
      (component $exports-adapter ...)    ;; guest's types in, host's types out
      (export ...))                       ;; the guest's exports, `string` where they say `list<u8>`

*The form.* Bytes that are all ASCII are their own text. Any others travel as U+00FF and then two lower-case hex digits
a byte: valid UTF-8 whatever the bytes are, and nearly all of it ASCII, which wasmtime and Python both copy fast. The
first byte tells which of the two it is, since ASCII cannot begin with U+00FF. Real strings are not touched. Latin-1,
the obvious form, is five branching transcodings a round trip: six times slower for random bytes.

*Siblings.* Up to wasmtime 49, a call between a component and its own child is compiled to a trap. So the adapters stand
beside the guest, not around it. It also gives each direction a memory of its own, which a call can use from the start
and forget at its end. An instance thus needs two memories and four core instances more than the guest's own.

An interface is rewritten as a whole if some function in it mentions `list<u8>` and none a resource. `wasi:` is left
alone: its resources have an identity that must be kept, and nothing large crosses there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import wasmtime

from theater.wasm.adapter_forward import host_signature, mentions_bytes
from theater.wasm.adapter_outer import ROOT, outer_text
from theater.wasm.adapter_types import CannotWrap
from theater.wasm.binary import MalformedComponent, splice
from theater.wasm.hatch import OF_ADAPTERS
from theater.wasm.mode import Mode
from theater.wasm.types import (
    Interface,
    Interfaces,
    Signature,
    any_type,
    describe_binary,
    is_named,
    is_resource,
    is_unsupported,
)

__all__ = ["CORE_INSTANCES", "GENERATOR", "MEMORIES", "CannotWrap", "Plan", "Wrapped", "wrap"]

GENERATOR = 2
"""Version of what is generated here. Part of the key of compiled artefacts: raise it with every change of the text."""

MEMORIES = 2
"""Linear memories that the wrapper adds to an instance; each grows to about three times the largest message."""
CORE_INSTANCES = 4
"""Core instances that the wrapper adds to an instance."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the wrapper changed.

    Attributes:
        interfaces: the guest's imports and exports with its own types: what callers, schemas and messages speak of.
        imports: names of the imported interfaces whose functions are rewritten; "" for the root of the world.
        exports: names of the exported interfaces whose functions are rewritten.
        hatches: the interfaces that its adapters export for the host alone (`hatch`).
    """

    interfaces: Interfaces
    imports: frozenset[str]
    exports: frozenset[str]
    hatches: tuple[str, ...] = ()

    def import_mode(self, interface: str) -> Mode:
        """How host functions of this interface are bound: `bind_import(..., mode)`."""
        return Mode.BYTES if interface in self.imports else Mode.PLAIN

    def export_mode(self, interface: str) -> Mode:
        """How the guest's functions of this interface are bound: `bind_export(..., mode)`."""
        return Mode.BYTES if interface in self.exports else Mode.PLAIN

    def verify(self, compiled: Interfaces) -> None:
        """Hold the wrapped component, as it was compiled, against what it should be.

        The code that calls a component trusts its signatures with this process's memory, and the wrapper's text is made
        of names and types that the guest's author chose. So nothing else than the expected type is accepted.

        Raises:
            CannotWrap: a function of the compiled component is missing, new, or of another type.
        """
        for side, own, other, rewritten in (
            ("import", self.interfaces.imports, compiled.imports, self.imports),
            ("export", self.interfaces.exports, compiled.exports, self.exports),
        ):
            expected = _functions(own, rewritten)
            if side == "export":
                expected |= {(hatch, name): f for hatch in self.hatches for name, f in OF_ADAPTERS.items()}
            if expected != _functions(other, frozenset()):
                raise CannotWrap(f"the wrapper would {side} functions of other types than it should")

    def wrapped(self) -> dict[str, list[str]]:
        """The names of the rewritten interfaces as metadata."""
        return {"imports": sorted(self.imports), "exports": sorted(self.exports)}


def _functions(side: Mapping[str, Interface], rewritten: frozenset[str]) -> dict[tuple[str, str], Signature]:
    """All functions of a side with the host's types where their interface is rewritten."""
    return {
        (interface, name): host_signature(f) if interface in rewritten else f
        for interface, items in side.items()
        for name, f in items.functions.items()
    }


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A wrapped component: the binary to compile in place of the guest's, and what it changed."""

    binary: bytes
    plan: Plan


def wrap(component: bytes) -> Wrapped:
    """The component in its wrapper.

    A stub of the component is compiled to learn its type, so this belongs into a process that is thrown away.

    Raises:
        CannotWrap: the component has imports or exports that the wrapper's text cannot express, or nothing to rewrite.
            The component may still be good; it is used as it is, in plain mode.
        ComponentError: the bytes are no component.
    """
    plan = plan_of(describe_binary(component, _engine()))
    if not plan.imports and not plan.exports:
        raise CannotWrap("no interface of the component mentions list<u8>")
    text, hatches = outer_text(plan.interfaces, plan.imports, plan.exports)
    try:
        return Wrapped(splice(bytes(wasmtime.wat2wasm(text)), component), replace(plan, hatches=hatches))
    except (wasmtime.WasmtimeError, MalformedComponent) as error:
        raise CannotWrap(f"the wrapper that was generated is not accepted: {error}") from error


def _engine() -> wasmtime.Engine:
    """An engine for reading types; nothing compiled by it ever runs."""
    config = wasmtime.Config()
    config.parallel_compilation = False
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


def plan_of(interfaces: Interfaces) -> Plan:
    """Which interfaces the wrapper rewrites."""
    imports = frozenset(name for name, i in interfaces.imports.items() if _is_rewritten(name, i))
    exports = frozenset(name for name, i in interfaces.exports.items() if _is_rewritten(name, i))
    return Plan(interfaces, imports, exports)


def _is_rewritten(name: str, interface: Interface) -> bool:
    functions = interface.functions.values()
    if name.startswith("wasi:") or interface.resources or interface.others:
        return False
    if any(any_type(f, is_resource) or any_type(f, is_unsupported) for f in functions):
        return False
    if name == ROOT and any(any_type(f, is_named) for f in functions):
        return False  # their types would have to be exported at the root, under names that are not known
    return any(map(mentions_bytes, functions))
