"""What a request of an actor to a server on the network costs beside the library that sends it.

A server on loopback answers 100 bytes, with keep-alive, from a process of its own. The library asks it alone, in this
process, on the same loop that the gateway has; and an actor asks it, through its record and the gateway, so many times
within one message that the message itself costs next to nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.effort import Effort
from benchmarks.figures import Figure
from benchmarks.theater_rows.server import Server, server
from benchmarks.web import BODY, serving
from theater.wasm.assemble import assemble

FETCHER = Path(__file__).parents[2] / "tests" / "actors" / "fetch.wat"
_AT_ONCE = 50
_BATCHES = 40
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
_MANIFEST = """
name = "fetcher"
component = "fetch.wasm"
[[handler]]
type = "message-server"
[[handler]]
type = "http-client"
allow = ["GET {url}*"]
private = ["127.0.0.1"]
"""


def measure(effort: Effort) -> Iterator[Figure]:
    """Both, in turns, so that what else goes on on the machine meets both."""
    with serving(__name__) as url, server() as running, _Library(url) as library:
        actor = _start(running, url)
        through: list[float] = []
        alone: list[float] = []
        for batch in range(-2, effort.of(_BATCHES, 5)):
            pair = _ask(running, actor, url), library.ask()
            if batch >= 0:
                through.append(pair[0])
                alone.append(pair[1])
    overhead = statistics.median(through) - statistics.median(alone)
    yield Figure("http-client", overhead, samples=len(alone), note=f"{statistics.median(alone) * 1e3:.2f} ms alone")


def _start(running: Server, url: str) -> str:
    (running.folder / "fetch.wasm").write_bytes(assemble(FETCHER.read_text(), FETCHER.name))
    manifest = running.folder / "fetcher.toml"
    manifest.write_text(_MANIFEST.format(url=url))
    return running.client.start_prepared(running.upload(manifest)).id


def _ask(running: Server, actor: str, url: str) -> float:
    """Seconds of one request of the actor."""
    message = _AT_ONCE.to_bytes(4, "little") + url.encode()
    begin = time.perf_counter()
    answer = running.client.request(actor, message, timeout=60)
    took = time.perf_counter() - begin
    assert answer == BODY
    return took / _AT_ONCE


class _Library:
    """aiohttp's client, on a loop that runs while it is asked something."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._session: Any = None

    def __enter__(self) -> _Library:
        self._runner.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._session.close())
        self._runner.close()

    def ask(self) -> float:
        """Seconds of one request."""
        return self._runner.run(self._ask())

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession()

    async def _ask(self) -> float:
        begin = time.perf_counter()
        for _ in range(_AT_ONCE):
            async with self._session.get(self._url) as response:
                assert await response.read() == BODY
        return (time.perf_counter() - begin) / _AT_ONCE


class _Answering(asyncio.Protocol):
    """Answers the same to every request, which all are without a body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


def _answer(port: int) -> None:
    async def serve() -> None:
        listener = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", port)
        await listener.serve_forever()

    uvloop.run(serve())


if __name__ == "__main__":
    _answer(int(sys.argv[1]))
