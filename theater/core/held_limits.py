"""What an actor may use up is never more than what those above it may: limits are inherited downwards and not raised.

A child is held to the limits of its parent when it is spawned, and whatever it says above them becomes theirs; so is
each actor of a tree to the `limits` of the supervisors that it is under. The manifest with which an actor lives, and
which its record names, has what came of that: the limits that are in force.

What is not a bound on anybody else's account stays as the manifest says: how long a request of the actor waits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from theater.core import schema
from theater.core.manifest import Limits, Manifest
from theater.core.schema import key, optional

OWN: Final = frozenset({"request_timeout"})
"""Limits that are every manifest's own."""

_READERS: Final = {item.name: item.metadata["reader"] for item in fields(Limits)}
INHERITED: Final = tuple(name for name in _READERS if name not in OWN)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Limits of everything under a supervisor of a tree; None leaves what the manifests say. As in `Limits`."""

    memory: int | None = key(optional(_READERS["memory"]), None)
    cpu: int | None = key(optional(_READERS["cpu"]), None)
    cpu_weight: int | None = key(optional(_READERS["cpu_weight"]), None)
    call_timeout: int | None = key(optional(_READERS["call_timeout"]), None)
    fuel: int | None = key(optional(_READERS["fuel"]), None)
    messages_per_second: int | None = key(optional(_READERS["messages_per_second"]), None)
    mailbox: int | None = key(optional(_READERS["mailbox"]), None)
    state: int | None = key(optional(_READERS["state"]), None)
    message: int | None = key(optional(_READERS["message"]), None)
    record: int | None = key(optional(_READERS["record"]), None)
    chain: int | None = key(optional(_READERS["chain"]), None)
    log: int | None = key(optional(_READERS["log"]), None)
    descriptors: int | None = key(optional(_READERS["descriptors"]), None)
    children: int | None = key(optional(_READERS["children"]), None)
    actors: int | None = key(optional(_READERS["actors"]), None)


read_ceiling = schema.table(Ceiling)


def held(manifest: Manifest, *above: Limits | Ceiling | None) -> Manifest:
    """The manifest with no limit over one of those above; itself if none is."""
    limits = manifest.limits
    lowered = {name: value for name in INHERITED if (value := _least(name, (limits, *above))) != getattr(limits, name)}
    for name in ("state", "message"):
        # Neither may be over the memory; a ceiling may have lowered that alone.
        memory, value = lowered.get("memory", limits.memory), lowered.get(name, getattr(limits, name))
        if value > memory:
            lowered[name] = memory
    return replace(manifest, limits=replace(limits, **lowered)) if lowered else manifest


def lowered(wished: Manifest, effective: Manifest) -> tuple[str, ...]:
    """The limits that those above have made lower than a manifest says."""
    return tuple(name for name in INHERITED if getattr(wished.limits, name) != getattr(effective.limits, name))


def _least(name: str, all_of_them: Iterable[Limits | Ceiling | None]) -> Any:
    """The least of what is said of one limit; None for no bound."""
    said = [value for limits in all_of_them if limits is not None and (value := getattr(limits, name)) is not None]
    return min(said) if said else None


assert {item.name for item in dataclasses.fields(Ceiling)} == set(INHERITED)
