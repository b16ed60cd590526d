"""An actor's answer as bytes, put together at once: aiohttp's own responses can do much that no actor's answer needs,
and cost more than all the rest of a request here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

from theater.gateway.plain_answers import SERVER

_NO_LENGTH = frozenset({204, 304})
_UNTYPED = b"content-type: application/octet-stream\r\n"


class Reply:
    """A whole answer.

    Args:
        status: from 200 to 599.
        headers: names and values that have been checked; none that is the connection's business.
        body: of 204 and 304 it is not sent.

    Attributes:
        keep_alive: whether the connection goes on; None for what the client wants.
    """

    __slots__ = ("_body", "_headers", "keep_alive", "status")

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.keep_alive: bool | None = None
        self._headers = headers
        self._body = body

    def as_response(self) -> web.Response:
        """The same for aiohttp to send, which knows what to do after an upgrade that was asked for and declined."""
        body = None if self.status in _NO_LENGTH else self._body
        headers = CIMultiDict([("server", SERVER), *self._headers])
        response = web.Response(status=self.status, headers=headers, body=body)
        if self.keep_alive is False:
            response.force_close()
        return response

    def force_close(self) -> None:
        self.keep_alive = False

    def bytes(self, *, is_head: bool, is_old: bool, keep_alive: bool) -> bytes:
        """What is sent; settles `keep_alive`.

        Args:
            is_head: the request was HEAD.
            is_old: its version was HTTP/1.0.
            keep_alive: the client would go on.
        """
        if self.keep_alive is None:
            self.keep_alive = keep_alive
        body = b"" if self.status in _NO_LENGTH else self._body
        lines = [_first(self.status), _moment(int(time.time()))]
        names = set()
        for name, value in self._headers:
            names.add(name)
            lines.append(_line(name, value) if len(value) <= _SHORT else _line.__wrapped__(name, value))
        if body and "content-type" not in names:
            lines.append(_UNTYPED)
        if "server" not in names:
            lines.append(_SERVER)
        if self.status not in _NO_LENGTH:
            lines.append(b"content-length: %d\r\n" % len(body))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif is_old:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        if not is_head:
            lines.append(body)
        return b"".join(lines)


_SHORT = 256
_SERVER = f"server: {SERVER}\r\n".encode()


@lru_cache(maxsize=2048)
def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode()


@lru_cache(maxsize=512)
def _first(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


@lru_cache(maxsize=2)
def _moment(second: int) -> bytes:
    return f"date: {formatdate(second, usegmt=True)}\r\n".encode()
