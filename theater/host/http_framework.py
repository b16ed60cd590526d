"""`theater:simple/http-framework`: servers, which the gateway carries out, and what they hand to which handler.

What an actor has set up belongs to the actor and not to one life of it: it is kept beside the chain, forgotten before
an init, and told the gateway whenever that knows nothing of it. The gateway is told of a whole server at a time, so
telling it again does no harm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from theater.core import http_routes
from theater.core.handlers import GATEWAY
from theater.core.http_routes import Route
from theater.core.permissions.http_framework import HttpFramework as Permissions
from theater.core.permissions.http_framework import plain_address
from theater.core.quantities import show
from theater.core.values import Case
from theater.errors import ServiceDown
from theater.host.base import Refused
from theater.host.otp import Circumstances
from theater.host.services import Services

PUT, DROP, ALL = "http-framework.put", "http-framework.drop", "http-framework.all"
SEND, CLOSE = "http-framework.send", "http-framework.close"
BROADCAST, CONNECTIONS = "http-framework.broadcast", "http-framework.connections"

ANY_SERVER = 0
"""In place of a server's number: the one that has the connection."""

MOST_SERVERS = 16
MOST_HANDLERS = 1000
MOST_ROUTES = 1000
MOST_MIDDLEWARES = 100
MOST_WEBSOCKETS = 100
LONGEST_NAME = 200
LONGEST_PATH = 4096

T = TypeVar("T")


class Kept(Protocol):
    """A value that outlives the life (theater/worker/kept.py)."""

    def get(self) -> Any: ...

    def put(self, value: Any) -> None: ...


