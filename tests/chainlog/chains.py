"""Chains to read: what tests need of an actor's life."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from theater.chainlog import ChainWriter
from theater.config import Home
from theater.core.chain import Call, Checkpoint, Genesis, HostResult, Kind, Lifecycle, Mark, outcome_ok, state_digest
from theater.store import ContentStore

ACTOR = "00000000-0000-8000-8000-000000000001"
OTHER = "00000000-0000-8000-8000-000000000002"


def genesis(actor: str = ACTOR, **facts: Any) -> Genesis:
    return Genesis(actor, f"name-{actor[-1]}", facts.get("manifest"), facts.get("component"), None, {})


def write(path: Path, words: Sequence[Any], actor: str = ACTOR, content: ContentStore | None = None) -> Mark:
    """Appends a host result for each of `words`, after a genesis if the chain is new; returns the mark behind it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ChainWriter.open(path, clock=lambda: 1, put=content.put if content else None) as writer:
        if writer.head.entries == 0:
            writer.append(Kind.GENESIS, genesis(actor))
        for word in words:
            writer.append(Kind.HOST_RESULT, HostResult(word))
        return writer.mark


def handle(writer: ChainWriter, state: bytes | None, before: bytes | None) -> None:
    """Records a call that ends with `state`."""
    writer.append(Kind.CALL, Call("i", "f", ("message",)))
    writer.append(Kind.OUTCOME, outcome_ok(None, state, state_digest(before)))


class Living(Home):
    """A home whose chains are written by hand."""

    @classmethod
    def at(cls, root: Path) -> Living:
        home = cls(root)
        home.create()
        return home

    @property
    def store(self) -> ContentStore:
        return ContentStore(self.content)

    def live(self, actor: str, words: Sequence[Any]) -> Mark:
        """The actor does something."""
        return write(self.chain(actor), words, actor, self.store)

    def record(self, kind: Kind, payload: Checkpoint | Lifecycle) -> None:
        """The supervisor writes something down."""
        with ChainWriter.open(self.supervisor_chain, clock=lambda: 1) as writer:
            if writer.head.entries == 0:
                writer.append(Kind.GENESIS, Genesis("supervisor", "supervisor", None, None, None, {}))
            writer.append(kind, payload)

    def checkpoint(self, **marks: Mark) -> None:
        """The supervisor notes where actors are; they are named by the last digit of their id."""
        self.record(Kind.CHECKPOINT, Checkpoint({f"{ACTOR[:-1]}{name[-1]}": mark for name, mark in marks.items()}))
