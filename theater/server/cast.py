"""The actors of a server: what is known of each, and the file from which a restarted server knows them again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from theater import durable
from theater.config import OWN, Home, private_directory
from theater.core import manifest as manifests
from theater.core.chain import Mark
from theater.core.codec import pack, unpack
from theater.core.exit_reason import ExitReason
from theater.core.ids import Known, resolve
from theater.core.manifest import Durability, Manifest
from theater.core.pace import Share
from theater.errors import InvalidInput, TheaterError, WireError
from theater.wasm.artefacts import Artefact

if TYPE_CHECKING:
    from theater.server.stage import Worker
    from theater.server.tree import Branch
    from theater.server.wishes import Role

_ROW_MAX = 4 << 20
_ONCE_BESIDE_THE_CHAIN = ("log", "log.1", "timers", "servers", "handlers")


class State(StrEnum):
    """Where an actor is; published as `state`."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


COMING = frozenset({State.STARTING, State.RESTARTING})
"""States in which it is worth waiting for an actor."""


@dataclass(slots=True, eq=False)
class Actor:
    """One actor, alive or not.

    Args:
        number: its place in the order of starting.
        where: the manifest's file, for people.
        component, program, init_state: digests in the content store, hex.
        parent: id of the actor whose child it is; None for others.
        parent_head: digest of the entry in the parent's chain that records its spawning.
        supervisor: name of the supervisor it is a child of; that of a family is its parent's id.
        resumed: it began with `init_state` as a state to go on from, and its init is never called.
        in_tree: it came from a tree file; else it was started by itself.
        wanted: whether a server that starts again should start it.
        last_usage: what its last life used: `user_ms` and `system_ms` of processor time, `max_rss` bytes.
        family: the supervisor of its children, of its present or its last life.
        killer: content digest of the message that ended it last, and how often in a row it did.
        renewal: what it will be from its next life on, if a tree was applied that says so.
        in_transit: this life is ended only so that the next can begin.
        share: of a processor, over all its lives; None if it may use any.
    """

    id: str
    number: int
    manifest: Manifest
    where: str
    component: str
    program: str | None
    init_state: str | None
    randomness: bytes
    parent: str | None = None
    parent_head: bytes | None = None
    supervisor: str = "root"
    in_tree: bool = False
    resumed: bool = False
    wanted: bool = True
    started_ms: int = 0
    state: State = State.STARTING
    incarnation: int = 0
    restarts: int = 0
    last_exit: ExitReason | None = None
    last_usage: dict[str, Any] | None = None
    head: Mark | None = None
    killer: tuple[bytes, int] = (b"", 0)
    poison: tuple[bytes, ...] = ()
    artefact: Artefact | None = None
    branch: Branch | None = None
    worker: Worker | None = None
    family: Branch | None = None
    renewal: tuple[Role, Artefact] | None = None
    in_transit: bool = False
    share: Share | None = None

    @property
    def is_parent(self) -> bool:
        """Whether it may have children."""
        return "supervisor" in self.manifest.handler_types

    @property
    def is_durable(self) -> bool:
        """Whether what is known of it must outlive the machine."""
        return self.manifest.chain.durability is Durability.HOST

    def take(self, role: Role) -> None:
        """Becomes what the role says."""
        self.manifest, self.where, self.component = role.manifest, role.where, role.component
        self.program, self.init_state = role.program, role.init_state

    def renew(self) -> None:
        """Becomes what it is to be from this life on, which begins."""
        self.in_transit = False
        if self.renewal is not None:
            role, self.artefact = self.renewal
            self.renewal = None
            self.take(role)

    def comes_to_life(self, now: float) -> None:
        """A life begins to use its share of a processor."""
        percent = self.manifest.limits.cpu
        if percent is None:
            self.share = None
        elif self.share is None:
            self.share = Share(percent / 100, now - 1.0, 0.0)
        else:
            self.share.share = percent / 100
            self.share.begins(now)

    def used(self, now: float, seconds: float) -> float | None:
        """A life is over, and has used so much of a processor.

        Returns:
            when that is made up for; None if it was no more than its share.
        """
        if self.share is None:
            return None
        rest = self.share.ends(now, self.share.used + seconds)
        return now + rest if rest > 0.0 else None

    def facts(self) -> dict[str, Any]:
        """What a line of the log about it says of it (theater/log.py)."""
        entry = self.head.entries - 1 if self.head is not None and self.head.entries else None
        return {"name": self.manifest.name, "incarnation": self.incarnation or None, "entry": entry}

    def known(self, registered: list[str]) -> Known:
        return Known(self.id, self.manifest.name, frozenset(registered))

    def to_plain(self) -> dict[str, Any]:
        """What outlives the server."""
        return {
            "id": self.id,
            "number": self.number,
            "manifest": plain_manifest(self.manifest),
            "where": self.where,
            "component": self.component,
            "program": self.program,
            "init_state": self.init_state,
            "randomness": self.randomness,
            "parent": self.parent,
            "parent_head": self.parent_head,
            "supervisor": self.supervisor,
            "in_tree": self.in_tree,
            "resumed": self.resumed,
            "wanted": self.wanted,
            "started_ms": self.started_ms,
            "failed": self.state is State.FAILED,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "last_exit": self.last_exit.to_dict() if self.last_exit else None,
            "last_usage": self.last_usage,
            "head": list(self.head) if self.head else None,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Actor:
        fields = dict(plain)
        failed = fields.pop("failed")
        last_exit, head = fields["last_exit"], fields["head"]
        fields["manifest"] = manifests.from_canonical(fields["manifest"], fields["where"])
        fields["last_exit"] = ExitReason.from_dict(last_exit) if last_exit else None
        fields["head"] = Mark(*head) if head else None
        return cls(**fields, state=State.FAILED if failed else State.STOPPED)


@lru_cache(maxsize=4096)
def plain_manifest(manifest: Manifest) -> dict[str, Any]:
    """The canonical form of a manifest, made once for each; not to be changed."""
    return manifests.canonical(manifest)


@lru_cache(maxsize=4096)
def packed_manifest(manifest: Manifest) -> bytes:
    """The bytes whose content digest names a manifest in chains."""
    return pack(plain_manifest(manifest))


def _bring_up_to_date(folder: Path) -> None:
    """Moves what earlier versions kept beside the chain to where a sealed worker may change it."""
    own = folder / OWN
    if own.exists():
        return
    private_directory(own)
    for name in _ONCE_BESIDE_THE_CHAIN:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(own / name)


@dataclass(slots=True)
class Cast:
    """All actors of one home, in the order in which they were started first."""

    home: Home
    actors: dict[str, Actor] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    last_number: int = 0
    _by_parent: dict[str, dict[str, Actor]] = field(default_factory=dict)

    def load(self) -> None:
        """Reads the rows of the home; one that cannot be read is named in `unreadable` and left alone."""
        found = []
        for folder in self.home.actors.iterdir():
            if not (folder / "actor").exists():
                continue  # It was removed; its chain stays.
            _bring_up_to_date(folder)
            try:
                found.append(Actor.from_plain(unpack((folder / "actor").read_bytes(), max_len=_ROW_MAX)))
            except (OSError, WireError, TheaterError, KeyError, TypeError, ValueError) as error:
                self.unreadable.append(f"{folder}: {error}")
        for actor in sorted(found, key=lambda actor: actor.number):
            self.take_in(actor)
            self.last_number = actor.number

    def save(self, actor: Actor) -> None:
        """Writes the row, atomically, and as durably as the actor's chain; an actor that has been removed has none.

        Raises:
            OSError: the disk does not take it.
        """
        if self.actors.get(actor.id) is not actor:
            return
        durable.replace(self.home.actor(actor.id) / "actor", pack(actor.to_plain()), durable=actor.is_durable)

    def add(self, actor: Actor, *, keep: bool = True) -> None:
        """Makes an actor known.

        Args:
            keep: to a server that starts again, too.

        Raises:
            OSError, InvalidInput: the disk does not take its row.
        """
        self.take_in(actor)
        private_directory(self.home.actor(actor.id))
        private_directory(self.home.own(actor.id))
        if actor.is_durable:
            durable.sync_folder(self.home.actors)
        if keep:
            self.save(actor)

    def remove(self, actor: Actor) -> None:
        """Forgets the actor; its chain stays where it is, for `verify`."""
        del self.actors[actor.id]
        self._by_parent.get(actor.parent or "", {}).pop(actor.id, None)
        self._by_parent.pop(actor.id, None)
        folder = self.home.actor(actor.id)
        (folder / "actor").unlink(missing_ok=True)
        if actor.is_durable and folder.exists():
            with contextlib.suppress(OSError):  # It is gone; that it may come back is no reason to keep it.
                durable.sync_folder(folder)

    def children(self, parent: Actor) -> list[Actor]:
        """The children of an actor, in the order in which they were started first."""
        return list(self._by_parent.get(parent.id, {}).values())

    def descends(self, actor: Actor, ancestor: Actor) -> bool:
        """Whether an actor is a child of another one, or of one of its descendants."""
        above: Actor | None = actor
        while above is not None and above is not ancestor:
            above = self.actors.get(above.parent) if above.parent is not None else None
        return above is ancestor and actor is not ancestor

    def take_in(self, actor: Actor) -> None:
        """Makes an actor known whose row is in its place already."""
        self.actors[actor.id] = actor
        if actor.parent is not None:
            self._by_parent.setdefault(actor.parent, {})[actor.id] = actor

    def next_number(self) -> int:
        """A place behind all actors that have been started."""
        self.last_number += 1
        return self.last_number

    def __iter__(self) -> Iterator[Actor]:
        return iter(self.actors.values())

    def get(self, actor: str) -> Actor | None:
        return self.actors.get(actor)

    def find(self, words: str, names: Mapping[str, list[str]]) -> Actor:
        """The actor that a user means.

        Raises:
            UnknownActor, AmbiguousActor: none, or several.
        """
        if not isinstance(words, str) or not words:
            raise InvalidInput("name an actor: its id, a unique prefix of it, or its name")
        return self.actors[resolve(words, (actor.known(names.get(actor.id, [])) for actor in self))]
