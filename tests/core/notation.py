"""How values stand in the JSON of the vectors: as themselves, or as an object with one key that says what they are.

{"bytes": "00ff"}  {"map": {...}}  {"ok": v}  {"err": v}  {"some": v}  {"case": [name, payload]}
{"flags": ["a", "b"]}  {"ref": {"digest": hex, "size": n, "form": "bytes" | "text" | "value"}}  {"float": "nan"}
{"veiled": {"form": "bytes" | "text", "parts": [piece, [name, tag, form, begin, end], ..., piece]}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from theater.core.codec import Form, Ref, Stand, Veiled
from theater.core.values import Case, Err, Ok, Some


def read(noted: Any) -> Any:
    """The value that `noted` stands for."""
    if isinstance(noted, list):
        return [read(each) for each in noted]
    if not isinstance(noted, dict):
        return noted
    ((what, inner),) = noted.items()
    return _READ[what](inner)


def _ref(noted: Mapping[str, Any]) -> Ref:
    return Ref(bytes.fromhex(noted["digest"]), noted["size"], Form[noted["form"].upper()])


def _veiled(noted: Mapping[str, Any]) -> Veiled:
    parts = (read(part) if at % 2 == 0 else Stand(*read(part)) for at, part in enumerate(noted["parts"]))
    return Veiled(Form[noted["form"].upper()], tuple(parts))


_READ: Mapping[str, Callable[[Any], Any]] = {
    "bytes": bytes.fromhex,
    "map": lambda inner: {key: read(value) for key, value in inner.items()},
    "ok": lambda inner: Ok(read(inner)),
    "err": lambda inner: Err(read(inner)),
    "some": lambda inner: Some(read(inner)),
    "case": lambda inner: Case(inner[0], read(inner[1])),
    "flags": frozenset,
    "float": float,
    "ref": _ref,
    "veiled": _veiled,
}
