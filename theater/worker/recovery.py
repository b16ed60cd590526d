"""How a life takes up its chain: a genesis for the first, the last committed state for the others.

A life of the policy "replay" also goes on with the memory of those before (core/lineage.py). What makes that is found
here (theater/worker/past.py) and executed later (theater/worker/retrace.py). Where its guest would be another one than
theirs, it goes on as with "last".
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from theater.chainlog.writer import ChainWriter
from theater.core.chain import INCARNATION, Genesis, Kind, Lifecycle, Mark, Put
from theater.core.life import Life, first_life, next_life
from theater.core.secrets import Veil
from theater.store.content import ContentStore
from theater.wasm.artefacts import Meta
from theater.worker.assignment import Assignment
from theater.worker.past import Past, find_past
from theater.worker.veiled import clear, opener_of, veil_of

_REPLAY = "replay"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a life begins with.

    Args:
        writer: the open chain, with the entry that begins this life staged.
        state: the state it has.
        goes_on: the state is one that a call of this actor committed, or that it was resumed with: init is not called.
        torn_bytes: what an earlier life had not finished writing; nothing of it had been acknowledged.
        veil: hides the life's secrets; None if it has none.
        life: what the chain says of it now.
        past: what makes the memory that it goes on with, if it does.
        why_not: why it does not, though its policy is "replay" and there was one.
    """

    writer: ChainWriter
    state: bytes | None
    goes_on: bool
    torn_bytes: int
    veil: Veil | None
    life: Life
    past: Past | None = None
    why_not: str | None = None


def take_up(assignment: Assignment, meta: Meta, content: ContentStore, put: Put | None = None) -> Beginning:
    """Opens the chain, verified from what the supervisor knows, and begins this life in it.

    Args:
        put: keeps what is too long for an entry, if that is not just `content`.

    Raises:
        ChainBroken: the chain is not what it was.
        DiskFull, IntegrityError: it cannot be written.
        UnknownSecret: it goes on with secrets that are not there any more.
    """
    veil = veil_of(assignment)
    writer = ChainWriter.open(
        assignment.path("chain"),
        clock=time.time_ns,
        known=assignment.known,
        put=put or content.put,
        get=content.get,
        durability=assignment.durability,
    )
    found = writer.recovery
    resumed = assignment.resumed
    keeps = goes_on(assignment.state_policy, found.mark, resumed=resumed)
    life, past = _begin(writer, assignment, meta, keeps, veil, content)
    if veil is not None:
        writer.append(Kind.LIFECYCLE, veil.announcement())
    committed = keeps and found.mark.state_at is not None
    state = clear(found.state, veil) if committed else _initial_state(assignment, content)
    why_not = past if isinstance(past, str) else None
    past = past if isinstance(past, Past) else None
    return Beginning(writer, state, keeps or resumed, found.torn_bytes, veil, life, past, why_not)


def _begin(
    writer: ChainWriter, assignment: Assignment, meta: Meta, keeps: bool, veil: Veil | None, content: ContentStore
) -> tuple[Life, Past | str | None]:
    """Stages the entry that begins the life; returns what that says, and what `find_past` found for it."""
    found = writer.recovery
    if found.mark.entries == 0:
        genesis = _genesis(assignment, meta)
        writer.append(Kind.GENESIS, genesis)
        return first_life(genesis), None
    details = _incarnation(assignment, meta, found.torn_bytes)
    past: Past | str | None = None
    if keeps and assignment.state_policy == _REPLAY:
        life = next_life(found.mark.entries, Lifecycle(INCARNATION, details), None)
        past = find_past(assignment, found.mark, life, content.get, opener_of(veil))
    if isinstance(past, Past):
        details.update(past.lineage.said())
    elif past is not None:
        details.update(state="last", why=past)
    beginning = Lifecycle(INCARNATION, details)
    writer.append(Kind.LIFECYCLE, beginning)
    return next_life(found.mark.entries, beginning, None), past


def goes_on(policy: str, mark: Mark | None, *, resumed: bool) -> bool:
    """Whether a life goes on where the one before it was, and so has the same children; else it begins anew.

    Args:
        policy: last, fresh, or replay.
        mark: how far the chain is.
        resumed: the actor's first state was one to go on from.
    """
    return policy != "fresh" and (resumed or (mark is not None and mark.state_at is not None))


def _genesis(assignment: Assignment, meta: Meta) -> Genesis:
    engine = {**meta.engine, "mode": meta.mode.value, "program": assignment.program}
    wrapper = bytes.fromhex(meta.wrapper) if meta.wrapper else None
    return Genesis(
        assignment.actor,
        assignment.name,
        assignment.manifest_digest,
        bytes.fromhex(assignment.component),
        wrapper,
        engine,
        assignment.parent,
        assignment.parent_head,
        assignment.incarnation,
        assignment.randomness,
        bytes.fromhex(assignment.init_state) if assignment.init_state is not None else None,
        assignment.resumed,
    )


def _incarnation(assignment: Assignment, meta: Meta, torn_bytes: int) -> dict[str, Any]:
    return {
        INCARNATION: assignment.incarnation,
        "component": assignment.component,
        "program": assignment.program,
        "manifest": assignment.manifest_digest,
        "state": assignment.state_policy,
        "initial": assignment.init_state,
        "resumed": assignment.resumed,
        "wrapper": meta.wrapper or None,
        "engine": {**meta.engine, "mode": meta.mode.value},
        "torn_bytes": torn_bytes,
    }


def _initial_state(assignment: Assignment, content: ContentStore) -> bytes | None:
    return content.get(assignment.init_state) if assignment.init_state is not None else None
