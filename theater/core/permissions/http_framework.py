"""Where an actor may listen, for what, and how much of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from posixpath import join, normpath
from typing import Self

from theater.core import schema
from theater.core.http_routes import is_below, pattern
from theater.core.permissions import Asked
from theater.core.quantities import GIB, KIB, MIB, show, show_size
from theater.core.schema import Place, key
from theater.errors import InvalidInput

EVERY_ADDRESS = "*"
_SECOND, _HOUR = 1000, 3_600_000
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, slots=True)
class Listen:
    """Addresses and ports that may be listened on.

    Args:
        address: an IP address, or `*` for every one.
        first, last: ports; 0 to 65535 for every one, and then for one that is free, too.
    """

    address: str
    first: int
    last: int

    @property
    def is_any_port(self) -> bool:
        return self.first == 0

    def covers(self, other: Self) -> bool:
        """Whether all that `other` allows is allowed by this."""
        is_there = self.address in (EVERY_ADDRESS, other.address)
        return is_there and self.first <= other.first and other.last <= self.last


def plain_address(text: str) -> str:
    """An IP address in its one form; `localhost` is 127.0.0.1.

    Raises:
        InvalidInput: it is none. Other names are not looked up: what they mean is not the manifest's to say.
    """
    if text == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise InvalidInput(f"{show(text)} is no IP address") from None


def listen(text: str) -> Listen:
    """Reads `ADDRESS:PORT`.

    Raises:
        InvalidInput: it is none.
    """
    address, colon, ports = text.rpartition(":")
    low, dash, high = ports.partition("-")
    if ports == "*":
        first, last = 0, 65535
    elif low.isdecimal() and low.isascii() and (not dash or (high.isdecimal() and high.isascii())):
        first, last = int(low), int(high or low)
    else:
        first = last = -1
    if not colon or (ports != "*" and not 1 <= first <= last <= 65535):
        raise InvalidInput(
            f'found {show(text)}; allowed: an address and a port, such as "127.0.0.1:8080", "127.0.0.1:8000-8099", '
            f'"[::1]:*", "*:80"'
        )
    if ":" in address and not address.startswith("["):
        raise InvalidInput(f'found {show(text)}; an IPv6 address stands in brackets, as in "[::1]:8080"')
    return Listen(address if address == EVERY_ADDRESS else plain_address(address), first, last)


def _listens(value: object, place: Place) -> tuple[str, ...]:
    found = schema.texts(value, place)
    for text in found:
        listen(text)
    return found


def _hosts(value: object, place: Place) -> tuple[str, ...]:
    found = tuple(text.lower().rstrip(".") for text in schema.texts(value, place))
    for text in found:
        if _HOST.fullmatch(text) is None:
            raise InvalidInput(
                f'found {show(text)}; allowed: the name of a host without a port, as in "api.example.com"'
            )
    return found


def _prefixes(value: object, place: Place) -> tuple[str, ...]:
    found = schema.texts(value, place)
    for text in found:
        read = pattern(text)
        if read.names or read.wildcard:
            raise InvalidInput(f'found {show(text)}; allowed: a path without parameters and wildcards, as in "/api"')
    return found


@dataclass(frozen=True, slots=True)
class HttpFramework:
    """Permissions of the handler `http-framework`.

    Args:
        listen: addresses and ports, each in the form that `listen` reads.
        hosts: names of hosts whose requests are this actor's; none for all.
        prefixes: paths below which requests are this actor's; none for all.
        certificates: folders whose files a server may use for TLS, beside the manifest or absolute.
        connections: connections at a time, of each server.
        max_head: bytes of a request's line and headers.
        max_headers: how many headers a request may have.
        max_body: bytes of a request's body; never more than [limits] message.
        head_timeout: ms until a request's head is there, from its first byte.
        body_timeout: ms until its body is there, from its head.
        idle_timeout: ms that a connection may wait for a next request, or for a client that takes no answer.
        timeout: ms until the actor has answered; None for [limits] request_timeout.
        websocket_message: bytes of one message from a websocket; never more than [limits] message.
        websocket_queue: bytes that may wait for a client who is slow to take them.
    """

    listen: tuple[str, ...] = key(_listens, ())
    hosts: tuple[str, ...] = key(_hosts, ())
    prefixes: tuple[str, ...] = key(_prefixes, ())
    certificates: tuple[str, ...] = key(schema.texts, ())
    connections: int = key(schema.integer(1, 100_000), 1000)
    max_head: int = key(schema.bytes_from(KIB, MIB), 16 * KIB)
    max_headers: int = key(schema.integer(1, 1000), 100)
    max_body: int = key(schema.bytes_from(0, GIB), MIB)
    head_timeout: int = key(schema.milliseconds(100, _HOUR), 10 * _SECOND)
    body_timeout: int = key(schema.milliseconds(100, _HOUR), 30 * _SECOND)
    idle_timeout: int = key(schema.milliseconds(100, _HOUR), 60 * _SECOND)
    timeout: int | None = key(schema.optional(schema.milliseconds(1, 24 * _HOUR)), None)
    websocket_message: int = key(schema.bytes_from(1, GIB), MIB)
    websocket_queue: int = key(schema.bytes_from(KIB, GIB), MIB)

    def may_listen(self, address: str, port: int) -> bool:
        """Whether a server may listen there; `address` in its one form."""
        return any(allowed.covers(Listen(address, port, port)) for allowed in map(listen, self.listen))

    def ports(self, address: str) -> Iterator[int]:
        """Ports to try for a server that does not care: 0, a free one, if that is granted, else those that are."""
        granted = [allowed for allowed in map(listen, self.listen) if allowed.address in (EVERY_ADDRESS, address)]
        if any(allowed.is_any_port for allowed in granted):
            yield 0
            return
        for allowed in granted:
            yield from range(allowed.first, allowed.last + 1)

    def excess(self, granted: Self) -> str | None:
        """See `theater.core.permissions.Permissions`."""
        theirs = list(map(listen, granted.listen))
        for text in self.listen:
            if not any(allowed.covers(listen(text)) for allowed in theirs):
                return f"listen on {text}, its parent on {', '.join(granted.listen) or 'no address'}"
        if granted.hosts and not (self.hosts and set(self.hosts) <= set(granted.hosts)):
            return f"answer for {', '.join(self.hosts) or 'every host'}, its parent for {', '.join(granted.hosts)}"
        if granted.prefixes and not _all_within(self.prefixes, granted.prefixes):
            return f"answer below {', '.join(self.prefixes) or '/'}, its parent below {', '.join(granted.prefixes)}"
        more = [each for each in self.certificates if not granted._has_certificates(each)]
        if more:
            return f"use certificates of {', '.join(more)}"
        return _larger(self, granted)

    def _has_certificates(self, path: str) -> bool:
        return any(f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/") for folder in self.certificates)

    def placed(self, folder: str) -> Self:
        """See `theater.core.permissions.Placed`."""
        return replace(self, certificates=tuple(normpath(join(folder, each)) for each in self.certificates))

    def used(self, calls: Sequence[Asked]) -> Self:
        """Where the servers that were made listen, and the folders of their certificates."""
        asked = [call.args[0] for call in calls if call.function == "create-server" and call.args and not call.refused]
        made = [
            config for config in asked if isinstance(config, Mapping) and {"host", "port", "tls-config"} <= {*config}
        ]
        wanted = [(plain_address(config["host"] or "127.0.0.1"), config["port"]) for config in made]
        files = [path for config in made if config["tls-config"] for path in config["tls-config"].values()]
        return replace(
            self,
            listen=tuple(dict.fromkeys(_place(host, port) for host, port in wanted)),
            certificates=tuple(folder for folder in self.certificates if _names_any(folder, files)),
        )


_KEYS = frozenset({"host", "port", "tls-config"})


def _place(host: str, port: int | None) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port or EVERY_ADDRESS}"


def _names_any(folder: str, files: list[object]) -> bool:
    """Whether one of the paths is written as in the folder; one that is not may still be there, over links."""
    return any(not isinstance(path, str) or path.startswith(folder.rstrip("/")) for path in files)


def _all_within(paths: tuple[str, ...], prefixes: tuple[str, ...]) -> bool:
    return bool(paths) and all(_is_within(path, prefixes) for path in paths)


def _is_within(path: str, prefixes: tuple[str, ...]) -> bool:
    segments = tuple(part or "" for part in pattern(path).segments)
    return any(is_below(segments, prefix) for prefix in map(pattern, prefixes))


def _larger(mine: HttpFramework, granted: HttpFramework) -> str | None:
    """The first of the limits that is higher."""
    if mine.connections > granted.connections:
        return f"have {mine.connections} connections, its parent {granted.connections}"
    for name in ("max_head", "max_body", "websocket_message", "websocket_queue"):
        wanted, allowed = getattr(mine, name), getattr(granted, name)
        if wanted > allowed:
            return f"take {show_size(wanted)} ({name}), its parent {show_size(allowed)}"
    return None


__all__ = ["EVERY_ADDRESS", "HttpFramework", "Listen", "listen", "plain_address"]
