"""What the methods of an actor are for: marks on them, which every life finds again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from theater.http.messages import unquoted

_ATTRIBUTE = "__theater_http__"
F = TypeVar("F", bound=Callable[..., Any])


class Kind(Enum):
    """What a method does."""

    ROUTE = "route"
    MIDDLEWARE = "middleware"
    MESSAGE = "websocket"
    CONNECT = "websocket_connect"
    DISCONNECT = "websocket_disconnect"


@dataclass(frozen=True, slots=True)
class Mark:
    """One decorator on a method.

    Attributes:
        kind: what the method does.
        path: the path as the host is told it.
        method: of a route, in upper case.
        segments: the path, cut at its slashes.
    """

    kind: Kind
    path: str
    method: str = ""
    segments: tuple[str, ...] = ()

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """What stands in the places of this path's names; None if the path does not fit.

        Args:
            segments: of the path that was asked for, as it was sent.
        """
        own = self.segments
        found = {}
        if own and own[-1] == "*":
            if len(segments) < len(own):
                return None
            found["rest"] = "/".join(map(unquoted, segments[len(own) - 1 :]))
            own = own[:-1]
        elif len(segments) != len(own):
            return None
        for pattern, segment in zip(own, segments, strict=False):
            if pattern[:1] == "{" and pattern[-1:] == "}":
                if not segment:
                    return None
                found[pattern[1:-1]] = unquoted(segment)
            elif pattern != segment and unquoted(pattern) != unquoted(segment):
                return None
        return found


def route(method: str, path: str) -> Callable[[F], F]:
    """Marks a method that answers requests: `handler(self, request, ...)`.

    It gets a `Request`, and what stands in the place of each `{name}` of the path as an argument of that name, of a
    `*` at the end as `rest`. It returns a `Response`, or what a `Response` is made of: text, bytes, or JSON.

    Args:
        method: GET, POST and so on.
        path: begins with a slash; a segment may be `{name}`, and the last one `*`.
    """
    return _mark(Kind.ROUTE, path, method.upper())


def get(path: str) -> Callable[[F], F]:
    """`route` for GET."""
    return route("GET", path)


def post(path: str) -> Callable[[F], F]:
    """`route` for POST."""
    return route("POST", path)


def put(path: str) -> Callable[[F], F]:
    """`route` for PUT."""
    return route("PUT", path)


def patch(path: str) -> Callable[[F], F]:
    """`route` for PATCH."""
    return route("PATCH", path)


def delete(path: str) -> Callable[[F], F]:
    """`route` for DELETE."""
    return route("DELETE", path)


def middleware(path: str = "/") -> Callable[[F], F]:
    """Marks a method that sees requests before the routes do: `handler(self, request)`.

    None or True lets the request go on, a `Request` goes on in its place; a `Response`, what one is made of, or a raised
    `Abort` is the answer, False the status 403.
    Several are asked in the order in which they are written.

    Args:
        path: of the requests that it sees, with all below it.
    """
    return _mark(Kind.MIDDLEWARE, path)


def websocket(path: str) -> Callable[[F], F]:
    """Marks a method that gets the messages of websockets on a path: `handler(self, socket, message)`.

    A message is text or bytes. What it returns is sent back: text, bytes, anything else as JSON text; None is nothing.
    """
    return _mark(Kind.MESSAGE, path)


def websocket_connect(path: str) -> Callable[[F], F]:
    """Marks a method that is called when a websocket connects: `handler(self, socket, path, query)`."""
    return _mark(Kind.CONNECT, path)


def websocket_disconnect(path: str) -> Callable[[F], F]:
    """Marks a method that is called, once, when a websocket is gone: `handler(self, socket)`."""
    return _mark(Kind.DISCONNECT, path)


def marks(method: Any) -> tuple[Mark, ...]:
    """The marks of a method, the one that stands first first."""
    return getattr(method, _ATTRIBUTE, ())


def marked(cls: type) -> Iterator[tuple[str, Mark]]:
    """The marked methods of a class by name, those of its bases first, each in the order of the source."""
    seen = set()
    for base in reversed(cls.__mro__):
        for name in vars(base):
            if name not in seen:
                seen.add(name)
                for mark in marks(getattr(cls, name, None)):
                    yield name, mark


def _mark(kind: Kind, path: str, method: str = "") -> Callable[[F], F]:
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} does not begin with a slash")
    mark = Mark(kind, path, method, tuple(path.split("/")[1:]))

    def decorate(function: F) -> F:
        setattr(function, _ATTRIBUTE, (mark, *marks(function)))
        return function

    return decorate
