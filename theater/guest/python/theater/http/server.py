"""Servers: where they listen, and which methods of the actor they ask."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from theater._host import ask, interface
from theater.codecs import Json
from theater.errors import CallFailed
from theater.http._handlers import id_of
from theater.http.routes import Kind, marked, marks
from theater.http.sockets import websocket_message

_framework = interface("http_framework")
_types = interface("http_types")
_websockets = interface("websockets")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server is and does.

    Attributes:
        id: its id.
        host, port: where it listens.
        running: whether it does.
        routes: how many it has.
        middlewares: how many it has.
        websockets: whether any path accepts them.
    """

    id: int
    host: str
    port: int
    running: bool
    routes: int
    middlewares: int
    websockets: bool


class Server:
    """A server of this actor. It outlives a restart of the actor, with its routes, as long as the actor goes on with
    its state: keep its `id` there. Every method raises `CallFailed` when the host refuses.

    Args:
        id: of a server that there is; see `create`.
    """

    def __init__(self, id: int) -> None:
        self.id = id

    @classmethod
    def create(
        cls,
        port: int | None = None,
        host: str | None = None,
        *,
        certificate: str | None = None,
        key: str | None = None,
    ) -> "Server":
        """Makes a server, which does not listen yet.

        Args:
            port: where it will listen; one that is free if left out.
            host: the address; that of the loopback interface if left out.
            certificate, key: files; with them it speaks TLS.
        """
        tls = _types.TlsConfig(certificate, key) if certificate is not None and key is not None else None
        return cls(ask(_framework.create_server, _types.ServerConfig(port, host, tls)))

    def start(self) -> int:
        """Begins to listen and returns the port."""
        return ask(_framework.start_server, self.id)

    def stop(self) -> None:
        """Listens no more; it can be started again."""
        ask(_framework.stop_server, self.id)

    def destroy(self) -> None:
        """Ends the server, with its routes."""
        ask(_framework.destroy_server, self.id)

    def info(self) -> ServerInfo:
        """What it is and does."""
        found = ask(_framework.get_server_info, self.id)
        return ServerInfo(
            found.id,
            found.host,
            found.port,
            found.running,
            found.routes_count,
            found.middleware_count,
            found.websocket_enabled,
        )

    def add_all(self, actor: Any) -> None:
        """Gives the server every marked method of an actor."""
        sockets: dict[str, dict[Kind, int]] = {}
        for name, mark in marked(type(actor)):
            handler = id_of(getattr(actor, name))
            match mark.kind:
                case Kind.ROUTE:
                    ask(_framework.add_route, self.id, mark.path, mark.method, handler)
                case Kind.MIDDLEWARE:
                    ask(_framework.add_middleware, self.id, mark.path, handler)
                case kind:
                    sockets.setdefault(mark.path, {})[kind] = handler
        for path, of in sockets.items():
            if Kind.MESSAGE not in of:
                raise CallFailed(f"nothing is marked with websocket({path!r})")
            connect, disconnect = of.get(Kind.CONNECT), of.get(Kind.DISCONNECT)
            ask(_framework.enable_websocket, self.id, path, connect, of[Kind.MESSAGE], disconnect)

    def add_route(self, method: str, path: str, handler: Callable[..., Any]) -> int:
        """Sends requests to a method of the actor, which has a mark, be it for another path, and returns the route's
        id."""
        return ask(_framework.add_route, self.id, path, method.upper(), _id_of_marked(handler))

    def remove_route(self, route: int) -> None:
        """Removes a route by its id."""
        ask(_framework.remove_route, route)

    def add_middleware(self, path: str, handler: Callable[..., Any]) -> int:
        """Shows requests on a path and below it to a marked method of the actor first, and returns the middleware's
        id."""
        return ask(_framework.add_middleware, self.id, path, _id_of_marked(handler))

    def remove_middleware(self, middleware: int) -> None:
        """Removes a middleware by its id."""
        ask(_framework.remove_middleware, middleware)

    def add_websocket(
        self,
        path: str,
        message: Callable[..., Any],
        connect: Callable[..., Any] | None = None,
        disconnect: Callable[..., Any] | None = None,
    ) -> None:
        """Accepts websockets on a path; the methods of the actor must be marked."""
        opened = None if connect is None else _id_of_marked(connect)
        closed = None if disconnect is None else _id_of_marked(disconnect)
        ask(_framework.enable_websocket, self.id, path, opened, _id_of_marked(message), closed)

    def remove_websocket(self, path: str) -> None:
        """Accepts no more websockets on a path."""
        ask(_framework.disable_websocket, self.id, path)

    def send(self, connection: int, message: Any) -> None:
        """Sends a message to a websocket: text, bytes, or anything else as JSON text."""
        ask(_framework.send_websocket_message, self.id, connection, websocket_message(message))

    def close(self, connection: int) -> None:
        """Closes a websocket."""
        ask(_framework.close_websocket, self.id, connection)

    def broadcast(self, path: str, message: Any) -> int:
        """Sends a message to every websocket on a path, and returns to how many.

        Args:
            path: as it was marked.
            message: text, bytes, or anything else as JSON text.
        """
        if isinstance(message, bytes | bytearray | memoryview):
            return ask(_websockets.broadcast_binary, self.id, path, bytes(message))
        text = message if isinstance(message, str) else Json.encode(message).decode()
        return ask(_websockets.broadcast_text, self.id, path, text)

    def connections(self, path: str) -> list[int]:
        """The ids of the websockets on a path."""
        return ask(_websockets.connections, self.id, path)


def serve(
    actor: Any,
    port: int | None = None,
    host: str | None = None,
    *,
    certificate: str | None = None,
    key: str | None = None,
) -> Server:
    """Makes a server, gives it every marked method of the actor, and starts it: what most actors do in `init`.

    Args:
        actor: this actor, `self`.
        port, host, certificate, key: see `Server.create`.

    Raises:
        CallFailed: the manifest does not allow it, or the port is taken.
    """
    server = Server.create(port, host, certificate=certificate, key=key)
    server.add_all(actor)
    server.start()
    return server


def _id_of_marked(handler: Callable[..., Any]) -> int:
    if not marks(handler):
        raise ValueError(f"{handler.__name__} has no mark of theater.http, by which its next life would find it")
    return id_of(handler)
