"""Makes components of componentize-py give back the memory of the bytes that leave them.

componentize-py 0.25.1 copies each `list<u8>` that Python returns, or passes to an imported function, into memory that
it never frees (`maybe_pop_list` in its runtime/src/lib.rs): an actor that answers a million times with 100 bytes has
lost 100 MB. Everything else is freed when the call is over, by a list of what is to be freed then, and the runtime
exports both the function that forgets and the one that adds to that list:

    wit_dylib_pop_list(call, type, out: *mut ptr) -> length
    wit_dylib_dealloc_bytes(call, pointer, size, align, defer)

So the first is exported in a form that also does the second when it has made such a copy, which it says by a pointer in
`out` that is not null. Function types, and what null means, are those that its generated callers use (the crate
wit-dylib). A fixed version must not be mended, or it would free twice: `LEAKING` names those that are known to forget.
"""

from __future__ import annotations

from collections.abc import Iterator

from theater.wasm.binary import COMPONENT_CORE_MODULE, CORE_CODE, CORE_EXPORT, CORE_FUNCTION, CORE_IMPORT, leb, sections

LEAKING = frozenset({"0.25.1"})
"""Versions of componentize-py that forget."""

_FORGETS = b"wit_dylib_pop_list"
_FREES = b"wit_dylib_dealloc_bytes"

_HEADER = 8
_FUNCTION = 0
_LOCAL_GET, _LOCAL_TEE, _CALL, _I32_LOAD, _I32_CONST = b"\x20", b"\x22", b"\x10", b"\x28\x02\x00", b"\x41"
_IF, _END = b"\x04\x40", b"\x0b"


class NotUnderstood(ValueError):
    """The component is not built as componentize-py builds it."""


def mended(component: bytes) -> bytes:
    """The component with a runtime that forgets nothing.

    Raises:
        NotUnderstood: it has no such runtime, or several.
    """
    found = [
        section
        for section in sections(component)
        if section.id == COMPONENT_CORE_MODULE and _FORGETS in _exports(component[section.body : section.end])
    ]
    if len(found) != 1:
        raise NotUnderstood(f"expected one runtime of componentize-py in the component, found {len(found)}")
    (section,) = found
    module = _mended_module(component[section.body : section.end])
    mark = bytes((COMPONENT_CORE_MODULE,))
    return b"".join((component[: section.start], mark, leb(len(module)), module, component[section.end :]))


def _mended_module(module: bytes) -> bytes:
    """The module with one function more, which takes the place of the one that forgets among its exports."""
    bodies = {section.id: module[section.body : section.end] for section in sections(module)}
    exports = _exports(module)
    imported = sum(kind == _FUNCTION for kind, _ in _imports(bodies.get(CORE_IMPORT, b"\0")))
    types = list(_numbers(bodies[CORE_FUNCTION]))
    forgets, frees = exports[_FORGETS].index, exports[_FREES].index
    changed = {
        CORE_FUNCTION: leb(len(types) + 1) + b"".join(map(leb, [*types, types[forgets - imported]])),
        CORE_EXPORT: exports[_FORGETS].redirected(bodies[CORE_EXPORT], imported + len(types)),
        CORE_CODE: _appended(bodies[CORE_CODE], _code(forgets, frees)),
    }
    out = [module[:_HEADER]]
    for section in sections(module):
        body = changed.get(section.id, module[section.body : section.end])
        out.append(bytes((section.id,)) + leb(len(body)) + body)
    return b"".join(out)


def _code(forgets: int, frees: int) -> bytes:
    """`length = forgets(call, type, out); if (*out) frees(call, *out, length, 1, 1); return length`"""
    call, kind, out, length = (leb(number) for number in range(4))
    one = _I32_CONST + b"\x01"
    pointer = _LOCAL_GET + out + _I32_LOAD
    body = b"".join(
        (
            b"\x01\x01\x7f",  # one local more, an i32
            *(_LOCAL_GET + argument for argument in (call, kind, out)),
            _CALL + leb(forgets) + _LOCAL_TEE + length,
            pointer + _IF,
            _LOCAL_GET + call + pointer + _LOCAL_GET + length + one + one,
            _CALL + leb(frees) + _END,
            _END,
        )
    )
    return leb(len(body)) + body


def _appended(vector: bytes, item: bytes) -> bytes:
    """A vector of the binary format with one item more."""
    reader = _Reader(vector)
    count = reader.number()
    return leb(count + 1) + vector[reader.at :] + item


# ---- reading


class _Export:
    """An exported function.

    Args:
        index: of the function.
        start, end: where the index stands in the section's body.
    """

    __slots__ = ("_end", "_start", "index")

    def __init__(self, index: int, start: int, end: int) -> None:
        self.index, self._start, self._end = index, start, end

    def redirected(self, body: bytes, index: int) -> bytes:
        """The section's body with another function under this name."""
        return body[: self._start] + leb(index) + body[self._end :]


def _exports(module: bytes) -> dict[bytes, _Export]:
    """The exported functions of a module by name."""
    found: dict[bytes, _Export] = {}
    for section in sections(module):
        if section.id == CORE_EXPORT:
            reader = _Reader(module[section.body : section.end])
            for _ in range(reader.number()):
                name, kind, start = reader.name(), reader.byte(), reader.at
                index = reader.number()
                if kind == _FUNCTION:
                    found[name] = _Export(index, start, reader.at)
    return found


def _imports(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and name of each import."""
    reader = _Reader(body)
    for _ in range(reader.number()):
        reader.name()
        name, kind = reader.name(), reader.byte()
        yield kind, name
        if kind == _FUNCTION:
            reader.number()
        elif kind == 1:  # table: an element type of one byte, limits
            reader.byte()
            reader.limits()
        elif kind == 2:  # memory
            reader.limits()
        elif kind == 3:  # global: a number type, mutability
            reader.byte()
            reader.byte()
        else:
            raise NotUnderstood(f"an import of kind {kind}")


def _numbers(body: bytes) -> Iterator[int]:
    reader = _Reader(body)
    return (reader.number() for _ in range(reader.number()))


class _Reader:
    """Reads forward through the body of a section."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def name(self) -> bytes:
        size = self.number()
        self.at += size
        return self._data[self.at - size : self.at]

    def limits(self) -> None:
        has_maximum = self.byte() & 1
        self.number()
        if has_maximum:
            self.number()
