"""Chains that are long enough to be made smaller, and what does that."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from chains import ACTOR, Living, genesis

from theater.chainlog import ChainReader, ChainWriter
from theater.chainlog.shrinking import Order, Shrunk, shrink
from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Call,
    HostResult,
    Kind,
    Lifecycle,
    Mark,
    Record,
    outcome_ok,
)
from theater.core.codec import Form, Ref, pack
from theater.core.manifest import Retention
from theater.core.signed_checkpoint import Signer
from theater.core.verification import Checkpoints
from theater.store import ContentStore

SIGNER = Signer(bytes(range(32)))
OTHER_SIGNER = Signer(bytes(range(1, 33)))
EVERYTHING = Retention(entries=1)
"""Keeps no more than from the newest snapshot on."""


def snapshot(content: ContentStore, state: bytes, number: int = 0) -> Lifecycle:
    """What a worker writes between two calls."""
    page = Ref(bytes.fromhex(content.put(b"page %d" % number + bytes(65_000))), 65_000 + len(b"page %d" % number))
    value = pack({"pages": [page]})
    memory = Ref(bytes.fromhex(content.put(value)), len(value), Form.VALUE)
    life = {INCARNATION: 1, "state": "last"}
    return Lifecycle(SNAPSHOT, {"state": [state], "committed": True, "life": life, "root": bytes(32), "memory": memory})


def live(
    path: Path, content: ContentStore, calls: int = 60, every: int = 20, size: int = 3000, actor: str = ACTOR
) -> Mark:
    """An actor handles calls, with a snapshot behind each `every` of them; each call has something of its own in the
    content store."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dice = random.Random(calls)
    with ChainWriter.open(path, clock=lambda: 1_000_000_000, put=content.put, get=content.get) as writer:
        if writer.head.entries == 0:
            writer.append(Kind.GENESIS, genesis(actor))
        before = writer.recovery.state_digest
        for number in range(writer.head.entries, writer.head.entries + calls):
            writer.append(Kind.CALL, Call("i", "f", (dice.randbytes(size // 2), "words " * (size // 12))))
            writer.append(Kind.HOST_RESULT, HostResult(b"content %d " % number + bytes(5000)))
            outcome = outcome_ok(None, b"state %d" % number, before)
            before = outcome.state_digest
            writer.append(Kind.OUTCOME, outcome)
            if number % every == 0:
                writer.append(Kind.LIFECYCLE, snapshot(content, b"state %d" % number, number))
        return writer.mark


def order(kept: Retention | None = None, **changes: Any) -> Order:
    """To compress all that can be, and to drop as `kept` says."""
    plain = Order(ACTOR, kept, Checkpoints(), SIGNER.public, SIGNER, 2_000_000_000, hot=0, least=1)
    return replace(plain, **changes)


def compress(home: Living) -> Shrunk:
    return shrink(home.chain(ACTOR), order(), home.store)


def drop(home: Living, kept: Retention = EVERYTHING, **changes: Any) -> Shrunk:
    return shrink(home.chain(ACTOR), order(kept, **changes), home.store)


def records(path: Path) -> list[Record]:
    with ChainReader(path) as reader:
        return reader.records(1 << 40)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
