"""The script that makes the memory of a life: one like any other but for what is left out of its records.

A life that says "from" goes on with the memory that its lineage made (core/lineage.py). Whoever does again what the
lineage did, with the records that are not left out, has a guest with that memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

from theater.core.chain import Get, Kind, Lifecycle, Outcome, Record, read_payload, resolve
from theater.core.lineage import Lineage, retold
from theater.core.replay import Script, Watch, damaged
from theater.core.secrets import Open, nothing_to_open
from theater.core.snapshot import is_snapshot, read_snapshot, resolve_all_but_memory
from theater.errors import ChainBroken, TheaterError

Reread = Callable[[int], Iterator[Record]]
"""The records of a chain once more, from the entry of that number on."""


def retrace(
    lineage: Lineage,
    until: int,
    reread: Reread,
    get: Get,
    watch: Watch = lambda head, took_ns: None,
    secrets: Open = nothing_to_open,
) -> Script:
    """The script that makes the memory of a life: at its end the guest has it.

    Args:
        lineage: of that life.
        until: number of the entry with which that life begins.
        reread, get, watch, secrets: of its chain.

    Raises:
        IntegrityError: the state with which the lineage begins cannot be had.
    """
    committed = [] if lineage.committed is None else [_committed_in(next(reread(lineage.committed)), get)]

    def records() -> Iterator[Record]:
        if lineage.begins:
            yield next(reread(0))
        yield from retold(takewhile(lambda record: record.seq < until, reread(lineage.begins)), lineage)

    return Script(records(), get, watch, secrets, committed=committed, retraces=True)


def _committed_in(record: Record, get: Get) -> Any:
    """The state that an outcome or a snapshot holds, with what stands for secrets in it."""
    try:
        entry = record.entry()
        if entry.kind is Kind.LIFECYCLE and is_snapshot(entry.payload):
            read = read_payload(entry.kind, resolve_all_but_memory(entry.payload, get))
            assert isinstance(read, Lifecycle)
            return read_snapshot(entry.seq, read).state
        outcome = read_payload(entry.kind, resolve(entry.payload, get))
    except TheaterError as error:
        raise damaged(record.seq, error) from error
    if not isinstance(outcome, Outcome) or not outcome.state:
        raise ChainBroken(f"entry {record.seq}: expected a state that was committed", index=record.seq)
    return outcome.state[0]