@dataclass(slots=True)
class Server:
    """A server as it is kept, and as the gateway is told of it.

    Args:
        host: where it listens.
        port: as it was asked for.
        assigned: as it was got last; tried first when the server starts again.
        tls: paths of certificate and key.
        routes: number -> path, method, handler.
        middlewares: number -> path, handler; in the order of the numbers.
        websockets: path -> handlers for connect, message, disconnect.
    """

    id: int
    host: str
    port: int | None
    assigned: int = 0
    tls: list[str] | None = None
    running: bool = False
    routes: list[list[Any]] = field(default_factory=list)
    middlewares: list[list[Any]] = field(default_factory=list)
    websockets: list[list[Any]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(slots=True)
class _Setup:
    """All that an actor has set up.

    Args:
        epoch: the incarnation that began it; the servers of another epoch are others, whatever their ids.
        last: numbers given so far.
    """

    epoch: int
    last: int = 0
    handlers: dict[str, int] = field(default_factory=dict)
    servers: dict[int, Server] = field(default_factory=dict)

    def number(self) -> int:
        self.last += 1
        return self.last

    def plain(self) -> list[Any]:
        return [self.epoch, self.last, self.handlers, [server.plain() for server in self.servers.values()]]


class HttpFramework:
    """The interface.

    Args:
        granted: what the manifest says.
        circumstances: knows the incarnation.
    """

    def __init__(self, services: Services, kept: Kept, granted: Permissions, circumstances: Circumstances) -> None:
        self._services = services
        self._kept = kept
        self._granted = granted
        self._circumstances = circumstances
        services.on_up(GATEWAY, self._tell_all)

    # ---- servers

    def create_server(self, config: Mapping[str, Any]) -> int:
        setup = self._setup()
        host = plain_address(config["host"] or "127.0.0.1")
        port = config["port"] or None
        self._check_address(host, port)
        _room(setup.servers, MOST_SERVERS, "servers")
        tls = config["tls-config"]
        server = Server(setup.number(), host, port, tls=_paths(tls) if tls is not None else None)
        setup.servers[server.id] = server
        self._keep(setup)
        return server.id

    def get_server_info(self, server_id: int) -> dict[str, Any]:
        server = _server(self._setup(), server_id)
        return {
            "id": server.id,
            "port": server.assigned or server.port or 0,
            "host": server.host,
            "running": server.running,
            "routes-count": len(server.routes),
            "middleware-count": len(server.middlewares),
            "websocket-enabled": bool(server.websockets),
        }

    def start_server(self, server_id: int) -> int:
        setup = self._setup()
        server = _server(setup, server_id)
        if server.running:
            raise Refused(f"server {server_id} is running already, on port {server.assigned}")
        self._check_address(server.host, server.port)
        wanted = dataclasses.replace(server, running=True)
        port: int = self._services.ask(GATEWAY, PUT, [setup.epoch, wanted.plain()])
        server.running, server.assigned = True, port
        self._keep(setup)
        return port

    def stop_server(self, server_id: int) -> None:
        setup = self._setup()
        server = _server(setup, server_id)
        if not server.running:
            raise Refused(f"server {server_id} is not running")
        server.running = False
        self._keep(setup)
        self._tell(PUT, [setup.epoch, server.plain()])

    def destroy_server(self, server_id: int) -> None:
        setup = self._setup()
        server = _server(setup, server_id)
        del setup.servers[server.id]
        self._keep(setup)
        self._tell(DROP, [setup.epoch, server.id])

    # ---- handlers, routes, middlewares

    def register_handler(self, handler_name: str) -> int:
        setup = self._setup()
        known = setup.handlers.get(handler_name)
        if known is not None:
            return known
        if not 0 < len(handler_name) <= LONGEST_NAME:
            raise Refused(f"a handler's name has 1 to {LONGEST_NAME} characters")
        _room(setup.handlers, MOST_HANDLERS, "handlers")
        setup.handlers[handler_name] = number = setup.number()
        self._keep(setup)
        return number

    def add_route(self, server_id: int, path: str, method: str, handler_id: int) -> int:
        setup = self._setup()
        server = _server(setup, server_id)
        _check_handler(setup, handler_id)
        pattern, method = http_routes.pattern(path), http_routes.method(method)
        _room(server.routes, MOST_ROUTES, "routes")
        there = [Route(row[0], http_routes.pattern(row[1]), row[2], row[3]) for row in server.routes]
        other = http_routes.conflicting(there, pattern, method)
        if other is not None:
            raise Refused(f"route {other.number} of server {server_id} has {method} {other.pattern.text} already")
        number = setup.number()
        server.routes.append([number, path, method, handler_id])
        self._changed(setup, server)
        return number

    def remove_route(self, route_id: int) -> None:
        self._remove("route", "routes", route_id)

    def add_middleware(self, server_id: int, path: str, handler_id: int) -> int:
        setup = self._setup()
        server = _server(setup, server_id)
        _check_handler(setup, handler_id)
        http_routes.pattern(path)
        _room(server.middlewares, MOST_MIDDLEWARES, "middlewares")
        number = setup.number()
        server.middlewares.append([number, path, handler_id])
        self._changed(setup, server)
        return number

    def remove_middleware(self, middleware_id: int) -> None:
        self._remove("middleware", "middlewares", middleware_id)

    def _remove(self, what: str, table: str, number: int) -> None:
        setup = self._setup()
        for server in setup.servers.values():
            rows = getattr(server, table)
            kept = [row for row in rows if row[0] != number]
            if len(kept) < len(rows):
                setattr(server, table, kept)
                self._changed(setup, server)
                return
        raise Refused(f"there is no {what} {number}")

    # ---- websockets

    def enable_websocket(
        self,
        server_id: int,
        path: str,
        connect_handler_id: int | None,
        message_handler_id: int,
        disconnect_handler_id: int | None,
    ) -> None:
        setup = self._setup()
        server = _server(setup, server_id)
        handlers = connect_handler_id, message_handler_id, disconnect_handler_id
        for handler in handlers:
            if handler is not None:
                _check_handler(setup, handler)
        shape = http_routes.pattern(path).shape
        if any(http_routes.pattern(row[0]).shape == shape for row in server.websockets):
            raise Refused(f"server {server_id} accepts websockets on {show(path)} already")
        _room(server.websockets, MOST_WEBSOCKETS, "paths for websockets")
        server.websockets.append([path, *handlers])
        self._changed(setup, server)

    def disable_websocket(self, server_id: int, path: str) -> None:
        setup = self._setup()
        server = _server(setup, server_id)
        kept = [row for row in server.websockets if row[0] != path]
        if len(kept) == len(server.websockets):
            raise Refused(f"server {server_id} accepts no websockets on {show(path)}")
        server.websockets = kept
        self._changed(setup, server)

    def send_websocket_message(self, server_id: int, connection_id: int, message: Mapping[str, Any]) -> None:
        self._services.ask(GATEWAY, SEND, [self._server_or_any(server_id), connection_id, message])

    def close_websocket(self, server_id: int, connection_id: int) -> None:
        self._services.ask(GATEWAY, CLOSE, [self._server_or_any(server_id), connection_id])

    def _server_or_any(self, server_id: int) -> int:
        """No two connections have one number, so the server need not be said."""
        return _server(self._setup(), server_id).id if server_id != ANY_SERVER else ANY_SERVER

    def _broadcast(self, server_id: int, path: str, message: Mapping[str, Any]) -> int:
        server = _server(self._setup(), server_id)
        sent: int = self._services.ask(GATEWAY, BROADCAST, [server.id, path, message])
        return sent

    def _connections(self, server_id: int, path: str) -> list[int]:
        server = _server(self._setup(), server_id)
        there: list[int] = self._services.ask(GATEWAY, CONNECTIONS, [server.id, path])
        return there

    # ---- what is kept, and told

    def _setup(self) -> _Setup:
        """What is kept, as it is now: an init may have had it forgotten."""
        plain = self._kept.get()
        if plain is None:
            return _Setup(self._circumstances.me()["incarnation"])
        epoch, last, handlers, servers = plain
        return _Setup(epoch, last, dict(handlers), {row["id"]: Server(**_copied(row)) for row in servers})

    def _keep(self, setup: _Setup) -> None:
        self._kept.put(setup.plain())

    def _changed(self, setup: _Setup, server: Server) -> None:
        self._keep(setup)
        if server.running:
            self._tell(PUT, [setup.epoch, server.plain()])

    def _tell(self, op: str, args: list[Any]) -> None:
        """Tells the gateway of a change, if it is there; if not it is told of everything when it is."""
        try:
            self._services.ask(GATEWAY, op, args)
        except ServiceDown:
            pass

    def _tell_all(self) -> None:
        setup = self._setup()
        servers = [server.plain() for server in setup.servers.values()]
        ports = dict(self._services.ask(GATEWAY, ALL, [setup.epoch, servers]))
        moved = [
            server for server in setup.servers.values() if ports.get(server.id, server.assigned) != server.assigned
        ]
        for server in moved:
            server.assigned = ports[server.id]
        if moved:
            self._keep(setup)

    def _check_address(self, host: str, port: int | None) -> None:
        granted = self._granted
        is_granted = next(granted.ports(host), None) is not None if port is None else granted.may_listen(host, port)
        if not is_granted:
            where = f"{host}, port {port}" if port is not None else f"a port of {host}"
            allowed = ", ".join(granted.listen) or "no address"
            raise Refused(f"the manifest does not grant listening on {where}; [[handler]] listen has {allowed}")


class Websockets:
    """`theater:otp/websockets`: all connections of a path at once."""

    def __init__(self, framework: HttpFramework) -> None:
        self._framework = framework

    def broadcast_text(self, server_id: int, path: str, text: str) -> int:
        return self._framework._broadcast(server_id, path, {"ty": Case("text"), "text": text, "data": None})

    def broadcast_binary(self, server_id: int, path: str, data: bytes) -> int:
        return self._framework._broadcast(server_id, path, {"ty": Case("binary"), "text": None, "data": data})

    def connections(self, server_id: int, path: str) -> list[int]:
        return self._framework._connections(server_id, path)


def _server(setup: _Setup, number: int) -> Server:
    server = setup.servers.get(number)
    if server is None:
        raise Refused(f"there is no server {number}")
    return server


def _check_handler(setup: _Setup, number: int) -> None:
    if number not in setup.handlers.values():
        raise Refused(f"there is no handler {number}; register-handler gives one its number")


def _room(there: Any, most: int, what: str) -> None:
    if len(there) >= most:
        raise Refused(f"there may be {most} {what}")


def _paths(tls: Mapping[str, Any]) -> list[str]:
    paths = [tls["cert-path"], tls["key-path"]]
    for path in paths:
        if not path or len(path) > LONGEST_PATH or "\0" in path:
            raise Refused(f"{show(path)} is no path of a file")
    return paths


def _copied(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose tables may be changed without what is kept."""
    return {name: [*value] if isinstance(value, list) else value for name, value in row.items()}
