"""The record of an actor with secrets: what is written down has something in their place (core/secrets.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from theater.chainlog.writer import ChainWriter
from theater.core.chain import Outcome
from theater.core.codec import Veiled
from theater.core.pulse import Pulse
from theater.core.secrets import Open, Veil, find
from theater.errors import UnknownSecret
from theater.store.secrets import kept
from theater.worker.assignment import Assignment
from theater.worker.record import Record, Room
from theater.worker.signals import Signals


def veil_of(assignment: Assignment) -> Veil | None:
    """What hides the secrets of a life; None for one that has none, and never had.

    Raises:
        IntegrityError: a kept secret cannot be read.
    """
    found = kept(Path(assignment.secrets_folder)) if assignment.secrets_folder is not None else []
    return Veil(found) if found else None


def opener_of(veil: Veil | None) -> Open:
    """Finds the secrets of earlier lives among those of this one, which has all that the actor ever had."""
    return find([(secret.name, secret.key + secret.value) for secret in veil.secrets] if veil is not None else ())


def values_of(assignment: Assignment, veil: Veil | None) -> dict[str, bytes]:
    """The secrets that the actor may read, by name: of each the newest value."""
    newest = {secret.name: secret.value for secret in veil.secrets} if veil is not None else {}
    return {name: newest[name] for name in assignment.secrets}


def clear(state: bytes | Veiled | None, veil: Veil | None) -> bytes | None:
    """A state as the actor knows it, from what the record has of it.

    Raises:
        UnknownSecret: the home does not have the secrets any more that stand in it.
        IntegrityError: they are not those that the state was recorded with.
    """
    if not isinstance(state, Veiled):
        return state
    if veil is None:
        raise UnknownSecret(
            "there are secrets in the state from which the actor is to go on, and the home has lost them: put back its "
            "folder secrets, or start with another state"
        )
    known: bytes = veil.show(state)
    return known


class VeiledRecord(Record):
    """Writes the chain of an actor with secrets.

    Args:
        state: that the life begins with.
        args: as of `Record`.
    """

    def __init__(
        self,
        veil: Veil,
        state: bytes | None,
        writer: ChainWriter,
        pulse: Pulse,
        signals: Signals,
        limit: int,
        durable: bool,
        room: Room | None = None,
    ) -> None:
        super().__init__(writer, pulse, signals, limit, durable, room)
        self._veil = veil
        veil.hold(state)

    def call(
        self, interface: str, function: str, args: Sequence[Any], cause: bytes | None, sender: str | None, request: Any
    ) -> bytes:
        return super().call(interface, function, self._veil.hide(args), cause, sender, request)

    def host_call(self, interface: str, function: str, args: Sequence[Any]) -> bytes:
        return super().host_call(interface, function, self._veil.hide(args))

    def host_result(self, value: Any, cause: bytes | None) -> None:
        super().host_result(self._veil.hide(value), cause)

    def outcome(self, outcome: Outcome) -> bytes:
        return super().outcome(self._veil.hide_in_outcome(outcome))

    def lifecycle(self, event: str, details: dict[str, Any]) -> bytes:
        return super().lifecycle(event, self._veil.hide_in_details(event, details))
