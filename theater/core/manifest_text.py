"""A manifest as TOML: what `theater.core.manifest.parse` reads back as the same manifest, without what is default.

Sizes and durations are numbers of bytes and milliseconds, as in the plain form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from theater.core import schema
from theater.core.manifest import Handler, Manifest, canonical, from_canonical

_WITHOUT: Final = {"call_timeout": "infinity", "start_timeout": "infinity", "snapshot": "off"}
"""How a key says that there is none, where that is not its default."""
_LONGEST: Final = 100
_LEAST: Final = {"name": "a", "component": "a.wasm"}


def write(manifest: Manifest) -> str:
    """The text of a manifest."""
    plain = canonical(manifest)
    default = canonical(from_canonical(_LEAST))
    top = {name: value for name, value in plain.items() if not isinstance(value, Mapping)}
    del top["handler"], top["grant"]
    given = {name: value for name, value in top.items() if name in _LEAST or value != default.get(name)}
    parts = ["\n".join(_rows(given))]
    if plain["build"] is not None:
        parts.append(_table("build", {name: value for name, value in plain["build"].items() if value}))
    parts += handler_tables(manifest.handlers, "handler")
    parts += handler_tables(manifest.grants, "grant")
    for name in ("actor", "supervision", "limits", "chain"):
        parts += _tables(name, plain[name], default[name])
    if plain["secrets"]:
        parts.append(_table("secrets", plain["secrets"]))
    return "\n\n".join(parts) + "\n"


def handler_tables(handlers: Sequence[Handler], kind: str) -> list[str]:
    """A table for each of some handlers.

    Args:
        kind: `handler` or `grant`.
    """
    return [f"[[{kind}]]\n" + "\n".join(_rows(said(handler))) for handler in handlers]


def said(handler: Handler) -> dict[str, Any]:
    """What the table of a handler must say."""
    plain, default = schema.plain(handler.permissions), schema.plain(type(handler.permissions)())
    return {"type": handler.type, **{name: value for name, value in plain.items() if value != default[name]}}


def _tables(name: str, plain: Mapping[str, Any], default: Mapping[str, Any]) -> Iterator[str]:
    """The table, and those under it that have a heading of their own."""
    given = {key: value for key, value in plain.items() if value != default[key]}
    children = given.pop("children", None)
    if given:
        yield _table(name, given)
    if children is not None:
        yield _table(f"{name}.children", {key: value for key, value in children.items() if value is not None})


def _table(name: str, values: Mapping[str, Any]) -> str:
    return "\n".join([f"[{name}]", *_rows(values)])


def _rows(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if value is not None:
            yield f"{_key(name)} = {_value(value)}"
        elif name in _WITHOUT:
            yield f'{name} = "{_WITHOUT[name]}"'


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items() if each is not None)
        return f"{{ {inner} }}"
    if isinstance(value, list):
        found = [_value(each) for each in value]
        line = f"[{', '.join(found)}]"
        return line if len(line) <= _LONGEST else "[\n" + "".join(f"    {each},\n" for each in found) + "]"
    if isinstance(value, str):
        return _text(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _key(name: str) -> str:
    """The name of a key, quoted where it has to be."""
    return name if name and all(char.isascii() and (char.isalnum() or char in "-_") for char in name) else _text(name)


def _text(value: str) -> str:
    """A basic string; JSON's escapes are among those of TOML, which wants one more."""
    if "\n" in value:
        lines = (json.dumps(part, ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f") for part in value.split("\n"))
        return '"""\n' + "\n".join(lines) + '"""'
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
