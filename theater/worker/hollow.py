"""A link that has no other end: what is sent is gone, and nothing ever comes.

A template has no line to anybody, but plays what its workers will play, so that they find it in memory.
"""

from __future__ import annotations

import os

from theater.bus.links import Link


class HollowLink(Link):
    """Such a link."""

    __slots__ = ()

    def __init__(self) -> None:
        self._fd = os.eventfd(0)
        self._frames, self._unsent = (), ()  # type: ignore[assignment]
        self._data, self._at, self._large = b"", 0, None
        self.ended = False

    def receive(self) -> bytes | None:
        return None

    def send(self, frame: bytes, patience: float = 0.0, descriptor: int | None = None) -> None:
        pass

    def close(self, linger_ms: int = 0) -> None:
        os.close(self._fd)
