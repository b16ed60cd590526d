"""The chains of a home, opened when they are wanted, each once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from theater.config import Home
from theater.core.chain import Entry, Genesis
from theater.core.ids import is_id
from theater.core.verification import SUPERVISOR
from theater.errors import ChainBroken, InvalidInput, NotFound
from theater.lookback.states import PastState, state_after
from theater.lookback.survey import Survey
from theater.store.content import ContentStore


class Chains:
    """Reads the chains of a home; changes nothing, and asks no server.

    Args:
        home: whose.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._open: dict[str, Survey] = {}
        self._names: dict[str, str] = {}
        self.get = ContentStore(home.content).get

    def chain(self, actor: str) -> Survey:
        """The chain of an actor, or of `supervisor`, as it was when it was first asked for.

        Raises:
            NotFound: it is not in this home.
            ChainBroken: it cannot be walked.
        """
        found = self._open.get(actor)
        if found is None:
            if actor != SUPERVISOR and not is_id(actor):
                raise NotFound(f"{actor!r} is no actor's id")  # whatever a record says, it names no other file
            found = self._open[actor] = Survey(self._home.chain(actor))
        return found

    def actors(self) -> Iterator[str]:
        """The ids of all actors that have a chain here, in order."""
        return (folder.name for folder in sorted(self._home.actors.glob("*")) if is_id(folder.name))

    def name(self, actor: str) -> str:
        """The name in an actor's genesis; its id if there is none."""
        if actor not in self._names:
            self._names[actor] = actor
            with contextlib.suppress(NotFound, ChainBroken, IndexError):
                genesis = self.chain(actor).payload(0)
                if isinstance(genesis, Genesis) and genesis.name:
                    self._names[actor] = genesis.name
        return self._names[actor]

    def place(self, actor: str, number: int) -> int:
        """The number of an entry that is counted from the end if it is negative: -1 is the newest.

        Raises:
            NotFound: the chain has no such entry.
        """
        chain = self.chain(actor)
        if number >= 0 and chain.has(number):
            return number
        count = len(chain)
        if not count:
            raise NotFound(f"{self.name(actor)} has no entry {number}: nothing is recorded of it yet")
        seq = number if number >= 0 else count + number
        facts = {"actor": actor, "entry": number, "entries": count}
        if not 0 <= seq < count:
            message = f"{self.name(actor)} has no entry {number}: its chain has {count}, 0 to {count - 1}"
            raise NotFound(message, **facts)
        if not chain.has(seq):
            raise NotFound(f"{self.name(actor)} has no entry {seq} any more: {chain.dropped}", **facts)
        return seq

    def around(self, actor: str, seq: int, context: int) -> list[Entry]:
        """Entry `seq` and at most `context` of those before and after it, oldest first.

        Raises:
            ChainBroken: one of them is not what it was.
        """
        chain = self.chain(actor)
        numbers = range(max(0, seq - context), seq + context + 1)
        return [chain.entry(number) for number in numbers if chain.has(number)]

    def state(self, actor: str, number: int = -1) -> PastState:
        """The state of an actor after an entry.

        Args:
            number: as in `place`.

        Raises:
            InvalidInput: the supervisor's chain holds no state.
            NotFound, ChainBroken, ContentDamaged: it is not there, or not what it was.
        """
        if actor == SUPERVISOR:
            raise InvalidInput("the server's own chain holds no state; name an actor")
        return state_after(self.chain(actor), self.place(actor, number), self.get)

    def close(self) -> None:
        for chain in self._open.values():
            chain.close()
        self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
