"""One adapter: a component that forwards functions and, on the way, turns every `list<u8>` into text or back.

It imports functions `i0`, `i1`, ... of one set of types and exports `f0`, `f1`, ... of the other; the core code between
them has the same parameters on both sides (`adapter_abi`), so it passes everything on as it came and only visits the
byte lists: those in the parameters before the call, those in the result after it.

Memory is reset when a call is over (post-return). That is safe although a call may cause others: the two directions
have an adapter each; the parameters were read before the callee ran, and the result is written after it returned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from theater.wasm.adapter_abi import (
    MAX_FLAT_PARAMETERS,
    MAX_FLAT_RESULTS,
    aligned,
    discriminant_size,
    flat,
    layout,
    members_at,
    payload_offset,
)
from theater.wasm.adapter_memory import memory_module
from theater.wasm.adapter_types import Scope
from theater.wasm.hatch import OF_ADAPTERS
from theater.wasm.types import BYTES, Signature, Type, any_type, cases, children, contains, is_bytes

RESULT = 16
"""The address of a result that does not fit into one core value. Not 0, which looks like no address."""


class Direction(Enum):
    """Whose functions are forwarded. The value: what happens to parameters, what happens to the result."""

    IMPORTS = ("pack", "unpack")
    """The guest calls the host: the guest's types are exported, the host's imported."""
    EXPORTS = ("unpack", "pack")
    """The host calls the guest: the host's types are exported, the guest's imported."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Text of an adapter component, and the named types that stand in its type.

    Attributes:
        text: `(component NAME ...)`.
        types_in: types it imports as `t0`, `t1`, ...
        types_out: types it exports, and under which names.
    """

    text: str
    types_in: tuple[Type, ...]
    types_out: dict[Type, str]


def host_type(t: Type) -> Type:
    """The type on the host's side: `string` where the guest has `list<u8>`."""
    if isinstance(t, str):
        return t
    if t == BYTES:
        return "string"
    kind = t[0]
    if kind in ("record", "variant"):
        return (kind, tuple((name, None if x is None else host_type(x)) for name, x in t[1]))
    if kind == "tuple":
        return (kind, tuple(host_type(x) for x in t[1]))
    if kind in ("list", "option", "result"):
        return (kind, *(None if x is None else host_type(x) for x in t[1:]))
    return t


def host_signature(f: Signature) -> Signature:
    """The signature on the host's side."""
    params = tuple((name, host_type(t)) for name, t in f.params)
    return Signature(params, None if f.result is None else host_type(f.result))


def mentions_bytes(f: Signature) -> bool:
    return any_type(f, is_bytes)


def adapter(name: str, functions: Sequence[Signature], direction: Direction) -> Adapter:
    """The adapter that forwards `functions`, given with the guest's types."""
    types_in: list[Type] = []
    types_out: dict[Type, str] = {}

    def import_type(t: Type, index: str, named: str) -> str:
        types_in.append(t)
        return f'(import "t{len(types_in) - 1}" (type {named} (eq {index})))'

    def export_type(t: Type, index: str, named: str) -> str:
        types_out[t] = f"x{len(types_out)}"
        return f'(export {named} "{types_out[t]}" (type {index}))'

    outside, inside = Scope("i", import_type), Scope("e", export_type)
    walk = _Walk()
    forwards: list[str] = []
    core_imports: list[str] = []
    for number, guest in enumerate(functions):
        host = host_signature(guest)
        called, offered = (host, guest) if direction is Direction.IMPORTS else (guest, host)
        signature = outside.signature(called)
        outside.lines.append(f'(import "i{number}" (func $i{number} {signature}))')
        core_import, forward = _forward(number, guest, direction, walk)
        core_imports.append(core_import)
        forwards.append(forward)
        signature = inside.signature(offered)
        inside.lines += [_lift(number, signature), f'(export "f{number}" (func $f{number}))']

    base = aligned(RESULT + max((layout(f.result).size for f in functions), default=0), 8)
    numbers = range(len(functions))
    lines = [
        *outside.lines,
        memory_module(base),
        *(_lower(number) for number in numbers),
        _forward_module(
            [*core_imports], [*forwards, *walk.functions, *(_finish(n, f, base) for n, f in enumerate(functions))]
        ),
        _forward_instance(numbers),
        *inside.lines,
        *(_hatch(name, signature) for name, signature in OF_ADAPTERS.items()),
    ]
    body = "\n  ".join(lines)
    return Adapter(f"(component {name}\n  {body})", tuple(types_in), types_out)


