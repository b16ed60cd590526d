"""What a component imports and exports, as plain hashable values with no wasmtime object left in them.

A type is a string (`"u32"`, `"string"`, ...) or a tuple whose first item names the constructor:

    ("list", T)  ("option", T)  ("result", T | None, E | None)  ("tuple", (A, B))
    ("record", (("field", A), ...))  ("variant", (("case", A | None), ...))
    ("enum", ("case", ...))  ("flags", ("name", ...))
    ("own", n)  ("borrow", n)        resource number n, see `Interface.resources`
    ("unsupported", "future")        a type that no function called here may use; reading it is not an error

Two equal trees are the same WIT type but for the names of records and variants, which the canonical ABI ignores.
Trees serve as keys of caches, as metadata beside a compiled artefact (`to_plain`), and as words in messages (`wit`).
This module knows nothing of values and compiles no guest code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import wasmtime
from wasmtime import component as wc

from theater.errors import ComponentError
from theater.wasm.binary import CORE_HEADER, MalformedComponent, is_component, stub

Type: TypeAlias = "str | tuple[Any, ...]"
Plain: TypeAlias = Any  # what msgpack carries

BYTES: Type = ("list", "u8")
PRIMITIVES = frozenset(
    ("bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"),
)
NAMED = frozenset(("record", "variant", "enum", "flags"))
"""Constructors whose types must have a name, see `is_named`."""

MAX_NODES = 50_000
"""Nodes of all type trees of one component. A type may mention another twice, and that one a third twice: without a
bound a few hundred bytes of component unfold into a tree of a million nodes. (wasmtime bounds the depth, to 100.)"""


class Signature(NamedTuple):
    """A function's type: parameters in order, and the result type if there is one."""

    params: tuple[tuple[str, Type], ...]
    result: Type | None

    def __str__(self) -> str:
        return wit_signature(self)


@dataclass(frozen=True, slots=True)
class Interface:
    """One imported or exported instance. Order is the component's own.

    Attributes:
        functions: by WIT name, e.g. `send` or `[method]output-stream.write`.
        types: exported names of types that are no resources.
        resources: exported names of resources and their numbers; one number is one resource in the whole component.
        others: names of items that cannot be used here (core modules, components, nested instances).
    """

    functions: Mapping[str, Signature] = field(default_factory=dict)
    types: Mapping[str, Type] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interfaces:
    """All that a component imports and exports, by interface. What stands at the root of the world is under ""."""

    imports: Mapping[str, Interface]
    exports: Mapping[str, Interface]


def describe(component_type: wc.ComponentType, engine: wasmtime.Engine) -> Interfaces:
    """The imports and exports of a component's type (`Component.type`).

    Raises:
        ComponentError: the types together unfold to more than `MAX_NODES` nodes.
    """
    reader = _Reader(engine)
    imports = reader.side(component_type.imports(engine))
    return Interfaces(imports, reader.side(component_type.exports(engine)))


def describe_binary(component: bytes, engine: wasmtime.Engine) -> Interfaces:
    """The imports and exports of a component's binary, without compiling its code.

    A stub of the same type is compiled instead (`binary.stub`): half a second for an 18 MB component that takes ten.

    Raises:
        ComponentError: the bytes are no component, or not a valid one.
    """
    if not is_component(component):
        raise ComponentError(_no_component(component))
    try:
        hollow = wc.Component(engine, stub(component))
    except (MalformedComponent, wasmtime.WasmtimeError):
        hollow = _whole(component, engine)
    return describe(hollow.type, engine)


def _whole(component: bytes, engine: wasmtime.Engine) -> wc.Component:
    """The component itself: the slow way, for what the stub maker does not understand, and for the right error."""
    try:
        return wc.Component(engine, component)
    except wasmtime.WasmtimeError as error:
        raise ComponentError(f"not a valid WebAssembly component: {error}") from error


