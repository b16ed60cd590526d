"""What a worker is told when it becomes an actor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from theater.config import OWN
from theater.core.chain import Mark
from theater.core.handlers import get, permissions_of

P = TypeVar("P")

REHEARSAL = "rehearsal."
"""Beginning of the name of a folder beside the sockets in which a spare rehearses; its process id follows."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one actor, from its manifest.

    Args:
        memory: bytes of linear memory.
        call_timeout: seconds that one call may last; None for any time.
        request_timeout: seconds that a request waits unless it says otherwise.
        fuel: instructions that one call may burn; None for no metering.
        mailbox: messages that may wait.
        state: bytes of state.
        message: bytes of one message or reply.
        record: bytes that one call may write into the chain.
        log: bytes of log that are kept.
        chain: bytes of chain that may be on the disk; None for any number.
        messages_per_second: to send, and to be sent; None for any number.
        cpu: percent of one processor; None for any share.
        descriptors: open files.
    """

    memory: int
    call_timeout: float | None
    request_timeout: float
    fuel: int | None
    mailbox: int
    state: int
    message: int
    record: int
    log: int
    chain: int | None = None
    messages_per_second: int | None = None
    cpu: int | None = None
    descriptors: int = 1024


@dataclass(frozen=True, slots=True)
class Assignment:
    """One life of one actor.

    Args:
        actor: id.
        name: the manifest's name.
        parent: id of the parent actor; None for a root actor.
        incarnation: 1 for the first life.
        folder: the actor's folder in the home, where chain, log and timers are.
        content: the content store's folder.
        labels: the folder of the stores that actors use.
        handlers: types of the handlers that the manifest grants.
        permissions: what it grants with each, in plain form (`theater.core.handlers.permissions_of`).
        services: names of the services that do things for it, whose links are handed over.
        environment: the variables of the server's environment that it may see.
        where: the manifest's file, beside which paths in permissions begin.
        state_policy: last or fresh.
        durability: process or host.
        limits: see `Limits`.
        known: how far the chain is known to be good; None to verify all of it.
        manifest_digest: content digest of the canonical manifest.
        randomness: what the id was made of.
        component: digest of the component that this life runs, hex.
        program: digest of the program that the component runs, hex; None for a component of its own.
        init_state: digest of the initial state in the content store, hex; None for none.
        poison: content digests of messages that are refused.
        resumed: the initial state is one to go on from, without init.
        parent_head: digest of the entry in the parent's chain that records this actor's spawning.
        state_root: outcomes of every so many calls have a state root; 0 for none.
        snapshot: after how many entries, and how many bytes, there is a snapshot; None for never.
        secrets: the names of those that the actor may read.
        secrets_folder: where all values are that its secrets ever had; None if it never had any.
    """

    actor: str
    name: str
    parent: str | None
    incarnation: int
    folder: str
    content: str
    labels: str
    handlers: tuple[str, ...]
    state_policy: str
    durability: str
    limits: Limits
    known: Mark | None
    manifest_digest: bytes
    randomness: bytes
    component: str
    program: str | None
    init_state: str | None
    poison: tuple[bytes, ...]
    resumed: bool = False
    state_root: int = 0
    snapshot: tuple[int, int] | None = None
    secrets: tuple[str, ...] = ()
    secrets_folder: str | None = None
    parent_head: bytes | None = None
    permissions: Mapping[str, Any] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    where: str = ""

    def to_plain(self) -> dict[str, Any]:
        """As msgpack values."""
        # By name, not by `asdict`: that copies every value, and somebody waits.
        plain = {name: getattr(self, name) for name in _FIELDS}
        plain["limits"] = {name: getattr(self.limits, name) for name in _LIMITS}
        plain["known"] = list(self.known) if self.known is not None else None
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `to_plain`."""
        known = plain["known"]
        fields: dict[str, Any] = {
            **plain,
            "limits": Limits(**plain["limits"]),
            "known": Mark(*known) if known is not None else None,
            "handlers": tuple(plain["handlers"]),
            "poison": tuple(plain["poison"]),
            "secrets": tuple(plain["secrets"]),
            "services": tuple(plain["services"]),
            "snapshot": tuple(plain["snapshot"]) if plain["snapshot"] is not None else None,
        }
        return cls(**fields)

    def granted(self, kind: type[P]) -> P:
        """The permissions of the handler whose permissions are of this class; its defaults if the actor has none."""
        for name in self.handlers:
            if get(name).permissions is kind:
                return cast("P", permissions_of(name, self.permissions.get(name, {})))
        return kind()

    def path(self, name: str) -> Path:
        """A file in the actor's folder, which the life only reads, but for the chain that it has open."""
        return Path(self.folder) / name

    def own(self, name: str = "") -> Path:
        """A file that the life may change by name."""
        return Path(self.folder) / OWN / name


_FIELDS = tuple(field.name for field in fields(Assignment))
_LIMITS = tuple(field.name for field in fields(Limits))
