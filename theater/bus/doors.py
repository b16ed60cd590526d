"""Doors: bound sockets whose peers are known before their first message is read, and the client's side of them.

One kind is a path socket; the kernel says which process has connected. The other listens on the network; its
peers prove that they have a key (CURVE, RFC 26), and everything between is encrypted, so that nothing can be read,
changed or played a second time. Either way ZeroMQ asks the `Porter` of the context (ZAP, RFC 27) whether a peer may
come in, and no message of one that may not is ever seen. The words by which the porter knows a peer come with each of
its messages, so what was allowed once can be asked anew each time.

Whoever has not come in yet costs a descriptor and at most one frame of memory, for a bounded time: a peer has
`HANDSHAKE_S`, and a door on the network counts its connections and hears no new ones while there are too many. (It
cannot be unbound for so long: ZeroMQ then ends every connection that came by it. So its listening socket, which is made
here, gets a filter that drops what arrives; TCP asks again after a second or so, and whoever is in stays in.)
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import zmq

from theater.bus.sockets import Context, Dealer, Full, Gone
from theater.core.curve import public_of

HANDSHAKE_S: Final = 3.0
"""How long a peer may take until it has come in."""

SILENCE_S: Final = 15.0
"""After which a peer on the network that says nothing, not even that it is there, is taken for gone."""

REMOTE_FRAME: Final = (1 << 20) + (1 << 16)
"""Longest frame that a door on the network takes, bytes: one megabyte, and what is written around it."""

REMOTE_CONNECTIONS: Final = 256
"""As many may be open at a door on the network, whether they have come in or not."""

_PORTER = "inproc://zeromq.zap.01"
_NOW = int(zmq.DONTWAIT)
_MORE_NOW = int(zmq.SNDMORE | zmq.DONTWAIT)
_BEAT_MS = 5_000
_BACKLOG = 64
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_BPF_RETURN = 0x06


class Knock(NamedTuple):
    """Somebody who wants to come in.

    Args:
        door: the name of the door.
        address: of a path socket `HOST:UID:GID:PID`, as the kernel says; else the address on the network.
        key: the public key that it has proved to have; empty at a path socket.
    """

    door: str
    address: str
    key: bytes


class Heard(NamedTuple):
    """A message.

    Args:
        peer: the connection.
        user: the words by which the porter knows who it is.
        address: as of a `Knock`.
    """

    peer: bytes
    user: str
    address: str
    frame: bytes


class Porter:
    """Answers for all doors of a context who may come in. There is one in a context, made before the doors.

    Args:
        ask: returns the words by which a peer shall be known, or None if it may not come in.
    """

    def __init__(self, context: Context, ask: Callable[[Knock], str | None]) -> None:
        self._ask = ask
        self._socket = context.raw(zmq.ROUTER)
        self._socket.bind(_PORTER)

    def fileno(self) -> int:
        return int(self._socket.get(zmq.FD))

    def answer(self) -> bool:
        """Answers whoever knocks; returns whether anybody did."""
        worked = False
        while True:
            try:
                parts = self._socket.recv_multipart(_NOW)
            except zmq.Again:
                return worked
            worked = True
            if len(parts) < 8:
                continue  # ZeroMQ itself asks, and always in this form.
            asker, _, version, number, door, address, _, mechanism, *proof = parts
            key = proof[0] if mechanism == b"CURVE" and proof else b""
            user = self._ask(Knock(door.decode(), address.decode("ascii", "replace"), key))
            said = [b"200", b"OK", user.encode()] if user is not None else [b"400", b"no", b""]
            with contextlib.suppress(zmq.ZMQError):
                self._socket.send_multipart([asker, b"", version, number, *said, b""], _NOW)

    def close(self) -> None:
        self._socket.close(linger=0)


class Door:
    """A bound socket whose peers are known; made by `local_door` and `curve_door`."""

    def __init__(self, context: Context, name: str, made: zmq.Socket[bytes], endpoint: str) -> None:
        self.name = name
        self._socket = made
        self._given = endpoint
        self._listener: socket.socket | None = None
        self._crowd: Monitor | None = None
        self._inside = 0
        self._is_shut = False
        made.set(zmq.ROUTER_MANDATORY, 1)
        made.set(zmq.ZAP_DOMAIN, name.encode())
        made.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))
        self.endpoint = endpoint

    def bind(self, umask: int = 0o177) -> None:
        """Listens. Raises OSError."""
        before = os.umask(umask)
        try:
            if self._given.startswith("tcp://"):
                self._listener = _listen(self._given)
                self._socket.set(zmq.USE_FD, os.dup(self._listener.fileno()))
            self._socket.bind(self._given)
        except zmq.ZMQError as error:
            raise _os_error(error) from error
        finally:
            os.umask(before)
        self.endpoint = _bytes(self._socket.get(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()

    def receive(self) -> Heard | None:
        """A message, if one is waiting; one of another shape is returned with an empty frame."""
        router = self._socket
        try:
            peer = router.recv(_NOW)
        except zmq.Again:
            return None
        if not router.get(zmq.RCVMORE):
            return Heard(peer, "", "", b"")
        frame = router.recv(copy=False)
        is_whole = not router.get(zmq.RCVMORE)
        while router.get(zmq.RCVMORE):
            router.recv()
        user, address = str(frame.get("User-Id")), str(frame.get("Peer-Address"))
        return Heard(peer, user, address, frame.bytes if is_whole else b"")

    def send(self, peer: bytes, frame: bytes) -> None:
        """Hands `frame` to the peer's queue. Raises Gone, or Full if the queue has no room."""
        try:
            self._socket.send(peer, _MORE_NOW)
            self._socket.send(frame, _NOW)
        except zmq.Again as error:
            raise Full from error
        except zmq.ZMQError as error:
            raise Gone from error

    def fileno(self) -> int:
        return int(self._socket.get(zmq.FD))

    def close(self, linger_ms: int = 0) -> None:
        """Closes it, and takes the file of a path socket away; queued frames have `linger_ms` to leave."""
        if self._crowd is not None:
            self._crowd.close()
        self._socket.close(linger=linger_ms)
        if self._listener is not None:
            self._listener.close()
        if self.endpoint.startswith("ipc://"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.endpoint.removeprefix("ipc://"))

    # ---- a crowd

    def count(self) -> Monitor:
        """Begins to count connections; `keep_order` is to be called when the monitor's descriptor can be read."""
        self._crowd = Monitor(self._socket)
        return self._crowd

    @property
    def connections(self) -> int:
        """How many are open, if they are counted."""
        return self._inside

    def keep_order(self) -> int:
        """Takes in who has come and gone, stops listening while there are too many, and returns how many tried to come
        in and did not."""
        failed = 0
        while self._crowd is not None and (event := self._crowd.next()) is not None:
            if event is Event.ACCEPTED:
                self._inside += 1
            elif event is Event.LOST:
                self._inside -= 1
            elif event in (Event.REFUSED, Event.NO_SUCH_LANGUAGE):
                failed += 1
        if self._listener is not None and not self._is_shut and self._inside >= REMOTE_CONNECTIONS:
            _drop_everything(self._listener)
            self._is_shut = True
        elif self._listener is not None and self._is_shut and self._inside < REMOTE_CONNECTIONS // 2:
            self._listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            self._is_shut = False
        return failed


