"""How values become bytes, and bytes values: one canonical msgpack for chains and wires, and the two digests.

Canonical means that a value has one form: integers and lengths in their shortest form, floats in eight bytes,
maps with text keys in the order of their code points (which is that of their UTF-8 bytes), text in UTF-8
without surrogates. A list and a tuple have the same form and are read as a list. What msgpack has no word for
is an extension, whose data is again canonical msgpack unless the table says otherwise:

    1   Ok(value)              the value
    2   Err(value)             the value
    3   Some(value)            the value
    4   Case(name, payload)    an array of name and payload
    5   frozenset of text      an array, in the order of code points
    6   Veiled(form, parts)    an array: the form (16 or 17 of below), then the parts
    16  Ref to bytes           not msgpack: 32 bytes digest, then the length as u64, big-endian
    17  Ref to text            the same; the length is that of the UTF-8 form
    18  Ref to a value         the same; the content is the value's canonical form

A Ref stands in a chain for content that is kept elsewhere (core/chain.py), and Veiled for bytes or a text with
secrets in it (core/secrets.py). On a wire they are refused, since there they would be a way to have foreign content
put into one's record. The parts of Veiled alternate: a piece in bytes, or a Ref to one; then an array of what stands
for a secret: its name, its tag (bytes), the form it has there, and from where to where of that, or nil twice for all of
it; and so on, with a piece at the end.

Reading is strict and bounded: containers nest at most `MAX_NESTING` deep, extensions in extensions at most
`MAX_WRAPPING` deep (each level is a call of the C parser, whose stack would overflow at some 200), a map has no
key twice, and nothing but the above is accepted. It does not insist on the canonical form: digests cover bytes
as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, NoReturn

from blake3 import blake3
from msgpack import ExtType, Packer, unpackb

from theater.core.values import Case, Err, Ok, Some
from theater.errors import WireError

MAX_NESTING = 64
"""How deep arrays and maps may stand in each other."""

MAX_WRAPPING = 32
"""How deep extensions may stand in each other."""

DIGEST_SIZE = 32
REF_MARK = bytes((0xC7, DIGEST_SIZE + 8))
"""The two bytes with which every Ref begins; bytes without them hold none."""

_OK, _ERR, _SOME, _CASE, _FLAGS, _VEILED = 1, 2, 3, 4, 5, 6
_LEAVES = frozenset({str, bytes, int, float, bool, type(None)})
_KEPT_BUFFER = 1 << 16
"""A packer that has written more than this is given up, since it keeps its buffer for ever."""


class Form(IntEnum):
    """What a Ref stands for; the number is its extension code."""

    BYTES = 16
    TEXT = 17
    VALUE = 18


@dataclass(frozen=True, slots=True)
class Ref:
    """Content that is kept elsewhere.

    Args:
        digest: `content_digest` of the content.
        size: its length in bytes.
        form: how the content becomes the value again.
    """

    digest: bytes
    size: int
    form: Form = Form.BYTES


class Stand(NamedTuple):
    """What stands in a record in place of a secret.

    Args:
        name: the secret's.
        tag: the beginning of what the chain promises of its value.
        form: how it is written there; see core/secrets.py.
        begin, end: which part of that form it is; None for all of it.
    """

    name: str
    tag: bytes
    form: str
    begin: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Veiled:
    """Bytes or a text in which secrets stand.

    Args:
        form: BYTES or TEXT.
        parts: pieces (bytes, or a Ref to them) and, between them, a Stand each.
    """

    form: Form
    parts: tuple[bytes | Ref | Stand, ...]


# ---- digests


def digest(data: bytes, tag: bytes) -> bytes:
    """The 32 bytes blake3 of `data` in the domain `tag`: of the tag's length as one byte, the tag, the data.

    With its tag in front, what was digested for one purpose never counts for another.
    """
    return blake3(bytes((len(tag),)) + tag + data).digest()


def content_digest(data: bytes | memoryview) -> bytes:
    """The 32 bytes blake3 of `data` alone: the name of content, the same that `b3sum` prints."""
    return blake3(data).digest()


# ---- writing


def pack(value: Any) -> bytes:
    """The canonical form of `value`.

    Raises:
        TypeError: a type that has no form here, or a map key that is no text.
        ValueError: an integer beyond 64 bits, text with surrogates, or nesting that could not be read back.
    """
    return _pack(value, 0)


def _pack(value: Any, wrapping: int) -> bytes:
    if type(value) not in _LEAVES and (
        isinstance(value, dict) or (isinstance(value, (list, tuple)) and _has_map(value, MAX_NESTING))
    ):
        value = _in_order(value, MAX_NESTING)
    # A packer is not re-entrant, and `_extension` packs while one is at work: each level has its own, and a
    # second thread finds the list empty and makes another.
    free = _FREE[wrapping]
    try:
        packer = free.pop()
    except IndexError:
        packer = Packer(default=_EXTENSIONS[wrapping], buf_size=4096)
    # One that fails is not put back: it may hold half of a value.
    data: bytes = packer.pack(value)
    if len(data) <= _KEPT_BUFFER:
        free.append(packer)
    return data


def _has_map(value: Any, room: int) -> bool:
    """Whether a map stands in the arrays of `value`, an array that may nest as deep as `room`. What is inside an
    extension is asked when that is packed."""
    if room == 0:
        raise ValueError(f"values nest more than {MAX_NESTING} deep")
    if _LEAVES.issuperset(map(type, value)):  # the usual case, without a step of Python for each item
        return False
    for item in value:
        if type(item) not in _LEAVES:
            if isinstance(item, (list, tuple)):
                if _has_map(item, room - 1):
                    return True
            elif isinstance(item, dict):
                return True
    return False


def _in_order(value: Any, room: int) -> Any:
    """`value` with its maps sorted, if it nests no deeper than `room`."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    if room == 0:
        raise ValueError(f"values nest more than {MAX_NESTING} deep")
    if isinstance(value, dict):
        "".join(value)  # the quickest check that all keys are text
        room -= 1
        return {key: item if type(item := value[key]) in _LEAVES else _in_order(item, room) for key in sorted(value)}
    if _LEAVES.issuperset(map(type, value)):  # as most are: without a step of Python for each item
        return value
    return [item if type(item) in _LEAVES else _in_order(item, room - 1) for item in value]


