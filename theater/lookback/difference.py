"""How two states differ: by what they are, structures by path, text by line, anything else by rows of bytes. Pure.

Two states are the same only if they are the same bytes. If both are JSON, or both msgpack, each difference is a change
at a path; lists are compared by which elements both have, so that one that was put in at the beginning is one change.
Structures that say the same in other bytes are compared as text. The lines are those of a unified diff.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from enum import StrEnum
from typing import Any, Final

from theater.core.codec import content_digest, pack
from theater.core.forms import as_json, as_msgpack, as_text
from theater.core.values import Case, Err, Ok, Some

_CONTEXT: Final = 3
_MOST_COMPARED: Final = 2000
"""Lines, or elements of a list, that are matched with each other: that takes the square of their number."""

_ROW: Final = 16
_LONG: Final = 256
"""Bytes of a value that are shown in hexadecimal; of more the digest says whether they are others."""

_HUNK = re.compile(r"@@ -(\d+)((?:,\d+)?) \+(\d+)((?:,\d+)?) @@")


class Form(StrEnum):
    """As what two states were compared."""

    JSON = "json"
    MSGPACK = "msgpack"
    TEXT = "text"
    BYTES = "bytes"
    NONE = "none"
    """One of them is no state at all."""


class _Absent:
    """In place of a value: there is none."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Change:
    """One difference of two structures.

    Args:
        path: where, as a JSON pointer (RFC 6901).
        old, new: what is there; `ABSENT` if nothing is.
    """

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """How two states differ.

    Args:
        form: as what they were compared.
        lines: of a unified diff without its first two; none if they are the same.
        changes: by path, if both are structures of one form.
    """

    form: Form
    lines: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


def compare(old: bytes | None, new: bytes | None) -> Difference:
    """How `new` differs from `old`; None is no state."""
    if old is None or new is None:
        rows = [f"{mark}{row}" for mark, state in (("-", old), ("+", new)) if state is not None for row in _rows(state)]
        return Difference(Form.NONE, tuple(rows) if old != new else ())
    for form, read in _STRUCTURES:
        left, right = read(old), read(new)
        if left is not None and right is not None:
            changes = _changes(left, right)
            if changes or old == new:
                return Difference(form, tuple(_lines_of(changes)), changes)
    texts = as_text(old), as_text(new)
    form = Form.BYTES if None in texts else Form.TEXT
    return Difference(form, tuple(_unified(_rows(old, form), _rows(new, form))))


# ---- structures


def _json_structure(data: bytes) -> Any:
    text = as_text(data)
    found = as_json(text) if text is not None else None
    return found if isinstance(found, dict | list) else None


_STRUCTURES: tuple[tuple[Form, Callable[[bytes], Any]], ...] = (
    (Form.JSON, _json_structure),
    (Form.MSGPACK, as_msgpack),
)


def _changes(old: Any, new: Any) -> tuple[Change, ...]:
    try:
        return tuple(_walk("", old, new))
    except RecursionError:
        return ()  # so deep that it is better read as text