def local_door(context: Context, name: str, endpoint: str, *, largest: int, queue: int) -> Door:
    """A door at a path socket, `ipc:///path`, which is bound by `Door.bind`."""
    return Door(context, name, context.raw(zmq.ROUTER, largest, queue), endpoint)


def curve_door(context: Context, name: str, endpoint: str, secret: bytes, *, queue: int) -> Door:
    """A door on the network, `tcp://HOST:PORT`, which is bound by `Door.bind`.

    Args:
        secret: the server's key, 32 bytes.
    """
    made = context.raw(zmq.ROUTER, REMOTE_FRAME, queue)
    made.set(zmq.CURVE_SERVER, 1)
    made.set(zmq.CURVE_SECRETKEY, secret)
    _keep_alive(made)
    return Door(context, name, made, endpoint)


# ---- the client's side


@dataclass(frozen=True, slots=True)
class Keys:
    """What a client needs to come in.

    Args:
        server: the server's public key, 32 bytes.
        own: the client's secret one.
    """

    server: bytes
    own: bytes


class Event(Enum):
    """What becomes of a connection."""

    ACCEPTED = "accepted"
    IN = "in"
    REFUSED = "refused"
    NO_SUCH_LANGUAGE = "no such language"
    LOST = "lost"
    UNREACHABLE = "unreachable"


