"""Every function that there is between actors and the host is called by a real actor, recorded, and replayed.

Two actors of one program have every handler, a third one is their child. What they asked the host for, and what it
called in them, is read from their chains and compared with the WIT files: a function that nobody calls, or that is only
ever refused, fails here.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp
import pytest
from house import House, eventually, make_house
from replays import entries_of

from theater.build import build
from theater.client import Client
from theater.core.chain import Call, HostCall, HostResult, Outcome, Payload, read_payload, resolve
from theater.core.handlers import ACTOR, HANDLERS, OWN_TYPES
from theater.core.manifest import parse
from theater.core.values import Err
from theater.store.content import ContentStore
from theater.wasm.wit import known_interfaces

ROWS = [HANDLERS[name] for name in sorted(OWN_TYPES)]
IMPORTS = sorted(frozenset().union(*(row.imports for row in ROWS)))
EXPORTS = sorted(frozenset({ACTOR}).union(*(row.exports for row in ROWS)))

SOURCE = """
import theater
from theater import env, files, http, process, random
from theater.http.server import Server


class Everything(theater.Actor):
    initial = {"heard": []}

    def handle_request(self, message):
        what, *args = message
        return getattr(self, what)(*args)

    def heard(self):
        return self.state["heard"]

    def hear(self, what):
        self.state["heard"].append(what)

    # ---- other actors

    def handle_send(self, message):
        if message[0] == "ask later":
            try:
                self.hear(theater.request(message[1], ["answer_later"]))
            except theater.CallFailed as failed:
                self.hear(failed.text)
        elif message[0] == "leave":
            theater.shutdown(b"bye")
        elif message[0] == "crash":
            raise ValueError("as told")
        else:
            self.hear(message)

    def handle_channel_open(self, channel, message):
        self.hear(message)

    def handle_channel_message(self, channel, message):
        self.hear(message)

    def handle_channel_close(self, channel):
        self.hear("closed")

    def answer_later(self):
        theater.reply_later()

    def talk(self, other):
        theater.send(other, ["hello"])
        assert theater.request(other, ["heard"], 20)[0] == ["hello"]
        assert theater.request(other, ["heard"])
        channel = theater.open_channel(other, "open")
        theater.send_on_channel(channel, "word")
        theater.close_channel(channel)

    def outstanding(self):
        return theater.outstanding_requests()

    def answer(self, request):
        theater.respond(request, "answered")

    def refuse(self, request):
        theater.cancel_request(request)

    # ---- itself and the world

    def itself(self, id):
        assert theater.me().id == id
        assert theater.sender() is None
        assert theater.deadline() > theater.time.now() > 0
        theater.log("here")
        assert theater.get_chain()
        theater.register("other-name")
        assert theater.whereis("other-name") == id
        theater.unregister("other-name")
        theater.sleep(0.001)
        theater.time.sleep_until(theater.time.now() + 0.001)
        theater.send_after(0.001, ["tick"])
        assert theater.cancel(theater.send_interval(3600, ["never"]))
        assert len(random.random_bytes(5)) == 5
        assert 3 <= random.between(3, 5) < 6
        assert 0 <= random.number() < 1
        assert len(random.uuid()) == 36
        assert env.get("EVERYTHING_HERE") == "yes"
        assert env.exists("EVERYTHING_HERE")
        assert env.all() == {"EVERYTHING_HERE": "yes"}
        return len(theater.secret("token"))

    def stored(self):
        store = theater.Store()
        digest = store.put(b"one")
        assert store.get(digest) == b"one"
        assert store.exists(digest)
        store.label("l", digest)
        assert store.find("l") == digest
        store.unlabel("l", digest)
        store.unlabel("l")
        store.put_at("m", b"two")
        store.replace_at("m", b"three")
        store.point("m", digest)
        assert store.labels() == ["m"]
        assert len(store.contents()) == 3
        return store.size()

    def filed(self):
        files.make_folder("data/inner")
        files.write("data/text", "text")
        files.write("data/bytes", b"bytes")
        files.append("data/bytes", b"!")
        assert files.read("data/text") == b"text"
        assert files.read_part("data/bytes", 1, 2) == b"yt"
        assert files.exists("data/bytes")
        assert files.info("data/bytes").size == 6
        files.rename("data/text", "data/renamed")
        files.delete("data/renamed")
        files.delete_folder("data/inner")
        assert files.names("data") == ["bytes"]
        assert files.run("pwd", folder="data").ok
        return files.run_nix("make all", folder="data").stdout

    # ---- programs

    def programs(self):
        process.spawn("sh", "-c", "echo out; echo err >&2")
        program = process.spawn("cat")
        assert process.write(program, "text") == 4
        assert process.status(program).running
        process.signal(program)
        process.kill(process.spawn("cat"))

    def handle_stdout(self, program, data):
        self.hear(data.decode())

    def handle_stderr(self, program, data):
        self.hear(data.decode())

    def handle_process_exit(self, program, status):
        self.hear(f"exit {status}")

    # ---- the web

    def serve(self):
        server = Server.create()
        port = server.start()
        server.add_all(self)
        server.remove_route(server.add_route("GET", "/else", self.page))
        server.remove_middleware(server.add_middleware("/else", self.guard))
        server.add_websocket("/else", self.told)
        server.remove_websocket("/else")
        assert server.info().port == port
        self.state["server"] = server.id
        return port

    def broadcast(self):
        server = Server(self.state["server"])
        connection, = server.connections("/chat")
        assert server.broadcast("/chat", "text") == server.broadcast("/chat", b"bytes") == 1
        server.send(connection, "to you")
        server.close(connection)

    def close(self):
        server = Server(self.state["server"])
        server.stop()
        server.destroy()

    def fetch(self, url):
        return http.fetch(url).body.decode()

    @http.get("/page")
    def page(self, request):
        return "a page"

    @http.middleware("/page")
    def guard(self, request):
        return None

    @http.websocket_connect("/chat")
    def opened(self, socket, path, query):
        self.hear("opened")

    @http.websocket("/chat")
    def told(self, socket, message):
        return message

    @http.websocket_disconnect("/chat")
    def gone(self, socket):
        self.hear("gone")

    # ---- children

    def bear(self):
        child = theater.spawn("child.toml", {"heard": []})
        resumed = theater.resume("child.toml", {"heard": ["kept"]})
        assert theater.children() == [child, resumed]
        theater.request(resumed, ["hear", "more"])
        assert theater.child_state(resumed) == {"heard": ["kept", "more"]}
        assert theater.child_events(child)
        theater.restart_child(resumed)
        theater.stop_child(resumed)
        assert theater.demonitor(theater.monitor(child))
        theater.monitor(child)
        theater.trap_exits()
        theater.link(child)
        theater.unlink(child)
        theater.link(child)
        return child

    def again(self, child):
        theater.restart_child(child)

    def handle_child_error(self, child, error):
        self.hear("child failed")

    def handle_child_exit(self, child, data):
        self.hear("child left")

    def handle_child_stopped(self, child):
        self.hear("child stopped")

    def handle_down(self, monitor, actor, reason):
        self.hear("down")

    def handle_exit(self, actor, reason):
        self.hear("linked one ended")
