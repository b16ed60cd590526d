"""The interfaces of this version, read from the `.wit` files that ship with it: the one table of signatures.

Reads what those files use of WIT (interfaces, functions, `use`, aliases, records, variants, enums, flags) and skips
worlds; it is no general parser, and says so when it meets anything else. Types are the trees of `types`, with one
more constructor for what has a name and keeps it in a component:

    ("named", "theater:simple/types", "channel-accept")

Aliases (`type channel-id = string`) are replaced by what they stand for. Grammar: design/mvp/WIT.md of the component
model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from theater.core.handlers import HANDLERS
from theater.errors import BuildFailed
from theater.wasm.types import PRIMITIVES, Signature, Type, children

DIRECTORY = Path(__file__).parents[1] / "wit"

_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_TOKEN = re.compile(r"->|[A-Za-z%_][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*|[{}()<>,;:=.@/*]")


@dataclass(frozen=True, slots=True)
class WitInterface:
    """An interface as its file declares it.

    Args:
        name: full, with package and version: `theater:otp/identity@0.1.0`.
        types: what it declares by name: records, variants, enums, flags.
        functions: by name.
    """

    name: str
    types: Mapping[str, Type] = field(default_factory=dict)
    functions: Mapping[str, Signature] = field(default_factory=dict)


def known_interfaces() -> Mapping[str, WitInterface]:
    """All interfaces of the `.wit` files that ship with this version, and with packages that have brought handlers, by
    full name.

    Raises:
        BuildFailed: a package's files are not understood.
    """
    return _interfaces_in(tuple(row.wit for row in HANDLERS.values() if row.wit is not None))


@cache
def _interfaces_in(more: tuple[str, ...]) -> Mapping[str, WitInterface]:
    found: dict[str, WitInterface] = {}
    own = sorted(path for path in DIRECTORY.iterdir() if path.is_dir())
    for folder in (*own, *map(Path, more)):
        found |= parse_package({str(path): path.read_text() for path in sorted(folder.glob("*.wit"))})
    return MappingProxyType(found)


def parse_package(files: Mapping[str, str]) -> dict[str, WitInterface]:
    """The interfaces of one package.

    Args:
        files: the text of each file of the package, by a name for sentences.

    Raises:
        BuildFailed: text that this reader does not understand, with file and line.
    """
    parsers = [_Parser(name, text) for name, text in files.items()]
    drafts: dict[str, _Draft] = {}
    package = ""
    for parser in parsers:
        package = parser.file(drafts) or package
    by_full_name = {_beside(package, name): draft for name, draft in drafts.items()}
    return {full: draft.finish(full, by_full_name) for full, draft in by_full_name.items()}


def resolve(tree: Type, interfaces: Mapping[str, WitInterface]) -> Type:
    """`tree` without names: what a value of it consists of."""
    if isinstance(tree, str):
        return tree
    if tree[0] == "named":
        return resolve(interfaces[tree[1]].types[tree[2]], interfaces)
    return _rebuild(tree, lambda inner: resolve(inner, interfaces))


def named(tree: Type | None) -> list[tuple[str, str]]:
    """The named types that stand in `tree`, as interface and name; not those inside them."""
    if tree is None or isinstance(tree, str):
        return []
    if tree[0] == "named":
        return [(tree[1], tree[2])]
    return [name for inner in children(tree) for name in named(inner)]


def _rebuild(tree: Type, change: Callable[[Type], Type]) -> Type:
    """`tree` with `change` applied to the types that stand directly in it."""
    if isinstance(tree, str):
        return tree
    kind, members = tree[0], tree[1:]
    if kind in ("list", "option", "result"):
        return (kind, *(None if inner is None else change(inner) for inner in members))
    if kind == "tuple":
        return (kind, tuple(change(inner) for inner in members[0]))
    if kind in ("record", "variant"):
        return (kind, tuple((name, None if inner is None else change(inner)) for name, inner in members[0]))
    return tree


# ---- reading

_GENERIC = {"list": 1, "option": 1}


@dataclass(slots=True)
class _Draft:
    """An interface being read: names stand for themselves until every interface is known."""

    types: dict[str, Type] = field(default_factory=dict)
    aliases: dict[str, Type] = field(default_factory=dict)
    functions: dict[str, Signature] = field(default_factory=dict)
    uses: dict[str, tuple[str, str]] = field(default_factory=dict)

    def finish(self, full: str, drafts: Mapping[str, _Draft]) -> WitInterface:
        def settle(tree: Type) -> Type:
            return self.settle(tree, full, drafts)

        types = {name: _rebuild(tree, settle) for name, tree in self.types.items()}
        functions = {
            name: Signature(
                tuple((parameter, settle(tree)) for parameter, tree in signature.params),
                None if signature.result is None else settle(signature.result),
            )
            for name, signature in self.functions.items()
        }
        return WitInterface(full, types, functions)

    def settle(self, tree: Type, full: str, drafts: Mapping[str, _Draft]) -> Type:
        """`tree` with every name replaced by what it means in this interface."""
        if isinstance(tree, str):
            return tree
        if tree[0] == "name":
            return self._lookup(tree[1], full, drafts)
        return _rebuild(tree, lambda inner: self.settle(inner, full, drafts))

    def _lookup(self, name: str, full: str, drafts: Mapping[str, _Draft]) -> Type:
        if name in self.types:
            return ("named", full, name)
        if name in self.aliases:
            return self.settle(self.aliases[name], full, drafts)
        if name in self.uses:
            other, original = self.uses[name]
            beside = _beside(full, other)
            if beside in drafts:
                return drafts[beside]._lookup(original, beside, drafts)
        raise BuildFailed(f"{full}: no type {name}")


def _beside(full: str, name: str) -> str:
    """The full name of another interface of the same package."""
    base, at, version = full.partition("@")
    return f"{base.partition('/')[0]}/{name}{at}{version}"


class _Parser:
    """Reads one file by recursive descent, one method for each rule."""

    def __init__(self, where: str, text: str) -> None:
        self._where = where
        self._text = text
        self._at = 0
        self._skip()

    # tokens

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        if space is not None:
            self._at = space.end()

    def _peek(self) -> str:
        token = _TOKEN.match(self._text, self._at)
        return token[0] if token is not None else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._error("a word or a sign")
        self._at += len(token)
        self._skip()
        return token

    def _take(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._error(sign)
        self._next()

    def _taken(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self._next()
        return True

    def _name(self) -> str:
        token = self._next().removeprefix("%")
        if not token[:1].isalpha():
            raise self._error("a name")
        return token

    def _error(self, expected: str) -> BuildFailed:
        line = self._text.count("\n", 0, self._at) + 1
        found = self._text[self._at : self._at + 20].split("\n")[0] or "the end"
        return BuildFailed(f"{self._where}:{line}: found {found!r}; this reader of WIT expects {expected} here")

    # rules

    def file(self, drafts: dict[str, _Draft]) -> str:
        """Reads every interface of the file into `drafts`, and returns the package if the file names one."""
        package = ""
        while self._at < len(self._text):
            word = self._next()
            if word == "package":
                package = self._package()
            elif word == "interface":
                self._interface(drafts.setdefault(self._name(), _Draft()))
            elif word == "world":
                self._world()
            else:
                raise self._error("package, interface or world")
        return package

    def _package(self) -> str:
        parts = []
        while not self._taken(";"):
            parts.append(self._next())
        return "".join(parts)

    def _world(self) -> None:
        while self._next() != "{":
            pass
        depth = 1
        while depth:
            depth += {"{": 1, "}": -1}.get(self._next(), 0)

    def _interface(self, draft: _Draft) -> None:
        self._take("{")
        while not self._taken("}"):
            word = self._name()
            if self._taken(":"):
                draft.functions[word] = self._function()
            elif word == "use":
                self._use(draft)
            elif word == "type":
                name = self._name()
                self._take("=")
                draft.aliases[name] = self._type()
                self._take(";")
            elif word in ("record", "variant", "enum", "flags"):
                name = self._name()
                draft.types[name] = self._declared(word)
            else:
                raise self._error("use, type, record, variant, enum, flags or a function")

    def _use(self, draft: _Draft) -> None:
        interface = self._name()
        self._take(".")
        self._take("{")
        while not self._taken("}"):
            original = self._name()
            local = self._name() if self._taken("as") else original
            draft.uses[local] = (interface, original)
            self._taken(",")
        self._take(";")

    def _function(self) -> Signature:
        if self._name() != "func":
            raise self._error("func")
        self._take("(")
        params = []
        while not self._taken(")"):
            name = self._name()
            self._take(":")
            params.append((name, self._type()))
            self._taken(",")
        result = self._type() if self._taken("->") else None
        self._take(";")
        return Signature(tuple(params), result)

    def _declared(self, kind: str) -> Type:
        self._take("{")
        members: list[Any] = []
        while not self._taken("}"):
            members.append(self._member(kind))
            self._taken(",")
        return (kind, tuple(members))

    def _member(self, kind: str) -> Any:
        name = self._name()
        if kind == "record":
            self._take(":")
            return (name, self._type())
        if kind == "variant" and self._taken("("):
            payload = self._type()
            self._take(")")
            return (name, payload)
        return (name, None) if kind == "variant" else name

    def _type(self) -> Type:
        name = self._name()
        if name in PRIMITIVES:
            return name
        if name in _GENERIC:
            return (name, *self._arguments())
        if name == "tuple":
            return (name, tuple(self._arguments()))
        if name == "result":
            ok, err = [*(self._arguments() if self._peek() == "<" else []), None, None][:2]
            return (name, ok, err)
        return ("name", name)

    def _arguments(self) -> list[Any]:
        self._take("<")
        found: list[Any] = []
        while not self._taken(">"):
            if self._peek() == "_":
                self._next()
                found.append(None)
            else:
                found.append(self._type())
            self._taken(",")
        return found
