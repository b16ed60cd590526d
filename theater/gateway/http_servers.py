"""The desk of `http-framework`: servers as the workers tell of them, on the listeners that they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode

from theater.core.http_sharing import claim
from theater.core.permissions.http_framework import HttpFramework as Permissions
from theater.errors import Conflict, InvalidInput, LimitExceeded, NotFound, TheaterError
from theater.gateway.certificates import Certificate, granted_files
from theater.gateway.lent_files import Opened, opened_directly
from theater.gateway.listener import Listener
from theater.gateway.numbers import Numbers
from theater.gateway.site import Site
from theater.gateway.tenant import PATIENCE_S, Tenant
from theater.host.http_framework import ANY_SERVER
from theater.service.admitted import Admitted
from theater.service.office import Office, Operation

HANDLER = "http-framework"
DRAIN_S = 10.0
"""How long what is being answered may take when its server ends."""

LAST_DRAIN_S = 3.0
"""The same, when the gateway ends."""

_RETRY_S = 1.0
"""How often it is tried to get a port back that another program has."""


class HttpServers:
    """The desk.

    Args:
        sockets: the folder in which open websockets are written down, so that the next gateway knows them.
        opened: how files of certificates are opened.
    """

    def __init__(self, office: Office, sockets: Path, opened: Opened = opened_directly) -> None:
        self._office = office
        self._written = sockets
        self._opened = opened
        self._tenants: dict[str, Tenant] = {}
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._numbers = Numbers(time.time_ns)
        self._draining: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()

    # ---- as a desk

    @property
    def ops(self) -> Mapping[str, Operation]:
        return {
            "http-framework.put": self._put,
            "http-framework.drop": self._drop,
            "http-framework.all": self._all,
            "http-framework.send": self._send,
            "http-framework.close": self._close_socket,
            "http-framework.broadcast": self._broadcast,
            "http-framework.connections": self._connections,
        }

    def admitted(self, life: Admitted) -> None:
        if HANDLER not in life.permissions:
            return
        tenant = self._tenants.get(life.actor)
        if tenant is None:
            tenant = self._tenants[life.actor] = Tenant(
                self._office, life.actor, self._numbers, self._written / life.actor
            )
        tenant.begins(life)

    def dismissed(self, life: Admitted, for_good: bool) -> None:
        tenant = self._tenants.get(life.actor)
        if tenant is None:
            return
        tenant.ends(for_good=for_good)
        if for_good:
            del self._tenants[life.actor]
            for site in [*tenant.sites.values(), *tenant.left_over]:
                self._end(site)
            tenant.left_over.clear()

    async def close(self) -> None:
        for tenant in self._tenants.values():
            for socket in list(tenant.sockets.values()):
                socket.close(WSCloseCode.GOING_AWAY)
        listeners, self._listeners = list(self._listeners.values()), {}
        for listener in listeners:
            listener.close()
        await asyncio.gather(*(listener.drain(LAST_DRAIN_S) for listener in listeners))
        if self._draining:
            await asyncio.wait(self._draining, timeout=LAST_DRAIN_S)

    # ---- servers

    async def _put(self, life: Admitted, args: Sequence[Any], deadline: float) -> int:
        plain = args[1]
        tenant = self._tenant(life)
        async with self._opening:
            port = await self._bring(tenant, plain)
        self._announce(tenant)
        return port

    async def _drop(self, life: Admitted, args: Sequence[Any], deadline: float) -> None:
        tenant = self._tenant(life)
        site = tenant.sites.get(args[1])
        if site is not None:
            self._end(site)
            self._announce(tenant)

    async def _all(self, life: Admitted, args: Sequence[Any], deadline: float) -> list[list[int]]:
        """All servers of an actor; what is not among them is over."""
        epoch, servers = args
        tenant = self._tenant(life)
        running = {plain["id"] for plain in servers if plain["running"]}
        for site in list(tenant.sites.values()):
            if site.epoch != epoch:
                self._leave_over(site)
            elif site.number not in running:
                self._end(site)
        tenant.is_up(epoch)
        ports = []
        for plain in servers:
            if plain["running"]:
                try:
                    async with self._opening:
                        ports.append([plain["id"], await self._bring(tenant, plain)])
                except TheaterError as error:
                    self._office.log.error("a server is not there any more", actor=life.actor, why=error.message)
                    self._later(tenant, life, epoch, plain)
        self._announce(tenant)
        return ports

    def _later(self, tenant: Tenant, life: Admitted, epoch: int, plain: dict[str, Any]) -> None:
        """Tries again what the same life would have to ask for: another program may let go of the port."""

        async def again() -> None:
            while True:
                await asyncio.sleep(_RETRY_S)
                if tenant.life is not life or tenant.epoch != epoch or plain["id"] in tenant.sites:
                    return
                try:
                    async with self._opening:
                        await self._bring(tenant, plain)
                except TheaterError:
                    continue
                self._announce(tenant)
                return

        task = asyncio.create_task(again())
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _bring(self, tenant: Tenant, plain: dict[str, Any]) -> int:
        """Makes a server what its worker says it is; the port that it listens on, 0 if it does not."""
        site = tenant.sites.get(plain["id"])
        if not plain["running"]:
            if site is not None:
                self._end(site)
            return 0
        if site is None:
            return await self._begin(tenant, plain)
        site.change(plain)
        for socket in list(tenant.sockets.values()):
            if socket.site is site and not site.takes_sockets(socket.path):
                socket.close(WSCloseCode.GOING_AWAY)
        return next(port for (_, port), listener in self._listeners.items() if site in listener.sites)

    async def _begin(self, tenant: Tenant, plain: dict[str, Any]) -> int:
        granted = tenant.permissions
        assert tenant.life is not None
        certificate = None
        if plain["tls"] is not None:
            beside = tenant.life.where.parent
            certificate = Certificate(granted_files(plain["tls"], granted.certificates, beside), self._opened)
        site = Site(tenant, plain, claim(granted.hosts, granted.prefixes), certificate)
        listener = self._take_over(site, plain) or await self._listen(site, plain, granted)
        tenant.sites[site.number] = site
        return listener.port

    async def _listen(self, site: Site, plain: Mapping[str, Any], granted: Permissions) -> Listener:
        """The listener that a server is behind from now on."""
        host, error = plain["host"], None
        for port in _ports(plain, granted):
            shared = self._listeners.get((host, port))
            try:
                if shared is not None:
                    shared.join(site)
                    return shared
                listener = Listener(host, self._office.log)
                await listener.open(port, site)
            except Conflict as taken:
                error = error or taken
                continue
            self._listeners[host, listener.port] = listener
            return listener
        raise error or InvalidInput(f"the manifest does not grant listening on {host}")

    def _leave_over(self, site: Site) -> None:
        """The actor began anew: what it makes in a moment takes over the listener, and nobody is hung up on."""
        tenant = site.tenant
        self._hang_up(site)
        tenant.left_over.append(site)

        def end() -> None:
            if site in tenant.left_over:
                tenant.left_over.remove(site)
                self._end(site)

        asyncio.get_running_loop().call_later(PATIENCE_S, end)

    def _take_over(self, site: Site, plain: Mapping[str, Any]) -> Listener | None:
        """The listener of a server of an earlier init, if this is the same one again as far as clients see."""
        for old in site.tenant.left_over:
            for (host, port), listener in self._listeners.items():
                is_here = old in listener.sites and host == plain["host"] and plain["port"] in (None, port)
                if is_here and old.claim == site.claim and old.certificate is site.certificate is None:
                    site.tenant.left_over.remove(old)
                    listener.replace(old, site)
                    return listener
        return None

    def _hang_up(self, site: Site) -> None:
        """Ends what belongs to a server and no other one."""
        if site.tenant.sites.get(site.number) is site:
            del site.tenant.sites[site.number]
        for socket in list(site.tenant.sockets.values()):
            if socket.site is site:
                socket.close(WSCloseCode.GOING_AWAY)

    def _end(self, site: Site) -> None:
        """Takes no more requests for a server; those that run are answered."""
        self._hang_up(site)
        for place, listener in list(self._listeners.items()):
            if site in listener.sites and listener.leave(site):
                del self._listeners[place]
                listener.close()
                task = asyncio.create_task(listener.drain(DRAIN_S))
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)

    def _announce(self, tenant: Tenant) -> None:
        listens = [
            f"{_scheme(site)}://{_authority(host)}:{port} (server {site.number})"
            for (host, port), listener in self._listeners.items()
            for site in listener.sites
            if site.tenant is tenant and site not in tenant.left_over
        ]
        if listens != tenant.announced:
            tenant.announced = listens
            self._office.announce(tenant.actor, {"listens": listens} if listens else {})

    # ---- websockets

    async def _send(self, life: Admitted, args: Sequence[Any], deadline: float) -> None:
        server, number, message = args
        await self._socket(life, server, number).send(message)

    async def _close_socket(self, life: Admitted, args: Sequence[Any], deadline: float) -> None:
        server, number = args
        self._socket(life, server, number).close(WSCloseCode.OK)

    async def _broadcast(self, life: Admitted, args: Sequence[Any], deadline: float) -> int:
        server, path, message = args
        sent = 0
        for socket in self._sockets(life, server, path):
            try:
                await socket.send(message)
                sent += 1
            except (Conflict, LimitExceeded):
                continue  # It is gone, or cut off: the actor hears of that.
        return sent

    async def _connections(self, life: Admitted, args: Sequence[Any], deadline: float) -> list[int]:
        server, path = args
        return [socket.number for socket in self._sockets(life, server, path)]

    def _sockets(self, life: Admitted, server: int, path: str) -> list[Any]:
        tenant = self._tenant(life)
        site = tenant.sites.get(server)
        if site is None or not site.takes_sockets(path):
            raise NotFound(f"server {server} is not running, or accepts no websockets on {path}")
        return [socket for socket in tenant.sockets.values() if socket.site is site and socket.path == path]

    def _socket(self, life: Admitted, server: int, number: int) -> Any:
        socket = self._tenant(life).sockets.get(number)
        if socket is None or server not in (ANY_SERVER, socket.site.number):
            where = f"server {server} has" if server != ANY_SERVER else "there is"
            raise NotFound(f"{where} no websocket {number}; it may be closed already")
        return socket

    def _tenant(self, life: Admitted) -> Tenant:
        tenant = self._tenants.get(life.actor)
        if tenant is None:
            raise InvalidInput('the manifest does not grant this; add [[handler]] type = "http-framework"')
        return tenant


def _ports(plain: Mapping[str, Any], granted: Permissions) -> list[int]:
    """The ports to try; if any will do, first the one that it had. Checked here, too: a worker's word is not taken for
    it."""
    host, port, before = plain["host"], plain["port"], plain["assigned"]
    if port is not None:
        return [port] if granted.may_listen(host, port) else []
    again = [before] if before and granted.may_listen(host, before) else []
    return again + [one for one in granted.ports(host) if one not in again]


def _scheme(site: Site) -> str:
    return "http" if site.certificate is None else "https"


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host else host


__all__ = ["HttpServers"]
