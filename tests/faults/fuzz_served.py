"""Malformed input for a server: frames on its control socket, components, and bytes on the network.

Whatever comes, the server goes on, has met no defect, and its actors run.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tests.faults import processes
from tests.faults.fuzz import Field, Harm, Tried, fuzz
from tests.faults.stage import Stage, until
from theater.bus.sockets import Context
from theater.core.wire import Request, encode
from theater.errors import TheaterError

_LOOK_EVERY = 50
_HTTP = (
    b"GET /count HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET /talk HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x83\x01\x02\x03\x04\x60\x60\x60",
)


class _Served:
    """What a server is given.

    Args:
        stage: with a server and its actors.
    """

    def __init__(self, stage: Stage, context: Context) -> None:
        self._stage = stage
        assert stage.server is not None
        self._pid = stage.server.pid
        self._count = 0
        self._read = 0
        self._dealer = context.dealer(f"ipc://{stage.home}/run/control")
        self._port = int((stage.folder / "port").read_text())

    def frame(self, data: bytes) -> None:
        """On the control socket; what is answered is not read at once."""
        self._dealer.send(data)
        self._look_now_and_then()
        while self._dealer.receive() is not None:
            pass

    def http(self, data: bytes) -> None:
        """On an actor's port."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 2.0) as line:
            line.settimeout(0.02)
            line.sendall(data)
            line.recv(1 << 16)
        self._look_now_and_then()

    def component(self, data: bytes) -> None:
        """As an actor: it is refused, or it lives; then it is asked something, and removed."""
        (self._stage.folder / "fuzzed.wasm").write_bytes(data)
        path = self._stage.folder / "fuzzed.toml"
        path.write_text(
            'name = "fuzzed"\ncomponent = "fuzzed.wasm"\n[[handler]]\ntype = "message-server"\n'
            '[limits]\ncall_timeout = "1s"\n[supervision]\nintensity = 0\n'
        )
        client = self._stage.client
        try:
            actor = client.start(path, timeout=8.0).id
        except TheaterError:
            self._remove()
            self.look()
            raise
        with contextlib.suppress(TheaterError):
            client.request(actor, b"c", 3.0)
        self._remove()
        self.look()

    def _remove(self) -> None:
        for row in self._stage.client.list():
            if row.name == "fuzzed":
                with contextlib.suppress(TheaterError):
                    self._stage.client.stop(row.id, remove=True, timeout=8.0)

    def _look_now_and_then(self) -> None:
        self._count += 1
        if self._count % _LOOK_EVERY == 0:
            self.look()

    def look(self) -> None:
        """Raises Harm if the server is not the one that it was."""
        server = self._stage.server
        assert server is not None
        if server.poll() is not None:
            raise Harm(f"the server ended with {server.returncode}: {self._stage.log[-3000:]}")
        if self._stage.client.hello(8.0).pid != self._pid:
            raise Harm("it is another server")
        log = self._stage.log[self._read :]
        self._read += len(log)
        for word in ("Traceback", "defect"):
            if word in log:
                at = log.index(word)
                raise Harm(f"the server has met a defect: {log[max(0, at - 500) : at + 2500]}")


@contextlib.contextmanager
def _served(seed: int) -> Iterator[tuple[Stage, _Served]]:
    stage, context = Stage(seed), Context()
    try:
        stage.prepare()
        yield stage, _Served(stage, context)
    finally:
        context.end()
        stage.close(keep=False)


def fuzz_server(seed: int, seconds: float) -> Tried:
    """Tries mutations on a server for so long."""
    processes.become_subreaper()
    with _served(seed) as (stage, served):
        actor = stage.ids["probe0"]
        requests = [
            ("hello", {}),
            ("list", {}),
            ("tree", {}),
            ("inspect", {"actor": actor}),
            ("message", {"actor": actor, "body": b"c", "request": True, "timeout_ms": 100}),
            ("events", {"actor": actor, "since": 0, "limit": 10, "types": ["call"], "wait_ms": 10}),
            ("logs", {"actor": actor, "since": 0, "limit": 10, "wait_ms": 10}),
            ("state", {"actor": actor}),
            ("have", {"digests": ["00" * 32]}),
            ("put", {"content": b"x" * 100}),
            ("dead_letters", {"action": "drop", "numbers": [1]}),
            ("start", {"manifest": 'name = "x"\ncomponent = "x"', "where": "x", "component": "00" * 32}),
        ]
        frames = tuple(encode(Request(number, op, args, 1000)) for number, (op, args) in enumerate(requests))
        components = tuple(path.read_bytes() for path in sorted(Path(stage.folder).glob("*.wasm")))
        found = fuzz(
            [
                Field("control", frames, served.frame, 200),
                Field("http", _HTTP, served.http, 60),
                Field("component", components, served.component, 10),
            ],
            seed,
            seconds,
        )
        try:
            served.look()
            until(stage.revive, "all actors run", 30.0)
        except Exception as error:
            found.wrong.append(f"after everything: {error}")
        return found
