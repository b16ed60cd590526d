"""Sockets without ZeroMQ: what is sent is gone, and nothing ever comes.

A template must not open a ZeroMQ context (D1), but plays what its workers will play, so that they find it in memory.
"""

from __future__ import annotations

import os

from theater.bus.sockets import Context, Dealer, Router
from theater.core.wire import MAX_FRAME


class HollowContext(Context):
    """Makes such sockets."""

    def __init__(self) -> None:
        pass

    def router(self, endpoint: str, *, largest: int = MAX_FRAME, queue: int = 0) -> Router:
        return _HollowRouter()

    def dealer(
        self, endpoint: str, *, identity: bytes = b"", largest: int = MAX_FRAME, queue: int = 0, linger_ms: int = 0
    ) -> Dealer:
        return _HollowDealer()


class _Silence:
    """Has no events."""

    def get(self, option: int) -> int:
        return 0


class _HollowRouter(Router):
    def __init__(self) -> None:
        self.socket = _Silence()  # type: ignore[assignment]
        self._fd = os.eventfd(0)

    def receive(self) -> tuple[bytes, bytes] | None:
        return None

    def send(self, peer: bytes, frame: bytes) -> None:
        pass

    def fileno(self) -> int:
        return self._fd

    def close(self, linger_ms: int = 0) -> None:
        os.close(self._fd)


class _HollowDealer(Dealer):
    def __init__(self) -> None:
        self.socket = _Silence()  # type: ignore[assignment]
        self._fd = os.eventfd(0)

    def receive(self) -> bytes | None:
        return None

    def send(self, frame: bytes, patience: float = 0.0) -> None:
        pass

    def fileno(self) -> int:
        return self._fd

    def close(self, linger_ms: int = 0) -> None:
        os.close(self._fd)
