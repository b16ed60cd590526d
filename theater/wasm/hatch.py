"""A hatch: the way to what a component keeps to itself, put behind its last section when it is compiled.

A linear memory lies open to the host, but nobody outside can make one grow, and the component API has no word for
the globals of core modules. So the component gets one core module more, which imports what the others have and exports
functions that read and write it:

    (core module $hatch (import "2" "memory" ...) (import "8" "global-1" ...) ...)
    (core instance $hatch (instantiate $hatch (with "2" (instance 2)) ...))
    (instance $out (export "get" (func ...)) ...)
    (export "theater:hatch/guest" (instance $out))

Its functions are the host's alone, and no caller sees the interface. Nothing that was there before changes but that
core modules export more; an instance that uses no hatch does the same as ever, at the same price in fuel.

    get(index: u32) -> u64                  a global, in its low bits; a v128 takes two indices, the low half first
    set(index: u32, value: u64)
    grow(memory: u32, pages: u32) -> u32    memory.grow: pages before, or 2**32 - 1
    peek(memory: u32, at: u32) -> u32       a byte, to tell memories apart; 0 if there is none
    open(stream: u32) -> u32                gives the guest a handle of `STREAMS[stream]`; 0 if it imports none
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import wasmtime

from theater.errors import BuildFailed
from theater.wasm.adapter_types import quoted
from theater.wasm.anatomy import GLOBAL, MEMORY, NUMERIC, Component, CoreModule, Opaque, anatomy
from theater.wasm.binary import (
    COMPONENT_CORE_MODULE,
    CORE_EXPORT,
    CORE_HEADER,
    Cursor,
    MalformedComponent,
    leb,
    section,
    sections,
)
from theater.wasm.types import Interfaces, Signature

GUEST: Final = "theater:hatch/guest"
"""The interface through which the host reaches a guest's globals and memories."""

IMPORTS: Final = "theater:hatch/imports"
EXPORTS: Final = "theater:hatch/exports"
"""The same for the memories of the wrapper's adapters, which have no globals that last (`adapter_forward`)."""

GET: Final = Signature((("index", "u32"),), "u64")
SET: Final = Signature((("index", "u32"), ("value", "u64")), None)
GROW: Final = Signature((("memory", "u32"), ("pages", "u32")), "u32")
PEEK: Final = Signature((("memory", "u32"), ("at", "u32")), "u32")
OPEN: Final = Signature((("stream", "u32"),), "u32")
FUNCTIONS: Final = {"get": GET, "set": SET, "grow": GROW, "peek": PEEK, "open": OPEN}
OF_ADAPTERS: Final = {"grow": GROW, "peek": PEEK}

STREAMS: Final = ("stdin", "stdout", "stderr")
"""The host's resources that a guest may hold and be kept: a new handle of one is as good as the old."""

MAX_GLOBALS: Final = 64
"""Globals that a guest's code may set. Each is read with a call whenever a state root is wanted; compilers use one."""


@dataclass(frozen=True, slots=True)
class Hatch:
    """What can be reached.

    Attributes:
        memories: how many memories the guest has of its own.
        globals: bytes of each global that its code sets.
        interfaces: the hatches, in the order in which their memories are made.
        unportable: why the guest's memory cannot be kept faithfully; empty if it can. Nothing can be reached then.
    """

    memories: int = 0
    globals: tuple[int, ...] = ()
    interfaces: tuple[str, ...] = ()
    unportable: str = ""

    def to_plain(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "memories": self.memories,
            "globals": list(self.globals),
            "interfaces": list(self.interfaces),
            "unportable": self.unportable,
        }

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> Hatch:
        """What `to_plain` gave."""
        return cls(fields["memories"], tuple(fields["globals"]), tuple(fields["interfaces"]), fields["unportable"])


def cut_hatch(component: bytes) -> tuple[bytes, Hatch]:
    """The component with a hatch, and what can be reached by it; as it was if it cannot have one.

    The reason is a sentence, for a person who asked for snapshots.
    """
    try:
        found = anatomy(component)
        if any(name.startswith("theater:hatch/") for name in found.exports):
            raise Opaque("it has a hatch already")
        return _cut(component, found)
    except Opaque as why:
        reason = str(why)
    except (MalformedComponent, LookupError, AssertionError, RecursionError) as error:
        reason = f"it is not understood: {error}"
    except wasmtime.WasmtimeError as error:
        reason = f"the hatch that was generated is not accepted: {error}"
    return component, Hatch(unportable=reason)


def with_adapters(hatch: Hatch, adapters: tuple[str, ...]) -> Hatch:
    """The hatch of a component that was wrapped, whose adapters have hatches of their own."""
    return replace(hatch, interfaces=(*_only(adapters, IMPORTS), *hatch.interfaces, *_only(adapters, EXPORTS)))


