"""One address and port, and the servers behind it: which of them a request belongs to, and bounds for all."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from theater.core.http_routes import split
from theater.core.http_sharing import overlap, plain_host
from theater.errors import Conflict, InvalidInput, TheaterError
from theater.gateway.certificates import Certificate
from theater.gateway.connection import Connection
from theater.gateway.exchange import Exchange
from theater.gateway.plain_answers import Refusal
from theater.gateway.site import Site
from theater.log import Logger

SWEEP_S = 0.25
RENEW_S = 1.0
"""How often files of certificates are looked at."""

_BACKLOG = 1024
_HANDSHAKE_S = 10.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a connection; see theater/core/permissions/http_framework.py. Times in seconds."""

    connections: int
    max_head: int
    max_headers: int
    head_timeout: float
    idle_timeout: float


_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Door(web.Server):
    """aiohttp's server with connections of our own."""

    def __init__(self, listener: Listener, exchange: Exchange) -> None:
        super().__init__(cast(_Handler, exchange.answer))  # `Connection` sends a `Reply` itself.
        self._listener = listener

    def __call__(self) -> Connection:
        return Connection(self, self._listener, self._loop)


class Listener:
    """See the module. `open` comes first.

    Attributes:
        bounds: the widest of those that share it: before a head is read nobody knows whose it is.
        is_open: whether new connections are taken.
    """

    def __init__(self, host: str, log: Logger) -> None:
        self.host = host
        self.port = 0
        self.log = log
        self.is_open = False
        self.sites: list[Site] = []
        self._connections: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._only: Site | None = None
        self._certificate: Certificate | None = None
        self._looked = 0.0
        self._sweeping: asyncio.TimerHandle | None = None

    # ---- its life

    async def open(self, port: int, first: Site) -> None:
        """Listens.

        Raises:
            Conflict: the port is taken.
            InvalidInput: the system does not allow it.
        """
        self._certificate = first.certificate
        context = first.certificate.context if first.certificate is not None else None
        if context is not None:
            context.sni_callback = self._pick
        self.sites = [first]
        self._settle()
        tls: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": _HANDSHAKE_S} if context is not None else {}
        door = _Door(self, Exchange(self))
        try:
            self._server = await self._loop.create_server(door, self.host, port, backlog=_BACKLOG, **tls)
        except OSError as error:
            raise _why_not(error, self.host, port) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self.is_open = True
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        """Takes no more connections; those that there are go on."""
        self.is_open = False
        if self._server is not None:
            self._server.close()
            self._server = None

    async def drain(self, seconds: float) -> None:
        """Ends all connections: what is being answered is answered, if that takes no longer than this."""
        connections = list(self._connections)
        for connection in connections:
            connection.close()  # Those that wait for a request do so no longer.
        await asyncio.gather(*(connection.shutdown(seconds) for connection in connections))
        deadline = self._loop.time() + seconds
        while self._connections and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._connections):
            if connection.line is not None:
                connection.line.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()

    # ---- who shares it

    def join(self, site: Site) -> None:
        """Lets another server in.

        Raises:
            Conflict: a request could belong to it and to another one.
            InvalidInput: one of them speaks TLS and the other does not.
        """
        for other in self.sites:
            common = overlap(other.claim, site.claim)
            if common is not None:
                raise Conflict(
                    f"port {self.port} of {self.host} is taken: {common} is answered by {_name(other)}; several actors "
                    f"share a port by hosts or prefixes in their manifests"
                )
        if (self._certificate is None) != (site.certificate is None):
            raise InvalidInput(f"port {self.port} of {self.host} is shared, and one cannot speak TLS without the other")
        self.sites.append(site)
        self._settle()

    def leave(self, site: Site) -> bool:
        """Takes a server out; says whether there is none left."""
        self.sites.remove(site)
        if self.sites:
            self._settle()
        return not self.sites

    def replace(self, site: Site, other: Site) -> None:
        """Puts a server in the place of one with the same claim."""
        self.sites[self.sites.index(site)] = other
        self._settle()

    def _settle(self) -> None:
        granted = [site.granted for site in self.sites]
        self._only = self.sites[0] if len(self.sites) == 1 and self.sites[0].claim.is_everything else None
        self.bounds = Bounds(
            connections=sum(one.connections for one in granted),
            max_head=max(one.max_head for one in granted),
            max_headers=max(one.max_headers for one in granted),
            head_timeout=max(one.head_timeout for one in granted) / 1000,
            idle_timeout=max(one.idle_timeout for one in granted) / 1000,
        )

    def site(self, authority: str, path: str) -> Site:
        """Whose a request is.

        Raises:
            Refusal, InvalidInput: nobody's.
        """
        if self._only is not None:
            return self._only
        host, segments = plain_host(authority), split(path)
        for site in self.sites:
            if site.claim.covers(host, segments):
                return site
        is_host = any(not site.claim.hosts or host in site.claim.hosts for site in self.sites)
        raise Refusal(404 if is_host else 421)

    def _pick(self, line: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """The certificate of the host that a client wants; of the first one if it does not say."""
        for site in self.sites:
            if name is not None and name.lower() in site.claim.hosts and site.certificate is not None:
                line.context = site.certificate.context

    # ---- connections

    def takes(self, connection: Connection) -> bool:
        self._connections.add(connection)
        return self.is_open and len(self._connections) <= self.bounds.connections

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._connections):
            connection.sweep(now)
        if now - self._looked > RENEW_S:
            self._looked = now
            self._renew()
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    def _renew(self) -> None:
        certificates = {id(site.certificate): site for site in self.sites if site.certificate is not None}
        for site in certificates.values():
            assert site.certificate is not None
            try:
                if site.certificate.renew():
                    self.log.info("a certificate was renewed", actor=site.tenant.actor, port=self.port)
            except TheaterError as error:
                why = error.message
                self.log.error("a certificate cannot be renewed; the old one stays", actor=site.tenant.actor, why=why)


def _name(site: Site) -> str:
    life = site.tenant.life
    return f"server {site.number} of {life.name if life is not None else site.tenant.actor}"


def _why_not(error: OSError, host: str, port: int) -> TheaterError:
    where = f"port {port} of {host}"
    match error.errno:
        case errno.EADDRINUSE:
            return Conflict(f"{where} is taken by another program")
        case errno.EACCES | errno.EPERM:
            return InvalidInput(f"the system does not let this server listen on {where}")
        case errno.EADDRNOTAVAIL:
            return InvalidInput(f"this machine has no address {host}")
        case errno.EMFILE | errno.ENFILE:
            return Conflict(f"{where} cannot be listened on: there are too many connections already")
    return InvalidInput(f"cannot listen on {where}: {os.strerror(error.errno) if error.errno else error}")


__all__ = ["Bounds", "Listener"]