"""
MANIFEST = """
name = "{name}"
[build]
language = "python"
source = "everything.py"
[secrets]
token = {{ env = "EVERYTHING_TOKEN" }}
[[handler]]
type = "environment"
variables = ["EVERYTHING_HERE"]
[[handler]]
type = "filesystem"
read = ["data"]
write = ["data"]
commands = ["pwd"]
nix = true
[[handler]]
type = "process"
programs = ["sh", "cat"]
[[handler]]
type = "http-framework"
listen = ["127.0.0.1:*"]
[[handler]]
type = "http-client"
allow = ["GET http://127.0.0.1:*/page"]
private = ["127.0.0.1"]
[actor]
register = true
[supervision]
intensity = 100000
period = 1
"""
CHILD = """
name = "child"
[build]
language = "python"
source = "everything.py"
[[handler]]
type = "message-server"
[[handler]]
type = "runtime"
"""


def manifest(name: str) -> str:
    """Of an actor that has every handler."""
    text = MANIFEST.format(name=name)
    others = (kind for kind in sorted(OWN_TYPES) if f'type = "{kind}"' not in text)
    return text + "".join(f'[[handler]]\ntype = "{kind}"\n' for kind in others)


class Play:
    """The two actors, and what is done with them."""

    def __init__(self, house: House) -> None:
        self.house = house
        (house.folder / "everything.py").write_text(SOURCE)
        (house.folder / "child.toml").write_text(CHILD)
        build(house.folder, parse(CHILD, str(house.folder / "child.toml")))
        for name in ("first", "second"):
            (house.folder / f"{name}.toml").write_text(manifest(name))
        self.first, self.second = (self.client.start(house.folder / f"{name}.toml").id for name in ("first", "second"))

    @property
    def client(self) -> Client:
        return self.house.client

    def tell(self, actor: str, *message: Any) -> Any:
        return json.loads(self.client.request(actor, json.dumps(message).encode()) or b"null")

    def send(self, actor: str, *message: Any) -> None:
        self.client.send(actor, json.dumps(message).encode())

    def until_heard(self, actor: str, *news: Any) -> None:
        """Waits until an actor has heard all of this, in whatever order."""

        def all_there() -> bool:
            found = self.tell(actor, "heard")
            return all(each in found for each in news)

        eventually(all_there, lambda: f"{news} among {self.tell(actor, 'heard')}")

    def run(self) -> None:
        self.words()
        self.world()
        self.web()
        self.family()

    def words(self) -> None:
        self.tell("first", "talk", "second")
        self.until_heard("second", "open", "word", "closed")
        self.send("second", "ask later", "first")
        self.tell("first", "answer", self.asked("first"))
        self.until_heard("second", "answered")
        self.send("second", "ask later", "first")
        self.tell("first", "refuse", self.asked("first"))
        eventually(lambda: "cancelled" in str(self.tell("second", "heard")))

    def asked(self, actor: str) -> str:
        """The request that an actor has left open, once there is one."""
        (found,) = eventually(lambda: self.tell(actor, "outstanding"))
        return str(found)

    def world(self) -> None:
        assert self.tell("first", "itself", self.first) == len("a secret")
        self.until_heard("first", ["tick"])
        assert self.tell("first", "stored") == len("onetwothree")
        assert "make all" in self.tell("first", "filed")
        self.tell("first", "programs")
        self.until_heard("first", "out\n", "err\n", "exit 0", "exit -15", "exit -9")

    def web(self) -> None:
        port = self.tell("second", "serve")
        assert self.tell("first", "fetch", f"http://127.0.0.1:{port}/page") == "a page"
        asyncio.run(asyncio.wait_for(self.chat(f"http://127.0.0.1:{port}/chat"), 60))
        self.until_heard("second", "opened", "gone")
        self.tell("second", "close")

    async def chat(self, url: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str("echo")
            assert await socket.receive_str() == "echo"
            await asyncio.to_thread(self.tell, "second", "broadcast")
            assert await socket.receive_str() == "text"
            assert await socket.receive_bytes() == b"bytes"
            assert await socket.receive_str() == "to you"
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE

    def family(self) -> None:
        child = self.tell("first", "bear")
        self.send(child, "crash")
        self.until_heard("first", "child failed", "down", "linked one ended")
        self.tell("first", "again", child)
        self.send(child, "leave")
        self.until_heard("first", "child left")
        self.tell("first", "again", child)
        self.client.stop(child)
        self.until_heard("first", "child stopped")

    def actors(self) -> list[str]:
        """The ids of all actors that there were."""
        return sorted(os.listdir(self.house.home / "actors"))

    def command(self, *words: str) -> str:
        """What a command of `theater` writes; it must succeed."""
        line = [sys.executable, "-m", "theater_cli", "--home", str(self.house.home), *words]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """All of it, done once; the server still runs."""
    house = make_house(b"")
    nix = tmp_path_factory.mktemp("bin") / "nix"
    nix.write_text('#!/bin/sh\necho "$@"\n')
    nix.chmod(0o755)
    try:
        house.server = house.popen(
            PATH=f"{nix.parent}:{os.environ['PATH']}", EVERYTHING_HERE="yes", EVERYTHING_TOKEN="a secret"
        )
        house.await_server()
        (house.folder / "data").mkdir()
        story = Play(house)
        story.run()
        yield story
    finally:
        house.close()


@pytest.fixture(scope="module")
def payloads(play: Play) -> list[Payload]:
    """What all of them have recorded."""
    get = ContentStore(play.house.home / "content").get
    return [
        read_payload(entry.kind, resolve(entry.payload, get))
        for actor in play.actors()
        for entry in entries_of(play.house, actor)
    ]


def granted(payloads: Iterable[Payload]) -> dict[str, set[str]]:
    """The functions that actors called and that were not refused, by interface."""
    found, asked = defaultdict(set), None
    for each in payloads:
        if isinstance(each, HostCall):
            asked = each
        elif isinstance(each, HostResult) and asked is not None:
            if not isinstance(each.value, Err):
                found[asked.interface].add(asked.function)
            asked = None
    return found


def handled(payloads: Iterable[Payload]) -> dict[str, set[str]]:
    """The exports that the host called and that ended well, by interface."""
    found, called = defaultdict(set), None
    for each in payloads:
        if isinstance(each, Call):
            called = each
        elif isinstance(each, Outcome) and called is not None and each.ending == "ok":
            found[called.interface].add(called.function)
    return found


@pytest.mark.parametrize("interface", IMPORTS)
def test_every_function_that_actors_may_call_is_called_and_answered(payloads: list[Payload], interface: str) -> None:
    assert sorted(set(known_interfaces()[interface].functions) - granted(payloads)[interface]) == []


@pytest.mark.parametrize("interface", EXPORTS)
def test_every_function_that_the_host_may_call_is_called_and_succeeds(payloads: list[Payload], interface: str) -> None:
    assert sorted(set(known_interfaces()[interface].functions) - handled(payloads)[interface]) == []


def test_every_interface_belongs_to_a_handler() -> None:
    """Those without functions declare types; `program` is between the runner of Python and its template."""
    functional = {name for name, found in known_interfaces().items() if found.functions}
    assert functional == {*IMPORTS, *EXPORTS, "theater:otp/program@0.1.0"}


def test_all_of_it_verifies_and_replays(play: Play) -> None:
    play.command("verify")
    play.command("replay", "--all")
