"""Putting the actors of a bundle into a home, where they are stopped and can go on.

What the home has to know of an actor is made out of its chain, which is verified, and out of nothing else. Contents are
put first: those that nobody refers to yet harm nobody, and `theater store gc` knows them. Then the actors are taken in,
all of them or none (theater/server/adoption.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from theater.bundle.index import Row
from theater.bundle.opened import Bundle
from theater.chainlog.chain_file import ChainFile
from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import recover
from theater.config import Home
from theater.core import manifest as manifests
from theater.core.chain import INCARNATION, SNAPSHOT, Genesis, Kind, Lifecycle, Mark
from theater.core.codec import unpack
from theater.core.life import Life, first_life, next_life
from theater.errors import BundleRefused, ChainBroken, NotFound, TheaterError, WrongState, disk_error
from theater.server.adoption import stage
from theater.server.cast import Actor, State
from theater.store.content import ContentStore

_AT_ONCE = 256
_MANIFEST_MAX = 1 << 20
_ELSEWHERE = "imported"
"""What stands in the place of a manifest's file: there is none here, so children have to be given as texts."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """The actors of a bundle, by what a home knows of them.

    Args:
        new: those that it does not have.
        known: those that it has with this history, or more of it.
    """

    new: tuple[Row, ...]
    known: tuple[Row, ...]


def sort_out(bundle: Bundle, home: Home) -> Sorted:
    """Looks what a home has of a bundle.

    Raises:
        WrongState: it has an actor of one of these ids with another history, or with less of it.
    """
    known = tuple(row for row in bundle.rows if _is_known(row, home))
    return Sorted(tuple(row for row in bundle.rows if row not in known), known)


def take_in(bundle: Bundle, rows: tuple[Row, ...], home: Home, adopt: Callable[[str], object]) -> None:
    """Puts actors of a bundle into a home.

    Args:
        bundle: verified, and its private folder is in the home.
        rows: which of them.
        adopt: takes them in; told the name of a folder (theater/server/adoption.py).

    Raises:
        BundleRefused: a chain is good, but does not say what an actor needs to go on.
        DiskFull, IntegrityError: the disk does not take it; the home has no new actor.
        WrongState: somebody else was quicker.
    """
    source = ContentStore(bundle.home.content)
    actors = [_actor(row, bundle.home, source) for row in rows]
    target = ContentStore(home.content)
    for digest in sorted(bundle.contents):
        target.put(source.get(digest))
    staged = home.root / f"{bundle.home.root.name}_"
    try:
        staged.mkdir(mode=0o700)
        for actor in actors:
            os.rename(bundle.home.actor(actor.id), staged / actor.id)
            stage(staged / actor.id, actor)
        os.sync()  # Chains and content: here, since a server that adopts has no time to wait for a disk.
    except OSError as error:
        raise disk_error(error, f"importing into {home.root}") from error
    try:
        adopt(staged.name)
    except TheaterError:
        _put_back(staged, bundle.home)
        raise


def _put_back(staged: Path, home: Home) -> None:
    """What was not taken in goes where it is removed with the rest of the bundle."""
    if staged.exists():
        os.rename(staged, home.root / "refused")


def _is_known(row: Row, home: Home) -> bool:
    try:
        with ChainReader(home.chain(row.id)) as chain:
            chain.seek(row.entries - 1)
            (entry,) = chain.read(1)
    except NotFound as error:
        if not os.path.lexists(home.actor(row.id)):
            return False
        raise WrongState(
            f"there is an actor {row.id} already, with less than the {row.entries} entries of the bundle", actor=row.id
        ) from error
    if (entry.seq, entry.digest.hex()) != (row.entries - 1, row.head):
        raise WrongState(
            f"there is an actor {row.id} already, with another history: its entry {row.entries - 1} has digest "
            f"{entry.digest.hex()}, in the bundle {row.head}",
            actor=row.id,
        )
    return True


def _actor(row: Row, home: Home, content: ContentStore) -> Actor:
    """What a home keeps of an actor, as its chain says."""
    try:
        genesis, last = _story(home.chain(row.id))
        mark = _mark(home.chain(row.id), content)
        plain = unpack(content.get(last.manifest or ""), max_len=_MANIFEST_MAX)
        return Actor(
            id=row.id,
            number=0,
            manifest=manifests.from_canonical(plain, f"manifest {last.manifest}"),
            where=_ELSEWHERE,
            component=last.component,
            program=last.program,
            init_state=last.initial,
            randomness=genesis.randomness or bytes(16),
            parent=genesis.parent,
            parent_head=genesis.parent_head,
            supervisor=genesis.parent or "root",
            resumed=last.resumed,
            wanted=False,
            state=State.STOPPED,
            incarnation=mark.incarnation,
            head=mark,
        )
    except TheaterError as error:
        raise BundleRefused(f"{row.id} cannot go on: {error.message}") from error


def _story(chain: Path) -> tuple[Genesis, Life]:
    """How a chain begins, and the last life in it."""
    genesis: Genesis | None = None
    last: Life | None = None
    with ChainReader(chain) as reader:
        for record in (record for batch in iter(lambda: reader.records(_AT_ONCE), []) for record in batch):
            if record.kind_number not in (Kind.GENESIS, Kind.LIFECYCLE):
                continue
            payload = record.entry().read()
            if isinstance(payload, Genesis):
                genesis, last = payload, first_life(payload)
            elif isinstance(payload, Lifecycle) and genesis is not None:
                last = _life(record.seq, payload, genesis) or last
    if genesis is None or last is None:
        raise ChainBroken("its first entry is no genesis")
    return genesis, last


def _life(entry: int, payload: Lifecycle, genesis: Genesis) -> Life | None:
    """The life that an entry is about; of one whose beginning was dropped, a snapshot says what it was made of."""
    if payload.event == INCARNATION:
        return next_life(entry, payload, genesis)
    life = payload.details.get("life") if isinstance(payload.details, Mapping) else None
    if payload.event == SNAPSHOT and isinstance(life, Mapping):
        return next_life(entry, Lifecycle(INCARNATION, life), genesis)
    return None


def _mark(chain: Path, content: ContentStore) -> Mark:
    with ChainFile.open(chain) as file:
        return recover(file, None, content.get).mark
