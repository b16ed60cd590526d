"""How several actors share one port: each has some hosts, or some paths, and no two have the same.

A claim is a set of hosts and a set of path prefixes; none of either means all. Two overlap if one request could belong
to both, and then the later is refused: which of two actors answers must not depend on an order.
"""

from __future__ import annotations

from dataclasses import dataclass

from theater.core.http_routes import Pattern, is_below, pattern


@dataclass(frozen=True, slots=True)
class Claim:
    """What an actor answers of what arrives at a port.

    Args:
        hosts: in lower case, without port; none for all.
        prefixes: patterns without parameters; none for all.
    """

    hosts: frozenset[str] = frozenset()
    prefixes: tuple[Pattern, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.hosts and not self.prefixes

    def covers(self, host: str, segments: tuple[str, ...]) -> bool:
        """Whether a request belongs to it."""
        if self.hosts and host not in self.hosts:
            return False
        return not self.prefixes or any(is_below(segments, prefix) for prefix in self.prefixes)


def claim(hosts: tuple[str, ...], prefixes: tuple[str, ...]) -> Claim:
    """The claim that a manifest makes. Raises InvalidInput."""
    return Claim(frozenset(map(plain_host, hosts)), tuple(map(pattern, prefixes)))


def plain_host(authority: str) -> str:
    """The host of an authority as hosts are compared: in lower case, without port and the dot of a full name."""
    host = authority.lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def overlap(one: Claim, other: Claim) -> str | None:
    """What two claims have in common, for a sentence; None if nothing."""
    hosts = one.hosts & other.hosts if one.hosts and other.hosts else one.hosts or other.hosts
    if one.hosts and other.hosts and not hosts:
        return None
    prefix = _common(one.prefixes, other.prefixes)
    if prefix is None:
        return None
    return f"{', '.join(sorted(hosts)) or 'any host'}, {prefix}"


def _common(one: tuple[Pattern, ...], other: tuple[Pattern, ...]) -> str | None:
    """A path that prefixes of both cover."""
    if not one or not other:
        return next((prefix.text for prefix in one or other), "any path")
    for mine in one:
        for theirs in other:
            shorter, longer = sorted((mine, theirs), key=lambda prefix: len(_parts(prefix)))
            if is_below(_parts(longer), shorter):
                return longer.text
    return None


def _parts(prefix: Pattern) -> tuple[str, ...]:
    parts = tuple(part or "" for part in prefix.segments)
    return parts[:-1] if parts and parts[-1] == "" else parts
