"""One request and its answer: whose it is, its body, the middlewares, the route, the actor's answer.

Here it is decided, too, what is no request that anybody should answer: what aiohttp's parser lets through and another
server on the way might read in another way is refused. A failure becomes a status and nothing else: its sentence is
for the actor's log, and not for whoever happens to ask.

    400  malformed                      502  the actor died while it handled the request
    404, 405, 421                       503  it has no life, or its mailbox is full; Retry-After
    408, 413, 417, 431  too slow or big 504  it did not answer in time
    500  it answered with an error, or with what is no answer
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from theater.core.http_routes import NotAllowed, split
from theater.errors import ActorDown, ActorFailed, InvalidInput, MailboxFull, TheaterError, TimedOut
from theater.gateway.plain_answers import SERVER, Refusal, plain_answer
from theater.gateway.reply import Reply
from theater.gateway.site import Site
from theater.gateway.tenant import NotThere

if TYPE_CHECKING:
    from theater.gateway.listener import Listener

OURS = "x-theater-"
"""What headers begin with that are told the actor by the gateway: a client's own are taken away."""

PARAMETER = "x-theater-param-"
WILDCARD = "x-theater-wildcard"
DENIED = 403
"""What a client is told of a request that a middleware stops without a status in the place of its method."""

_AUTHORITY = re.compile(r"[A-Za-z0-9_.~!$&'()*+,;=%-]*(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_NOT_THEIRS = frozenset({"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer",
                         "transfer-encoding", "upgrade"})  # fmt: skip
"""Headers of an answer that are the connection's business, and which the gateway writes."""

_VERSIONS = (HttpVersion11, HttpVersion10)

Answer = web.StreamResponse | Reply
Request = dict[str, Any]
"""An `http-request`."""


class Exchange:
    """Answers the requests of a listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def answer(self, request: web.BaseRequest) -> Answer:
        """The answer; none of our errors gets out."""
        try:
            answer = await self._answer(request)
        except Refusal as no:
            answer = plain_answer(no)
        except InvalidInput:
            answer = plain_answer(Refusal(400))
        if not self._listener.is_open:
            answer.force_close()
        return answer

    async def _answer(self, request: web.BaseRequest) -> Answer:
        method, authority, target = self._head(request)
        path, _, query = target.partition("?")
        if target == "*":
            return _allowing(("OPTIONS",))
        site = self._listener.site(authority, path)
        if site.epoch != site.tenant.epoch:
            raise Refusal(503)  # Its actor begins anew, and what it knew of this server is over.
        is_socket = "Upgrade" in request.headers and _wants_socket(request)
        asked: Request = {
            "method": method,
            "uri": target,
            "headers": _headers(request.raw_headers),
            "body": None if is_socket else await _body(request, site),
        }
        try:
            if site.middlewares:
                chosen = await self._middlewares(site, path, asked)
                if chosen is not None:
                    return chosen
                method, path, query = asked["method"], *_parts(asked["uri"])
            if is_socket:
                return await self._socket(site, request, path, query)
            return await self._route(site, method, path, asked)
        except TheaterError as error:
            raise _refusal(error) from error

    # ---- the head

    def _head(self, request: web.BaseRequest) -> tuple[str, str, str]:
        """Method, host and target."""
        headers = request.headers
        raw = request.raw_headers
        target = request.raw_path
        if sum(map(_length, raw)) + len(target) > self._listener.bounds.max_head:
            raise Refusal(431, close=True)
        authority = headers.get("Host", "")
        if request.version not in _VERSIONS:
            raise Refusal(400, close=True)
        if _AUTHORITY.fullmatch(authority) is None:
            raise Refusal(400, close=True)
        if "Transfer-Encoding" in headers and (
            request.version != HttpVersion11 or headers["Transfer-Encoding"].lower() != "chunked"
        ):
            raise Refusal(400, close=True)
        if not target.startswith("/"):
            if request.method == "OPTIONS" and target == "*":
                return "OPTIONS", authority, target
            absolute = _ABSOLUTE.fullmatch(target)
            if absolute is None or request.method == "CONNECT" or absolute[1].lower() != authority.lower():
                raise Refusal(400, close=True)
            target = absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
        return request.method, authority, target

    # ---- the way to the actor

    async def _middlewares(self, site: Site, path: str, asked: Request) -> Answer | None:
        """Shows the request to the middlewares; the answer of the one that does not let it proceed."""
        for handler in site.middlewares_of(split(path)):
            (result,) = await site.tenant.call("handle-middleware", [handler, asked], site.timeout)
            proceed, told = result["proceed"], result["request"]
            if not proceed:
                return _chosen(site, told)
            asked.update(told)
            asked["method"] = asked["method"].upper()
            _parts(asked["uri"])
        return None

    async def _route(self, site: Site, method: str, path: str, asked: Request) -> Answer:
        found = site.routes.find(method, path)
        if found is None:
            raise Refusal(404)
        if isinstance(found, NotAllowed):
            if method == "OPTIONS":
                return _allowing(found.allow)
            raise Refusal(405, Allow=", ".join(found.allow))
        for name, value in found.params.items():
            asked["headers"].append((WILDCARD if name == "*" else PARAMETER + name.lower(), value))
        (told,) = await site.tenant.call("handle-request", [found.route.handler, asked], site.timeout)
        return _built(site, told["status"], told["headers"], told["body"])

    async def _socket(self, site: Site, request: web.BaseRequest, path: str, query: str) -> Answer:
        from theater.gateway.websocket import serve

        handlers = site.sockets_on(path)
        if handlers is None:
            raise Refusal(404)
        return await serve(site, handlers, request, path, query or None)


# ---- the request


def _length(header: tuple[bytes, bytes]) -> int:
    return len(header[0]) + len(header[1]) + 4


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Names in lower case, values as text; without those that only the gateway says."""
    found = []
    for name, value in raw:
        key = _lower(name)
        if not key.startswith(OURS):
            found.append((key, _text(value)))
    return found