def _hatch(name: str, signature: Signature) -> str:
    """A function of the memory's for the host, which needs no memory to be called."""
    params = " ".join(f'(param "{param}" {t})' for param, t in signature.params)
    lifted = f'(func ${name} {params} (result {signature.result}) (canon lift (core func $mem "{name}")))'
    return f'{lifted} (export "{name}" (func ${name}))'


def _lower(number: int) -> str:
    return (
        f"(core func $l{number} (canon lower (func $i{number})"
        f" (memory $memory) (realloc $realloc) string-encoding=utf8))"
    )


def _lift(number: int, signature: str) -> str:
    return (
        f'(func $f{number} {signature} (canon lift (core func $forward "f{number}") (memory $memory) (realloc $realloc)'
        f' (post-return (core func $forward "p{number}")) string-encoding=utf8))'
    )


def _forward_module(imports: list[str], functions: list[str]) -> str:
    body = "\n    ".join(imports + functions)
    return f"""(core module $forward
    (import "mem" "memory" (memory 0))
    (import "mem" "top" (global $top (mut i32)))
    (import "mem" "pack" (func $pack (param i32 i32) (result i32 i32)))
    (import "mem" "unpack" (func $unpack (param i32 i32) (result i32 i32)))
    {body})"""


def _forward_instance(numbers: range) -> str:
    lowered = " ".join(f'(export "{n}" (func $l{n}))' for n in numbers)
    arguments = f'(with "mem" (instance $mem)) (with "low" (instance {lowered}))'
    return f"(core instance $forward (instantiate $forward {arguments}))"


# ---- the core code of one function


def _forward(number: int, f: Signature, direction: Direction, walk: _Walk) -> tuple[str, str]:
    """The import of the function behind, and the function that calls it."""
    before, after = direction.value
    params = [core for _, t in f.params for core in flat(t)]
    as_tuple: Type = ("tuple", tuple(t for _, t in f.params))
    if len(params) > MAX_FLAT_PARAMETERS:
        params = ["i32"]
        convert = walk.in_memory(before, as_tuple, "(local.get 0)", 0)
    else:
        convert = walk.in_locals(before, as_tuple, list(enumerate(params)))
    arguments = [f"(local.get {i})" for i in range(len(params))]
    results = flat(f.result)
    lowered = params
    if len(results) > MAX_FLAT_RESULTS:
        assert f.result is not None
        lowered, results = [*params, "i32"], ["i32"]
        arguments.append(f"(i32.const {RESULT})")
        back = f"{walk.in_memory(after, f.result, f'(i32.const {RESULT})', 0)} (i32.const {RESULT})"
        lowered_results: list[str] = []
    else:
        back, lowered_results = "", results
    core_import = (
        f'(import "low" "{number}" (func $l{number}{_types("param", lowered)}{_types("result", lowered_results)}))'
    )
    head = f'(func (export "f{number}"){_types("param", params)}{_types("result", results)}'
    body = f"(local $at i32) (local $size i32) {convert} (call $l{number} {' '.join(arguments)}) {back}"
    return core_import, f"{head} {body})"


def _finish(number: int, f: Signature, base: int) -> str:
    """The post-return: it gets the core result and forgets all memory."""
    results = flat(f.result)
    results = results if len(results) <= MAX_FLAT_RESULTS else ["i32"]
    return f'(func (export "p{number}"){_types("param", results)} (global.set $top (i32.const {base})))'


def _types(what: str, cores: Sequence[str]) -> str:
    return f" ({what} {' '.join(cores)})" if cores else ""