def _no_component(binary: bytes) -> str:
    if binary.startswith(CORE_HEADER):
        return "this is a core WebAssembly module, not a component: build it as a component (WASI preview 2)"
    return "this is not WebAssembly: a component's binary begins with the bytes 00 61 73 6d 0d 00 01 00"


def signature_of(function_type: wc.FuncType) -> Signature:
    """The signature of one function. Resources are numbered from 0 within it."""
    return _Reader(None).function(function_type)


# ---- reading wasmtime's type objects

_PRIMITIVE_CLASSES: dict[type, str] = {
    wc.Bool: "bool",
    wc.S8: "s8",
    wc.U8: "u8",
    wc.S16: "s16",
    wc.U16: "u16",
    wc.S32: "s32",
    wc.U32: "u32",
    wc.S64: "s64",
    wc.U64: "u64",
    wc.F32: "f32",
    wc.F64: "f64",
    wc.Char: "char",
    wc.String: "string",
}


class _Reader:
    """Reads type objects into trees; remembers which resources it has met."""

    def __init__(self, engine: wasmtime.Engine | None) -> None:
        self._engine = engine
        self._resources: list[Any] = []
        self._nodes = 0

    def side(self, externs: Mapping[str, Any]) -> dict[str, Interface]:
        found: dict[str, Interface] = {}
        root: dict[str, Any] = {}
        for name, extern in externs.items():
            ty = extern.ty
            if isinstance(ty, wc.ComponentInstanceType):
                found[name] = self.items({n: e.ty for n, e in self._exports(ty).items()})
            else:
                root[name] = ty
        return {"": self.items(root), **found} if root else found

    def _exports(self, ty: wc.ComponentInstanceType) -> Mapping[str, Any]:
        assert self._engine is not None  # only `signature_of` has none, and a function has no exports
        return ty.exports(self._engine)

    def items(self, members: Mapping[str, Any]) -> Interface:
        functions: dict[str, Signature] = {}
        types: dict[str, Type] = {}
        resources: dict[str, int] = {}
        others: list[str] = []
        for name, ty in members.items():
            if isinstance(ty, wc.FuncType):
                functions[name] = self.function(ty)
            elif isinstance(ty, wc.ResourceType):
                resources[name] = self.resource(ty)
            elif isinstance(ty, wc.ComponentInstanceType | wc.ComponentType | wc.ModuleType):
                others.append(name)
            else:
                types[name] = self.type(ty)
        return Interface(functions, types, resources, tuple(others))

    def function(self, ty: Any) -> Signature:
        params = tuple((name, self.type(t)) for name, t in ty.params)
        result = ty.result
        return Signature(params, None if result is None else self.type(result))

    def resource(self, ty: Any) -> int:
        for number, known in enumerate(self._resources):
            if known == ty:
                return number
        self._resources.append(ty)
        return len(self._resources) - 1

    def type(self, ty: Any) -> Type:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ComponentError(f"the component's types are too large: they unfold to more than {MAX_NODES} nodes")
        primitive = _PRIMITIVE_CLASSES.get(type(ty))
        if primitive is not None:
            return primitive
        read = _COMPOUND.get(type(ty))
        return read(self, ty) if read is not None else ("unsupported", type(ty).__name__)

    def maybe(self, ty: Any) -> Type | None:
        return None if ty is None else self.type(ty)

    def members(self, named: Iterable[tuple[str, Any]]) -> tuple[tuple[str, Type | None], ...]:
        return tuple((name, self.maybe(t)) for name, t in named)


