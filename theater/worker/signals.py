"""The worker's line to the supervisor: questions about other actors, orders, messages from outside."""

from __future__ import annotations

from typing import Any

from theater.bus.ends import Full, Gone
from theater.bus.links import Link
from theater.core.wire import Message, Undelivered, decode, encode
from theater.errors import WireError

_PATIENCE_S = 5.0
_REPORT_MAX = 1 << 19
"""Bytes of letters that are reported in one message: the supervisor takes no frame of any length."""

_REPORT_EACH = 512
"""Bytes that a letter has there beside its body; so long may be what is said of why it was not delivered."""


class Signals:
    """Sends and receives the messages of `core/wire.py` over one link.

    Args:
        link: the line that the worker is born with.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.refused = 0
        self._number = 0

    def number(self) -> int:
        """A number for a question that has not been used before."""
        self._number += 1
        return self._number

    def tell(self, message: Message) -> None:
        """Sends, and waits a while for a supervisor that is behind; one that reads nothing at all hears less."""
        try:
            self.link.send(encode(message), patience=_PATIENCE_S)
        except (Full, Gone):
            self.refused += 1

    def report(self, letters: list[list[Any]]) -> None:
        """Tells of letters that were not delivered, each as in `Undelivered`."""
        batch: list[list[Any]] = []
        size = 0
        for letter in letters:
            length = len(letter[2]) + _REPORT_EACH
            if batch and size + length > _REPORT_MAX:
                self.tell(Undelivered(batch))
                batch, size = [], 0
            batch.append([*letter[:4], letter[4][:_REPORT_EACH]])
            size += length
        self.tell(Undelivered(batch))

    def take_descriptor(self) -> int | None:
        """The descriptor that came with the message that was received last; the caller's from now on."""
        return self.link.take_descriptor()

    def receive(self) -> Message | None:
        """The next well-formed message, if one is waiting."""
        while (frame := self.link.receive()) is not None:
            try:
                return decode(frame)
            except WireError:
                self.refused += 1
        return None
