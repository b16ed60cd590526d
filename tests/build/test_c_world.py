"""C actors and the world: files, programs, clocks, chance, variables, channels and HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from built import (
    CLIENT,
    ENVIRONMENT,
    FILES,
    HOST,
    HTTP_CLIENT,
    HTTP_FRAMEWORK,
    MORE_FILES,
    OF_HTTP,
    OF_PROGRAMS,
    PROCESS,
    RANDOM,
    TIMING,
    WEBSOCKETS,
    Actor,
    running,
)

from theater.build import build
from theater.core.handlers import FREE_INTERFACES
from theater.core.manifest import parse
from theater.core.values import Case, Err, Ok
from theater.wasm.assemble import validated

pytest.importorskip("ziglang", reason="building C needs the package ziglang")

HANDLERS = [
    "message-server",
    "http-client",
    "http-framework",
    "filesystem",
    "process",
    "timing",
    "random",
    "environment",
]
MANIFEST = 'name = "world"\n[build]\nlanguage = "c"\nsource = "actor.c"\n'
HERE = Path(__file__).parent


def project(folder: Path, source: str, handlers: list[str]) -> Path:
    (folder / "actor.c").write_text(source)
    rows = "".join(f'[[handler]]\ntype = "{handler}"\n' for handler in handlers)
    return build(folder, parse(MANIFEST + rows, "manifest.toml"))


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("world"), (HERE / "world.c").read_text(), HANDLERS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def actor(component: Path, cache: Path) -> Iterator[Actor]:
    with running(component, cache) as found:
        found.init()
        yield found


RAN = Case("success", {"stdout": "out", "stderr": "err", "exit-code": -1})
RESPONSE = {"status": 404, "headers": [("a", "b"), ("c", "d")], "body": b"lost"}
INFO = {
    "id": 7,
    "port": 8080,
    "host": "h",
    "running": True,
    "routes-count": 3,
    "middleware-count": 2,
    "websocket-enabled": True,
}
STATUS = {"pid": 5, "running": False, "exit-code": -9, "start-time": 1 << 40}
TEXT = {"ty": Case("text"), "data": None, "text": "hi you"}
BINARY = {"ty": Case("binary"), "data": b"hi you", "text": None}


def config(**facts: Any) -> dict[str, Any]:
    return {
        "program": "sort",
        "args": [],
        "cwd": None,
        "env": [],
        "buffer-size": 65536,
        "stdout-mode": Case("line-by-line"),
        "stderr-mode": Case("raw"),
        "chunk-size": None,
        "execution-timeout": None,
        **facts,
    }


FULL = config(
    **{
        "args": ["-n"],
        "cwd": "x",
        "env": [("LANG", "C")],
        "stderr-mode": Case("chunked"),
        "chunk-size": 7,
        "execution-timeout": 9,
    }
)
ASKED = {"method": "PUT", "uri": "http://x", "headers": [("X-From", "c")], "body": b"the body"}
TLS = {"cert-path": "c.pem", "key-path": "c.pem"}


@pytest.mark.parametrize(
    ("words", "call", "answer", "said"),
    [
        (b"read-file a", (FILES, "read-file", "a"), Ok(b"\xffx"), b"ok \xffx"),
        (b"read-file a", (FILES, "read-file", "a"), Err("why"), b"error why"),
        (b"write-file a some text", (FILES, "write-file", "a", "some text"), Ok(), b"ok "),
        (b"list-files .", (FILES, "list-files", "."), Ok(["a", "b"]), b"ok [a][b]"),
        (b"delete-file a", (FILES, "delete-file", "a"), Ok(), b"ok "),
        (b"create-folder a", (FILES, "create-dir", "a"), Ok(), b"ok "),
        (b"delete-folder a", (FILES, "delete-dir", "a"), Err("why"), b"error why"),
        (b"path-exists a", (FILES, "path-exists", "a"), Ok(True), b"ok 1"),
        (b"write-bytes a \xff\x00", (MORE_FILES, "write-bytes", "a", b"\xff\x00"), Ok(), b"ok "),
        (b"append-file a x y", (MORE_FILES, "append", "a", b"x y"), Err("why"), b"error why"),
        (b"read-part a 5 7", (MORE_FILES, "read-part", "a", 5, 7), Ok(b"abc"), b"ok abc"),
        (b"rename a b", (MORE_FILES, "rename", "a", "b"), Ok(), b"ok "),
        (
            b"file-info a",
            (MORE_FILES, "stat", "a"),
            Ok({"kind": "folder", "size": 1 << 40, "modified": 1 << 41}),
            f"ok 1 folder {1 << 40} {1 << 41}".encode(),
        ),
        (b"file-info a", (MORE_FILES, "stat", "a"), Ok(None), b"ok 0  0 0"),
        (b"file-info a", (MORE_FILES, "stat", "a"), Err("why"), b"error why"),
        (b"broadcast-text 7 /w hi you", (WEBSOCKETS, "broadcast-text", 7, "/w", "hi you"), Ok(3), b"ok 3"),
        (b"broadcast-binary 7 /w hi", (WEBSOCKETS, "broadcast-binary", 7, "/w", b"hi"), Err("why"), b"error why"),
        (b"connections 7 /w", (WEBSOCKETS, "connections", 7, "/w"), Ok([1 << 40, 2]), f"ok [{1 << 40}][2]".encode()),
        (b"connections 7 /w", (WEBSOCKETS, "connections", 7, "/w"), Err("why"), b"error why"),
        (b"run x ls -l", (FILES, "execute-command", "x", "ls", ["-l"]), Ok(RAN), b"ok -1 out err"),
        (
            b"run x ls",
            (FILES, "execute-command", "x", "ls", []),
            Ok(Case("error", {"message": "too long"})),
            b"error too long",
        ),
        (b"run x ls", (FILES, "execute-command", "x", "ls", []), Err("not granted"), b"error not granted"),
        (b"run-nix x make it", (FILES, "execute-nix-command", "x", "make it"), Ok(RAN), b"ok -1 out err"),
        (b"now", (TIMING, "now"), 1 << 40, str(1 << 40).encode()),
        (b"sleep 5", (TIMING, "sleep", 5), Ok(), b"ok "),
        (b"sleep-until 5", (TIMING, "deadline", 5), Err("why"), b"error why"),
        (b"random-bytes 3", (RANDOM, "random-bytes", 3), Ok(b"abc"), b"ok abc"),
        (b"random-range 1 6", (RANDOM, "random-range", 1, 6), Ok(4), b"ok 4"),
        (b"random-float", (RANDOM, "random-float"), Ok(0.25), b"ok 0.25"),
        (b"random-float", (RANDOM, "random-float"), Err("why"), b"error why"),
        (b"uuid", (RANDOM, "generate-uuid"), Ok("u"), b"ok u"),
        (b"variable A", (ENVIRONMENT, "get-var", "A"), "1", b"some 1"),
        (b"variable A", (ENVIRONMENT, "get-var", "A"), None, b"none"),
        (b"variables", (ENVIRONMENT, "list-vars"), [("A", "1"), ("B", "")], b"[A=1][B=]"),
        (b"has-variable A", (ENVIRONMENT, "exists", "A"), True, b"yes"),
        (b"open-channel b hi", (HOST, "open-channel", "b", b"hi"), Ok("c1"), b"ok c1"),
        (b"send-on-channel c1 hi", (HOST, "send-on-channel", "c1", b"hi"), Err("closed"), b"error closed"),
        (b"close-channel c1", (HOST, "close-channel", "c1"), Ok(), b"ok "),
        (b"start sort", (PROCESS, "os-spawn", config()), Ok(5), b"ok 5"),
        (b"start sort x -n", (PROCESS, "os-spawn", FULL), Err("why"), b"error why"),
        (b"write-input 5 abc", (PROCESS, "os-write-stdin", 5, b"abc"), Ok(3), b"ok 3"),
        (b"status 5", (PROCESS, "os-status", 5), Ok(STATUS), f"ok 0 1 -9 {1 << 40}".encode()),
        (b"status 5", (PROCESS, "os-status", 5), Err("why"), b"error why"),
        (b"signal 5 15", (PROCESS, "os-signal", 5, 15), Ok(), b"ok "),
        (b"kill 5", (PROCESS, "os-kill", 5), Ok(), b"ok "),
        (
            b"fetch PUT http://x the body",
            (HTTP_CLIENT, "send-http", ASKED),
            Ok(RESPONSE),
            b"404 [a: b][c: d] some lost",
        ),
        (
            b"fetch PUT http://x",
            (HTTP_CLIENT, "send-http", {**ASKED, "body": None}),
            Ok({**RESPONSE, "headers": [], "body": None}),
            b"404  none",
        ),
        (b"fetch PUT http://x the body", (HTTP_CLIENT, "send-http", ASKED), Err("why"), b"error why"),
        (
            b"create-server 0",
            (HTTP_FRAMEWORK, "create-server", {"port": None, "host": None, "tls-config": None}),
            Ok(7),
            b"ok 7",
        ),
        (
            b"create-server 443 h c.pem",
            (HTTP_FRAMEWORK, "create-server", {"port": 443, "host": "h", "tls-config": TLS}),
            Ok(7),
            b"ok 7",
        ),
        (b"server-info 7", (HTTP_FRAMEWORK, "get-server-info", 7), Ok(INFO), b"ok h:8080 1 3 2 1"),
        (b"server-info 7", (HTTP_FRAMEWORK, "get-server-info", 7), Err("why"), b"error why"),
        (b"start-server 7", (HTTP_FRAMEWORK, "start-server", 7), Ok(65535), b"ok 65535"),
        (b"start-server 7", (HTTP_FRAMEWORK, "start-server", 7), Err("why"), b"error why"),
        (b"stop-server 7", (HTTP_FRAMEWORK, "stop-server", 7), Ok(), b"ok "),
        (b"destroy-server 7", (HTTP_FRAMEWORK, "destroy-server", 7), Ok(), b"ok "),
        (b"register-handler h", (HTTP_FRAMEWORK, "register-handler", "h"), Ok(1), b"ok 1"),
        (b"add-route 7 /x GET 1", (HTTP_FRAMEWORK, "add-route", 7, "/x", "GET", 1), Ok(2), b"ok 2"),
        (b"remove-route 2", (HTTP_FRAMEWORK, "remove-route", 2), Ok(), b"ok "),
        (b"add-middleware 7 / 1", (HTTP_FRAMEWORK, "add-middleware", 7, "/", 1), Ok(3), b"ok 3"),
        (b"remove-middleware 3", (HTTP_FRAMEWORK, "remove-middleware", 3), Ok(), b"ok "),
        (b"enable-websocket 7 /w 0 2", (HTTP_FRAMEWORK, "enable-websocket", 7, "/w", None, 2, None), Ok(), b"ok "),
        (b"enable-websocket 7 /w 1 2", (HTTP_FRAMEWORK, "enable-websocket", 7, "/w", 1, 2, None), Ok(), b"ok "),
        (b"disable-websocket 7 /w", (HTTP_FRAMEWORK, "disable-websocket", 7, "/w"), Ok(), b"ok "),
        (b"send-text 7 1 hi you", (HTTP_FRAMEWORK, "send-websocket-message", 7, 1, TEXT), Ok(), b"ok "),
        (b"send-binary 7 1 hi you", (HTTP_FRAMEWORK, "send-websocket-message", 7, 1, BINARY), Ok(), b"ok "),
        (b"close-websocket 7 1", (HTTP_FRAMEWORK, "close-websocket", 7, 1), Ok(), b"ok "),
    ],
)
def test_a_function_is_one_of_the_host(
    actor: Actor, words: bytes, call: tuple[Any, ...], answer: Any, said: bytes
) -> None:
    actor.host.answers[call[:2]] = answer
    assert actor.request(words) == said
    assert actor.host.calls == [call]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (b"path /users/a%20b?x=/ /users/{id} id", b"some a b"),
        (b"path /users/%2f /users/{id} id", b"some /"),
        (b"path /users/100% /users/{id} id", b"some 100%"),
        (b"path /users/ /users/{id} id", b"none"),
        (b"path /users/1/2 /users/{id} id", b"none"),
        (b"path /users/1 /users/{id} other", b"none"),
        (b"path /files/a/b /files/* *", b"some a/b"),
        (b"path /files/ /files/* *", b"some "),
        (b"path /files /files/* *", b"none"),
        (b"fits / /", b"yes"),
        (b"fits /%61 /a", b"yes"),
        (b"fits /a/ /a", b"no"),
        (b"fits a /a", b"no"),
        (b"fits /1/x/2 /{a}/x/{b}", b"yes"),
    ],
)
def test_a_path_is_matched_as_routes_match_it(actor: Actor, words: bytes, said: bytes) -> None:
    assert actor.request(words) == said


def test_a_channel_is_accepted_refused_and_heard(actor: Actor) -> None:
    accepted = actor.ask(CLIENT, "handle-channel-open", "c1", b"hi")
    assert accepted == {"accepted": True, "message": b"hi"}
    assert actor.state == b"c1"
    assert actor.ask(CLIENT, "handle-channel-open", "c2", b"silent") == {"accepted": True, "message": None}
    assert actor.ask(CLIENT, "handle-channel-open", "c2", b"no") == Err("closed today")
    actor.hear(CLIENT, "handle-channel-message", "c1", b"words")
    assert actor.state == b"c1 said words"
    actor.hear(CLIENT, "handle-channel-close", "c1")
    assert actor.state == b"c1 is closed"


def test_what_programs_say_arrives(actor: Actor) -> None:
    for function, params, state in (
        ("handle-stdout", (1 << 40, b"a"), f"out {1 << 40} a"),
        ("handle-stderr", (5, b"b"), "err 5 b"),
        ("handle-exit", (5, -9), "exit 5 -9"),
    ):
        actor.hear(OF_PROGRAMS, function, *params)
        assert actor.state == state.encode()


def test_http_is_answered(actor: Actor) -> None:
    request = {"method": "POST", "uri": "/x?y", "headers": [("a", "b"), ("content-type", "c")], "body": b"d"}
    answer = actor.ask(OF_HTTP, "handle-request", 2, request)
    assert answer == {"status": 201, "headers": [("content-type", "text/plain")], "body": b"POST /x?y some d"}
    assert actor.state == b"c"
    bare = {"method": "GET", "uri": "/", "headers": [], "body": None}
    assert actor.ask(OF_HTTP, "handle-request", 1, bare) == {"status": 204, "headers": [], "body": None}
    assert actor.ask(OF_HTTP, "handle-request", 0, bare) == Err("no such handler")


def test_a_middleware_lets_pass_or_answers(actor: Actor) -> None:
    request = {"method": "GET", "uri": "/x", "headers": [("a", "b")], "body": b"d"}
    assert actor.ask(OF_HTTP, "handle-middleware", 1, request) == {"proceed": True, "request": request}
    told = {"method": "403", "uri": "/x", "headers": [], "body": b"no"}
    assert actor.ask(OF_HTTP, "handle-middleware", 2, request) == {"proceed": False, "request": told}


def test_a_websocket_is_met_heard_and_seen_off(actor: Actor) -> None:
    actor.hear(OF_HTTP, "handle-websocket-connect", 1, 2, "/w", "x=1")
    assert actor.state == b"1 2 /w some x=1"
    kind = {"ty": Case("text"), "data": None, "text": "0"}
    assert actor.ask(OF_HTTP, "handle-websocket-message", 1, 2, TEXT) == [TEXT, kind]
    assert actor.ask(OF_HTTP, "handle-websocket-message", 1, 2, BINARY) == [BINARY, {**kind, "text": "1"}]
    actor.hear(OF_HTTP, "handle-websocket-disconnect", 1, 2)
    assert actor.state == b"1 2 is gone"


def test_an_actor_has_only_what_it_uses(tmp_path: Path) -> None:
    made = project(tmp_path, '#include "theater.h"\n', [])
    found = validated(made.read_bytes())
    assert set(found.imports) <= FREE_INTERFACES
    assert not {OF_HTTP, OF_PROGRAMS} & set(found.exports)


def test_an_actor_that_includes_a_part_in_a_header_of_its_own_has_it(tmp_path: Path) -> None:
    (tmp_path / "mine.h").write_text("#include <theater_process.h>\n")
    made = project(tmp_path, '#include "mine.h"\n', ["message-server"])
    assert OF_PROGRAMS in validated(made.read_bytes()).exports


@pytest.mark.parametrize("number", [0, 1])
def test_an_actor_of_the_manual_is_built(tmp_path: Path, number: int) -> None:
    manual = (HERE.parents[1] / "docs" / "c-actors.md").read_text()
    source = re.findall(r"^```c\n(.*?)^```$", manual, re.MULTILINE | re.DOTALL)[number]
    assert project(tmp_path, source, HANDLERS).exists()
