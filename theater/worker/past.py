"""What a life of the policy "replay" goes on with: found in the chain before it, which its writer has just verified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog.rereading import first_record, head_before, records_from
from theater.core.chain import START, Genesis, Get, Head, Mark, Record
from theater.core.felt_limits import FeltLimits, felt_limits
from theater.core.life import Life, life_of
from theater.core.lineage import Descent, Lineage
from theater.core.replay import Script
from theater.core.retrace import retrace
from theater.core.same_guest import other_guest
from theater.core.secrets import Open
from theater.errors import ChainBroken
from theater.worker.assignment import Assignment


@dataclass(frozen=True, slots=True)
class Past:
    """What makes the memory.

    Args:
        lineage: see there.
        chain: the file.
        until: number of the entry with which the life begins.
        known: records that are read again and again: the genesis, and that with which the lineage begins.
        get: content that the chain refers to.
        secrets: finds those that stand in it.
    """

    lineage: Lineage
    chain: Path
    until: int
    known: tuple[Record, ...]
    get: Get
    secrets: Open

    def script(self) -> Script:
        """The script of the lineage, from its beginning.

        Raises:
            IntegrityError: the state with which it begins cannot be had.
        """
        return retrace(self.lineage, self.until, self._reread, self.get, secrets=self.secrets)

    def _reread(self, begin: int) -> Iterator[Record]:
        for record in self.known:
            if record.seq == begin:
                yield record
                yield from records_from(self.chain, begin + 1, Head(begin + 1, record.digest, record.end))
                return
        yield from records_from(self.chain, begin)


def find_past(assignment: Assignment, mark: Mark, life: Life, get: Get, secrets: Open) -> Past | str | None:
    """The past of a life, or why it cannot go on with its memory; None if there is nothing to go on with.

    Args:
        mark: how far the chain is.
        life: what the life that begins is made of.
        get: content that the chain refers to.
        secrets: finds those that stand in it.

    Raises:
        ChainBroken: something in the chain cannot be read.
        IntegrityError: the manifest of the life with which the lineage begins cannot be had.
    """
    chain = assignment.path("chain")
    near = head_before(chain, mark.snapshot_at) if mark.snapshot_at is not None else START
    descent = _descent(chain, near)
    if descent.is_lost:
        near = START  # The newest snapshot does not hold the memory: what is before it decides.
        descent = _descent(chain, near)
    if descent.is_lost:
        return "the calls that made its memory are not kept any more"
    lineage = descent.lineage
    if lineage is None:
        return None
    first = first_record(chain)
    genesis = first.entry().read()
    if not isinstance(genesis, Genesis):
        raise ChainBroken(f"{chain}: entry 0: expected a genesis", index=0)
    is_near = lineage.begins == near.entries
    origin = first_record(chain, near) if is_near else next(records_from(chain, lineage.begins, near))
    before = life_of(origin, genesis)
    limits = assignment.limits
    felt = FeltLimits(limits.memory, limits.fuel, limits.state, limits.message, keeps_memory=True)
    then = felt_limits(get(before.manifest)) if before.manifest is not None else felt
    why_not = other_guest(before, life) or then.difference(felt)
    return why_not or Past(lineage, chain, mark.entries, (first, origin), get, secrets)


def _descent(chain: Path, near: Head) -> Descent:
    descent = Descent()
    for record in records_from(chain, near.entries, near):
        descent.follow(record)
    return descent