# ---- visiting the byte lists in a value


class _Walk:
    """Writes code that applies `pack` or `unpack` to every `list<u8>` in a value. Lists get a function with a loop."""

    def __init__(self) -> None:
        self.functions: list[str] = []
        self._loops: dict[tuple[str, Type], str] = {}

    def in_memory(self, operation: str, t: Type, base: str, offset: int) -> str:
        """For a value that lies at the address `base` + `offset`."""
        if t == BYTES:
            return (
                f"(call ${operation} (i32.load offset={offset} {base}) (i32.load offset={offset + 4} {base}))"
                f" (local.set $size) (local.set $at) (i32.store offset={offset} {base} (local.get $at))"
                f" (i32.store offset={offset + 4} {base} (local.get $size))"
            )
        if not contains(t, is_bytes):
            return ""
        if t[0] == "list":
            loop = self._loop(operation, t)
            return f"(call {loop} (i32.load offset={offset} {base}) (i32.load offset={offset + 4} {base}))"
        if t[0] in ("record", "tuple"):
            return " ".join(self.in_memory(operation, x, base, offset + at) for at, x in members_at(t))
        load = {1: "i32.load8_u", 2: "i32.load16_u", 4: "i32.load"}[discriminant_size(t)]
        payload_at = offset + payload_offset(t)
        return _for_each_case(
            t,
            f"({load} offset={offset} {base})",
            lambda payload: self.in_memory(operation, payload, base, payload_at),
        )

    def in_locals(self, operation: str, t: Type, variables: list[tuple[int, str]]) -> str:
        """For a value that lies flat in local variables, given by number and core type."""
        if not contains(t, is_bytes):
            return ""
        if t == BYTES:
            at, size = _Local(*variables[0]), _Local(*variables[1])
            return (
                f"(call ${operation} {at.get()} {size.get()}) (local.set $size) (local.set $at)"
                f" {at.set('(local.get $at)')} {size.set('(local.get $size)')}"
            )
        if t[0] == "list":
            at, size = _Local(*variables[0]), _Local(*variables[1])
            return f"(call {self._loop(operation, t)} {at.get()} {size.get()})"
        if t[0] in ("record", "tuple"):
            written, first = [], 0
            for x in children(t):
                count = len(flat(x))
                written.append(self.in_locals(operation, x, variables[first : first + count]))
                first += count
            return " ".join(written)
        return _for_each_case(
            t, _Local(*variables[0]).get(), lambda payload: self.in_locals(operation, payload, variables[1:])
        )

    def _loop(self, operation: str, t: Type) -> str:
        """The function that visits the elements of a list, given its address and length."""
        element = t[1]
        known = self._loops.get((operation, element))
        if known is not None:
            return known
        name = self._loops[operation, element] = f"$each{len(self._loops)}"
        body = self.in_memory(operation, element, "(local.get $p)", 0)
        self.functions.append(f"""(func {name} (param $p i32) (param $n i32) (local $at i32) (local $size i32)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        {body}
        (local.set $p (i32.add (local.get $p) (i32.const {layout(element).size})))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next))))""")
        return name


def _for_each_case(t: Type, discriminant: str, write: Callable[[Type], str]) -> str:
    """Code for those payloads of a variant, option or result that have bytes in them."""
    return " ".join(
        f"(if (i32.eq {discriminant} (i32.const {number})) (then {write(payload)}))"
        for number, (_, payload) in enumerate(cases(t))
        if payload is not None and contains(payload, is_bytes)
    )


@dataclass(frozen=True, slots=True)
class _Local:
    """A local variable that holds an i32; where cases of different shapes share it, as the low half of an i64."""

    number: int
    core: str

    def get(self) -> str:
        read = f"(local.get {self.number})"
        return read if self.core == "i32" else f"(i32.wrap_i64 {read})"

    def set(self, value: str) -> str:
        return f"(local.set {self.number} {value if self.core == 'i32' else f'(i64.extend_i32_u {value})'})"
