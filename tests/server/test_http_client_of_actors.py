"""Requests of actors to servers on the network: recorded, replayed without them, and ended with whoever waits."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from house import PATIENCE, House, eventually, is_running
from replays import reproduced

from theater.build import build
from theater.client import Client, Row
from theater.core.chain import HostCall, HostResult
from theater.core.manifest import parse
from theater.errors import TheaterError

KEY = "not-for-actors"
MANIFEST = """
name = "NAME"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "http-client"
allow = ["* http://127.0.0.1:*/*"]
private = ["127.0.0.1"]
credentials = ["key"]
[supervision]
intensity = 100000
period = 1
"""
ACTOR = """
import theater
from theater import http


class Fetcher(theater.Actor):
    initial = {}

    def handle_request(self, message):
        answer = http.fetch(**message)
        return {"status": answer.status, "body": answer.text(), "headers": dict(answer.headers)}
"""


class Far:
    """A server on the network. What it is asked for at /wait is not answered before it is let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None, bytes]] = []
        self.waiting = 0
        self.hung_up = 0
        self.let_go = threading.Event()
        far = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"] or 0))
                far.asked.append((self.command, self.path, self.headers["x-key"], body))
                if self.path == "/wait" and not self._is_let_go():
                    return
                self.send_response(200)
                answer = f"{self.command} {self.headers['x-key']}".encode()
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_GET

            def _is_let_go(self) -> bool:
                far.waiting += 1
                self.connection.settimeout(0.01)
                while not far.let_go.is_set():
                    try:
                        if not self.connection.recv(1):
                            far.hung_up += 1
                            self.close_connection = True
                            return False
                    except TimeoutError:
                        continue
                return True

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built actor that fetches what it is told to."""
    made = tmp_path_factory.mktemp("fetcher")
    (made / "actor.py").write_text(ACTOR)
    (made / "manifest.toml").write_text(MANIFEST)
    build(made, parse(MANIFEST, "manifest.toml"))
    return made


def start(house: House, folder: Path, far: Far) -> Row:
    secret = house.home / "credentials.toml"
    secret.write_text(f'[key]\nvalue = "{KEY}"\nheader = "x-key"\nurls = ["{far.url}/*"]\n')
    secret.chmod(0o600)
    return house.client.start(folder / "manifest.toml")


def ask(house: House, row: Row, url: str, client: Client | None = None, **more: Any) -> Any:
    body = json.dumps({"url": url, **more}).encode()
    return json.loads((client or house.client).request(row.id, body, timeout=PATIENCE))


def later(house: House, row: Row, url: str) -> tuple[threading.Thread, list[str]]:
    """A request that somebody else waits for, and how that ends."""
    ends: list[str] = []

    def run() -> None:
        try:
            with Client(home=house.home) as own:
                ends.append(str(ask(house, row, url, own)))
        except TheaterError as error:
            ends.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ends


def test_what_is_recorded_is_what_the_actor_said_and_was_told(house: House, folder: Path, far: Far) -> None:
    row = start(house, folder, far)
    answer = ask(house, row, f"{far.url}/a?b", method="POST", body="hello", headers={"x-me": "1"})
    assert (answer["status"], answer["body"]) == (200, "POST [secret key]")
    assert far.asked == [("POST", "/a?b", KEY, b"hello")]
    far.close()  # A replay needs nobody.
    payloads = reproduced(house, row.id)
    (call,) = [each for each in payloads if isinstance(each, HostCall) and each.function == "send-http"]
    request = {"method": "POST", "uri": f"{far.url}/a?b", "headers": [["x-me", "1"]], "body": b"hello"}
    assert json.dumps(call.args, default=repr, sort_keys=True) == json.dumps([request], default=repr, sort_keys=True)
    results = [each.value for each in payloads if isinstance(each, HostResult)]
    assert any("[secret key]" in str(value) for value in results)
    kept = [path.read_bytes() for path in (house.home / "actors").rglob("*") if path.is_file()]
    assert kept
    assert not any(KEY.encode() in content for content in kept)


def test_the_next_life_goes_on_asking(house: House, folder: Path, far: Far) -> None:
    row = start(house, folder, far)
    for number in range(3):
        ask(house, row, f"{far.url}/{number}")
    house.kill_worker(row.id)
    ask(house, row, f"{far.url}/again")
    assert [path for _, path, _, _ in far.asked] == ["/0", "/1", "/2", "/again"]
    reproduced(house, row.id)


def test_what_is_refused_is_an_err_and_recorded(house: House, folder: Path, far: Far) -> None:
    row = start(house, folder, far)
    with pytest.raises(TheaterError, match="is not granted; the manifest allows "):
        ask(house, row, "http://127.0.0.2:1/")
    assert ask(house, row, f"{far.url}/")["status"] == 200
    reproduced(house, row.id)


def test_who_is_killed_while_it_waits_hangs_up(house: House, folder: Path, far: Far) -> None:
    row = start(house, folder, far)
    thread, ends = later(house, row, f"{far.url}/wait")
    eventually(lambda: far.waiting == 1, "the request has arrived")
    house.kill_worker(row.id)
    eventually(lambda: far.hung_up == 1, "the request has been cancelled")
    thread.join(PATIENCE)
    assert ends[0].startswith("ActorDown")
    assert ask(house, row, f"{far.url}/")["status"] == 200


def test_a_gateway_that_is_killed_is_an_err_at_once_and_the_next_one_sends(
    house: House, folder: Path, far: Far
) -> None:
    row = start(house, folder, far)
    thread, ends = later(house, row, f"{far.url}/wait")
    eventually(lambda: far.waiting == 1, "the request has arrived")
    gateway = house.service("gateway")
    began = time.monotonic()
    os.kill(gateway, signal.SIGKILL)
    thread.join(PATIENCE)
    assert "the gateway ended before it answered" in ends[0]
    assert time.monotonic() - began < 15  # The request itself would have had 30 s.
    house.service("gateway", other_than=gateway)
    assert ask(house, row, f"{far.url}/after")["body"] == "GET [secret key]"
    assert is_running(house.row(row.id).pid or 0)
    reproduced(house, row.id)


def test_an_actor_without_the_handler_is_told_what_is_missing(house: House, folder: Path) -> None:
    other = folder / "without.toml"
    text = MANIFEST.replace('[[handler]]\ntype = "http-client"', "").partition("allow = ")[0]
    other.write_text(text.replace("NAME", "without").replace("[build]", 'component = "build/NAME.program"\n[build]'))
    row = house.client.start(other)
    with pytest.raises(TheaterError, match='add \\[\\[handler\\]\\] type = "http-client"'):
        ask(house, row, "http://127.0.0.1:1/")
