"""Which calls made an actor's linear memory what it is, over all its lives: its lineage. Pure.

A life of the policy "replay" goes on with the memory that the calls of the lives before gave it. They begin with the
newest snapshot that holds the memory, or with the newest life whose guest was made anew; all calls since then that
came to an end, with a result or an error, are executed again, in order and with what they were answered. A call that
trapped, or was cut, is left out, as if it had never come: it ended the life, and its memory with it.

The incarnation of such a life says so: "from" is the number of the entry with which its lineage begins, and "left_out"
the numbers of the calls that are left out. A life without "from" has a guest that was made anew.

A `Descent` follows a chain and knows at each moment what the lineage of a life would be that begins now; `retold` picks
out of a chain what is to be executed. Both look at kinds and at the ends of calls, and at nothing that they refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Call,
    Ending,
    Genesis,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    Record,
)
from theater.core.codec import Ref
from theater.core.secrets import SECRETS

FROM: Final = "from"
LEFT_OUT: Final = "left_out"

_FOLLOWED: Final = frozenset({Kind.GENESIS, Kind.CALL, Kind.OUTCOME, Kind.LIFECYCLE})


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the memory of a life comes from.

    Args:
        begins: number of the entry where it begins: a snapshot, or the beginning of a life.
        committed: number of the entry that holds the state that had been committed last by then, if one had been; a
            snapshot holds it itself.
        calls: how many calls belong to it.
        left_out: numbers of the calls since then that do not.
    """

    begins: int
    committed: int | None
    calls: int
    left_out: tuple[int, ...]

    def said(self) -> dict[str, Any]:
        """What an incarnation says of it."""
        return {FROM: self.begins, LEFT_OUT: list(self.left_out)}


class Descent:
    """Follows a chain, from its beginning or from a snapshot.

    Attributes:
        is_lost: calls that made the memory are missing, so that nobody can make it again.
    """

    def __init__(self) -> None:
        self._begins: int | None = None
        self._is_snapshot = False
        self._calls = 0
        self._left_out: list[int] = []
        self._committed: int | None = None
        self._committed_then: int | None = None
        self._open: int | None = None
        self._next: int | None = None
        self.is_lost = False

    def follow(self, record: Record) -> None:
        """Takes in the next record.

        Raises:
            ChainBroken: it is none that this version knows.
        """
        if record.seq != self._next:
            self._begins, self.is_lost = None, record.seq > 0
        self._next = record.seq + 1
        if record.kind_number in _FOLLOWED:
            self.note(record.seq, record.entry().read())

    def note(self, number: int, payload: Payload) -> None:
        """Takes in the next entry, its content resolved or not."""
        kind = type(payload)
        if kind is Call:
            self._open = number
        elif isinstance(payload, Outcome):
            self._conclude(number, payload)
        elif kind is Genesis:
            self._begin(number)
        elif isinstance(payload, Lifecycle) and payload.event == INCARNATION:
            self._cut()
            if begins(payload) is None:
                self._begin(number)
        elif isinstance(payload, Lifecycle) and payload.event == SNAPSHOT:
            self._keep(number, payload.details)

    @property
    def lineage(self) -> Lineage | None:
        """Of a life that would begin now. None if there is nothing to execute: its guest is made anew."""
        if self._begins is None or not (self._calls or self._is_snapshot):
            return None
        cut = () if self._open is None else (self._open,)
        return Lineage(self._begins, self._committed_then, self._calls, (*self._left_out, *cut))

    def _begin(self, number: int) -> None:
        self._begins, self._is_snapshot, self.is_lost = number, False, False
        self._calls, self._left_out, self._open = 0, [], None
        self._committed_then = self._committed

    def _keep(self, number: int, details: Any) -> None:
        if not isinstance(details, Mapping):
            return
        if details.get("committed") is True:
            self._committed = number
        if isinstance(details.get("memory"), Ref):
            self._begin(number)
            self._is_snapshot = True

    def _conclude(self, number: int, outcome: Outcome) -> None:
        if outcome.ending == Ending.TRAP:
            self._cut()
        else:
            self._calls += 1
        self._open = None
        if outcome.state:
            self._committed = number

    def _cut(self) -> None:
        if self._open is not None:
            self._left_out.append(self._open)
            self._open = None


def begins(incarnation: Lifecycle) -> int | None:
    """Where the lineage of a life begins, as its first entry says it; None if its guest was made anew."""
    details = incarnation.details
    found = details.get(FROM) if isinstance(details, Mapping) else None
    return found if type(found) is int else None


def retold(records: Iterable[Record], lineage: Lineage) -> Iterator[Record]:
    """What a lineage executes: where it begins, its calls with what is in them, the beginnings of lives among them.

    Args:
        records: of the chain, from `lineage.begins` to where the life that goes on begins.
    """
    left_out = frozenset(lineage.left_out)
    is_left_out = False
    for record in records:
        number = record.kind_number
        if number == Kind.CALL:
            is_left_out = record.seq in left_out
        elif number == Kind.LIFECYCLE and record.seq != lineage.begins:
            payload = record.entry().read()
            event = payload.event if isinstance(payload, Lifecycle) else ""
            is_left_out = is_left_out or event != SECRETS  # Up to the next call, but what a life asks while it is made.
            if event in (INCARNATION, SECRETS):
                yield record
            continue
        if not is_left_out:
            yield record
