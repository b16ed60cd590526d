"""Which addresses a request to the network may be sent to, and which only if a manifest grants them by name.

The list is our own: `ipaddress.is_global` lets pass what leads to IPv4 inside of IPv6 (NAT64, 6to4, `::127.0.0.1`), and
multicast. Of IPv6 only global unicast passes, without its parts that lead elsewhere. An IPv4-mapped address is the
IPv4 address in it, since that is what the kernel connects to.

A host that is a number in any of the ways that resolvers take (`127.1`, `0x7f.1`, `2130706433`, `0177.0.0.1`) is an
address in disguise, and is refused in words; so no resolver ever sees one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

from theater.core.quantities import show
from theater.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_REFUSED_4: Final = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a provider's customers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# The first that holds an address names it; 2000::/3 alone is global unicast.
_REFUSED_6: Final = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4 inside of IPv6"),
        ("::ffff:0:0:0/96", "IPv4 inside of IPv6"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/63", "discarded"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_6: Final = IPv6Network("2000::/3")

_LAST_IS_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)")
_GRANT = re.compile(
    r"(?:\[(?P<inside>[0-9A-Fa-f:./]+)\]|(?P<four>[0-9./]+)|(?P<six>[0-9A-Fa-f:./]+?))(?::(?P<port>[0-9]+))?"
)
_GRANTS = '"10.0.0.7", "127.0.0.1:8080", "10.0.0.0/8", "[::1]:8080", "[fd00::/8]:443"'


def plain_address(address: Address) -> Address:
    """The address that is connected to: IPv4 if it is mapped into IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address


@lru_cache(1024)
def why_refused(address: Address) -> str | None:
    """What kind of address it is that nobody connects to without a grant; None if everybody may."""
    address = plain_address(address)
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _REFUSED_4 if address in network), None)
    kind = next((kind for network, kind in _REFUSED_6 if address in network), None)
    return kind if kind is not None or address in _GLOBAL_6 else "reserved"


def literal(host: str) -> Address | None:
    """The address that a host of a URL is; None if it is a name.

    Args:
        host: as it stands in a URL: IPv6 in brackets.

    Raises:
        InvalidInput: it is an address that is not written as addresses are.
    """
    if host.startswith("["):
        try:
            if not host.endswith("]") or "%" in host:
                raise ValueError(host)
            return IPv6Address(host[1:-1])
        except ValueError:
            raise InvalidInput(
                f"the host {show(host)} is no address; allowed: IPv6 as [2001:db8::1], no zone"
            ) from None
    if _LAST_IS_NUMBER.fullmatch(host.rstrip(".")) is None:
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise InvalidInput(f"the host {show(host)} is no address; allowed: four numbers, as 192.0.2.1") from None


@dataclass(frozen=True, slots=True)
class Grant:
    """Addresses that may be connected to although they are not everybody's.

    Args:
        network: of one address or many.
        port: None for all.
    """

    network: Network
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a text such as `127.0.0.1:8080` or `[fd00::/8]:443`.

        Raises:
            InvalidInput: it is none.
        """
        found = _GRANT.fullmatch(text)
        port = int(found["port"]) if found and found["port"] and len(found["port"]) <= 5 else None
        try:
            if found is None or (found["port"] and (port is None or not 1 <= port <= 65535)):
                raise ValueError(text)
            if found["six"]:  # Without brackets there is no telling a port from the last part of the address.
                return cls(_network(text), None)
            return cls(_network(found["inside"] or found["four"]), port)
        except ValueError as error:
            why = f": {error}" if "host bits" in str(error) else ""
            raise InvalidInput(f"found {show(text)}{why}; allowed: addresses and networks, as {_GRANTS}") from None

    def __str__(self) -> str:
        single = self.network.num_addresses == 1
        host = str(self.network.network_address if single else self.network)
        if self.port is None:
            return host
        return f"[{host}]:{self.port}" if self.network.version == 6 else f"{host}:{self.port}"

    def grants(self, address: Address, port: int) -> bool:
        """Whether it is one of these."""
        return self.port in (None, port) and plain_address(address) in self.network

    def covers(self, other: Grant) -> bool:
        """Whether all that `other` grants is granted by this."""
        mine, theirs = self.network, other.network
        if isinstance(mine, IPv4Network):
            inside = isinstance(theirs, IPv4Network) and theirs.subnet_of(mine)
        else:
            inside = isinstance(theirs, IPv6Network) and theirs.subnet_of(mine)
        return inside and self.port in (None, other.port)


def _network(text: str) -> Network:
    if "/" in text:
        return ip_network(text)
    return ip_network(plain_address(ip_address(text)))


def refusal(address: Address, port: int, grants: tuple[Grant, ...]) -> str | None:
    """What kind of address it is that may not be connected to; None if it may.

    Args:
        grants: what is granted of addresses that are not everybody's.
    """
    kind = why_refused(address)
    return None if kind is None or any(grant.grants(address, port) for grant in grants) else kind
