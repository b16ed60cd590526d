"""What may be asked of a server on the network, and where a redirect leads: decisions about requests.

Nothing here touches the network; theater/gateway/http_client.py carries it out.

The gateway frames messages and decides on connections, so an actor's request has none of the headers that say how. What
an actor says in a header is sent as it stands, to the origin that it asked for; what lets it in there (`authorization`,
`cookie`) is not sent to another one that a redirect leads to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from theater.core.quantities import show, show_size
from theater.core.url_patterns import METHOD, NEVER, UrlPattern
from theater.core.urls import Url
from theater.errors import InvalidInput, LimitExceeded

Headers = tuple[tuple[str, str], ...]

MAX_HEADER: Final = 8 * 1024
MAX_HEADERS: Final = 64 * 1024
MOST_HEADERS: Final = 100

OURS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that the gateway sees to."""

REDIRECTED: Final = "theater-redirected"
"""Header of a response that came after redirects: method and URL of each further request, in their order."""

_ADMIT: Final = frozenset({"authorization", "cookie", "cookie2"})
_OF_BODY: Final = frozenset({"content-type", "content-encoding", "content-language", "content-location", "digest"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that may be sent, but for the addresses of its host.

    Args:
        method: in upper case.
        headers: names in lower case.
    """

    method: str
    url: Url
    headers: Headers
    body: bytes | None

    @property
    def what(self) -> str:
        """Method and URL, for sentences."""
        return f"{self.method} {self.url}"


def outgoing(request: Any, allow: Sequence[UrlPattern], max_body: int) -> Outgoing:
    """What an actor wants to send.

    Args:
        request: WIT `http-request`.
        allow: what its manifest grants.
        max_body: bytes.

    Raises:
        InvalidInput: it cannot be sent, or is not granted.
        LimitExceeded: it is too large.
    """
    method = request["method"].upper()
    if METHOD.fullmatch(method) is None or method in NEVER:
        raise InvalidInput(f"the method {show(request['method'])} is none; allowed: names as GET; not CONNECT, TRACE")
    body = request["body"]
    if body is not None and len(body) > max_body:
        raise LimitExceeded(f"the request's body has {len(body)} bytes; allowed: {show_size(max_body)} (max_request)")
    wanted = Outgoing(method, Url.parse(request["uri"]), _headers(request["headers"]), body)
    refuse_ungranted(wanted, allow)
    return wanted


def refuse_ungranted(wanted: Outgoing, allow: Sequence[UrlPattern]) -> None:
    """Raises InvalidInput if no pattern grants a request."""
    if any(pattern.fits(wanted.method, wanted.url) for pattern in allow):
        return
    granted = ", ".join(map(str, allow)) if allow else "nothing"
    raise InvalidInput(f"{wanted.what} is not granted; the manifest allows {granted}")


def is_redirect(status: int) -> bool:
    """Whether a response sends the client elsewhere."""
    return status in (301, 302, 303, 307, 308)


def redirected(sent: Outgoing, status: int, location: str, allow: Sequence[UrlPattern]) -> Outgoing:
    """The request that a redirect leads to (RFC 9110, 15.4).

    Raises:
        InvalidInput: it leads nowhere, or to what is not granted.
    """
    try:
        url = sent.url.join(location)
    except InvalidInput as error:
        raise InvalidInput(f"{sent.what} is redirected to where nobody can go: {error.message}") from None
    headers = sent.headers
    if url.origin != sent.url.origin:
        headers = tuple((name, value) for name, value in headers if name not in _ADMIT)
    following = replace(sent, url=url, headers=headers)
    if (status == 303 and sent.method != "HEAD") or (status in (301, 302) and sent.method == "POST"):
        kept = tuple((name, value) for name, value in headers if name not in _OF_BODY)
        following = Outgoing("GET", url, kept, None)
    try:
        refuse_ungranted(following, allow)
    except InvalidInput as error:
        raise InvalidInput(f"{sent.what} is redirected: {error.message}") from None
    return following


def _headers(given: Sequence[Sequence[str]]) -> Headers:
    if len(given) > MOST_HEADERS:
        raise LimitExceeded(f"the request has {len(given)} headers; allowed: {MOST_HEADERS}")
    headers = tuple(_header(name, value) for name, value in given)
    total = sum(len(name) + len(value.encode()) + 4 for name, value in headers)
    if total > MAX_HEADERS:
        raise LimitExceeded(f"the request's headers have {total} bytes; allowed: {show_size(MAX_HEADERS)}")
    return headers


def _header(name: str, value: str) -> tuple[str, str]:
    if len(name) > 256 or _TOKEN.fullmatch(name) is None:
        raise InvalidInput(f"{show(name)} is no name of a header; allowed: letters, digits and -")
    if name.lower() in OURS:
        raise InvalidInput(f"the header {name.lower()} is the gateway's business; leave it out")
    # The value is not shown: it may be what lets somebody in.
    if _BAD_VALUE.search(value):
        raise InvalidInput(f"the header {name.lower()} has a line end or control character in its value")
    if len(value.encode()) > MAX_HEADER:
        raise LimitExceeded(f"the header {name.lower()} has {len(value.encode())} bytes; allowed: {MAX_HEADER}")
    return name.lower(), value.strip(" \t")
