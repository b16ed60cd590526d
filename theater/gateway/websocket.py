"""One websocket: its messages to the actor one after the other, and what the actor sends.

A client is not read while the actor is busy with what it sent, so it cannot send faster than the actor takes; what it
takes too slowly itself is bounded, and then the connection is cut. The actor hears of the end of every connection that
it was told of, once (`Tenant.farewell`).

    1000  the actor closed it            1009  a message was too long
    1001  the server, or the path, ended 1011  the actor failed, or died, with the message; or it refused the connection
    1007  text that is no UTF-8          1013  the actor has no time, or no life; try again
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from theater.core.values import Case
from theater.errors import Conflict, InvalidInput, LimitExceeded, MailboxFull, NotFound, TheaterError
from theater.gateway.open_sockets import Open
from theater.gateway.plain_answers import SERVER, Refusal
from theater.gateway.site import Site, SocketHandlers
from theater.gateway.tenant import NotThere

_HEARTBEAT_S = 30.0
"""A client that answers no ping for half of this is gone."""

_CLOSE_S = 2.0
_LONGEST_PING = 125
_KINDS = {WSMsgType.TEXT: "text", WSMsgType.BINARY: "binary"}


class Socket:
    """An open websocket.

    Attributes:
        number: the connection id.
        path: as it was enabled.
    """

    def __init__(self, site: Site, handlers: SocketHandlers, number: int, socket: web.WebSocketResponse) -> None:
        self.site = site
        self.number = number
        self.path = handlers.path
        self._handlers = handlers
        self._socket = socket
        self._line: asyncio.WriteTransport | None = None
        self._reading: asyncio.Task[Any] | None = None
        self._code: int | None = None

    def attach(self, line: asyncio.WriteTransport) -> None:
        """Bounds what waits for the client."""
        self._line = line
        line.set_write_buffer_limits(high=2 * self.site.granted.websocket_queue)  # `send` never waits.

    async def send(self, message: Mapping[str, Any]) -> None:
        """Sends a `websocket-message`.

        Raises:
            InvalidInput: it is none that can be sent.
            Conflict: the connection is closed.
            LimitExceeded: the client takes too little; the connection is cut.
        """
        kind, data = _to_send(message)
        socket, line = self._socket, self._line
        if socket.closed or line is None or self._code is not None:
            raise Conflict(f"websocket {self.number} is closed")
        waiting, allowed = line.get_write_buffer_size(), self.site.granted.websocket_queue
        if waiting and waiting + len(data) > allowed:
            line.abort()
            raise LimitExceeded(f"websocket {self.number} was cut: {waiting} bytes wait for its slow client")
        try:
            match kind:
                case "close":
                    self.close(WSCloseCode.OK)
                case "ping":
                    await socket.ping(data)
                case "pong":
                    await socket.pong(data)
                case "text":
                    await socket.send_str(data.decode())
                case _:
                    await socket.send_bytes(data)
        except (ConnectionError, RuntimeError) as error:
            raise Conflict(f"websocket {self.number} is closed") from error

    def close(self, code: int) -> None:
        """Has it closed, when the call that is running with one of its messages is over."""
        if self._code is None:
            self._code = code
            if self._reading is not None:
                self._reading.cancel()

    async def run(self, path: str, query: str | None) -> None:
        """Serves it to its end."""
        tenant, handlers = self.site.tenant, self._handlers
        open = Open(self.site.epoch, handlers.disconnect, self.number) if handlers.disconnect is not None else None
        if open is not None and tenant.open is not None:
            tenant.open.add(open)
        knows = handlers.connect is None
        try:
            if handlers.connect is not None:
                params = [handlers.connect, self.number, path, query]
                await tenant.call("handle-websocket-connect", params, self.site.timeout)
                knows = True
            while self._code is None and (message := await self._receive()) is not None:
                await self._take(*message)
        except TheaterError as error:
            self._code = self._code or _code(error)
        finally:
            tenant.sockets.pop(self.number, None)
            if open is not None and knows:
                tenant.farewell(open)
            elif open is not None and tenant.open is not None:
                tenant.open.remove(self.number)
        if self._code is not None:
            await self._socket.close(code=self._code, drain=False)

    async def _receive(self) -> tuple[str, Any] | None:
        """Kind and content of the next message; None when there is none to come."""
        self._reading = task = asyncio.current_task()
        try:
            message = await self._socket.receive()
        except asyncio.CancelledError:
            if self._code is None or task is None:
                raise
            task.uncancel()  # By `close`.
            return None
        finally:
            self._reading = None
        kind = _KINDS.get(message.type)
        return None if kind is None else (kind, message.data)

    async def _take(self, kind: str, data: Any) -> None:
        text, binary = (data, None) if kind == "text" else (None, data)
        message = {"ty": Case(kind), "data": binary, "text": text}
        params = [self._handlers.message, self.number, message]
        (answers,) = await self.site.tenant.call("handle-websocket-message", params, self.site.timeout)
        for answer in answers:
            try:
                await self.send(answer)
            except (InvalidInput, Conflict, LimitExceeded) as error:
                self.site.tenant.complain("an answer could not be sent to a websocket", error=error.message)


async def serve(
    site: Site, handlers: SocketHandlers, request: web.BaseRequest, path: str, query: str | None
) -> web.StreamResponse:
    """Accepts a websocket and serves it to its end.

    Raises:
        Refusal: the request is not what a websocket begins with.
    """
    socket = web.WebSocketResponse(
        timeout=_CLOSE_S, heartbeat=_HEARTBEAT_S, max_msg_size=site.message_limit + 1, compress=False
    )
    if request.method != "GET" or request.can_read_body or not _can_begin(socket, request):
        raise Refusal(400, close=True)
    socket.headers["Server"] = SERVER
    line = request.transport
    await socket.prepare(request)
    if line is None:
        return socket
    connection = Socket(site, handlers, site.tenant.numbers.next(), socket)
    connection.attach(line)
    site.tenant.sockets[connection.number] = connection
    await connection.run(path, query)
    return socket


def _can_begin(socket: web.WebSocketResponse, request: web.BaseRequest) -> bool:
    """Whether the request is a handshake. aiohttp fails at headers that are no text: the key, and what it repeats."""
    try:
        return socket.can_prepare(request).ok
    except ValueError:
        return False


def _to_send(message: Mapping[str, Any]) -> tuple[str, bytes]:
    """Kind and bytes."""
    kind = message["ty"].name
    text, data = message["text"], message["data"]
    if kind == "text":
        if text is None:
            raise InvalidInput("a text message needs its text")
        return kind, text.encode()
    if kind == "binary":
        if data is None:
            raise InvalidInput("a binary message needs its data")
        return kind, data
    if kind in ("ping", "pong"):
        found = data if data is not None else (text or "").encode()
        if len(found) > _LONGEST_PING:
            raise InvalidInput(f"a {kind} carries at most {_LONGEST_PING} bytes")
        return kind, found
    if kind == "close":
        return kind, b""
    raise InvalidInput(f"a message of the kind {kind} cannot be sent; allowed: text, binary, ping, pong, close")


def _code(error: TheaterError) -> int:
    match error:
        case NotThere() | MailboxFull():
            return WSCloseCode.TRY_AGAIN_LATER
        case NotFound():
            return WSCloseCode.GOING_AWAY
    return WSCloseCode.INTERNAL_ERROR
