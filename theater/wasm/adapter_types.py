"""Writing WIT types and instance types in the text format of components.

Records, variants, enums and flags must have a name before a function type may mention them. How a name is given differs
with the place: an instance type exports the type, a component imports or exports it. A `Scope` is one such place; it
knows which types it has written already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from string import ascii_letters, digits

from theater.wasm.types import Interface, Signature, Type, contains, is_named, is_unsupported, wit

GIVEN_NAME = "theater-type-"
"""Names of types that have none in the guest begin with this."""


def quoted(name: str) -> str:
    """A name as a string of the text format.

    Names come from the component. Most kinds of them cannot contain a quotation mark, but `url=<...>` can: whatever is
    not a letter, a digit or one of a few marks is written as bytes in hex, so that a name never becomes text.
    """
    return '"' + "".join(c if c in _PLAIN else "".join(f"\\{b:02x}" for b in c.encode()) for c in name) + '"'


_PLAIN = frozenset(ascii_letters + digits + "-_.:/@[]=<>+")


class CannotWrap(Exception):
    """No adapter can be generated for a component; the caller uses the component as it is, in plain mode."""


Naming = Callable[[Type, str, str], str | None]
"""(type, index of its definition, index for the named type) -> the text that names it; None where none is needed."""


class Scope:
    """The types written in one place.

    Args:
        prefix: of all indices here, so that no two places share one.
        naming: how a type gets its name here.
    """

    def __init__(self, prefix: str, naming: Naming) -> None:
        self.lines: list[str] = []
        self.resources: dict[int, str] = {}
        self._prefix = prefix
        self._naming = naming
        self._known: dict[Type, str] = {}
        self._numbers = count()

    def define(self, t: Type) -> str:
        """The index of type `t`, which is written if it was not yet."""
        known = self._known.get(t)
        if known is not None:
            return known
        body = self._body(t)
        number = next(self._numbers)
        index, named = f"${self._prefix}{number}", f"${self._prefix}{number}n"
        self.lines.append(f"(type {index} {body})")
        if is_named(t):
            naming = self._naming(t, index, named)
            if naming is not None:
                self.lines.append(naming)
                index = named
        self._known[t] = index
        return index

    def signature(self, f: Signature) -> str:
        """Parameters and result of a function type."""
        params = [f"(param {quoted(name)} {self._mention(t)})" for name, t in f.params]
        result = [] if f.result is None else [f"(result {self._mention(f.result)})"]
        return " ".join(params + result)

    def _mention(self, t: Type) -> str:
        return self.define(t) if is_named(t) else self._body(t)

    def _maybe(self, t: Type | None) -> str:
        return "" if t is None else " " + self._mention(t)

    def _body(self, t: Type) -> str:
        if isinstance(t, str):
            return t
        kind = t[0]
        if kind == "record":
            return "(record" + "".join(f" (field {quoted(n)}{self._maybe(x)})" for n, x in t[1]) + ")"
        if kind == "variant":
            return "(variant" + "".join(f" (case {quoted(n)}{self._maybe(x)})" for n, x in t[1]) + ")"
        if kind in ("enum", "flags"):
            return f"({kind}" + "".join(f" {quoted(n)}" for n in t[1]) + ")"
        if kind == "tuple":
            return "(tuple" + "".join(self._maybe(x) for x in t[1]) + ")"
        if kind in ("list", "option"):
            return f"({kind} {self._mention(t[1])})"
        if kind == "result":
            error = "" if t[2] is None else f" (error {self._mention(t[2])})"
            return f"(result{self._maybe(t[1])}{error})"
        if kind in ("own", "borrow") and t[1] in self.resources:
            return f"({kind} {self.resources[t[1]]})"
        raise CannotWrap(f"the type {wit(t)} cannot be written here")


def instance_type(interface: Interface, prefix: str, outside: Mapping[int, str]) -> tuple[str, dict[int, str]]:
    """The body of an instance type.

    Args:
        prefix: of the indices inside.
        outside: resources that the component `$outer` around it knows already, and their indices there.

    Returns:
        The text, and the resources that appear here for the first time, with their names.

    Raises:
        CannotWrap: the interface has items or types that cannot be written.
    """
    if interface.others:
        raise CannotWrap(f"an interface has the item {interface.others[0]!r}, which is neither function nor type")
    names = names_of(interface.types)
    given = count()

    def naming(t: Type, index: str, named: str) -> str:
        name = names.get(t) or f"{GIVEN_NAME}{next(given)}"
        return f"(export {quoted(name)} (type {named} (eq {index})))"

    scope = Scope(prefix, naming)
    new = _write_resources(scope, interface.resources, prefix, outside)
    for name, t in interface.types.items():
        if contains(t, is_unsupported):
            raise CannotWrap(f"the type {name!r} has parts that cannot be written")
        index = scope.define(t)
        if names.get(t) != name:
            scope.lines.append(f"(export {quoted(name)} (type (eq {index})))")
    for name, f in interface.functions.items():
        signature = scope.signature(f)
        scope.lines.append(f"(export {quoted(name)} (func {signature}))")
    return "\n    ".join(scope.lines), new


def names_of(types: Mapping[str, Type]) -> dict[Type, str]:
    """The first name of each type that must have one."""
    names: dict[Type, str] = {}
    for name, t in types.items():
        if is_named(t):
            names.setdefault(t, name)
    return names


def _write_resources(
    scope: Scope, resources: Mapping[str, int], prefix: str, outside: Mapping[int, str]
) -> dict[int, str]:
    """Resources keep their identity: a new one is abstract, one that is known is an alias of the first."""
    new: dict[int, str] = {}
    for position, (name, number) in enumerate(resources.items()):
        index = f"${prefix}r{position}"
        if number in new:
            bound = f"(eq {scope.resources[number]})"
        elif number in outside:
            scope.lines.append(f"(alias outer $outer {outside[number]} (type {index}a))")
            bound = f"(eq {index}a)"
        else:
            bound = "(sub resource)"
            new[number] = name
        scope.lines.append(f"(export {quoted(name)} (type {index} {bound}))")
        scope.resources[number] = index
    return new
