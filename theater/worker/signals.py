"""The worker's line to the supervisor: questions about other actors, orders, messages from outside."""

from __future__ import annotations

from theater.bus.sockets import Dealer, Full
from theater.core.wire import Message, decode, encode
from theater.errors import WireError


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
        """Sends; a supervisor that reads nothing for so long that the queue is full is about to kill us anyway."""
        try:
            self.dealer.send(encode(message))
        except Full:
            self.refused += 1

    def receive(self) -> Message | None:
        """The next well-formed message, if one is waiting."""
        while (frame := self.dealer.receive()) is not None:
            try:
                return decode(frame)
            except WireError:
                self.refused += 1
        return None
