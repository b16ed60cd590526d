"""How a divergence reads: what was recorded and what happened, as lines, and where they differ. Pure.

A payload becomes lines of text, one fact a line. Bytes are shown as what they are: JSON and msgpack with their
structure, text with its lines, else hexadecimal. Of long payloads only the surroundings of the first difference are
compared, for comparing lines takes the square of their number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from theater.core.chain import HostCall, HostResult, Outcome, Payload
from theater.core.codec import Veiled, content_digest
from theater.core.forms import as_json, as_msgpack, as_text, plain
from theater.core.secrets import redacted
from theater.core.values import Case, Err, Ok, Some
from theater.errors import Diverged

_MOST_LINES: Final = 400
_AROUND: Final = 20
_LINE_MAX: Final = 500
_SHORT: Final = 80
_HEX_ROW: Final = 16
_MOST_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Nothing:
    """In place of a payload: there is none, for this reason."""

    why: str


def diverged(entry: int, recorded: Payload | Nothing, happened: Payload | Nothing) -> Diverged:
    """The error that says so.

    Args:
        entry: number of the entry that could not be reproduced.
        recorded: what it says.
        happened: what the replay did in its place.
    """
    sentence = f"entry {entry}: recorded was {_short(recorded)}; in the replay {_happened(happened)}"
    return Diverged(sentence, entry=entry, diff=difference(recorded, happened))


def difference(recorded: Payload | Nothing, happened: Payload | Nothing) -> list[str]:
    """The difference line by line, as a unified diff has them; empty if nothing can be compared."""
    if isinstance(recorded, Nothing) or isinstance(happened, Nothing):
        shown, mark = (recorded, "-") if isinstance(happened, Nothing) else (happened, "+")
        return [] if isinstance(shown, Nothing) else [f"{mark}{line}" for line in lines(shown)[:_MOST_LINES]]
    from difflib import unified_diff  # only who shows one waits for its import

    left, right = _around_first_difference(lines(recorded), lines(happened))
    return list(unified_diff(left, right, "recorded", "happened", lineterm=""))


def lines(payload: Payload) -> list[str]:
    """A payload as text, one fact a line, of bounded length."""
    found = [type(payload).__name__]
    for name, value in zip(payload._fields, payload, strict=True):
        if isinstance(payload, Outcome) and name == "value" and payload.ending == "trap":
            found += _trap_lines(value)
        elif isinstance(value, bytes) and name in ("state_digest", "cause", "root"):
            found.append(f"  {name}: {value.hex()}")
        else:
            found += _value_lines(name, value, "  ")
    return [line if len(line) <= _LINE_MAX else f"{line[:_LINE_MAX]}… ({len(line)} characters)" for line in found]


def _happened(happened: Payload | Nothing) -> str:
    return happened.why if isinstance(happened, Nothing) else f"it was {_short(happened)}"


def _short(what: Payload | Nothing) -> str:
    """In a few words, for a sentence."""
    match what:
        case Nothing(why):
            return why
        case HostCall(interface, function, args):
            return f"the host call {interface} {function}({', '.join(map(_cut, args))})"
        case HostResult(value, _):
            return f"the host's answer {_cut(value)}"
        case Outcome("trap", [kind, message, *_]) | Outcome("trap", (kind, message, *_)):
            kind = (
                kind if isinstance(kind, str) and kind.isidentifier() else _cut(kind)
            )  # A false record says anything.
            return f"an outcome trap ({kind}: {_cut(message)})"
        case Outcome(ending, value, _, state, _, root):
            committed = f" with the new state {_cut(state[0])}" if state else ""
            memory = f", and the memory {root.hex()[:_HEX_ROW]}…" if root is not None else ""
            return f"an outcome {ending} {_cut(value)}{committed}{memory}"
    name = type(what).__name__.lower()
    return f"a {name} {_cut(list(what))}"


def _cut(value: Any) -> str:
    text = json.dumps(plain(value), ensure_ascii=False, default=repr)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def _trap_lines(value: Any) -> list[str]:
    if not isinstance(value, Sequence) or len(value) != 3:
        return _value_lines("value", value, "  ")
    kind, message, backtrace = value
    frames = backtrace if isinstance(backtrace, Sequence) else [backtrace]
    return [f"  trap: {kind}", f"  message: {message}", "  backtrace:", *(f"    {frame}" for frame in frames)]


def _value_lines(name: str, value: Any, indent: str) -> list[str]:
    value = redacted(value) if isinstance(value, Veiled) else value
    if isinstance(value, bytes):
        return _bytes_lines(name, value, indent)
    if isinstance(value, str) and "\n" in value:
        return [f"{indent}{name}: text", *(f"{indent}  {line}" for line in value.split("\n"))]
    if isinstance(value, (list, tuple)) and value:
        parts = enumerate(value)
        return [f"{indent}{name}:", *_each(((f"[{i}]", part) for i, part in parts), f"{indent}  ")]
    if isinstance(value, Mapping) and value:
        return [f"{indent}{name}:", *_each(((str(key), value[key]) for key in sorted(value)), f"{indent}  ")]
    if isinstance(value, Ok | Err | Some):
        return _value_lines(f"{name}: {type(value).__name__.lower()}", value.value, indent)
    if isinstance(value, Case):
        return _value_lines(f"{name}: {value.name}", value.payload, indent)
    return [f"{indent}{name}: {json.dumps(plain(value), ensure_ascii=False, default=repr)}"]


def _each(parts: Iterator[tuple[str, Any]], indent: str) -> list[str]:
    return [line for name, part in parts for line in _value_lines(name, part, indent)]


def _bytes_lines(name: str, data: bytes, indent: str) -> list[str]:
    """Bytes as JSON, msgpack or text if they are that, else in hexadecimal."""
    head = f"{indent}{name}: {len(data)} bytes"
    if len(data) > _MOST_BYTES:
        return [
            f"{head}, of blake3 {content_digest(data).hex()}",
            *_hex_lines(data[:_MOST_BYTES], indent),
            f"{indent}  …",
        ]
    text = as_text(data)
    if text is not None:
        found = as_json(text)
        if isinstance(found, dict | list):
            return [f"{head} of JSON", *_indented(json.dumps(found, indent=2, ensure_ascii=False), indent)]
        return [f"{head} of text", *_indented(text, indent)]
    structure = as_msgpack(data)
    if structure is not None:
        return [f"{head} of msgpack", *_value_lines("it", structure, f"{indent}  ")]
    return [head, *_hex_lines(data, indent)]


def _indented(text: str, indent: str) -> list[str]:
    return [f"{indent}  {line}" for line in text.split("\n")]


def _hex_lines(data: bytes, indent: str) -> list[str]:
    rows = range(0, len(data), _HEX_ROW)
    return [f"{indent}  {at:06x}  {data[at : at + _HEX_ROW].hex(' ')}" for at in rows]


def _around_first_difference(left: list[str], right: list[str]) -> tuple[list[str], list[str]]:
    """Both sides, cut to what can be compared and read."""
    if len(left) <= _MOST_LINES and len(right) <= _MOST_LINES:
        return left, right
    pairs = enumerate(zip(left, right, strict=False))
    first = next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))
    begin, end = max(0, first - _AROUND), first + _AROUND
    return left[begin:end], right[begin:end]
