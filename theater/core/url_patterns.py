"""Patterns of requests that a manifest grants: `GET,POST https://api.example.com:8443/v1/*`.

    methods   names with commas between them, or * for all; credentials have none
    scheme    http or https
    host      a name, *.example.com for all below that, an address, or * for all
    port      a number, or * for all; without one that of the scheme
    path      required; * stands for any characters, / among them

The query is free. A request is matched in its one form (theater/core/urls.py), so nothing in it means one thing here
and another one to the server. A * of a request is %2A for a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from theater.core.quantities import show
from theater.core.urls import PORTS, Url, normal_host, normal_path
from theater.errors import InvalidInput

NEVER: Final = frozenset({"CONNECT", "TRACE"})
"""Methods that make something else of a connection, or show what the gateway has added."""

METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")

_PATTERN = re.compile(r"(https?)://(\[[^\[\]/]*\]|[^:/?#\[\]@]*)(?::([0-9]{1,5}|\*))?(/[^?#]*)?")
_EXAMPLE = '"GET,POST https://api.example.com/v1/*"'


@dataclass(frozen=True, slots=True)
class UrlPattern:
    """A pattern.

    Args:
        methods: None for all.
        scheme: `http` or `https`.
        host: in lower case, perhaps with `*.` before it, or `*`.
        port: None for all.
        path: in its one form, perhaps with `*` in it.
    """

    methods: tuple[str, ...] | None
    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a text with methods, as in a manifest.

        Raises:
            InvalidInput: it is none.
        """
        methods, space, url = text.partition(" ")
        if not space:
            raise InvalidInput(f"found {show(text)}; allowed: methods, a space and a URL, as {_EXAMPLE}")
        return cls._of(text, _methods(methods), url)

    @classmethod
    def parse_url(cls, text: str) -> Self:
        """Of a text without methods, as in a credential: for all methods.

        Raises:
            InvalidInput: it is none.
        """
        return cls._of(text, None, text)

    @classmethod
    def exactly(cls, method: str, url: Url) -> Self:
        """What fits such requests and no other; but for the query."""
        return cls((method,), url.scheme, url.host, url.port, url.path.replace("*", "%2A"))

    @classmethod
    def _of(cls, text: str, methods: tuple[str, ...] | None, url: str) -> Self:
        found = _PATTERN.fullmatch(url)
        if found is None or not found[2]:
            raise InvalidInput(f"found {show(text)}; allowed: http:// or https://, host, port, path, as {_EXAMPLE}")
        if found[4] is None:
            raise InvalidInput(f"found {show(text)}; allowed: a URL with a path; /* is all of them")
        port = PORTS[found[1]] if found[3] is None else None if found[3] == "*" else int(found[3])
        if port is not None and not 1 <= port <= 65535:
            raise InvalidInput(f"found {show(text)}; allowed: a port from 1 to 65535")
        try:
            return cls(methods, found[1], _host(found[2]), port, _path(found[4]))
        except InvalidInput as error:
            raise InvalidInput(f"found {show(text)}: {error.message}") from None

    def __str__(self) -> str:
        methods = "*" if self.methods is None else ",".join(self.methods)
        return f"{methods} {self.url}"

    @property
    def url(self) -> str:
        """Without the methods."""
        port = "" if self.port == PORTS[self.scheme] else f":{'*' if self.port is None else self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"

    def fits(self, method: str, url: Url) -> bool:
        """Whether a request is one of these."""
        return (
            (self.methods is None or method in self.methods)
            and self.scheme == url.scheme
            and self.port in (None, url.port)
            and _host_covers(self.host, url.host)
            and _glob(self.path, url.path.replace("*", "%2A"))
        )

    def covers(self, other: UrlPattern) -> bool:
        """Whether every request that fits `other` fits this. Sound: where it says no, that may be too strict."""
        return (
            (self.methods is None or (other.methods is not None and set(other.methods) <= set(self.methods)))
            and self.scheme == other.scheme
            and self.port in (None, other.port)
            and _host_covers(self.host, other.host)
            # A * of the other one is a character that only a * of this one fits.
            and _glob(self.path, other.path)
        )

    def by_method(self) -> list[UrlPattern]:
        """The same as patterns of one method each."""
        if self.methods is None:
            return [self]
        return [UrlPattern((method,), self.scheme, self.host, self.port, self.path) for method in self.methods]


def uncovered(wanted: Iterable[UrlPattern], granted: Iterable[UrlPattern]) -> list[UrlPattern]:
    """Those of `wanted`, one method each, that none of `granted` covers."""
    all_granted = list(granted)
    single = [each for pattern in wanted for each in pattern.by_method()]
    return [each for each in single if not any(grant.covers(each) for grant in all_granted)]


def _methods(text: str) -> tuple[str, ...] | None:
    if text == "*":
        return None
    methods = text.split(",")
    wrong = [method for method in methods if METHOD.fullmatch(method) is None or method in NEVER]
    if wrong:
        raise InvalidInput(f"found the method {show(wrong[0])}; allowed: names as GET,POST, or *; not CONNECT, TRACE")
    return tuple(dict.fromkeys(methods))


def _host(text: str) -> str:
    if text == "*":
        return text
    below = text.startswith("*.")
    host, address = normal_host(text[2:] if below else text)
    if below and address is not None:
        raise InvalidInput(f"{show(text)} is no host; allowed: *. before a name")
    return f"*.{host}" if below else host


def _path(text: str) -> str:
    path = normal_path(text)
    if path.count("/") != text.count("/"):
        raise InvalidInput("its path has dot segments; allowed: a path without")
    return path


def _host_covers(pattern: str, host: str) -> bool:
    return (
        pattern == "*" or pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]) and host != "*")
    )


def _glob(pattern: str, text: str) -> bool:
    """Whether `text` fits `pattern`, whose `*` stand for anything; in time that is the product of both at worst."""
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    *middle, last = others
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
