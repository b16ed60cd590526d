"""Connections of the http client: to addresses that the actor may reach, and to no other.

A name is looked up here and nowhere else, and each socket is made for the very address that it then connects to, after
that was looked at; so what a name meant a moment ago does not matter. Each life of an actor has its own connections:
one that was made by the grants of somebody else is not there to be used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from theater.core.addresses import Grant, refusal
from theater.errors import InvalidInput

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a name and port; raises OSError."""

_LOOKUPS: Final = 4
"""Names that one life may have looked up at a time; who stops waiting leaves a thread that still does."""

_CONNECTIONS: Final = 16
_MAX_FIELD: Final = 16 * 1024


class _Directory(AbstractResolver):
    """Names, as far as they lead to what may be connected to."""

    def __init__(self, lookup: Lookup, grants: tuple[Grant, ...]) -> None:
        self._lookup = lookup
        self._grants = grants

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [address.partition("%")[0] for address in await self._lookup(host, port)]
        kinds = {address: refusal(ip_address(address), port, self._grants) for address in found}
        permitted = [address for address in found if kinds[address] is None]
        if found and not permitted:
            raise refused(found[0], kinds[found[0]] or "", port, host)
        return [_result(host, address, port) for address in permitted]

    async def close(self) -> None:
        """Has nothing to close."""


def refused(address: str, kind: str, port: int, host: str) -> InvalidInput:
    """The error about an address that may not be connected to."""
    name = "" if host.strip("[]") == address else f"{host} is {address}; "
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return InvalidInput(
        f"{name}the address {shown} ({kind}) is not granted; "
        f'if the actor is to reach it, its manifest says private = ["{shown}"]'
    )


def session(lookup: Lookup, grants: tuple[Grant, ...], tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """Connections of one life.

    Args:
        lookup: finds addresses of names.
        grants: what of addresses that are not everybody's it may connect to.
        tls: how servers prove who they are.
    """

    def made_for(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        address, port = str(place[0]), int(place[1])
        why = refusal(ip_address(address), port, grants)
        if why is not None:
            raise refused(address, why, port, address)
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        limit=_CONNECTIONS,
        resolver=_Directory(lookup, grants),
        socket_factory=made_for,
        ssl=tls,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # It knows no bound; theater/gateway/bodies.py does.
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("Content-Type", "User-Agent"),
        max_line_size=_MAX_FIELD,
        max_field_size=_MAX_FIELD,
    )


def tls() -> ssl.SSLContext:
    """Servers are proven by the authorities of the machine (`SSL_CERT_FILE` names others)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def system_lookup() -> Lookup:
    """Names as the machine resolves them, for one life."""
    free = asyncio.Semaphore(_LOOKUPS)

    async def lookup(host: str, port: int) -> Sequence[str]:
        await free.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()

        def done(addresses: Sequence[str] | OSError) -> None:
            free.release()
            if found.cancelled():
                return
            if isinstance(addresses, OSError):
                found.set_exception(addresses)
            else:
                found.set_result(addresses)

        def look() -> None:
            answer = _addresses(host, port)
            try:
                loop.call_soon_threadsafe(done, answer)
            except RuntimeError:
                pass  # The gateway ended meanwhile.

        # A pool of threads would be waited for when the process ends, and a resolver takes its time.
        threading.Thread(target=look, daemon=True, name="lookup").start()
        return await found

    return lookup


def _addresses(host: str, port: int) -> Sequence[str] | OSError:
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        return error
    except UnicodeError as error:
        return OSError(str(error))
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _result(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