def _only(adapters: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(adapter for adapter in adapters if adapter == name)


def without_hatch(interfaces: Interfaces) -> Interfaces:
    """What is left for callers, once the hatch is seen to be what calls of it believe.

    Raises:
        BuildFailed: it is not.
    """
    if interfaces.exports[GUEST].functions != FUNCTIONS:
        raise BuildFailed("the hatch is not what it was meant to be")
    exports = {name: i for name, i in interfaces.exports.items() if name not in (GUEST, IMPORTS, EXPORTS)}
    return Interfaces(interfaces.imports, exports)


def _cut(component: bytes, found: Component) -> tuple[bytes, Hatch]:
    made = [(number, found.modules[i.module]) for number, i in enumerate(found.core_instances) if i.module is not None]
    globals_ = sorted({found.origin_of(number, index) for number, module in made for index in module.set})
    memories = [(number, module, i) for number, module in made for i in range(module.memories)]
    types = [_module(found, number).own[index - len(_module(found, number).imported)] for number, index in globals_]
    if any(t not in NUMERIC for t in types):
        raise Opaque("its code sets globals that are references")
    if len(types) > MAX_GLOBALS:
        raise Opaque(f"its code sets {len(types)} globals, {MAX_GLOBALS} can be kept")
    names = _Names(found)
    global_imports = [(number, names.of(number, GLOBAL, index)) for number, index in globals_]
    memory_imports = [
        (number, names.of(number, MEMORY, module.imported_memories + index)) for number, module, index in memories
    ]
    streams = {s: index for s in STREAMS for name, index in found.imported.items() if _is_of(name, s)}
    text = _hatch_text(global_imports, [NUMERIC[t][0] for t in types], memory_imports, list(streams))
    hatch = bytes(wasmtime.wat2wasm(text))
    instances = sorted({number for number, _ in (*global_imports, *memory_imports)})
    binary = names.rewritten(component) + _behind(found, hatch, instances, streams)
    return binary, Hatch(len(memories), tuple(NUMERIC[t][1] for t in types), (GUEST,))


def _is_of(interface: str, stream: str) -> bool:
    return interface.partition("@")[0] == f"wasi:cli/{stream}"


def _module(found: Component, instance: int) -> CoreModule:
    module = found.core_instances[instance].module
    assert module is not None
    return found.modules[module]


class _Names:
    """Under which names core modules export what is wanted of them; some get exports that they did not have."""

    def __init__(self, found: Component) -> None:
        self._found = found
        self._names = [{what: name for name, what in module.exports.items()} for module in found.modules]
        self._new: dict[int, list[bytes]] = {}

    def of(self, instance: int, kind: int, number: int) -> str:
        """The name under which the module of a core instance exports an item of its own."""
        module = self._found.core_instances[instance].module
        assert module is not None
        names = self._names[module]
        if (kind, number) not in names:
            name = f"theater-hatch-{kind}-{number}"
            if name in self._found.modules[module].exports:
                raise Opaque("it has a hatch already")
            names[kind, number] = name
            self._new.setdefault(module, []).append(_name(name) + bytes((kind,)) + leb(number))
        return names[kind, number]

    def rewritten(self, component: bytes) -> bytes:
        """The component, its core modules with their new exports."""
        out = [component[: len(CORE_HEADER)]]
        number = 0
        for s in sections(component):
            if s.id == COMPONENT_CORE_MODULE:
                if number in self._new:
                    out.append(section(s.id, _with_exports(component[s.body : s.end], self._new[number])))
                else:
                    out.append(component[s.start : s.end])
                number += 1
            else:
                out.append(component[s.start : s.end])
        return b"".join(out)


_BEFORE_EXPORTS: Final = (1, 2, 3, 4, 5, 13, 6)


def _with_exports(module: bytes, new: Sequence[bytes]) -> bytes:
    found = sections(module)
    had = next((s for s in found if s.id == CORE_EXPORT), None)
    if had is None:
        at = max((s.end for s in found if s.id in _BEFORE_EXPORTS), default=len(CORE_HEADER))
        return module[:at] + section(CORE_EXPORT, _vector(new)) + module[at:]
    cursor = Cursor(module, had.body)
    count = cursor.number()
    body = leb(count + len(new)) + module[cursor.at : had.end] + b"".join(new)
    return module[: had.start] + section(CORE_EXPORT, body) + module[had.end :]


# ---- the core module


def _hatch_text(
    globals_: Sequence[tuple[int, str]],
    types: Sequence[str],
    memories: Sequence[tuple[int, str]],
    streams: Sequence[str],
) -> str:
    lines = [f'(import "streams" "{stream}" (func ${stream} (result i32)))' for stream in streams]
    lines += [
        f'(import "{instance}" {quoted(name)} (global $g{i} (mut {t})))'
        for i, ((instance, name), t) in enumerate(zip(globals_, types, strict=True))
    ]
    lines += [f'(import "{instance}" {quoted(name)} (memory $m{i} 0))' for i, (instance, name) in enumerate(memories)]
    halves = [half for i, t in enumerate(types) for half in _halves(f"$g{i}", t)]
    gets = [_case(i, f"(return {read})") for i, (read, _) in enumerate(halves)]
    sets = [_case(i, write) for i, (_, write) in enumerate(halves)]
    grows = [_case(i, f"(return (memory.grow $m{i} (local.get 1)))") for i in range(len(memories))]
    peeks = [
        _case(
            i,
            f"(if (i64.lt_u (i64.extend_i32_u (local.get 1)) (i64.shl (i64.extend_i32_u (memory.size $m{i}))"
            f" (i64.const 16))) (then (return (i32.load8_u $m{i} (local.get 1)))))",
        )
        for i in range(len(memories))
    ]
    opens = [_case(STREAMS.index(stream), f"(return (call ${stream}))") for stream in streams]
    lines += [
        _function("open", "(param i32) (result i32)", opens, "(i32.const 0)"),
        _function("get", "(param i32) (result i64)", gets, "(i64.const 0)"),
        _function("set", "(param i32 i64)", sets, ""),
        _function("grow", "(param i32 i32) (result i32)", grows, "(i32.const -1)"),
        _function("peek", "(param i32 i32) (result i32)", peeks, "(i32.const 0)"),
    ]
    return "(module " + "\n".join(lines) + ")"


def _case(number: int, body: str) -> str:
    return f"(if (i32.eq (local.get 0) (i32.const {number})) (then {body}))"


def _function(name: str, head: str, cases: Sequence[str], last: str) -> str:
    return f'(func (export "{name}") {head} {" ".join(cases)} {last})'


def _halves(index: str, t: str) -> list[tuple[str, str]]:
    """How a global is read and written, 64 bits at a time."""
    value = f"(global.get {index})"
    if t == "v128":
        return [
            (
                f"(i64x2.extract_lane {lane} {value})",
                f"(global.set {index} (i64x2.replace_lane {lane} {value} (local.get 1)))",
            )
            for lane in (0, 1)
        ]
    read, write = {
        "i32": ("(i64.extend_i32_u {})", "(i32.wrap_i64 {})"),
        "i64": ("{}", "{}"),
        "f32": ("(i64.extend_i32_u (i32.reinterpret_f32 {}))", "(f32.reinterpret_i32 (i32.wrap_i64 {}))"),
        "f64": ("(i64.reinterpret_f64 {})", "(f64.reinterpret_i64 {})"),
    }[t]
    return [(read.format(value), f"(global.set {index} {write.format('(local.get 1)')})")]


# ---- what stands behind the component


_CORE_INSTANCES, _INSTANCES, _ALIASES, _TYPES, _CANONICAL, _EXPORTS = 2, 5, 6, 7, 8, 11
_CODES: Final = {"u32": b"\x79", "u64": b"\x77"}


def _behind(found: Component, hatch: bytes, instances: Sequence[int], streams: Mapping[str, int]) -> bytes:
    """The sections: first what the hatch imports, then itself, then what it exports."""
    count = found.count
    aliases = [b"\x01\x00" + leb(instance) + _name(f"get-{stream}") for stream, instance in streams.items()]
    lowered = [b"\x01\x00" + leb(count["func"] + i) + b"\x00" for i in range(len(streams))]
    opened = [_name(stream) + b"\x00" + leb(count["core func"] + i) for i, stream in enumerate(streams)]
    arguments = [_name(str(number)) + b"\x12" + leb(number) for number in instances]
    arguments.append(_name("streams") + b"\x12" + leb(count["core instance"]))
    instance = leb(count["core instance"] + 1)
    core_function, function = count["core func"] + len(streams), count["func"] + len(streams)
    numbers = range(len(FUNCTIONS))
    types = []
    for f in FUNCTIONS.values():
        params = _vector([_name(name) + _CODES[str(t)] for name, t in f.params])
        types.append(b"\x40" + params + (b"\x01\x00" if f.result is None else b"\x00" + _CODES[str(f.result)]))
    exports = [b"\x00" + _name(name) + b"\x01" + leb(function + i) for i, name in enumerate(FUNCTIONS)]
    return b"".join(
        (
            section(_ALIASES, _vector(aliases)),
            section(_CANONICAL, _vector(lowered)),
            section(COMPONENT_CORE_MODULE, hatch),
            section(
                _CORE_INSTANCES,
                _vector([b"\x01" + _vector(opened), b"\x00" + leb(count["module"]) + _vector(arguments)]),
            ),
            section(_ALIASES, _vector([b"\x00\x00\x01" + instance + _name(name) for name in FUNCTIONS])),
            section(_TYPES, _vector(types)),
            section(
                _CANONICAL,
                _vector([b"\x00\x00" + leb(core_function + i) + b"\x00" + leb(count["type"] + i) for i in numbers]),
            ),
            section(_INSTANCES, _vector([b"\x01" + _vector(exports)])),
            section(_EXPORTS, _vector([b"\x00" + _name(GUEST) + b"\x05" + leb(count["instance"]) + b"\x00"])),
        )
    )


def _vector(items: Sequence[bytes]) -> bytes:
    return leb(len(items)) + b"".join(items)


def _name(name: str) -> bytes:
    encoded = name.encode()
    return leb(len(encoded)) + encoded
