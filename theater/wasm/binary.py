"""The little of WebAssembly's binary format that wrapping needs: sections, one splice, and stubs.

A binary, core module or component, is eight bytes of header and then sections: an id, a LEB128 size, a body. Nothing
here looks into code. What is malformed is refused; whether it is *valid* is for wasmtime to say.
Format: "Binary format" in the WebAssembly core specification, and design/mvp/Binary.md of the component model.
"""

from __future__ import annotations

from typing import NamedTuple

CORE_HEADER = b"\0asm\x01\0\0\0"
COMPONENT_HEADER = b"\0asm\x0d\0\x01\0"

CUSTOM = 0
COMPONENT_CORE_MODULE = 1
COMPONENT_COMPONENT = 4

CORE_TYPE, CORE_IMPORT, CORE_FUNCTION, CORE_TABLE, CORE_MEMORY = 1, 2, 3, 4, 5
CORE_GLOBAL, CORE_EXPORT, CORE_ELEMENT, CORE_CODE, CORE_TAG = 6, 7, 9, 10, 13

UNREACHABLE_BODY = b"\x03\0\0\x0b"  # size 3: no locals, unreachable, end


class MalformedComponent(ValueError):
    """The bytes do not follow the binary format."""


class Section(NamedTuple):
    """One section: its id, where it starts, and where its body starts and ends."""

    id: int
    start: int
    body: int
    end: int


def leb(number: int) -> bytes:
    """An unsigned number in LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def sections(binary: bytes) -> list[Section]:
    """The sections of a core module or a component, in order.

    Raises:
        MalformedComponent: a section reaches past the end.
    """
    found = []
    cursor = Cursor(binary, len(CORE_HEADER))
    while cursor.at < len(binary):
        start = cursor.at
        ident = cursor.byte()
        size = cursor.number()
        body = cursor.at
        cursor.skip(size)
        found.append(Section(ident, start, body, cursor.at))
    return found


def is_component(binary: bytes) -> bool:
    """Whether the bytes begin like a component, not like a core module or anything else."""
    return binary.startswith(COMPONENT_HEADER)


def splice(outer: bytes, guest: bytes) -> bytes:
    """`outer` with `guest` in the place of its one empty nested component.

    The text format has no way to include a component given as a binary, so the text says `(component)` and the guest
    is put there afterwards.

    Raises:
        MalformedComponent: `outer` has no empty nested component, or more than one.
    """
    holes = [
        s
        for s in sections(outer)
        if s.id == COMPONENT_COMPONENT and all(x.id == CUSTOM for x in sections(outer[s.body : s.end]))
    ]
    if len(holes) != 1:
        raise MalformedComponent(f"expected one empty nested component, found {len(holes)}")
    (hole,) = holes
    return b"".join((outer[: hole.start], section(COMPONENT_COMPONENT, guest), outer[hole.end :]))


def stub(component: bytes) -> bytes:
    """A component of the same type that compiles at once: all code is gone but one `unreachable` per exported function.

    Raises:
        MalformedComponent: the bytes are no component.
    """
    if not is_component(component):
        raise MalformedComponent("it does not begin with the component header")
    return _stub_component(component)


def _stub_component(component: bytes) -> bytes:
    out = [component[: len(COMPONENT_HEADER)]]
    for s in sections(component):
        body = component[s.body : s.end]
        if s.id == CUSTOM:
            continue
        if s.id == COMPONENT_CORE_MODULE:
            body = _stub_module(body)
        elif s.id == COMPONENT_COMPONENT:
            body = _stub_component(body)
        out.append(section(s.id, body))
    return b"".join(out)


def _stub_module(module: bytes) -> bytes:
    """Imports, types, tables, memories, globals, tags and exports stay; functions that are not exported go."""
    bodies = {s.id: module[s.body : s.end] for s in sections(module) if s.id != CUSTOM}
    imported = _imported_functions(bodies.get(CORE_IMPORT, b"\0"))
    types = Cursor(bodies.get(CORE_FUNCTION, b"\0")).numbers()
    kept: list[int] = []
    exports = _renumbered_exports(bodies.get(CORE_EXPORT, b"\0"), imported, kept)
    try:
        kept_types = [leb(types[index - imported]) for index in kept]
    except IndexError:
        raise MalformedComponent("a module exports a function that it does not have") from None
    bodies[CORE_FUNCTION] = leb(len(kept)) + b"".join(kept_types)
    bodies[CORE_CODE] = leb(len(kept)) + UNREACHABLE_BODY * len(kept)
    bodies[CORE_EXPORT] = exports
    order = (
        CORE_TYPE,
        CORE_IMPORT,
        CORE_FUNCTION,
        CORE_TABLE,
        CORE_MEMORY,
        CORE_TAG,
        CORE_GLOBAL,
        CORE_EXPORT,
        CORE_CODE,
    )
    return CORE_HEADER + b"".join(section(ident, bodies[ident]) for ident in order if ident in bodies)


def _imported_functions(body: bytes) -> int:
    """How many functions an import section brings in."""
    cursor = Cursor(body)
    functions = 0
    for _ in range(cursor.number()):
        cursor.name()
        cursor.name()
        kind = cursor.byte()
        if kind == 0:
            cursor.number()
            functions += 1
        elif kind == 1:
            cursor.reference_type()
            cursor.limits()
        elif kind == 2:
            cursor.limits()
        elif kind == 3:
            cursor.reference_type()
            cursor.byte()
        elif kind == 4:
            cursor.byte()
            cursor.number()
        else:
            raise MalformedComponent(f"import of unknown kind {kind}")
    return functions


def _renumbered_exports(body: bytes, imported: int, kept: list[int]) -> bytes:
    """The export section for a module that has only its exported functions, which are listed in `kept`."""
    cursor = Cursor(body)
    count = cursor.number()
    out = [leb(count)]
    for _ in range(count):
        start = cursor.at
        cursor.name()
        kind = cursor.byte()
        head = body[start : cursor.at]
        index = cursor.number()
        if kind == 0 and index >= imported:
            if index not in kept:
                kept.append(index)
            index = imported + kept.index(index)
        out.append(head + leb(index))
    return b"".join(out)


def section(ident: int, body: bytes) -> bytes:
    return bytes((ident,)) + leb(len(body)) + body


class Cursor:
    """Reads forward through bytes; never past their end."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def byte(self) -> int:
        if self.at >= len(self._data):
            raise MalformedComponent(f"the binary ends at byte {self.at}, in the middle of something")
        self.at += 1
        return self._data[self.at - 1]

    def number(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedComponent(f"a LEB128 number before byte {self.at} has more than 10 bytes")

    def numbers(self) -> list[int]:
        return [self.number() for _ in range(self.number())]

    def skip(self, size: int) -> None:
        if size > len(self._data) - self.at:
            raise MalformedComponent(f"{size} bytes announced at byte {self.at}, only {len(self._data) - self.at} left")
        self.at += size

    def name(self) -> None:
        self.skip(self.number())

    def text(self) -> str:
        size = self.number()
        self.skip(size)
        try:
            return self._data[self.at - size : self.at].decode()
        except UnicodeDecodeError:
            raise MalformedComponent(f"the name before byte {self.at} is not UTF-8") from None

    def limits(self) -> None:
        flags = self.byte()
        self.number()
        if flags & 0x01:
            self.number()
        if flags & 0x08:  # custom page size
            self.number()

    def reference_type(self) -> None:
        if self.byte() in (0x63, 0x64):  # (ref null? heaptype)
            self.number()
