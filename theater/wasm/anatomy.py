"""What a component carries from call to call: its core modules' globals, memories and tables, and where they are.

This is read from the binary, so that it can be told what a state root and a memory image have to cover, and whether
they cover all. What is not understood is an error and never left out: `Opaque` says why a component cannot be read.
Formats: the binary formats of the WebAssembly core specification, and design/mvp/Binary.md of the component model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from theater.wasm.binary import (
    COMPONENT_COMPONENT,
    COMPONENT_CORE_MODULE,
    CORE_CODE,
    CORE_ELEMENT,
    CORE_EXPORT,
    CORE_GLOBAL,
    CORE_IMPORT,
    CORE_MEMORY,
    CUSTOM,
    Cursor,
    MalformedComponent,
    is_component,
    sections,
)
from theater.wasm.instructions import GLOBAL_SET, MEMORY_INIT, PREFIX, REF_FUNC, instructions

NUMERIC: Final[Mapping[int, tuple[str, int]]] = {
    0x7F: ("i32", 4),
    0x7E: ("i64", 8),
    0x7D: ("f32", 4),
    0x7C: ("f64", 8),
    0x7B: ("v128", 16),
}
"""Name and bytes of the value types that are numbers, by their code."""

FUNCTION, TABLE, MEMORY, GLOBAL = 0, 1, 2, 3


class Opaque(Exception):
    """The component has something of which nobody outside can say what it carries; the sentence says what."""


@dataclass(frozen=True, slots=True)
class CoreModule:
    """One core module.

    Attributes:
        binary: its bytes.
        imported: (module, name) of the imported globals, in order.
        own: value types of the globals it defines.
        set: numbers of the globals that its code may set once it is instantiated, imported ones first.
        memories: how many memories it defines.
        imported_memories: how many it imports.
        exports: kind and number of what it exports, by name.
    """

    binary: bytes
    imported: tuple[tuple[str, str], ...]
    own: tuple[int, ...]
    set: frozenset[int]
    memories: int
    imported_memories: int
    exports: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class CoreInstance:
    """One core instance.

    Attributes:
        module: the number of its module; None if it is put together from parts of others.
        arguments: by name the core instance its imports come from, or, for parts, the number of the global.
    """

    module: int | None
    arguments: Mapping[str, int]


@dataclass(slots=True)
class Component:
    """A component, as far as adding something behind its end needs it.

    Attributes:
        modules: its core modules, in order.
        core_instances: in order.
        globals: core instance and name of the core globals that the component speaks of, in order.
        count: how many there are of each sort: "module", "core instance", "core func", "type", "func", "instance".
        imported: the numbers of the instances it imports, by name.
        exports: names of what it exports.
    """

    modules: list[CoreModule] = field(default_factory=list)
    core_instances: list[CoreInstance] = field(default_factory=list)
    globals: list[tuple[int, str]] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    imported: dict[str, int] = field(default_factory=dict)
    exports: set[str] = field(default_factory=set)

    def origin(self, instance: int, name: str) -> tuple[int, int]:
        """The core instance that made an exported global, and the number of the global in its module."""
        made = self.core_instances[instance]
        if made.module is None:
            return self.origin(*self.globals[made.arguments[name]])
        kind, number = self.modules[made.module].exports[name]
        if kind != GLOBAL:
            raise MalformedComponent(f"{name} is no global")
        return self.origin_of(instance, number)

    def origin_of(self, instance: int, number: int) -> tuple[int, int]:
        """The same, of a global that is given by its number in the module of an instance."""
        made = self.core_instances[instance]
        assert made.module is not None
        imported = self.modules[made.module].imported
        if number >= len(imported):
            return instance, number
        module, name = imported[number]
        return self.origin(made.arguments[module], name)


# ---- components


_CORE_SORTS: Final = {
    0: "core func",
    1: "core table",
    2: "core memory",
    3: "core global",
    0x10: "core type",
    0x11: "module",
    0x12: "core instance",
}
_SORTS: Final = {1: "func", 2: "value", 3: "type", 4: "component", 5: "instance"}


def anatomy(binary: bytes) -> Component:
    """The component in `binary`.

    Raises:
        Opaque: it cannot be told what it carries from call to call.
        MalformedComponent: the bytes are no component.
    """
    if not is_component(binary):
        raise MalformedComponent("it does not begin with the component header")
    found = Component()
    for s in sections(binary):
        if s.id == CUSTOM:
            continue
        if s.id == COMPONENT_CORE_MODULE:
            found.modules.append(core_module(binary[s.body : s.end]))
            found.count["module"] += 1
        elif s.id == COMPONENT_COMPONENT:
            _need_no_code(binary[s.body : s.end])
        elif s.id in _READERS:
            cursor = Cursor(binary, s.body)
            _READERS[s.id](cursor, found)
            if cursor.at != s.end:
                raise Opaque(f"it has a section {s.id} that is not understood here")
        elif s.id == 7:
            found.count["type"] += Cursor(binary, s.body).number()
        elif s.id == 5:
            found.count["instance"] += Cursor(binary, s.body).number()
        elif s.id != 3:
            raise Opaque(f"it has a section {s.id}, which is not understood here")
    return found


def imported_interfaces(binary: bytes) -> frozenset[str]:
    """The instances that the component in `binary` imports, by name.

    Raises:
        Opaque: it imports something that is not understood here.
        MalformedComponent: the bytes are no component.
    """
    if not is_component(binary):
        raise MalformedComponent("it does not begin with the component header")
    found = Component()
    for s in sections(binary):
        if s.id == _IMPORT:
            _imports(Cursor(binary, s.body), found)
    return frozenset(found.imported)


def _need_no_code(binary: bytes) -> None:
    for s in sections(binary):
        if s.id == COMPONENT_CORE_MODULE:
            raise Opaque("it has a component with core modules inside of it")
        if s.id == COMPONENT_COMPONENT:
            _need_no_code(binary[s.body : s.end])


def _core_instances(cursor: Cursor, found: Component) -> None:
    for _ in range(cursor.number()):
        form = cursor.byte()
        if form > 1:
            raise Opaque("it has core instances of an unknown form")
        module = cursor.number() if form == 0 else None
        arguments = {}
        for _ in range(cursor.number()):
            name = cursor.text()
            sort = cursor.byte()
            number = cursor.number()
            if form == 0 or sort == GLOBAL:
                arguments[name] = number
        found.core_instances.append(CoreInstance(module, arguments))
        found.count["core instance"] += 1


def _aliases(cursor: Cursor, found: Component) -> None:
    for _ in range(cursor.number()):
        sort = _sort(cursor)
        target = cursor.byte()
        number = cursor.number()
        if target in (0, 1):
            name = cursor.text()
            if sort == "core global":
                found.globals.append((number, name))
        elif target == 2:
            cursor.number()
        else:
            raise Opaque("it has aliases of an unknown form")
        _add(found, sort)


def _functions(cursor: Cursor, found: Component) -> None:
    for _ in range(cursor.number()):
        form = cursor.byte()
        if form == 0:  # lift
            cursor.byte()
            cursor.number()
            _options(cursor)
            cursor.number()
            found.count["func"] += 1
            continue
        if form == 1:  # lower
            cursor.byte()
            cursor.number()
            _options(cursor)
        elif form in (3, 4):  # resource.drop, resource.rep
            cursor.number()
        elif form == 2:
            raise Opaque("it has resources of its own, whose handles are not in its memory")
        else:
            raise Opaque(f"it uses a built-in function of components, {form:#x}, that is not understood here")
        found.count["core func"] += 1


def _options(cursor: Cursor) -> None:
    for _ in range(cursor.number()):
        option = cursor.byte()
        if option in (3, 4, 5):
            cursor.number()
        elif option > 5:
            raise Opaque(f"it has functions with an option {option:#x} that is not understood here")


def _imports(cursor: Cursor, found: Component) -> None:
    for _ in range(cursor.number()):
        name = _name(cursor)
        sort = _described(cursor)
        if sort == "instance":
            found.imported[name] = found.count[sort]
        _add(found, sort)


def _exports(cursor: Cursor, found: Component) -> None:
    for _ in range(cursor.number()):
        found.exports.add(_name(cursor))
        sort = _sort(cursor)
        cursor.number()
        if cursor.byte():
            _described(cursor)
        _add(found, sort)


def _name(cursor: Cursor) -> str:
    if cursor.byte() > 1:
        raise Opaque("it has names of an unknown form")
    return cursor.text()


def _described(cursor: Cursor) -> str:
    """The sort that a description of an import is of."""
    sort = _sort(cursor)
    if sort == "type":
        if cursor.byte() == 0:
            cursor.number()
    elif sort == "value":
        raise Opaque("it imports values")
    else:
        cursor.number()
    return sort


def _sort(cursor: Cursor) -> str:
    code = cursor.byte()
    sort = _CORE_SORTS.get(cursor.byte()) if code == 0 else _SORTS.get(code)
    if sort is None:
        raise Opaque("it has items of an unknown sort")
    return sort


def _add(found: Component, sort: str) -> None:
    if sort in ("module", "core instance"):
        raise Opaque("it gets core modules from elsewhere")
    found.count[sort] += 1


_IMPORT: Final = 10
_READERS: Final = {2: _core_instances, 6: _aliases, 8: _functions, _IMPORT: _imports, 11: _exports}


# ---- core modules


def core_module(binary: bytes) -> CoreModule:
    """The core module in `binary`; raises as `anatomy` does."""
    at = {s.id: s for s in sections(binary) if s.id != CUSTOM}

    def cursor(ident: int) -> Cursor:
        found = at.get(ident)
        return Cursor(binary, found.body) if found is not None else Cursor(b"\0")

    imported, functions, memories = _imported(cursor(CORE_IMPORT))
    exports = _exported(cursor(CORE_EXPORT))
    entries = {number for kind, number in exports.values() if kind == FUNCTION} | _elements(cursor(CORE_ELEMENT))
    own, referred = _own_globals(cursor(CORE_GLOBAL))
    set_globals, mentioned = _effects(binary, cursor(CORE_CODE))
    # What nobody outside can reach runs while the module is instantiated (its start function), or never.
    runs = any(number >= functions for number in entries | referred | mentioned)
    return CoreModule(
        binary=binary,
        imported=imported,
        own=own,
        set=set_globals if runs else frozenset(),
        memories=cursor(CORE_MEMORY).number(),
        imported_memories=memories,
        exports=exports,
    )


def _imported(cursor: Cursor) -> tuple[tuple[tuple[str, str], ...], int, int]:
    """The globals that are imported, and how many functions and memories are."""
    found = []
    count: Counter[int] = Counter()
    for _ in range(cursor.number()):
        module, name = cursor.text(), cursor.text()
        kind = cursor.byte()
        count[kind] += 1
        if kind == FUNCTION:
            cursor.number()
        elif kind == TABLE:
            cursor.reference_type()
            cursor.limits()
        elif kind == MEMORY:
            cursor.limits()
        elif kind == GLOBAL:
            found.append((module, name))
            cursor.reference_type()
            cursor.byte()
        else:
            raise Opaque(f"a core module imports something of unknown kind {kind}")
    return tuple(found), count[FUNCTION], count[MEMORY]


def _own_globals(cursor: Cursor) -> tuple[tuple[int, ...], set[int]]:
    """The types of the globals, and the functions that they refer to at first."""
    found = []
    referred: set[int] = set()
    for _ in range(cursor.number()):
        found.append(cursor.byte())
        if found[-1] in (0x63, 0x64):
            cursor.number()
        cursor.byte()
        referred |= _constant(cursor)
    return tuple(found), referred


_SKIPPED: Final = {0x43: 4, 0x44: 8}
_NUMBERS: Final = (0x23, 0x41, 0x42, 0xD0)
_REF_FUNC: Final = 0xD2
_ARITHMETIC: Final = (0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E)


def _constant(cursor: Cursor) -> set[int]:
    """Skips a constant expression; returns the functions that it refers to."""
    referred = set()
    while (opcode := cursor.byte()) != 0x0B:
        if opcode in _NUMBERS:
            cursor.number()
        elif opcode == _REF_FUNC:
            referred.add(cursor.number())
        elif opcode in _SKIPPED:
            cursor.skip(_SKIPPED[opcode])
        elif opcode == 0xFD and cursor.number() == 12:
            cursor.skip(16)
        elif opcode not in _ARITHMETIC:
            raise Opaque(f"an initial value has an instruction {opcode:#x} that is not understood here")
    return referred


def _exported(cursor: Cursor) -> dict[str, tuple[int, int]]:
    found = {}
    for _ in range(cursor.number()):
        name = cursor.text()
        found[name] = cursor.byte(), cursor.number()
    return found


def _elements(cursor: Cursor) -> set[int]:
    """The functions that stand in the segments of tables."""
    found: set[int] = set()
    for _ in range(cursor.number()):
        form = cursor.number()
        if form > 7:
            raise Opaque(f"it has table segments of a form {form} that is not understood here")
        active, typed, expressions = not form & 1, form & 3, form & 4
        if active and form & 2:
            cursor.number()
        if active:
            _constant(cursor)
        if typed:
            cursor.reference_type()
        for _ in range(cursor.number()):
            found |= _constant(cursor) if expressions else {cursor.number()}
    return found


def _effects(binary: bytes, cursor: Cursor) -> tuple[frozenset[int], set[int]]:
    """The globals that the code sets, and the functions that it refers to.

    Whatever it changes beside globals and memories makes it opaque.
    """
    found, referred = set(), set()
    for _ in range(cursor.number()):
        size = cursor.number()
        end = cursor.at + size
        for _ in range(cursor.number()):
            cursor.number()
            cursor.reference_type()
        for opcode, immediate in instructions(binary, cursor.at, end):
            if opcode == GLOBAL_SET:
                found.add(immediate)
            elif opcode == REF_FUNC:
                referred.add(immediate)
            elif (opcode, immediate) != (PREFIX, MEMORY_INIT):
                raise Opaque("its code changes tables or segments while it runs")
        cursor.skip(end - cursor.at)
    return frozenset(found), referred
