"""ZeroMQ behind two small classes: `Context` makes its sockets, `Dealer` is one that is connected.

Only this folder knows ZeroMQ, which carries what clients and the server say to each other; bus/doors.py has the
server's side. Its defaults are unsafe between processes that do not trust each other, so every socket here has a
largest message, short queues and no lingering. Frames are bytes; what they mean is core/wire.py's business.

A context must be made after the last fork of a process (D1), hence `Context` is an argument everywhere.
"""

from __future__ import annotations

import zmq

from theater.bus.ends import Full, Gone
from theater.core.wire import MAX_FRAME

_QUEUE = 1000

# As plain integers: ZeroMQ's own constants are enums, whose arithmetic costs more than a system call.
_NOW = int(zmq.DONTWAIT)
_EVENTS, _IN = int(zmq.EVENTS), int(zmq.POLLIN)
_MORE_TO_COME = int(zmq.RCVMORE)


class Context:
    """One per process, made after its last fork."""

    def __init__(self) -> None:
        self._zmq = zmq.Context(io_threads=1)

    def dealer(self, endpoint: str, *, largest: int = MAX_FRAME, queue: int = _QUEUE) -> Dealer:
        """A connected socket; connecting succeeds even if nobody listens yet."""
        socket = self.raw(zmq.DEALER, largest, queue)
        socket.connect(endpoint)
        return Dealer(socket)

    def close(self) -> None:
        """Closes the context; every socket must have been closed."""
        self._zmq.term()

    def end(self) -> None:
        """Closes the context and every socket that is still open; what they have not sent yet is lost."""
        self._zmq.destroy(0)

    def raw(self, kind: int, largest: int = MAX_FRAME, queue: int = _QUEUE) -> zmq.Socket[bytes]:
        """A socket of ZeroMQ's that is neither bound nor connected, with nothing of its unsafe defaults; for this
        folder."""
        socket = self._zmq.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.MAXMSGSIZE, largest)
        socket.set(zmq.SNDHWM, queue)
        socket.set(zmq.RCVHWM, queue)
        socket.set(zmq.RECONNECT_IVL, 20)
        socket.set(zmq.RECONNECT_IVL_MAX, 500)
        return socket


class Dealer:
    """A connected socket with one peer."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._patience = -1.0

    def receive(self) -> bytes | None:
        """The next frame, if one is waiting; a message of several frames is returned as an empty one."""
        try:
            frame = self.socket.recv(_NOW)
        except zmq.Again:
            return None
        return b"" if _skip_rest(self.socket) else frame

    @property
    def has_frames(self) -> bool:
        """Whether `receive` has something to give. Costs a quarter of a `receive` that has not."""
        return bool(int(self.socket.get(_EVENTS)) & _IN)

    def receive_within(self, seconds: float) -> bytes | None:
        """The next frame, as soon as there is one; None when the time is over."""
        if seconds != self._patience:
            self.socket.set(zmq.RCVTIMEO, max(0, int(seconds * 1000)))
            self._patience = seconds
        try:
            frame = self.socket.recv()
        except zmq.Again:
            return None
        return b"" if _skip_rest(self.socket) else frame

    def send(self, frame: bytes, patience: float = 0.0) -> None:
        """Hands `frame` to the queue, or raises Full if it has no room within `patience` seconds."""
        try:
            self.socket.send(frame, _NOW)
        except zmq.Again as error:
            if not patience or not self.socket.poll(int(patience * 1000), zmq.POLLOUT):
                raise Full from error
            self.send(frame)

    def fileno(self) -> int:
        return int(self.socket.get(zmq.FD))

    def close(self, linger_ms: int = 0) -> None:
        self.socket.close(linger=linger_ms)


def _skip_rest(socket: zmq.Socket[bytes]) -> bool:
    """Throws away what is left of a message; whether there was anything."""
    # `get`, not the attribute: that one is looked up in a way that costs five times as much.
    if not socket.get(_MORE_TO_COME):
        return False
    while socket.get(_MORE_TO_COME):
        socket.recv()
    return True


__all__ = ["Context", "Dealer", "Full", "Gone"]