def _extension(value: Any, wrapping: int) -> ExtType:
    if wrapping > MAX_WRAPPING:
        raise ValueError(f"values are wrapped more than {MAX_WRAPPING} times")
    kind = type(value)
    if kind is Ok:
        return _ext(_OK, _pack(value.value, wrapping))
    if kind is Err:
        return _ext(_ERR, _pack(value.value, wrapping))
    if kind is Some:
        return _ext(_SOME, _pack(value.value, wrapping))
    if kind is Case:
        return _ext(_CASE, _pack([value.name, value.payload], wrapping))
    if kind is frozenset:
        return _ext(_FLAGS, _pack(_flags(value), wrapping))
    if kind is Ref:
        return _ext(value.form, value.digest + value.size.to_bytes(8, "big"))
    if kind is Veiled:
        return _ext(_VEILED, _pack((int(value.form), *value.parts), wrapping))
    if isinstance(value, int):
        raise ValueError(f"{value} does not fit into 64 bits")
    raise TypeError(f"a {kind.__name__} has no form in msgpack")


def _flags(value: frozenset[Any]) -> list[str]:
    "".join(value)
    return sorted(value)


def _ext(code: int, data: bytes) -> ExtType:
    # ExtType's own constructor checks what is known here, at three times the cost.
    return tuple.__new__(ExtType, (int(code), data))


def _extension_at(wrapping: int) -> Callable[[Any], ExtType]:
    return lambda value: _extension(value, wrapping)


_FREE: tuple[list[Any], ...] = tuple([] for _ in range(MAX_WRAPPING + 1))
_EXTENSIONS = tuple(_extension_at(wrapping + 1) for wrapping in range(MAX_WRAPPING + 1))


# ---- reading


def unpack(data: bytes | memoryview, *, max_len: int, references: bool = False) -> Any:
    """The value of which `data` is the form.

    Args:
        max_len: longest form that is read, bytes.
        references: whether a Ref is allowed; in a chain it is, on a wire not.

    Raises:
        WireError: it is too long, not msgpack, or something that `pack` does not write. Nothing else is raised.
    """
    if len(data) > max_len:
        raise WireError(f"{len(data)} bytes are more than the {max_len} that are read here")
    try:
        return _unpack(data, _READERS[references][0])
    except WireError:
        raise
    except Exception as error:  # the promise is WireError alone, and the parser's errors are of many classes
        raise WireError(f"{len(data)} bytes that are not a value: {error or type(error).__name__}") from error


