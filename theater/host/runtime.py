"""theater:simple/runtime: what every actor may do: log, read its own chain, end itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from theater.core.chain import Entry
from theater.core.codec import pack

SHOWN = 1000
"""Newest events that `get-chain` gives: a guest's memory is small, a chain is not."""


class Life(Protocol):
    """What runtime needs of its actor."""

    def say(self, stream: str, text: str) -> None:
        """Appends to the actor's log."""

    def end(self, data: bytes | None) -> None:
        """Ends the actor normally when the running call is over."""

    def newest_entries(self, limit: int) -> Iterable[Entry]:
        """The last `limit` entries of the actor's chain, oldest first."""


class Runtime:
    def __init__(self, life: Life) -> None:
        self._life = life

    def log(self, msg: str) -> None:
        self._life.say("log", msg)

    def get_chain(self) -> dict[str, Any]:
        return {"events": [_meta_event(entry) for entry in self._life.newest_entries(SHOWN)]}

    def shutdown(self, data: bytes | None) -> None:
        self._life.end(data)


def _meta_event(entry: Entry) -> dict[str, Any]:
    """An entry in the reference's shape, whose hashes have 64 bits: the first eight bytes of ours."""
    parent = int.from_bytes(entry.previous[:8], "big") if entry.seq else None
    event = {"event-type": entry.kind.label, "parent": parent, "data": pack(entry.payload)}
    return {"hash": int.from_bytes(entry.digest[:8], "big"), "event": event}
