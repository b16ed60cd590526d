"""What bytes of a guest are, for people: text, JSON or msgpack, if they are that. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from theater.core.codec import Ref, Veiled, pack, unpack
from theater.core.secrets import redacted
from theater.core.values import Case, Err, Ok, Some
from theater.errors import WireError

_SHORT: Final = 80
_MOST_BYTES: Final = 1 << 16


def as_text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\t\r" for char in text) else None


def as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_msgpack(data: bytes) -> Any:
    """The structure that the bytes are the form of; None for none, and for a single number, which any byte is."""
    try:
        found = unpack(data, max_len=len(data))
        return found if isinstance(found, dict | list) and pack(found) == data else None
    except (WireError, TypeError, ValueError):
        return None


def plain(value: Any) -> Any:
    """With words of JSON for what a chain can hold, and with names in place of secrets."""
    value = redacted(value) if isinstance(value, Veiled) else value
    if isinstance(value, bytes):
        text = as_text(value[:_MOST_BYTES])
        if text is None:
            structure = as_msgpack(value) if len(value) <= _MOST_BYTES else None
            return f"0x{value[:_SHORT].hex()}" if structure is None else plain(structure)
        found = as_json(text)
        return found if isinstance(found, dict | list) else text
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, Ok | Err | Some):
        return {type(value).__name__.lower(): plain(value.value)}
    if isinstance(value, Case):
        return {value.name: plain(value.payload)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Ref):
        return f"content {value.digest.hex()}"
    return value