def _unpack(data: bytes | memoryview, extension: Callable[[int, bytes], Any]) -> Any:
    value = unpackb(data, raw=False, strict_map_key=False, ext_hook=extension, object_pairs_hook=_map)
    if type(value) not in _READ_LEAVES:
        _check(value)
    return value


def _check(value: Any) -> None:
    """Refuses what the parser lets pass: deep nesting, and its own type for timestamps."""
    level = [value]
    for _ in range(MAX_NESTING):
        below = []
        for container in level:
            kind = type(container)
            if kind is not list and kind is not dict:
                raise WireError(f"a {kind.__name__} is not a value here")
            for item in container if kind is list else container.values():
                if type(item) not in _READ_LEAVES:
                    below.append(item)
        if not below:
            return
        level = below
    raise WireError(f"values nest more than {MAX_NESTING} deep")


def _map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    "".join(found)
    if len(found) != len(pairs):
        raise WireError("a map has the same key twice")
    return found


def _read_extension(code: int, data: bytes, wrapping: int, references: bool) -> Any:
    if code in _FORMS:
        return _read_ref(Form(code), data, references)
    if wrapping == MAX_WRAPPING:
        raise WireError(f"values are wrapped more than {MAX_WRAPPING} times")
    value = _unpack(data, _READERS[references][wrapping + 1])
    if code == _OK:
        return Ok(value)
    if code == _ERR:
        return Err(value)
    if code == _SOME:
        return Some(value)
    if code == _CASE:
        name, payload = value if type(value) is list and len(value) == 2 else _refuse("a case without its payload")
        return Case(name, payload) if type(name) is str else _refuse("a case whose name is no text")
    if code == _FLAGS:
        return _read_flags(value)
    if code == _VEILED:
        return _read_veiled(value, references)
    raise WireError(f"extension {code} is unknown")


def _read_flags(value: Any) -> frozenset[str]:
    if type(value) is not list:
        _refuse("flags that are no array")
    "".join(value)
    flags = frozenset(value)
    return flags if len(flags) == len(value) else _refuse("the same flag twice")


def _read_veiled(value: Any, references: bool) -> Veiled:
    if not references:
        _refuse("secrets that are hidden, which only a chain may hold")
    if type(value) is not list or len(value) < 4 or len(value) % 2 or value[0] not in (Form.BYTES, Form.TEXT):
        _refuse("hidden secrets that are none")
    pieces, stands = value[1::2], value[2::2]
    if not all(type(piece) in (bytes, Ref) for piece in pieces):
        _refuse("hidden secrets between what is no bytes")
    read = iter([_read_stand(stand) for stand in stands])
    parts = (piece if at % 2 == 0 else next(read) for at, piece in enumerate(value[1:]))
    return Veiled(Form(value[0]), tuple(parts))


def _read_stand(value: Any) -> Stand:
    types = [type(field) for field in value] if type(value) is list else []
    if types[:3] != [str, bytes, str] or types[3:] not in ([int, int], [type(None), type(None)]):
        _refuse("what stands for a secret does not say which")
    return Stand(*value)


def _read_ref(form: Form, data: bytes, references: bool) -> Ref:
    if not references:
        _refuse("a reference to content, which only a chain may hold")
    if len(data) != DIGEST_SIZE + 8:
        _refuse("a reference of wrong length")
    return Ref(data[:DIGEST_SIZE], int.from_bytes(data[DIGEST_SIZE:], "big"), form)


def _refuse(why: str) -> NoReturn:
    raise WireError(why)


def _reader(wrapping: int, references: bool) -> Callable[[int, bytes], Any]:
    return lambda code, data: _read_extension(code, data, wrapping, references)


_FORMS = frozenset(Form)
_READ_LEAVES = _LEAVES | {Ok, Err, Some, Case, frozenset, Ref, Veiled}
_READERS = {
    references: tuple(_reader(wrapping, references) for wrapping in range(MAX_WRAPPING + 1))
    for references in (False, True)
}
