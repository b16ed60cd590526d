"""Guests for the tests of the wasm layer: components as text, and one way to make an instance with bound functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import component as wc

from theater.core.values import Ok
from theater.wasm.adapter import wrap
from theater.wasm.adapter_abi import aligned, flat, layout
from theater.wasm.adapter_types import Scope, instance_type
from theater.wasm.direct import Mode, bind_export, bind_import, host_exceptions
from theater.wasm.types import Interface, Interfaces, Signature, Type, describe

HOST = "theater:simple/message-server-host"
CLIENT = "theater:simple/message-server-client"

Host = Mapping[tuple[str, str], Callable[..., Any]]

_config = wasmtime.Config()
_config.parallel_compilation = False  # a process that compiled with threads cannot fork
_config.cranelift_opt_level = "none"
ENGINE = wasmtime.Engine(_config)


def binary(text: str) -> bytes:
    """The binary of a component's text."""
    return bytes(wasmtime.wat2wasm(text))


class Guest:
    """A compiled component, plain or wrapped, of which instances are made."""

    def __init__(self, component: bytes, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.BYTES:
            wrapped = wrap(component)
            self.component = wc.Component(ENGINE, wrapped.binary)
            wrapped.plan.verify(describe(self.component.type, ENGINE))
            self.interfaces: Interfaces = wrapped.plan.interfaces
            self._import_mode = wrapped.plan.import_mode
            self._export_mode = wrapped.plan.export_mode
        else:
            self.component = wc.Component(ENGINE, component)
            self.interfaces = describe(self.component.type, ENGINE)
            self._import_mode = self._export_mode = lambda interface: Mode.PLAIN

    def instance(self, host: Host = {}, *, memory: int | None = None) -> Instance:  # noqa: B006
        return Instance(self, host, memory)


class Instance:
    """One instance in a store of its own; `host` has the functions it imports by interface and name."""

    def __init__(self, guest: Guest, host: Host, memory: int | None) -> None:
        self._guest = guest
        self._linker = wc.Linker(ENGINE)
        self._kept: list[Any] = []
        with self._linker.root() as root:
            for name, interface in guest.interfaces.imports.items():
                if name == "":
                    self._link(root, name, interface, host)
                elif not name.startswith("wasi:"):
                    with root.add_instance(name) as instance:
                        self._link(instance, name, interface, host)
        self.store = wasmtime.Store(ENGINE)
        if memory is not None:
            self.store.set_limits(memory_size=memory)
        with host_exceptions():
            self._instance = self._linker.instantiate(self.store, guest.component)

    def _link(self, instance: wc.LinkerInstance, name: str, interface: Interface, host: Host) -> None:
        for resource, number in interface.resources.items():
            instance.add_resource(resource, wc.ResourceType.host(number), lambda store, rep: None)
        for function, signature in interface.functions.items():
            bound = host[name, function]
            self._kept.append(bind_import(instance, function, bound, signature, self._guest._import_mode(name)))

    def function(self, interface: str, name: str) -> Callable[..., Any]:
        index = self._instance.get_export_index(self.store, interface) if interface else None
        found = self._instance.get_export_index(self.store, name, index)
        assert found is not None
        func = self._instance.get_func(self.store, found)
        signature = self._guest.interfaces.exports[interface].functions[name]
        call = bind_export(self.store, func, signature, self._guest._export_mode(interface), name)
        call.instance = self  # type: ignore[attr-defined]  # it keeps the host functions
        return call


def echo_text(encoding: str = "utf8") -> str:
    """The text of the message server in `echo.wat`."""
    text = (Path(__file__).parent / "echo.wat").read_text()
    return text.replace("ENCODING", f"string-encoding={encoding}")


def guest_text(name: str) -> str:
    """The text of the guest in a file beside this one."""
    return (Path(__file__).parent / name).read_text().replace("MEMORY", MEMORY)


def echo_host(
    request: Callable[[str, bytes], Any] = lambda actor, msg: Ok(msg),
    send: Callable[[str, bytes], Any] = lambda actor, msg: Ok(),
) -> Host:
    return {(HOST, "request"): request, (HOST, "send"): send}


MEMORY = """(core module $mem-module
    (memory (export "memory") 2)
    (global $free (export "free") (mut i32) (i32.const 65536))
    (func (export "realloc") (param $old i32) (param $had i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (block $fits (loop $grow
        (br_if $fits (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $grow (i32.ne (i32.const -1) (memory.grow (i32.const 16))))
        (unreachable)))
      (memory.copy (local.get $at) (local.get $old) (local.get $had))
      (local.get $at)))
  (core instance $mem (instantiate $mem-module))
  (alias core export $mem "memory" (core memory $memory))
  (alias core export $mem "realloc" (core func $realloc))"""


def forwarder(functions: Mapping[str, Signature], interface: str = "test:forward/functions") -> str:
    """A guest that imports `functions` and exports them again: it calls its import and returns what that returns.

    Its core code passes parameters and results on as they come, so all that happens to a value is what crossing does.
    """
    imported, _ = instance_type(Interface(functions), "i", {})
    names: list[str] = []

    def export_type(t: Type, index: str, named: str) -> str:
        names.append(named)
        return f'(export {named} "t{len(names) - 1}" (type {index}))'

    scope = Scope("t", export_type)
    core: list[str] = []
    core_imports: list[str] = []
    for number, f in enumerate(functions.values()):
        params = [core_type for _, t in f.params for core_type in flat(t)]
        if len(params) > 16:
            params = ["i32"]
        results = flat(f.result)
        indirect = len(results) > 1
        low_params, results = ([*params, "i32"], ["i32"]) if indirect else (params, results)
        head = "".join(f" (param {p})" for p in params) + "".join(f" (result {r})" for r in results)
        low = "".join(f" (param {p})" for p in low_params) + "".join(f" (result {r})" for r in results if not indirect)
        arguments = " ".join(f"(local.get {i})" for i in range(len(params)))
        at = "(i32.const 16)" if indirect else ""
        core_imports.append(f'(import "low" "{number}" (func $l{number}{low}))')
        core.append(f'(func (export "{number}"){head} (call $l{number} {arguments} {at}) {at})')
        done = "".join(f" (param {r})" for r in results)
        core.append(f'(func (export "done{number}"){done} (global.set $free (i32.const 65536)))')
        assert aligned(16 + layout(f.result).size, 8) < 65536
        signature = scope.signature(f)
        scope.lines.append(
            f'(func $f{number} {signature} (canon lift (core func $code "{number}") (memory $memory)'
            f' (realloc $realloc) (post-return (core func $code "done{number}"))))'
        )
    lowered = [
        f'(core func $l{n} (canon lower (func $i "{name}") (memory $memory) (realloc $realloc)))'
        for n, name in enumerate(functions)
    ]
    low_exports = " ".join(f'(export "{n}" (func $l{n}))' for n in range(len(functions)))
    lines = [
        f'(import "functions" (instance $i {imported}))',
        MEMORY,
        *lowered,
        '(core module $code-module (import "mem" "free" (global $free (mut i32)))',
        *core_imports,
        *core,
        ")",
        '(core instance $code (instantiate $code-module (with "mem" (instance $mem))',
        f'(with "low" (instance {low_exports}))))',
        *scope.lines,
        *(f'(export "{name}" (func $f{n}))' for n, name in enumerate(functions)),
    ]
    inner = "\n    ".join(lines)
    return f"""(component
  (import "{interface}" (instance $i {imported}))
  (component $forwarder
    {inner})
  (instance $e (instantiate $forwarder (with "functions" (instance $i))))
  (export "{interface}" (instance $e)))"""
