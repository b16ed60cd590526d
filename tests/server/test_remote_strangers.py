"""What strangers can do at the network's door: nothing, and it costs the server little and its clients nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from elsewhere import Elsewhere
from house import count, descriptors, eventually, make_house

from theater.bus.doors import HANDSHAKE_S, REMOTE_CONNECTIONS, REMOTE_FRAME
from theater.client import Client
from theater.core.roles import Role
from theater.errors import NoServer, TimedOut

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
NULL = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
LONG = b"\x06"
"""Flags of a ZMTP command whose length has eight bytes."""

PLENTY = 60 << 20
"""Bytes by which the server may grow under all that a test does; what strangers announce is far more."""


@pytest.fixture(scope="module")
def elsewhere(probe: bytes) -> Iterator[Elsewhere]:
    """A server for all tests of this module."""
    house = make_house(probe)
    try:
        yield Elsewhere(house).open()
    finally:
        house.close()


def connect(elsewhere: Elsewhere) -> socket.socket:
    return socket.create_connection(("127.0.0.1", elsewhere.port), 10)


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def is_hung_up(line: socket.socket) -> bool:
    """Whether the other side ends the connection, however much it says before."""
    line.settimeout(HANDSHAKE_S * 5)
    try:
        while line.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        os.urandom(4096),
        bytes(4096),
        b"\xff" * 4096,
        GREETING + os.urandom(4096),
        GREETING + b"\x04\xc8\x05HELLO" + os.urandom(194),
        GREETING + LONG + struct.pack(">Q", 1 << 62) + b"x",
        GREETING + LONG + struct.pack(">Q", REMOTE_FRAME + 1) + b"x",
        NULL + READY + b"\x00\x01x",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    ],
    ids=["http", "noise", "zeros", "ones", "noise in CURVE", "a false HELLO", "huge", "too long", "NULL", "tls"],
)
def test_who_speaks_something_else_is_hung_up_on(elsewhere: Elsewhere, said: bytes) -> None:
    with connect(elsewhere) as line:
        line.sendall(said)
        assert is_hung_up(line)
    assert elsewhere.house.client.hello().pid == elsewhere.house.pid


def test_who_says_nothing_is_hung_up_on(elsewhere: Elsewhere) -> None:
    with connect(elsewhere) as silent, connect(elsewhere) as half:
        half.sendall(GREETING[:30])
        assert is_hung_up(silent)
        assert is_hung_up(half)


def test_what_a_stranger_announces_is_not_allocated(elsewhere: Elsewhere) -> None:
    before = memory(elsewhere.house.pid)
    with ExitStack() as stack:
        for _ in range(50):
            line = stack.enter_context(connect(elsewhere))
            line.sendall(GREETING + LONG + struct.pack(">Q", 90 << 20))
            line.setblocking(False)
            with contextlib.suppress(OSError):
                line.send(bytes(1 << 20))
        assert memory(elsewhere.house.pid) - before < PLENTY


def test_a_crowd_at_the_door_takes_no_descriptors_and_nobody_else_notices(elsewhere: Elsewhere) -> None:
    house = elsewhere.house
    actor = house.start("busy").id
    _, inside = elsewhere.admit(Role.OPERATE)
    assert count(inside.request(actor, b"c")) == 1
    port, before = elsewhere.port, memory(house.pid)
    lines: list[socket.socket] = []
    try:
        for _ in range(4 * REMOTE_CONNECTIONS):
            line = socket.socket()
            line.setblocking(False)
            lines.append(line)
            with contextlib.suppress(OSError):
                line.connect(("127.0.0.1", port))
        eventually(lambda: elsewhere.remote["connections"] >= REMOTE_CONNECTIONS // 2, "the crowd is there")
        assert descriptors(house.pid) < 3 * REMOTE_CONNECTIONS
        assert house.count(actor) == 2
        assert count(inside.request(actor, b"c")) == 3
        assert memory(house.pid) - before < PLENTY
    finally:
        for line in lines:
            line.close()
    eventually(lambda: _can_come(elsewhere), "clients can come in again")


def _can_come(elsewhere: Elsewhere) -> bool:
    _, late = elsewhere.admit(Role.READ)
    try:
        return late.hello(timeout=5).pid == elsewhere.house.pid
    except (NoServer, TimedOut):
        return False


def test_strangers_without_number_are_counted_and_the_chain_stays_short(elsewhere: Elsewhere) -> None:
    before = elsewhere.house.client.events("supervisor", -1).next
    counted = elsewhere.remote["not_let_in"]
    for _ in range(200):
        with connect(elsewhere) as line:
            line.sendall(GREETING + os.urandom(256))
    eventually(lambda: elsewhere.remote["not_let_in"] > counted, "they are counted")
    assert elsewhere.house.client.events("supervisor", -1).next - before < 20


def test_what_was_said_once_cannot_be_said_again(elsewhere: Elsewhere) -> None:
    """Everything that a client has sent, played to the server a second time by somebody who listened."""
    actor = elsewhere.house.start("once").id
    key = elsewhere.make_key("heard", Role.OPERATE)
    with Tap(elsewhere.port) as tap:
        client = Client(f"tcp://127.0.0.1:{tap.port}", elsewhere.house.home, elsewhere.remote["key"], str(key))
        assert count(client.request(actor, b"c")) == 1
        client.close()
    with connect(elsewhere) as line:
        line.sendall(bytes(tap.heard))
        assert is_hung_up(line)
    assert elsewhere.house.count(actor) == 2


def test_nobody_in_between_understands_what_is_said(elsewhere: Elsewhere) -> None:
    actor = elsewhere.house.start("private").id
    key = elsewhere.make_key("whispers", Role.OPERATE)
    with Tap(elsewhere.port) as tap:
        client = Client(f"tcp://127.0.0.1:{tap.port}", elsewhere.house.home, elsewhere.remote["key"], str(key))
        client.request(actor, b"c")
        client.close()
    assert actor.encode() not in tap.heard
    assert b"message" not in tap.heard


def test_a_flood_of_one_client_leaves_the_others_their_turn(elsewhere: Elsewhere) -> None:
    _, flooding = elsewhere.admit(Role.READ)
    _, patient = elsewhere.admit(Role.READ)
    patient.hello()
    until = time.monotonic() + 3.0

    def flood() -> None:
        while time.monotonic() < until:
            numbers = [flooding._link.submit("list", {}, 30.0) for _ in range(50)]
            for number in numbers:
                flooding._link.outcome({number})

    thread = threading.Thread(target=flood)
    thread.start()
    answered = 0
    while time.monotonic() < until:
        patient.hello()
        answered += 1
    thread.join()
    assert answered > 10


class Tap:
    """Somebody between a client and the server, who passes on what both say and keeps what the client said."""

    def __init__(self, port: int) -> None:
        self._far = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard = bytearray()
        self._threads: list[threading.Thread] = []
        self._lines: list[socket.socket] = []
        self._begin(self._listen)

    def _begin(self, what: object, *args: object) -> None:
        thread = threading.Thread(target=what, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._far))
        self._lines += [near, far]
        self._begin(self._pass, near, far, True)
        self._begin(self._pass, far, near, False)

    def _pass(self, source: socket.socket, sink: socket.socket, keep: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if keep:
                    self.heard += data
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for thread in list(self._threads):
            thread.join(10)
        for each in self._lines:
            each.close()
