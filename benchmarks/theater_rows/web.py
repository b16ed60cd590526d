"""HTTP and websockets through an actor and the gateway, both ways; every request is in the actor's chain.

The actor is tests/actors/http.wat, the smallest there can be, and for one row one in Python. wrk asks on 16 connections
that it keeps. Slow clients send a byte of a request's head each second, and are not done before the measurement is.
Websockets are sent messages by a process of this benchmark, which has as many on their way as it has connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import aiohttp
import uvloop

from benchmarks.effort import Effort
from benchmarks.figures import Figure, rate
from benchmarks.processes import private_memory
from benchmarks.theater_rows.server import Server, server
from benchmarks.web import BODY, free_port, load, measured
from theater.build import build
from theater.core.manifest import parse
from theater.wasm.assemble import assemble

ACTOR = Path(__file__).parents[2] / "tests" / "actors" / "http.wat"
SLOW, IDLE = 200, 1000

_MESSAGES = 20_000
_SOCKETS = 16
_REQUESTS = 500
_STEP_S = 1.0
_PYTHON = {
    "greeter": """
        import theater
        from theater import http


        class Greeter(theater.Actor):
            def init(self):
                http.serve(self, port=PORT)

            @http.get("/")
            def hello(self, request):
                return "e" * 100
    """,
}


def measure(effort: Effort) -> Iterator[Figure]:
    with server() as running:
        url = _start(running)
        if effort.wants("http-rate", "http-latency"):
            yield from measured(url, effort)
        if effort.wants("http-slow"):
            yield _slow(url, effort)
        if effort.wants("websocket-rate"):
            count = effort.of(_MESSAGES, 500)
            yield Figure("websocket-rate", rate(count, lambda: uvloop.run(_echo(url, count))), samples=count)
        if effort.wants("gateway-idle"):
            yield _idle(running, url)
        if effort.wants("http-python"):
            port = free_port()
            _start_python(running, "greeter", "http-framework", f'listen = ["127.0.0.1:{port}"]', port)
            found = next(measured(f"http://127.0.0.1:{port}/", effort))
            yield Figure("http-python", found.median, samples=found.samples)


# ---- actors


def _start(running: Server) -> str:
    """Starts the smallest actor; returns its URL."""
    (running.folder / "http.wasm").write_bytes(assemble(ACTOR.read_text(), ACTOR.name))
    manifest = running.folder / "web.toml"
    manifest.write_text(
        'name = "web"\ncomponent = "http.wasm"\n[[handler]]\ntype = "http-framework"\nlisten = ["127.0.0.1:*"]\n'
    )
    running.client.start_prepared(running.upload(manifest))
    (listens,) = running.client.inspect("web").facts["services"]["gateway"]["listens"]
    return str(listens).split()[0] + "/"


def _start_python(running: Server, name: str, handler: str, granted: str, port: int = 0) -> None:
    folder = running.folder / name
    folder.mkdir()
    (folder / "actor.py").write_text(dedent(_PYTHON[name]).replace("PORT", str(port)))
    text = f'name = "{name}"\n[build]\nlanguage = "python"\nsource = "actor.py"\n[[handler]]\ntype = "message-server"\n'
    text += f'[[handler]]\ntype = "{handler}"\n{granted}\n[actor]\nregister = true\n[limits]\ncall_timeout = "60s"\n'
    manifest = folder / "manifest.toml"
    manifest.write_text(text)
    build(folder, parse(text, str(manifest)))
    running.client.start_prepared(running.upload(manifest))


# ---- slow and idle clients


@contextlib.contextmanager
def _connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    found: list[socket.socket] = []
    try:
        for _ in range(count):
            found.append(socket.create_connection((host, int(port)), timeout=10))
        yield found
    finally:
        for each in found:
            each.close()


def _slow(url: str, effort: Effort) -> Figure:
    seconds = max(2.0, 5.0 * effort.share)
    alone = [load(url, seconds).p99]
    with _connections(url, SLOW) as clients:
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        beside = [_load_beside(url, seconds, clients)]
    alone.append(load(url, seconds).p99)
    return Figure("http-slow", statistics.median(beside) / statistics.median(alone), samples=3)


def _load_beside(url: str, seconds: float, clients: list[socket.socket]) -> float:
    """The p99 while each client sends a byte each second."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(load, url, seconds)
        while not measuring.done():
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(b"x")
            time.sleep(_STEP_S / 2)
        return measuring.result().p99


def _idle(running: Server, url: str) -> Figure:
    pid = running.client.call("hello", {})["processes"]["services"]["gateway"]["pid"]
    with _connections(url, IDLE) as clients:
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            client.recv(4096)
        return Figure("gateway-idle", private_memory(pid))


# ---- websockets


async def _echo(url: str, count: int) -> None:
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(_talk(session, url, count // _SOCKETS) for _ in range(_SOCKETS)))


async def _talk(session: aiohttp.ClientSession, url: str, count: int) -> None:
    text = BODY.decode()
    async with session.ws_connect(f"{url}ws") as talking:
        for _ in range(count):
            await talking.send_str(text)
            if await talking.receive_str() != text:
                raise ValueError("another message came back")
