from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from built import HOST, IDENTITY, Actor, running

from theater.build import build
from theater.build.templates import create, languages, templates
from theater.core.manifest import parse
from theater.core.values import Err, Ok
from theater.errors import InvalidInput, WrongState
from theater.wasm.traps import Trap

needs_c = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="building C needs ziglang")
COMPILED = ["wat", pytest.param("c", marks=needs_c)]
ALL = [(language, template) for language in languages() for template in templates(language)]


@pytest.mark.parametrize(("language", "template"), ALL)
def test_every_project_has_a_manifest_a_source_a_readme_and_a_test(
    tmp_path: Path, language: str, template: str
) -> None:
    written = create(tmp_path / "new", "my-actor", language, template)
    names = {path.name for path in written}
    assert {"manifest.toml", "README.md", "test_actor.py"} < names
    manifest = parse((tmp_path / "new" / "manifest.toml").read_text(), "manifest.toml")
    assert manifest.name == "my-actor"
    assert manifest.build is not None
    assert manifest.build.language.value == language
    assert manifest.build.source in names
    assert not any("{{" in path.read_text() for path in written)


def test_python_and_basic_are_what_one_gets_unasked(tmp_path: Path) -> None:
    assert (tmp_path / "actor.py") in create(tmp_path, "a")
    assert "{{" not in (tmp_path / "actor.py").read_text()


@pytest.mark.parametrize("name", ["", "../x", "a b", "-a", "a" * 65, "a/b", "ä", "a\n"])
def test_a_name_that_no_actor_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be an actor's name; allowed: letters"):
        create(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


def test_what_there_is_not_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match='no language "cobol"; allowed: c, python, wat'):
        create(tmp_path, "a", "cobol")
    with pytest.raises(InvalidInput, match='no template "huge"; allowed: basic, message-server'):
        create(tmp_path, "a", "wat", "huge")
    with pytest.raises(InvalidInput, match='no language "common"'):
        create(tmp_path, "a", "common")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(WrongState, match="is not empty; create the project in a new folder"):
        create(tmp_path, "a")
    with pytest.raises(WrongState, match="is a file"):
        create(tmp_path / "mine", "a")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# ---- what the actors do


def made(folder: Path, language: str, template: str) -> Path:
    create(folder, "made", language, template)
    return build(folder, parse((folder / "manifest.toml").read_text(), "manifest.toml"))


@pytest.fixture(scope="module", params=COMPILED)
def counter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The component of `basic` in a language, and a cache."""
    folder = tmp_path_factory.mktemp("basic")
    return made(folder / "project", request.param, "basic"), folder / "cache"


@pytest.fixture
def counting(counter: tuple[Path, Path]) -> Iterator[Actor]:
    with running(*counter) as actor:
        actor.init()
        yield actor


def test_basic_counts_and_keeps_the_count_as_its_state(counting: Actor) -> None:
    assert counting.state == b'{"count":0}'
    assert counting.request(b'{"add": 2}') == b'{"count":2}'
    assert counting.request(b' { "add" :-5 } ') == b'{"count":-3}'
    assert counting.request(b'{"add": 100000000000000000}') == b'{"count":99999999999999997}'
    assert counting.state == b'{"count":99999999999999997}'


def test_basic_begins_with_the_state_it_is_given(counting: Actor) -> None:
    counting.init(b'{"count":40}')
    assert counting.request(b'{"add":2}') == b'{"count":42}'


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"{}", b'{"add": 1.5}', b'{"add": "1"}', b'{"add": 1', b'{"add"}', b"[1]"]
)
def test_basic_answers_anything_else_with_an_error(counting: Actor, body: bytes) -> None:
    assert counting.request(body) == Err('this actor understands {"add": N} with a whole number N')
    assert counting.state == b'{"count":0}'


def test_basic_crashes_when_it_is_told_to(counting: Actor) -> None:
    assert isinstance(counting.request(b'{"crash": false}'), Err)
    with pytest.raises(Trap):
        counting.request(b'{"crash": true}')


def test_basic_takes_large_messages_call_after_call(counting: Actor) -> None:
    large = b'{"add": 1' + b" " * 900_000 + b"}"
    for count in range(1, 6):
        assert counting.request(large) == b'{"count":%d}' % count
    assert counting.memory() < 4 << 20


@pytest.fixture(scope="module", params=COMPILED)
def talker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The component of `message-server` in a language, and a cache."""
    folder = tmp_path_factory.mktemp("talker")
    return made(folder / "project", request.param, "message-server"), folder / "cache"


@pytest.fixture
def talking(talker: tuple[Path, Path]) -> Iterator[Actor]:
    with running(*talker) as actor:
        actor.init(b"kept")
        yield actor


def test_message_server_asks_and_tells_others(talking: Actor) -> None:
    talking.host.answers[HOST, "request"] = Ok(b"the answer")
    assert talking.request(b"ask two how are you") == b"the answer"
    assert talking.request(b"tell two good morning") == b"told"
    assert talking.host.calls == [(HOST, "request", "two", b"how are you"), (HOST, "send", "two", b"good morning")]
    assert talking.state == b"kept"


def test_message_server_passes_failures_on(talking: Actor) -> None:
    talking.host.answers = {(HOST, "request"): Err("no such actor"), (HOST, "send"): Err("mailbox full")}
    assert talking.request(b"ask two x") == Err("no such actor")
    assert talking.request(b"tell two x") == Err("mailbox full")


def test_message_server_answers_later(talking: Actor) -> None:
    assert talking.request(b"wait") is None
    talking.host.answers = {
        (HOST, "list-outstanding-requests"): ["r1", "r2"],
        (HOST, "respond-to-request"): Err("gone"),
    }
    talking.send(b"now")
    assert talking.host.calls[1:] == [
        (HOST, "respond-to-request", "r1", b"now"),
        (HOST, "respond-to-request", "r2", b"now"),
    ]
    assert talking.state == b"kept"


def test_message_server_says_who_it_is(talking: Actor) -> None:
    talking.host.answers[IDENTITY, "self"] = {"id": "i", "name": "n", "parent": None, "incarnation": 1}
    assert talking.request(b"who") == b"i"


@pytest.mark.parametrize("body", [b"", b"hello", b"whoever", b"asks two x"])
def test_message_server_answers_anything_else_with_an_error(talking: Actor, body: bytes) -> None:
    assert talking.request(body) == Err("this actor understands who, wait, ask NAME WORDS and tell NAME WORDS")


# ---- the tests that come with a project


@pytest.mark.parametrize(
    ("language", "template"),
    [pytest.param(*one, marks=needs_c if one[0] == "c" else ()) for one in ALL],
)
def test_the_test_of_a_new_project_passes(tmp_path: Path, language: str, template: str) -> None:
    _with_a_free_port(create(tmp_path / "project", "made", language, template))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path / "project", env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _with_a_free_port(files: list[Path]) -> None:
    """A project that listens does so where nobody else does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for path in files:
        path.write_text(path.read_text().replace("8080", str(port)))