_EVENTS: Final = {
    int(zmq.EVENT_ACCEPTED): Event.ACCEPTED,
    int(zmq.EVENT_HANDSHAKE_SUCCEEDED): Event.IN,
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): Event.REFUSED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): Event.NO_SUCH_LANGUAGE,
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): Event.NO_SUCH_LANGUAGE,
    int(zmq.EVENT_DISCONNECTED): Event.LOST,
    int(zmq.EVENT_CLOSED): Event.UNREACHABLE,
}


class Monitor:
    """Tells what becomes of the connections of a socket; made before it connects or is bound."""

    def __init__(self, of: zmq.Socket[bytes]) -> None:
        self._of = of
        address = f"inproc://monitor-{id(self)}"
        of.monitor(address, sum(_EVENTS))
        self._socket = of.context.socket(zmq.PAIR)
        self._socket.set(zmq.RCVHWM, 0)  # What has happened must not wait for whoever wants to know.
        self._socket.connect(address)

    def next(self) -> Event | None:
        """What has happened, if anything has."""
        try:
            what, *_ = self._socket.recv_multipart(_NOW)
        except zmq.Again:
            return None
        number, _ = struct.unpack("=Hi", what)
        return _EVENTS.get(number)

    def fileno(self) -> int:
        """Becomes readable on a change; edge-triggered, so call `next` until there is nothing."""
        return int(self._socket.get(zmq.FD))

    def close(self) -> None:
        self._of.disable_monitor()
        self._socket.close(linger=0)


def enter(context: Context, endpoint: str, keys: Keys | None) -> tuple[Dealer, Monitor]:
    """A connected socket and what becomes of its connection, which is made once: whoever comes after is not met.

    Args:
        keys: for a door on the network.

    Raises:
        OSError: the address is none.
    """
    made = context.raw(zmq.DEALER)
    monitor = Monitor(made)
    if keys is not None:
        made.set(zmq.CURVE_SERVERKEY, keys.server)
        made.set(zmq.CURVE_SECRETKEY, keys.own)
        made.set(zmq.CURVE_PUBLICKEY, public_of(keys.own))
        made.set(zmq.IPV6, 1)
        made.set(zmq.RECONNECT_IVL, -1)
        made.set(zmq.CONNECT_TIMEOUT, int(HANDSHAKE_S * 1000))
        made.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))
        _keep_alive(made)
    try:
        made.connect(endpoint)
    except zmq.ZMQError as error:
        monitor.close()
        made.close(linger=0)
        raise _os_error(error) from error
    return Dealer(made), monitor


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _listen(endpoint: str) -> socket.socket:
    """A listening socket for ZeroMQ. Raises OSError."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    if host == "*":
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        made = socket.create_server(("", int(port)), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    else:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        made = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    made.setblocking(False)
    return made


def _drop_everything(listener: socket.socket) -> None:
    """Has the kernel drop what arrives at a listening socket; connections that there are have nothing to do with it."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", _BPF_RETURN, 0, 0, 0))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def _os_error(error: zmq.ZMQError) -> OSError:
    number = error.errno or errno.EINVAL
    return OSError(number, zmq.strerror(number))


def _keep_alive(made: zmq.Socket[bytes]) -> None:
    """A peer whose machine has gone says nothing, for ever; so both say from time to time that they are there."""
    made.set(zmq.HEARTBEAT_IVL, _BEAT_MS)
    made.set(zmq.HEARTBEAT_TIMEOUT, int(SILENCE_S * 1000))