def _walk(path: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _walk(f"{path}/{_escaped(key)}", old.get(key, ABSENT), new.get(key, ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _walk_lists(path, old, new)
    elif old is ABSENT or new is ABSENT or not _is_same(old, new):
        yield Change(path, old, new)


def _walk_lists(path: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
    for begin, end, at, until in _unlike(old, new):
        for left, right in zip(range(begin, end), range(at, until), strict=False):
            if left == right:
                yield from _walk(f"{path}/{left}", old[left], new[right])
            else:
                yield Change(f"{path}/{left}", old[left], ABSENT)
                yield Change(f"{path}/{right}", ABSENT, new[right])
        both = min(end - begin, until - at)
        yield from (Change(f"{path}/{left}", old[left], ABSENT) for left in range(begin + both, end))
        yield from (Change(f"{path}/{right}", ABSENT, new[right]) for right in range(at + both, until))


def _unlike(old: list[Any], new: list[Any]) -> Iterator[tuple[int, int, int, int]]:
    """The ranges of two lists in which they differ."""
    left, right = [_key(part) for part in old], [_key(part) for part in new]
    if max(len(left), len(right)) > _MOST_COMPARED:
        yield 0, len(left), 0, len(right)
        return
    for what, *span in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if what != "equal":
            yield span[0], span[1], span[2], span[3]


def _is_same(old: Any, new: Any) -> bool:
    return _key(old) == _key(new)


def _key(value: Any) -> bytes | str:
    """Equal for what is the same: not for 1, 1.0 and true."""
    try:
        return pack(value)
    except (TypeError, ValueError):
        return repr(value)  # what JSON allows beyond msgpack: large integers, half a surrogate pair


def _escaped(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _lines_of(changes: Sequence[Change]) -> Iterator[str]:
    for change in changes:
        for mark, value in (("-", change.old), ("+", change.new)):
            if value is not ABSENT:
                yield from (f"{mark}{row}" for row in _leaves(change.path, value))


def _leaves(path: str, value: Any) -> Iterator[str]:
    """A value as lines of path and text, one for each of its ends."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _leaves(f"{path}/{_escaped(key)}", value[key])
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from _leaves(f"{path}/{index}", part)
    else:
        yield f"{path}: {json.dumps(_plain(value), ensure_ascii=False)}"


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return as_text(value) or f"0x{value[:_LONG].hex()}" + _digest(value)
        case list() | tuple():
            return [_plain(part) for part in value]
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items()}
        case Ok() | Err() | Some():
            return {type(value).__name__.lower(): _plain(value.value)}
        case Case():
            return {value.name: _plain(value.payload)}
        case frozenset():
            return sorted(value)
    return value


def _digest(value: bytes) -> str:
    return f"… ({len(value)} bytes of blake3 {content_digest(value).hex()})" if len(value) > _LONG else ""


# ---- lines


def _rows(data: bytes, form: Form | None = None) -> list[str]:
    text = as_text(data) if form is not Form.BYTES else None
    if text is not None:
        return text.split("\n")
    rows = ((at, data[at : at + _ROW]) for at in range(0, len(data), _ROW))
    return [f"{at:06x}  {row.hex(' '):<47}  {_letters(row)}" for at, row in rows]


def _letters(row: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)


def _unified(old: list[str], new: list[str]) -> Iterator[str]:
    """The lines of a unified diff. What both begin and end with is passed over; a long rest is one hunk."""
    shortest = min(len(old), len(new))
    begin = next((at for at in range(shortest) if old[at] != new[at]), shortest)
    alike = next((at for at in range(shortest - begin) if old[-1 - at] != new[-1 - at]), shortest - begin)
    first = max(0, begin - _CONTEXT)
    left = old[first : len(old) - alike + min(alike, _CONTEXT)]
    right = new[first : len(new) - alike + min(alike, _CONTEXT)]
    if left == right:
        return
    if max(len(left), len(right)) > _MOST_COMPARED:
        yield from _one_hunk(first, left, right, begin - first, min(alike, _CONTEXT))
        return
    for row in list(unified_diff(left, right, n=_CONTEXT, lineterm=""))[2:]:
        yield _HUNK.sub(lambda found: _moved(found, first), row) if row.startswith("@@ ") else row


def _moved(found: re.Match[str], by: int) -> str:
    return f"@@ -{int(found[1]) + by}{found[2]} +{int(found[3]) + by}{found[4]} @@"


def _one_hunk(first: int, left: list[str], right: list[str], before: int, after: int) -> Iterator[str]:
    yield f"@@ -{first + 1},{len(left)} +{first + 1},{len(right)} @@"
    yield from (f" {row}" for row in left[:before])
    yield from (f"-{row}" for row in left[before : len(left) - after])
    yield from (f"+{row}" for row in right[before : len(right) - after])
    yield from (f" {row}" for row in left[len(left) - after :])
