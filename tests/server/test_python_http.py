"""A Python actor that answers HTTP and websockets, through its restarts."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from house import House, eventually
from replays import reproduced

from theater.build import build
from theater.core.manifest import parse

MANIFEST = """\
name = "{name}"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "http-framework"
listen = ["127.0.0.1:*"]
"""

ROOM = """
import theater
from theater import http


class Room(theater.Actor):
    initial = {"visits": 0, "said": []}

    def init(self):
        server = http.serve(self)
        self.state["server"], self.state["port"] = server.id, server.info().port

    def handle_request(self, message):
        if message == "port":
            return self.state["port"]
        if message == "connections":
            return http.Server(self.state["server"]).connections("/talk")
        return http.Server(self.state["server"]).broadcast("/talk", message)

    @http.middleware("/admin")
    def guard(self, request):
        if request.headers.get("authorization") != "root":
            raise http.Abort(403, "not you", {"x-why": "no key"})

    @http.get("/visits/{guest}")
    def visit(self, request, guest):
        self.state["visits"] += 1
        return {"guest": guest, "visits": self.state["visits"], "x": request.query.get("x")}

    @http.post("/admin/say")
    def say(self, request):
        self.state["said"].append(request.json())
        return http.Response(self.state["said"], 201)

    @http.get("/files/*")
    def file(self, request, rest):
        return rest

    @http.get("/fails")
    def fails(self, request):
        return 1 / 0

    @http.websocket_connect("/talk")
    def came(self, socket, path, query):
        socket.send({"welcome": query["name"]})

    @http.websocket("/talk")
    def heard(self, socket, message):
        if message == "bye":
            return socket.close()
        return message

    @http.websocket_disconnect("/talk")
    def went(self, socket):
        self.state["said"].append("gone")
"""


class Page:
    """An actor with a server, and what a client sees of it."""

    def __init__(self, house: House, actor: str) -> None:
        self.house = house
        self.actor = actor
        self.port = self.ask("port")

    def ask(self, message: Any) -> Any:
        return json.loads(self.house.client.request(self.actor, json.dumps(message).encode()))

    def fetch(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read(), dict(answer.headers)


@pytest.fixture
def room(house: House, name: Callable[[], str]) -> Page:
    called = name()
    folder = house.folder / called
    folder.mkdir()
    (folder / "actor.py").write_text(ROOM)
    (folder / "manifest.toml").write_text(MANIFEST.format(name=called))
    build(folder, parse((folder / "manifest.toml").read_text(), "manifest.toml"))
    return Page(house, house.client.start(folder / "manifest.toml").id)


def test_requests_arrive_at_the_methods_that_are_marked_for_them(room: Page) -> None:
    status, body, _ = room.fetch("/visits/ann%20b?x=1")
    assert (status, json.loads(body)) == (200, {"guest": "ann b", "visits": 1, "x": "1"})
    assert room.fetch("/files/a/b")[1] == b"a/b"
    assert room.fetch("/nowhere")[0] == 404
    assert room.fetch("/visits/ann", b"posted")[0] == 405
    reproduced(room.house, room.actor)


def test_a_middleware_answers_or_lets_pass(room: Page) -> None:
    status, body, headers = room.fetch("/admin/say", b'"hi"')
    assert (status, body, headers["x-why"]) == (403, b"not you", "no key")
    status, body, headers = room.fetch("/admin/say", b'"hi"', Authorization="root")
    assert (status, json.loads(body)) == (201, ["hi"])
    assert headers["content-type"] == "application/json"
    assert room.fetch("/admin/say", b"{", Authorization="root")[0] == 400


def test_the_next_life_finds_its_methods_and_its_state(room: Page) -> None:
    room.fetch("/visits/ann")
    before = room.house.kill_worker(room.actor)
    room.house.await_incarnation(room.actor, 2)
    assert before.incarnation == 1
    status, body, _ = room.fetch("/visits/bob")
    assert (status, json.loads(body)["visits"]) == (200, 2)
    assert room.fetch("/admin/say", b'"hi"')[0] == 403
    assert room.ask("port") == room.port
    reproduced(room.house, room.actor)


def test_a_method_that_fails_ends_the_life_and_the_client_is_told(room: Page) -> None:
    assert room.fetch("/fails")[0] == 502
    room.house.await_incarnation(room.actor, 2)
    assert room.fetch("/visits/ann")[0] == 200


def test_websockets_are_met_heard_told_and_seen_off(room: Page) -> None:
    asyncio.run(asyncio.wait_for(_talk(room), 30))
    eventually(lambda: b"gone" in room.house.client.state(room.actor).state)
    reproduced(room.house, room.actor)


async def _talk(room: Page) -> None:
    url = f"http://127.0.0.1:{room.port}/talk"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}?name=ann") as ann,
        session.ws_connect(f"{url}?name=bob") as bob,
    ):
        assert await ann.receive_json() == {"welcome": "ann"}
        assert await bob.receive_json() == {"welcome": "bob"}
        await ann.send_str("hi")
        assert await ann.receive_str() == "hi"
        await ann.send_bytes(b"\x00\xff")
        assert await ann.receive_bytes() == b"\x00\xff"
        assert len(await asyncio.to_thread(room.ask, "connections")) == 2
        assert await asyncio.to_thread(room.ask, {"all": "of you"}) == 2
        assert await ann.receive_json() == await bob.receive_json() == {"all": "of you"}
        await asyncio.to_thread(_kill, room)
        await bob.send_str("still there")
        assert await bob.receive_str() == "still there"
        await bob.send_str("bye")
        assert (await bob.receive()).type is aiohttp.WSMsgType.CLOSE


def _kill(room: Page) -> None:
    room.house.kill_worker(room.actor)
    room.house.await_incarnation(room.actor, 2)


def test_a_websocket_that_is_gone_before_it_is_answered_is_no_defect(room: Page) -> None:
    """What cannot be sent is said in the log; nobody else's websocket suffers."""
    begin = (
        b"GET /talk?name=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    words = b'\x81\x83\0\0\0\0"a"'
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", room.port), 10.0) as line:
            line.sendall(begin + words * 10)
    eventually(lambda: room.ask("connections") == [], "all are gone")
    assert room.fetch("/visits/b")[0] == 200
    assert "defect" not in room.house.log_text()