_COMPOUND: dict[type, Callable[[_Reader, Any], Type]] = {
    wc.ListType: lambda r, t: ("list", r.type(t.element)),
    wc.OptionType: lambda r, t: ("option", r.type(t.payload)),
    wc.ResultType: lambda r, t: ("result", r.maybe(t.ok), r.maybe(t.err)),
    wc.TupleType: lambda r, t: ("tuple", tuple(r.type(e) for e in t.elements)),
    wc.RecordType: lambda r, t: ("record", r.members(t.fields)),
    wc.VariantType: lambda r, t: ("variant", r.members(t.cases)),
    wc.EnumType: lambda r, t: ("enum", tuple(t.names)),
    wc.FlagsType: lambda r, t: ("flags", tuple(t.names)),
    wc.OwnType: lambda r, t: ("own", r.resource(t.ty)),
    wc.BorrowType: lambda r, t: ("borrow", r.resource(t.ty)),
}


# ---- questions about trees


def children(t: Type) -> Iterator[Type]:
    """The types that stand directly inside `t`."""
    if isinstance(t, str):
        return
    kind = t[0]
    if kind in ("record", "variant"):
        yield from (member for _, member in t[1] if member is not None)
    elif kind == "tuple":
        yield from t[1]
    elif kind in ("list", "option", "result"):
        yield from (member for member in t[1:] if member is not None)


def contains(t: Type | None, holds: Callable[[Type], bool]) -> bool:
    """Whether `holds` is true of `t` or of any type inside it."""
    return t is not None and (holds(t) or any(contains(child, holds) for child in children(t)))


def any_type(signature: Signature, holds: Callable[[Type], bool]) -> bool:
    """Whether `holds` is true of any type in the signature, at any depth."""
    return any(contains(t, holds) for _, t in signature.params) or contains(signature.result, holds)


def is_bytes(t: Type) -> bool:
    return t == BYTES


def is_named(t: Type) -> bool:
    """Whether a component must give the type a name before a function may mention it."""
    return t[0] in NAMED


def is_resource(t: Type) -> bool:
    return t[0] in ("own", "borrow")


def is_unsupported(t: Type) -> bool:
    return t[0] == "unsupported"


def can_be_none(t: Type | None) -> bool:
    """Whether None is a Python value of this type: so for options and for a missing payload."""
    return t is None or t[0] == "option"


def cases(t: Type) -> tuple[tuple[str, Type | None], ...]:
    """The cases of a variant, option, result or enum, in the order of their discriminants."""
    if t[0] == "variant":
        return tuple(t[1])
    if t[0] == "option":
        return (("none", None), ("some", t[1]))
    if t[0] == "result":
        return (("ok", t[1]), ("err", t[2]))
    return tuple((name, None) for name in t[1])


# ---- words


def wit(t: Type | None) -> str:
    """A type as WIT writes it; records and variants, which have lost their names, with their members."""
    if t is None:
        return "_"
    if isinstance(t, str):
        return t
    write = _WIT.get(t[0])
    return write(t) if write is not None else str(t[1])


def wit_signature(signature: Signature) -> str:
    """A signature as WIT writes it, e.g. `func(actor-id: string, msg: list<u8>) -> result<_, string>`."""
    params = ", ".join(f"{name}: {wit(t)}" for name, t in signature.params)
    return f"func({params})" + ("" if signature.result is None else f" -> {wit(signature.result)}")


def _wit_result(t: Type) -> str:
    if t[2] is not None:
        return f"result<{wit(t[1])}, {wit(t[2])}>"
    return "result" if t[1] is None else f"result<{wit(t[1])}>"


_WIT: dict[str, Callable[[Any], str]] = {
    "list": lambda t: f"list<{wit(t[1])}>",
    "option": lambda t: f"option<{wit(t[1])}>",
    "result": _wit_result,
    "tuple": lambda t: f"tuple<{', '.join(wit(x) for x in t[1])}>",
    "record": lambda t: "record { " + ", ".join(f"{n}: {wit(x)}" for n, x in t[1]) + " }",
    "variant": lambda t: "variant { " + ", ".join(n if x is None else f"{n}({wit(x)})" for n, x in t[1]) + " }",
    "enum": lambda t: "enum { " + ", ".join(t[1]) + " }",
    "flags": lambda t: "flags { " + ", ".join(t[1]) + " }",
    "own": lambda t: f"own<resource-{t[1]}>",
    "borrow": lambda t: f"borrow<resource-{t[1]}>",
}


