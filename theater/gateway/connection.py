"""One connection: aiohttp's protocol, with the bounds of time and size that it does not have itself.

It parses nothing: it counts the bytes that go into the parser until a head comes out of it, and the time. Some
attributes of aiohttp's protocol are used that are not documented (`_request_count`, `_messages`, `_upgraded`,
`_drain_helper`, `_make_error_handler`); tests/gateway/test_bad_requests.py fails where they mean something else.

A connection is looked at by `Listener.sweep`, once in a while and all together: a timer for each costs more than the
requests of most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http import HttpVersion10
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from theater.gateway.plain_answers import Refusal, plain_answer, raw_answer
from theater.gateway.reply import Reply

if TYPE_CHECKING:
    from theater.gateway.listener import Listener

_CLOSING_S = 10.0
"""How long a closed connection may take to have its last bytes taken."""

_LINGERING_S = 1.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to read why."""


class Connection(RequestHandler):
    """See the module.

    Attributes:
        line: the transport, also when aiohttp has let go of it.
    """

    __slots__ = (
        "_closing_since",
        "_head_bytes",
        "_head_since",
        "_listener",
        "_payload",
        "_seen",
        "_sending_since",
        "line",
    )

    def __init__(self, server: web.Server, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        bounds = listener.bounds
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=bounds.idle_timeout,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=bounds.max_head,
            max_field_size=bounds.max_head,
            max_headers=bounds.max_headers,
            lingering_time=_LINGERING_S,
            auto_decompress=False,
        )
        self._listener = listener
        self.line: asyncio.Transport | None = None
        self._payload: Any = None
        self._seen = 0
        self._head_bytes = 0
        self._head_since = self._sending_since = self._closing_since = 0.0

    # ---- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.line = cast(asyncio.Transport, transport)  # uvloop's are no subclass.
        self._head_since = self._loop.time()
        super().connection_made(transport)
        if not self._listener.takes(self):
            self._refuse(503)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._listener.lost(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._payload is None or self._payload.is_eof():
            self._head_bytes += len(data)
            if not self._head_since:
                self._head_since = self._loop.time()
        super().data_received(data)
        if self._request_count != self._seen:
            self._seen = self._request_count
            self._head_bytes, self._head_since = 0, 0.0
            self._payload = self._messages[-1][1] if self._messages else None
        elif self._head_bytes > self._listener.bounds.max_head and not self._is_upgraded:
            self._refuse(431)

    # ---- what aiohttp calls

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse | Reply, start_time: float | None
    ) -> tuple[Any, bool]:
        if isinstance(resp, Reply):
            if not self._upgraded:
                return resp, not await self._reply(request, resp)
            resp = resp.as_response()
        self._sending_since = self._loop.time()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._sending_since = 0.0

    async def _reply(self, request: web.BaseRequest, reply: Reply) -> bool:
        """Sends an answer; whether anybody is there to take it."""
        line = self.line
        if line is None or line.is_closing():
            return False
        is_old = request.version == HttpVersion10
        line.write(reply.bytes(is_head=request.method == "HEAD", is_old=is_old, keep_alive=request.keep_alive))
        if line.get_write_buffer_size():
            self._sending_since = self._loop.time()
            try:
                await self._drain_helper()  # Waits only for a client that takes much too little.
            except ConnectionError:
                return False
            finally:
                self._sending_since = 0.0
        return True

    def _make_error_handler(self, err_info: Any) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        status = 431 if isinstance(err_info.exc, LineTooLong) else 400

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            return plain_answer(Refusal(status, close=True))

        return handler

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """A defect of ours, which the client need not know; or a client that hung up while it was answered."""
        if isinstance(exc, ConnectionError):
            raise exc
        self._listener.log.error("a defect of the gateway", why=f"{type(exc).__name__}: {exc}")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        return plain_answer(Refusal(status, close=True))

    # ---- what the listener calls

    def sweep(self, now: float) -> None:
        """Ends what has lasted too long."""
        bounds, line = self._listener.bounds, self.line
        if line is None:
            return
        if line.is_closing():
            if not self._closing_since:
                self._closing_since = now
            elif now - self._closing_since > _CLOSING_S:
                line.abort()
        elif self._sending_since and now - self._sending_since > bounds.idle_timeout:
            line.abort()
        elif self._head_since and now - self._head_since > bounds.head_timeout and not self._is_upgraded:
            self._refuse(408)

    @property
    def _is_upgraded(self) -> bool:
        return self._payload_parser is not None

    def _refuse(self, status: int) -> None:
        """Answers what is not a request, or not yet, and ends the connection; a request before it may be running."""
        if self.line is not None and not self._request_in_progress:
            self.line.write(raw_answer(status))
        self._head_since = 0.0
        self.force_close()
