"""The worker's line to the supervisor: questions about other actors, orders, messages from outside."""

from __future__ import annotations

from typing import Any

from theater.bus.sockets import Dealer, Full
from theater.core.wire import Message, Undelivered, decode, encode
from theater.errors import WireError

_PATIENCE_S = 5.0
_REPORT_MAX = 1 << 20
"""Bytes of letters that are reported in one message: the supervisor takes no frame of any length."""


class Signals:
    """Sends and receives the messages of `core/wire.py` over one socket.

    Args:
        dealer: connected to the supervisor under this incarnation's identity.
    """

    def __init__(self, dealer: Dealer) -> None:
        self.dealer = dealer
        self.refused = 0
        self._number = 0

    def number(self) -> int:
        """A number for a question that has not been used before."""
        self._number += 1
        return self._number

    def tell(self, message: Message) -> None:
        """Sends, and waits a while for a supervisor that is behind; one that reads nothing at all hears less."""
        try:
            self.dealer.send(encode(message), patience=_PATIENCE_S)
        except Full:
            self.refused += 1

    def report(self, letters: list[list[Any]]) -> None:
        """Tells of letters that were not delivered, each as in `Undelivered`."""
        batch: list[list[Any]] = []
        size = 0
        for letter in letters:
            if batch and size + len(letter[2]) > _REPORT_MAX:
                self.tell(Undelivered(batch))
                batch, size = [], 0
            batch.append(letter)
            size += len(letter[2])
        self.tell(Undelivered(batch))

    def receive(self) -> Message | None:
        """The next well-formed message, if one is waiting."""
        while (frame := self.dealer.receive()) is not None:
            try:
                return decode(frame)
            except WireError:
                self.refused += 1
        return None
