"""Which servers on the network an actor may send requests to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from theater.core import schema
from theater.core.addresses import Grant
from theater.core.http_exchange import REDIRECTED
from theater.core.permissions import Asked
from theater.core.quantities import MIB, show, show_duration, show_size
from theater.core.schema import Place, Reader, key
from theater.core.secrets import NAME
from theater.core.url_patterns import UrlPattern, uncovered
from theater.core.urls import Url
from theater.errors import InvalidInput

T = TypeVar("T")

_MOST_PATHS = 8
"""So many different requests are written out one by one in a suggestion; of more, the patterns that granted them."""


def _each(parse: Callable[[str], T]) -> Reader:
    def reader(value: object, place: Place) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidInput(f"found {show(value)}; allowed: an array of texts")
        for part in value:
            if not isinstance(part, str):
                raise InvalidInput(f"found {show(part)}; allowed: a text")
            parse(part)
        return tuple(value)

    return reader


def _credential(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise InvalidInput(f"found {show(text)}; allowed: names of credentials: letters, digits, ., _ and -")
    return text


@dataclass(frozen=True, slots=True)
class HttpClient:
    """Permissions of the handler `http-client`.

    Args:
        allow: requests, as patterns (theater/core/url_patterns.py).
        private: addresses that are not everybody's, as `theater.core.addresses.Grant`s.
        timeout: milliseconds that a request may take, redirects and body included.
        max_request: bytes of a body that is sent.
        max_response: bytes of a body that comes, decoded.
        redirects: how many are followed; with 0 the actor gets the redirect itself.
        credentials: names of those in the server's configuration that are added.
    """

    allow: tuple[str, ...] = key(_each(UrlPattern.parse), ())
    private: tuple[str, ...] = key(_each(Grant.parse), ())
    timeout: int = key(schema.milliseconds(1, 3_600_000), 30_000)
    max_request: int = key(schema.bytes_from(0, 64 * MIB), MIB)
    max_response: int = key(schema.bytes_from(0, 64 * MIB), MIB)
    redirects: int = key(schema.integer(0, 20), 5)
    credentials: tuple[str, ...] = key(_each(_credential), ())

    def patterns(self) -> tuple[UrlPattern, ...]:
        """What is allowed, taken apart."""
        return tuple(map(UrlPattern.parse, self.allow))

    def grants(self) -> tuple[Grant, ...]:
        """What is granted of addresses, taken apart."""
        return tuple(map(Grant.parse, self.private))

    def excess(self, granted: Self) -> str | None:
        return (
            self._excess_of_urls(granted)
            or self._excess_of_addresses(granted)
            or self._excess_of_credentials(granted)
            or self._excess_of_limits(granted)
        )

    def used(self, calls: Sequence[Asked]) -> Self:
        """Credentials stay: no record shows which were added."""
        sent = {request for call in calls if not call.refused for request in _requests(call)}
        exact = sorted({str(UrlPattern.exactly(method, url)) for method, url in sent})
        return replace(
            self,
            allow=tuple(exact) if len(exact) <= _MOST_PATHS else self._allow_for(sent),
            private=tuple(text for text in self.private if any(_may_need(Grant.parse(text), url) for _, url in sent)),
        )

    def _allow_for(self, sent: set[tuple[str, Url]]) -> tuple[str, ...]:
        return tuple(text for text in self.allow if any(UrlPattern.parse(text).fits(*request) for request in sent))

    def _excess_of_urls(self, granted: Self) -> str | None:
        more = uncovered(self.patterns(), granted.patterns())
        return f"send the requests {', '.join(map(str, more))}" if more else None

    def _excess_of_addresses(self, granted: Self) -> str | None:
        theirs = granted.grants()
        more = [str(mine) for mine in self.grants() if not any(grant.covers(mine) for grant in theirs)]
        return f"connect to the addresses {', '.join(more)}" if more else None

    def _excess_of_credentials(self, granted: Self) -> str | None:
        more = [name for name in self.credentials if name not in granted.credentials]
        return f"use the credentials {', '.join(more)}" if more else None

    def _excess_of_limits(self, granted: Self) -> str | None:
        if self.timeout > granted.timeout:
            return f"wait {show_duration(self.timeout)} for a response, and its parent {show_duration(granted.timeout)}"
        for what, mine, theirs in (
            ("send bodies", self.max_request, granted.max_request),
            ("receive bodies", self.max_response, granted.max_response),
        ):
            if mine > theirs:
                return f"{what} of {show_size(mine)}, and its parent of {show_size(theirs)}"
        if self.redirects > granted.redirects:
            return f"follow {self.redirects} redirects, and its parent {granted.redirects}"
        return None


def _requests(call: Asked) -> list[tuple[str, Url]]:
    """What was sent for a call: the request itself, and those that redirects led to."""
    try:
        asked = call.args[0]
        found = [(str(asked["method"]).upper(), Url.parse(asked["uri"]))]
        answer = getattr(call.answer, "value", call.answer)
        found += [_hop(value) for name, value in (answer or {}).get("headers", ()) if name == REDIRECTED]
    except (InvalidInput, TypeError, KeyError, IndexError, AttributeError):
        return []  # Part of it was kept apart, or is a secret.
    return found


def _hop(value: Any) -> tuple[str, Url]:
    method, _, url = value.partition(" ")
    return method, Url.parse(url)


def _may_need(grant: Grant, url: Url) -> bool:
    """Whether a request may have been sent to an address that `grant` grants: a name may stand for any."""
    return grant.port in (None, url.port) if url.address is None else grant.grants(url.address, url.port)
