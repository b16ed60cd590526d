"""A running server of an actor, ready to be asked: who answers what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from theater.core import http_routes
from theater.core.http_routes import ANY, Match, Pattern, Route, Routes
from theater.core.http_sharing import Claim
from theater.core.permissions.http_framework import HttpFramework as Permissions
from theater.gateway.certificates import Certificate
from theater.gateway.tenant import Tenant


@dataclass(frozen=True, slots=True)
class SocketHandlers:
    """Who is told of websockets of one path; None for nobody."""

    path: str
    connect: int | None
    message: int
    disconnect: int | None


class Site:
    """See the module.

    Args:
        plain: the server as its worker tells of it (theater/host/http_framework.py).

    Attributes:
        limit: bytes of a request's body.
        timeout: seconds until the actor has answered; None for its own usual time.
    """

    def __init__(self, tenant: Tenant, plain: Mapping[str, Any], claim: Claim, certificate: Certificate | None) -> None:
        assert tenant.life is not None
        limits = tenant.life.limits
        self.tenant = tenant
        self.epoch = tenant.epoch
        self.number: int = plain["id"]
        self.claim = claim
        self.certificate = certificate
        self.granted: Permissions = tenant.permissions
        self.limit = min(self.granted.max_body, limits.message)
        self.message_limit = min(self.granted.websocket_message, limits.message)
        self.body_timeout = self.granted.body_timeout / 1000
        self.timeout = self.granted.timeout / 1000 if self.granted.timeout is not None else None
        self.is_open = True
        self.change(plain)

    def change(self, plain: Mapping[str, Any]) -> None:
        """Takes over other routes."""
        self.routes = Routes(
            Route(number, http_routes.pattern(path), http_routes.method(method), handler)
            for number, path, method, handler in plain["routes"]
        )
        self.middlewares = [(http_routes.pattern(path), handler) for _, path, handler in plain["middlewares"]]
        self._sockets = {row[0]: SocketHandlers(*row) for row in plain["websockets"]}
        rows = list(self._sockets.values())
        self._socket_paths = Routes(Route(at, http_routes.pattern(row.path), ANY, at) for at, row in enumerate(rows))
        self._socket_rows = rows

    def sockets_on(self, path: str) -> SocketHandlers | None:
        """Who takes websockets on the path of a request, if anybody does. Raises InvalidInput."""
        found = self._socket_paths.find("GET", path)
        return self._socket_rows[found.route.handler] if isinstance(found, Match) else None

    def takes_sockets(self, path: str) -> bool:
        """Whether websockets are accepted on a path as it was enabled."""
        return path in self._sockets

    def middlewares_of(self, segments: tuple[str, ...]) -> list[int]:
        """The handlers that are shown a request first, in order."""
        return [handler for path, handler in self.middlewares if _covers(path, segments)]


def _covers(path: Pattern, segments: tuple[str, ...]) -> bool:
    return http_routes.is_below(segments, path)
