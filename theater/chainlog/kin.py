"""Who descends from whom, by what the beginnings of chains say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from theater.chainlog.reader import ChainReader
from theater.config import Home
from theater.core.chain import Genesis
from theater.errors import TheaterError


def with_descendants(home: Home, actors: Iterable[str]) -> list[str]:
    """The actors of a home, and all that they have spawned, and these, by ascending id; also what was removed since.

    A chain that cannot be read belongs to nobody but itself.
    """
    children: dict[str, list[str]] = {}
    for child, parent in _parents(home):
        children.setdefault(parent, []).append(child)
    found = set[str]()
    waiting = list(actors)
    while waiting:
        actor = waiting.pop()
        if actor not in found:
            found.add(actor)
            waiting += children.get(actor, [])
    return sorted(found)


def _parents(home: Home) -> Iterator[tuple[str, str]]:
    for path in home.actors.glob("*/chain"):
        with contextlib.suppress(TheaterError), ChainReader(path) as chain:
            for record in chain.records(1):
                genesis = record.entry().read()
                if isinstance(genesis, Genesis) and genesis.parent is not None:
                    yield path.parent.name, genesis.parent
