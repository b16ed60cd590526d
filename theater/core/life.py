"""What a life is made of, as the entry that begins it says, or a snapshot in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from theater.core.chain import INCARNATION, SNAPSHOT, Genesis, Kind, Lifecycle, Record
from theater.core.lineage import LEFT_OUT, begins
from theater.errors import ChainBroken

FRESH: Final = "fresh"
"""The policy of a life that has the initial state."""


@dataclass(frozen=True, slots=True)
class Life:
    """A life begins.

    Args:
        entry: number of the entry that says so.
        incarnation: its number.
        component, program, manifest, initial: digests of what it was made of, hex.
        wrapper: digest of the binary that was compiled in place of the component, hex; None if there was none.
        engine: what it ran on, as a genesis says it.
        policy: which state it has: last, fresh, or replay.
        resumed: its actor's initial state is one to go on from, without init.
        begins, left_out: what it says of its lineage (core/lineage.py); None if its guest is made anew.
    """

    entry: int
    incarnation: int
    component: str
    program: str | None
    manifest: str | None
    initial: str | None
    wrapper: str | None
    engine: Mapping[str, Any]
    policy: str
    resumed: bool
    begins: int | None = None
    left_out: tuple[int, ...] = ()

    def details(self) -> dict[str, Any]:
        """What it was made of, as a snapshot says it."""
        names = ("component", "program", "manifest", "initial", "wrapper", "engine", "resumed")
        made_of = {name: getattr(self, name) for name in names}
        return {INCARNATION: self.incarnation, **made_of, "state": self.policy}


def lives(records: Iterable[Record]) -> Iterator[Life]:
    """The lives of a chain, without looking at what happened in them. What follows the genesis may be missing, up to a
    snapshot; then the life in which that was made is the first.

    Raises:
        ChainBroken: the beginning of one does not say what it was made of.
    """
    rest = iter(records)
    genesis = (first := next(rest, None)) and first.entry().read()
    if not isinstance(genesis, Genesis):
        return
    second = next(rest, None)
    if second is None or second.seq == 1:
        yield first_life(genesis)
    for record in () if second is None else chain([second], rest):
        payload = record.entry().read() if record.kind_number == Kind.LIFECYCLE else None
        if isinstance(payload, Lifecycle) and (
            payload.event == INCARNATION or (record is second and payload.event == SNAPSHOT)
        ):
            yield life_of(record, genesis)


def first_life(genesis: Genesis) -> Life:
    """What a genesis says of the life that it begins."""
    engine = genesis.engine
    return _life(0, genesis.incarnation, genesis._asdict(), engine.get("program"), engine, FRESH)


def next_life(entry: int, incarnation: Lifecycle, genesis: Genesis | None) -> Life:
    """What an incarnation says of the life that it begins. Where it is silent, the genesis has said it."""
    details = incarnation.details if isinstance(incarnation.details, Mapping) else {}
    first = {} if genesis is None else {"wrapper": genesis.wrapper, "engine": genesis.engine}
    said: dict[str, Any] = {**first, **details}
    life = _life(entry, said.get(INCARNATION), said, said.get("program"), said.get("engine"), said.get("state"))
    found = begins(incarnation)
    return life if found is None else replace(life, begins=found, left_out=tuple(said.get(LEFT_OUT) or ()))


def life_of(record: Record, genesis: Genesis) -> Life:
    """The life that an entry begins, or in which it is a snapshot.

    Raises:
        ChainBroken: the entry does neither.
    """
    payload = record.entry().read()
    if isinstance(payload, Genesis):
        return first_life(payload)
    if isinstance(payload, Lifecycle) and isinstance(payload.details, Mapping):
        said: Any = payload.details.get("life") if payload.event == SNAPSHOT else payload.details
        return next_life(record.seq, Lifecycle(payload.event, said), genesis)
    raise ChainBroken(f"entry {record.seq}: expected the beginning of a life or a snapshot", index=record.seq)


def _life(entry: int, incarnation: Any, said: Mapping[str, Any], program: Any, engine: Any, policy: Any) -> Life:
    component = _hex(said.get("component"))
    if component is None or type(incarnation) is not int or not isinstance(engine, Mapping):
        raise ChainBroken(f"entry {entry}: a life begins without its number, component or engine", index=entry)
    manifest, initial, wrapper = (_hex(said.get(name)) for name in ("manifest", "initial", "wrapper"))
    resumed = said.get("resumed") is True
    return Life(entry, incarnation, component, _hex(program), manifest, initial, wrapper, engine, str(policy), resumed)


def _hex(named: Any) -> str | None:
    return named.hex() if isinstance(named, bytes) else named if isinstance(named, str) else None
