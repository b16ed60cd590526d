"""ZeroMQ behind two small classes: `Router` is bound and hears many, `Dealer` is connected and hears one.

Only this folder knows ZeroMQ, so that another carrier could take its place. ZeroMQ's defaults are unsafe
between processes that do not trust each other, so every socket here has a largest message, short queues, no
lingering unless asked, and a router that says when a peer is gone instead of dropping silently. Frames are
bytes; what they mean is core/wire.py's business.

A context must be made after the last fork of a process (D1), hence `Context` is an argument everywhere.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from pathlib import Path

import zmq

from theater.bus.ends import Full, Gone
from theater.core.wire import MAX_FRAME

_QUEUE = 1000
_LONGEST_MS = (1 << 31) - 1
"""What poll(2) takes, some 24 days: a longer wait ends early, as if nothing had come."""

# As plain integers: ZeroMQ's own constants are enums, whose arithmetic costs more than a system call.
_NOW = int(zmq.DONTWAIT)
_MORE_NOW = int(zmq.SNDMORE | zmq.DONTWAIT)
_EVENTS = int(zmq.EVENTS)
_READABLE = int(zmq.POLLIN)
_MORE_TO_COME = int(zmq.RCVMORE)
_EVENTS, _IN = int(zmq.EVENTS), int(zmq.POLLIN)


class Context:
    """One per process, made after its last fork."""

    def __init__(self) -> None:
        self._zmq = zmq.Context(io_threads=1)

    def router(self, endpoint: str, *, largest: int = MAX_FRAME, queue: int = _QUEUE) -> Router:
        """A bound socket. An ipc endpoint becomes a socket file of mode 0600.

        Args:
            endpoint: `ipc:///path`.
            largest: bytes; a peer that sends more is disconnected before its message is stored.
            queue: messages held for each peer and direction.
        """
        socket = self.raw(zmq.ROUTER, largest, queue)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        before = os.umask(0o177)
        try:
            socket.bind(endpoint)
        finally:
            os.umask(before)
        return Router(socket, endpoint)

    def dealer(
        self, endpoint: str, *, identity: bytes = b"", largest: int = MAX_FRAME, queue: int = _QUEUE, linger_ms: int = 0
    ) -> Dealer:
        """A connected socket; connecting succeeds even if nobody listens yet."""
        socket = self.raw(zmq.DEALER, largest, queue)
        socket.set(zmq.LINGER, linger_ms)
        if identity:
            socket.set(zmq.ROUTING_ID, identity)
        socket.connect(endpoint)
        return Dealer(socket)

    def close(self) -> None:
        """Closes the context; every socket must have been closed."""
        self._zmq.term()

    def end(self, linger_ms: int) -> None:
        """Closes the context and every socket that is still open, once queued frames have left or `linger_ms` are
        over. A process that exits without this leaves behind what it sent last."""
        self._zmq.destroy(linger_ms)

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


class Router:
    """A bound socket. A peer is named by the bytes that ZeroMQ gives its connection."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        self._endpoint = endpoint

    def receive(self) -> tuple[bytes, bytes] | None:
        """(peer, frame) if one is waiting; a message of another shape is returned with an empty frame."""
        socket = self.socket
        try:
            peer = socket.recv(_NOW)
        except zmq.Again:
            return None
        if not socket.get(_MORE_TO_COME):
            return peer, b""
        frame = socket.recv()
        return (peer, b"") if _skip_rest(socket) else (peer, frame)

    def send(self, peer: bytes, frame: bytes) -> None:
        """Hands `frame` to the peer's queue.

        Raises:
            Gone: the peer has disconnected.
            Full: its queue is full.
        """
        try:
            self.socket.send(peer, _MORE_NOW)
            self.socket.send(frame, _NOW)
        except zmq.Again as error:
            raise Full from error
        except zmq.ZMQError as error:
            raise Gone from error

    @property
    def has_frames(self) -> bool:
        """Whether `receive` has something to give. Costs a quarter of a `receive` that has not."""
        return bool(int(self.socket.get(_EVENTS)) & _IN)

    def has_left(self, peer: bytes) -> bool:
        """Whether no such peer is connected now; frames of one that has left may still wait in `receive`.

        A peer that is connected gets an empty frame by being asked after.
        """
        try:
            self.send(peer, b"")
        except Gone:
            return True
        except Full:
            return False
        return False

    def fileno(self) -> int:
        """A descriptor that becomes readable on a change; edge-triggered, so drain `receive` after each."""
        return int(self.socket.get(zmq.FD))

    def close(self, linger_ms: int = 0) -> None:
        """Closes the socket and takes its file away; queued frames have `linger_ms` to leave."""
        self.socket.close(linger=linger_ms)
        with contextlib.suppress(FileNotFoundError):
            Path(self._endpoint.removeprefix("ipc://")).unlink()


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


class Poll:
    """Waits for any of a few sockets.

    The kernel waits on ZeroMQ's descriptors, which say "look again" once and then nothing until one has looked; so
    each socket is looked at before the wait, when nobody is kept waiting by that, and not after it, when somebody is.

    Args:
        wake: a descriptor that ends any wait when it can be read, such as that of `signal.set_wakeup_fd`: a signal
            that arrives just before the wait begins would not be noticed otherwise.
    """

    def __init__(self, *sockets: Router | Dealer, wake: int | None = None) -> None:
        self._poll = select.poll()
        self._owner: dict[int, Router | Dealer] = {}
        if wake is not None:
            self._poll.register(wake, select.POLLIN)
        for socket in sockets:
            self.add(socket)

    def add(self, socket: Router | Dealer) -> None:
        fd = socket.fileno()
        self._poll.register(fd, select.POLLIN)
        self._owner[fd] = socket

    def remove(self, socket: Router | Dealer) -> None:
        fd = socket.fileno()
        self._poll.unregister(fd)
        del self._owner[fd]

    def wait(self, timeout: float | None) -> Iterator[Router | Dealer]:
        """The sockets that may have something; none when `timeout` (seconds) is over or it was woken."""
        waiting = [socket for socket in self._owner.values() if int(socket.socket.get(_EVENTS)) & _READABLE]
        if waiting:
            return iter(waiting)
        found = self._poll.poll(None if timeout is None else min(max(0, int(timeout * 1000 + 0.999)), _LONGEST_MS))
        return iter([self._owner[fd] for fd, _ in found if fd in self._owner])


def _skip_rest(socket: zmq.Socket[bytes]) -> bool:
    """Throws away what is left of a message; whether there was anything."""
    # `get`, not the attribute: that one is looked up in a way that costs five times as much.
    if not socket.get(_MORE_TO_COME):
        return False
    while socket.get(_MORE_TO_COME):
        socket.recv()
    return True


__all__ = ["Context", "Dealer", "Full", "Gone", "Poll", "Router"]
