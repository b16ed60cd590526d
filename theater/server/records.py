"""What the chain of an actor says of it, alive or not: its last state, its newest entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from theater.chainlog.chain_file import ChainFile
from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import record_at, state_in
from theater.config import Home
from theater.core.chain import Entry, Lifecycle, resolve, state_digest
from theater.core.codec import pack
from theater.core.secrets import redacted
from theater.errors import NotFound
from theater.server.cast import Actor
from theater.server.stage import Stage
from theater.store.content import ContentStore

_EVENTS_MAX = 1000
_BYTES_MAX = 8 << 20
"""Bytes of entries that are given at once; a guest has to take them into its memory."""


class LastState(NamedTuple):
    """The state that an actor's last call left: the bytes, with names in place of secrets; the digest that the record
    has of it, in hex; and the number of the entry."""

    state: bytes | None
    digest: str | None
    seq: int | None


class Records:
    """Reads chains; changes nothing."""

    def __init__(self, home: Home, content: ContentStore, stage: Stage) -> None:
        self._home = home
        self._content = content
        self._stage = stage

    def state(self, actor: Actor) -> LastState:
        """The last state that was committed, if any was.

        Raises:
            TheaterError: the chain, or content that it refers to, cannot be read.
        """
        self._stage.current_mark(actor)
        mark = actor.head
        if mark is None or mark.state_at is None:
            return LastState(None, None, None)
        entry = _entry_at(self._home.chain(actor.id), mark.state_at)
        (state,) = resolve(state_in(entry.read())[:1], self._content.get)
        digest = state_digest(state)
        return LastState(redacted(state), digest.hex() if digest is not None else None, entry.seq)

    def newest(self, actor: Actor) -> list[list[Any]]:
        """The newest entries, oldest first: [digest, digest of the one before, type, payload, ms, description].

        Raises:
            TheaterError: the chain cannot be read.
        """
        try:
            with ChainReader(self._home.chain(actor.id)) as chain:
                entries = chain.tail(_EVENTS_MAX)
        except NotFound:
            return []
        rows: list[list[Any]] = []
        size = 0
        for entry in reversed(entries):
            data = pack(entry.payload)
            size += len(data)
            if rows and size > _BYTES_MAX:
                break
            rows.append(_row(entry, data))
        return rows[::-1]


def _row(entry: Entry, data: bytes) -> list[Any]:
    previous = entry.previous if entry.seq else None
    payload = entry.read()
    description = payload.event if isinstance(payload, Lifecycle) else None
    return [entry.digest, previous, entry.kind.label, data, entry.time_ns // 1_000_000, description]


def _entry_at(path: Path, offset: int) -> Entry:
    with ChainFile.open(path) as file:
        return record_at(file, offset).entry()
