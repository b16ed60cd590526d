"""theater:simple/supervisor: the children of an actor, and what a child's failure looks like to its parent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from theater.core.exit_reason import ExitKind, ExitReason


class Event(NamedTuple):
    """An entry of a descendant's chain; `digest` and `previous` are those of the chain."""

    digest: bytes
    previous: bytes | None
    kind: str
    data: bytes
    at_ms: int
    description: str | None


class Family(Protocol):
    """The children of this actor. An id may be that of any descendant; that of anybody else is an error. Every method
    raises a `TheaterError` when it cannot."""

    def spawn(self, manifest: str, state: bytes | None, *, resume: bool) -> str:
        """The id of a new child, when it is up; with `resume` it goes on from `state` without init."""

    def children(self) -> list[str]:
        """The ids of all children, in the order of their starting."""

    def stop(self, child: str) -> None: ...

    def restart(self, child: str) -> None: ...

    def state(self, child: str) -> bytes | None: ...

    def events(self, child: str) -> Sequence[Event]:
        """Its chain, oldest entry first."""


class Supervisor:
    def __init__(self, family: Family) -> None:
        self._family = family

    def spawn(self, manifest: str, init_bytes: bytes | None) -> str:
        return self._family.spawn(manifest, init_bytes, resume=False)

    def resume(self, manifest: str, init_state: bytes | None) -> str:
        return self._family.spawn(manifest, init_state, resume=True)

    def list_children(self) -> list[str]:
        return self._family.children()

    def stop_child(self, child_id: str) -> None:
        self._family.stop(child_id)

    def restart_child(self, child_id: str) -> None:
        self._family.restart(child_id)

    def get_child_state(self, child_id: str) -> bytes | None:
        return self._family.state(child_id)

    def get_child_events(self, child_id: str) -> list[dict[str, Any]]:
        return [_chain_event(event) for event in self._family.events(child_id)]


def child_error(reason: ExitReason) -> dict[str, Any]:
    """The record `wit-actor-error` for a child that failed: its data is the whole reason as JSON."""
    data = json.dumps(reason.to_dict(), ensure_ascii=False, separators=(",", ":"))
    return {"error-type": _ERROR_TYPES.get(reason.kind, "internal"), "data": data.encode()}


_ERROR_TYPES = {
    ExitKind.DEADLINE: "operation-timeout",
    ExitKind.SHUTDOWN: "shutting-down",
    ExitKind.GAVE_UP: "shutting-down",
}


def _chain_event(event: Event) -> dict[str, Any]:
    return {
        "hash": event.digest,
        "parent-hash": event.previous,
        "event-type": event.kind,
        "data": event.data,
        "timestamp": event.at_ms,
        "description": event.description,
    }