# ---- metadata: nested lists, as msgpack carries them


def to_plain(interfaces: Interfaces) -> dict[str, Plain]:
    """The description as dicts, lists, strings, ints and None, for `from_plain`."""
    return {
        "imports": {name: _plain_interface(i) for name, i in interfaces.imports.items()},
        "exports": {name: _plain_interface(i) for name, i in interfaces.exports.items()},
    }


def from_plain(data: Plain) -> Interfaces:
    """The description that `to_plain` wrote.

    Raises:
        ValueError: the data is not such a description.
    """
    try:
        sides = [{str(n): _interface(i) for n, i in data[side].items()} for side in ("imports", "exports")]
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a description of a component: {error!r}") from error
    return Interfaces(*sides)


def signature_to_plain(signature: Signature) -> Plain:
    """One signature as nested lists, for `signature_from_plain`."""
    return _lists(tuple(signature))


def signature_from_plain(data: Plain) -> Signature:
    """The signature that `signature_to_plain` wrote.

    Raises:
        ValueError: the data is not a signature.
    """
    try:
        params, result = data
        named = tuple((_name(n), _type(t)) for n, t in params)
        return Signature(named, None if result is None else _type(result))
    except (TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"not a signature: {error!r}") from error


def _plain_interface(interface: Interface) -> dict[str, Plain]:
    return {
        "functions": {n: signature_to_plain(s) for n, s in interface.functions.items()},
        "types": {n: _lists(t) for n, t in interface.types.items()},
        "resources": dict(interface.resources),
        "others": list(interface.others),
    }


def _interface(data: Plain) -> Interface:
    return Interface(
        {_name(n): signature_from_plain(s) for n, s in data["functions"].items()},
        {_name(n): _type(t) for n, t in data["types"].items()},
        {_name(n): _number(r) for n, r in data["resources"].items()},
        tuple(_name(n) for n in data["others"]),
    )


def _lists(tree: Any) -> Plain:
    return [_lists(x) for x in tree] if isinstance(tree, tuple) else tree


def _name(data: Plain) -> str:
    if not isinstance(data, str):
        raise ValueError(f"expected a name, found {data!r}")
    return data


def _number(data: Plain) -> int:
    if type(data) is not int:
        raise ValueError(f"expected a number, found {data!r}")
    return data


def _type(data: Plain) -> Type:
    """A checked type: generated code trusts its shape."""
    if isinstance(data, str):
        if data not in PRIMITIVES:
            raise ValueError(f"no primitive type is called {data!r}")
        return data
    kind = data[0]
    read = _FROM_PLAIN.get(kind)
    if read is None:
        raise ValueError(f"no type constructor is called {kind!r}")
    return (kind, *read(*data[1:]))


def _maybe(data: Plain) -> Type | None:
    return None if data is None else _type(data)


_FROM_PLAIN: dict[str, Callable[..., tuple[Any, ...]]] = {
    "list": lambda t: (_type(t),),
    "option": lambda t: (_type(t),),
    "result": lambda ok, err: (_maybe(ok), _maybe(err)),
    "tuple": lambda ts: (tuple(_type(t) for t in ts),),
    "record": lambda fs: (tuple((_name(n), _type(t)) for n, t in fs),),
    "variant": lambda cs: (tuple((_name(n), _maybe(t)) for n, t in cs),),
    "enum": lambda ns: (tuple(_name(n) for n in ns),),
    "flags": lambda ns: (tuple(_name(n) for n in ns),),
    "own": lambda n: (_number(n),),
    "borrow": lambda n: (_number(n),),
    "unsupported": lambda what: (_name(what),),
}