@lru_cache(maxsize=1024)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _parts(uri: str) -> tuple[str, str]:
    path, _, query = uri.partition("?")
    split(path)
    return path, query


def _wants_socket(request: web.BaseRequest) -> bool:
    return request.headers["Upgrade"].lower() == "websocket"


async def _body(request: web.BaseRequest, site: Site) -> bytes | None:
    payload = request.content
    if payload is EMPTY_PAYLOAD:
        return None
    length = request.content_length
    if length is not None and length > site.limit:
        raise Refusal(413, close=True)
    if request.headers.get("Expect") is not None:
        await _continue(request)
    if payload.is_eof():  # It came with the head, as most do.
        data = payload.read_nowait(-1)
        if len(data) > site.limit:
            raise Refusal(413, close=True)
        return data or None
    try:
        async with asyncio.timeout(site.body_timeout):
            return await _read(payload, site.limit) or None
    except TimeoutError:
        raise Refusal(408, close=True) from None
    except web.RequestPayloadError:
        raise Refusal(400, close=True) from None


async def _read(payload: StreamReader, limit: int) -> bytes:
    pieces = []
    length = 0
    while piece := await payload.readany():
        length += len(piece)
        if length > limit:
            raise Refusal(413, close=True)
        pieces.append(piece)
    return b"".join(pieces)


async def _continue(request: web.BaseRequest) -> None:
    if request.headers["Expect"].lower() != "100-continue":
        raise Refusal(417, close=True)
    if request.version == HttpVersion11 and not request.content.is_eof():
        transport = request.transport
        if transport is not None:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


# ---- the answer


def _refusal(error: TheaterError) -> Refusal:
    """What the client is told."""
    match error:
        case InvalidInput():
            return Refusal(400)
        case NotThere() | MailboxFull():
            return Refusal(503)
        case TimedOut():
            return Refusal(504)
        case ActorDown():
            return Refusal(502)
        case ActorFailed():
            return Refusal(500)
    return Refusal(502)


def _allowing(methods: Sequence[str]) -> web.Response:
    return web.Response(status=204, headers={"Server": SERVER, "Allow": ", ".join(methods)})


def _chosen(site: Site, told: Request) -> Answer:
    """The answer of a middleware: the request that it returned, with a status in the place of the method. One that it
    returned as it was is no answer, and nothing of it goes back."""
    status = told["method"]
    if not (status.isascii() and status.isdecimal() and len(status) == 3):
        raise Refusal(DENIED)
    return _built(site, int(status), told["headers"], told["body"])


def _built(site: Site, status: int, headers: Sequence[Sequence[str]], body: bytes | None) -> Reply:
    """The actor's answer, if it is one."""
    if not 200 <= status <= 599:
        site.tenant.complain("an actor answered with what is no status", status=status)
        raise Refusal(500)
    fields: list[tuple[str, str]] = []
    for name, value in headers:
        key = _checked(name, value) if len(value) <= 256 else _checked.__wrapped__(name, value)
        if key is None:
            site.tenant.complain("an actor answered with what is no header", header=name[:100])
            raise Refusal(500)
        if key not in _NOT_THEIRS:
            fields.append((key, value))
    return Reply(status, fields, body or b"")


@lru_cache(maxsize=2048)
def _checked(name: str, value: str) -> str | None:
    """The name in lower case; None if this is no header: it could be the end of one and the beginning of others."""
    return name.lower() if _TOKEN.fullmatch(name) and _VALUE.fullmatch(value) else None


__all__ = ["DENIED", "OURS", "PARAMETER", "WILDCARD", "Exchange"]
