"""Which handler answers a path and a method: patterns, and the order between them.

    /users/me          static segments match themselves
    /users/{id}        a parameter matches one segment that is not empty
    /static/*          a wildcard, at the end only, matches all that is left, be it nothing

Of the patterns that match a path the most specific one decides, segment by segment from the left: a static segment
before a parameter before a wildcard. Its methods alone are allowed. Segments are compared after their percent
escapes are decoded, each by itself: an escaped slash is no slash. Nothing else is normalised: `..` and empty segments
are segments like others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from theater.core.quantities import show
from theater.errors import InvalidInput

ANY = "*"
"""The method of a route that takes them all."""

LONGEST_PATTERN = 1024
WILDCARD = "*"

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}")
_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path pattern.

    Args:
        text: as it was given.
        segments: a text each for static ones, None for a parameter.
        names: of the parameters, from the left.
        wildcard: whether anything may follow.
    """

    text: str
    segments: tuple[str | None, ...]
    names: tuple[str, ...]
    wildcard: bool

    @property
    def shape(self) -> tuple[tuple[str | None, ...], bool]:
        """What it matches: patterns of one shape match the same paths."""
        return self.segments, self.wildcard


@dataclass(frozen=True, slots=True)
class Route:
    """A pattern with a method, and who handles what matches them."""

    number: int
    pattern: Pattern
    method: str
    handler: int


@dataclass(frozen=True, slots=True)
class Match:
    """A route, and what its parameters are: by name, the wildcard's as `*`."""

    route: Route
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """The path is there, the method is not.

    Args:
        allow: the methods that are, with HEAD and OPTIONS where they are answered.
    """

    allow: tuple[str, ...]


def pattern(text: str) -> Pattern:
    """Reads a pattern.

    Raises:
        InvalidInput: it is none; the sentence says why.
    """
    if not text.startswith("/") or len(text) > LONGEST_PATTERN:
        raise InvalidInput(f"{show(text)} is no path: one begins with / and has at most {LONGEST_PATTERN} characters")
    if "?" in text or "#" in text:
        raise InvalidInput(f"{show(text)} is no path: a query is no part of one")
    parts = text[1:].split("/")
    wildcard = parts[-1] == WILDCARD
    segments: list[str | None] = []
    names: list[str] = []
    for part in parts[:-1] if wildcard else parts:
        parameter = _PARAMETER.fullmatch(part)
        if parameter is not None:
            segments.append(None)
            names.append(parameter[1])
        elif "{" in part or "}" in part or WILDCARD in part:
            raise InvalidInput(
                f"{show(text)} is no pattern: {show(part)} is neither text, nor {{name}}, nor a * at the end"
            )
        else:
            segments.append(_decoded(part))
    if len({name.lower() for name in names}) != len(names):
        raise InvalidInput(f"{show(text)} is no pattern: it names a parameter twice")
    return Pattern(text, tuple(segments), tuple(names), wildcard)


def method(text: str) -> str:
    """Reads the method of a route, in any case; `ANY` for all of them.

    Raises:
        InvalidInput: it is none.
    """
    name = text.upper()
    if name in (ANY, "ANY"):
        return ANY
    if _METHOD.fullmatch(name) is None:
        raise InvalidInput(f"{show(text)} is no method; allowed: a name such as GET, or * for all")
    return name


def split(path: str) -> tuple[str, ...]:
    """The segments of a request's path, decoded.

    Raises:
        InvalidInput: it is no path, or has escapes that stand for nothing a path may have.
    """
    if not path.startswith("/"):
        raise InvalidInput("the path does not begin with /")
    parts = path[1:].split("/")
    return tuple(parts) if "%" not in path else tuple(map(_decoded, parts))


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    if _BAD_ESCAPE.search(segment):
        raise InvalidInput("a percent sign in the path is not followed by two hexadecimal digits")
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise InvalidInput("the path is not UTF-8") from None
    if _CONTROL.search(text):
        raise InvalidInput("the path has control characters")
    return text


def is_below(segments: Sequence[str], prefix: Pattern) -> bool:
    """Whether a path is that of `prefix` or below it; a wildcard or slash at its end makes no difference."""
    wanted = prefix.segments
    if wanted and wanted[-1] == "":
        wanted = wanted[:-1]
    return len(segments) >= len(wanted) and all(
        part is None or part == there for part, there in zip(wanted, segments, strict=False)
    )


@dataclass(slots=True)
class _Node:
    """A place in the tree of patterns, reached by a beginning of a path."""

    static: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    here: dict[str, Route] = field(default_factory=dict)
    beyond: dict[str, Route] = field(default_factory=dict)


class Routes:
    """Some routes, ready to be looked up.

    Args:
        routes: no two of one shape and method (`conflicting`).
    """

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._root = _Node()
        self._exact: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.pattern.segments:
            if segment is not None:
                node = node.static.setdefault(segment, _Node())
            else:
                node.parameter = node.parameter or _Node()
                node = node.parameter
        (node.beyond if route.pattern.wildcard else node.here)[route.method] = route
        if not route.pattern.wildcard and None not in route.pattern.segments and "%" not in route.pattern.text:
            self._exact.setdefault(route.pattern.text, {})[route.method] = route

    def find(self, method: str, path: str) -> Match | NotAllowed | None:
        """Who answers.

        Args:
            method: in upper case.
            path: as it came, without its query.

        Returns:
            None if no pattern matches the path.

        Raises:
            InvalidInput: it is no path.
        """
        exact = self._exact.get(path)
        if exact is not None:  # Most paths; and nothing is more specific than static segments alone.
            route = _of(exact, method)
            return Match(route, _NO_PARAMS) if route is not None else NotAllowed(_allowed(exact))
        segments = split(path)
        found = _deepest(self._root, segments, 0)
        if found is None:
            return None
        route = _of(found, method)
        return Match(route, _params(route.pattern, segments)) if route is not None else NotAllowed(_allowed(found))


_NO_PARAMS: Mapping[str, str] = {}


def conflicting(routes: Iterable[Route], pattern: Pattern, method: str) -> Route | None:
    """The route, if there is one, that matches the same paths and method."""
    return next((route for route in routes if route.pattern.shape == pattern.shape and route.method == method), None)


def _deepest(node: _Node, segments: tuple[str, ...], at: int) -> Mapping[str, Route] | None:
    """The routes of the most specific pattern that matches what is left of a path.

    A node stands for one beginning of a pattern, so it is entered once at most: what a lookup costs is bounded by the
    patterns, whatever a client sends.
    """
    if at == len(segments):
        return node.here or None
    segment = segments[at]
    static = node.static.get(segment)
    if static is not None and (found := _deepest(static, segments, at + 1)):
        return found
    if node.parameter is not None and segment and (found := _deepest(node.parameter, segments, at + 1)):
        return found
    return node.beyond or None


def _params(pattern: Pattern, segments: tuple[str, ...]) -> Mapping[str, str]:
    values = [there for part, there in zip(pattern.segments, segments, strict=False) if part is None]
    params = dict(zip(pattern.names, values, strict=True))
    if pattern.wildcard:
        params[WILDCARD] = "/".join(segments[len(pattern.segments) :])
    return params


def _of(routes: Mapping[str, Route], method: str) -> Route | None:
    """Who takes a method; HEAD is answered by GET without its body."""
    found = routes.get(method) or routes.get(ANY)
    return routes.get("GET") if found is None and method == "HEAD" else found


def _allowed(routes: Mapping[str, Route]) -> tuple[str, ...]:
    methods = {*routes, "OPTIONS"}
    return tuple(sorted(methods | {"HEAD"} if "GET" in methods else methods))
