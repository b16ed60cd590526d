"""A component of the first version, whose interfaces are called ntwk:theater, is an actor like any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House, eventually
from older_component import older_component
from replays import reproduced

from theater import config
from theater.build.compiled import ensure_compiled
from theater.core.chain import Call, HostCall
from theater.core.codec import content_digest
from theater.core.component_contract import check
from theater.core.manifest import parse
from theater.core.values import Ok
from theater.errors import ComponentError
from theater.wasm.artefacts import ArtefactCache
from theater.wasm.guest import Guest
from theater.wasm.types import Signature

CLIENT = "theater:simple/message-server-client"
HTTP = "theater:simple/http-handlers"


class Host:
    """Answers nothing but Ok, and remembers what it is asked."""

    wasi: Any = None

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def bind(self, interface: str, function: str, signature: Signature) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.asked.append((interface, function, *args))
            return None if signature.result is None else Ok(b"the answer" if function == "request" else None)

        return call


@pytest.fixture(scope="module")
def component() -> bytes:
    return older_component()


@pytest.fixture(scope="module")
def loaded(component: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guest, Host]]:
    path = tmp_path_factory.mktemp("older") / "older.wasm"
    path.write_bytes(component)
    cache = config.cache() / "artefacts"
    ensure_compiled(cache, path)
    artefact = ArtefactCache(cache).find(content_digest(component).hex(), False)
    assert artefact is not None
    host = Host()
    guest = Guest(artefact, host, memory=64 << 20)
    yield guest, host
    guest.close()


def test_its_exports_have_the_present_names(loaded: tuple[Guest, Host]) -> None:
    guest, _ = loaded
    assert guest.exports == {
        ("theater:simple/actor", "init"),
        (CLIENT, "handle-send"),
        (CLIENT, "handle-request"),
        (CLIENT, "handle-channel-open"),
        (HTTP, "handle-request"),
    }


def test_it_is_called_in_the_present_shapes(loaded: tuple[Guest, Host]) -> None:
    guest, host = loaded
    assert guest.call("theater:simple/actor", "init", (None, ("me",))) == Ok((b"me",))
    assert guest.call(CLIENT, "handle-send", (None, (b"hi",))) == Ok((b"hi",))
    assert guest.call(CLIENT, "handle-request", (b"s", ("request-1", b"body"))) == Ok((b"s", (b"the answer",)))
    opened = guest.call(CLIENT, "handle-channel-open", (None, ("channel-1", b"first")))
    assert opened == Ok((None, ({"accepted": True, "message": b"first"},)))
    request = {"method": "GET", "uri": "/x", "headers": [("a", "b")], "body": None}
    response = guest.call(HTTP, "handle-request", (None, (7, request)))
    assert response == Ok((None, ({"status": 200, "headers": [("a", "b")], "body": b"/x"},)))
    assert host.asked == [
        ("theater:simple/runtime", "log", "of the first version"),
        ("theater:simple/message-server-host", "send", "friend", b"hi"),
        ("theater:simple/message-server-host", "request", "friend", b"body"),
    ]


def test_a_wrong_argument_of_an_older_handler_is_a_mistake_of_the_caller(loaded: tuple[Guest, Host]) -> None:
    guest, _ = loaded
    with pytest.raises(TypeError):
        guest.call(CLIENT, "handle-request", (None, ("request-1", 3)))
    assert guest.is_alive


def test_what_its_manifest_lacks_is_said_by_its_own_name() -> None:
    manifest = parse('name = "older"\ncomponent = "older.wasm"\n', "manifest.toml")
    problems = check(manifest, {"ntwk:theater/store": ["new"], "ntwk:theater/other": ["f"]}, {})
    assert problems == [
        "the component imports ntwk:theater/other, which this version does not know",
        "the component imports ntwk:theater/store, which the manifest does not grant; add a [[handler]] with "
        'type = "store"',
        "the component does not export theater:simple/actor with the function init; every actor needs it",
    ]


def test_it_talks_is_recorded_under_the_present_names_and_replays(house: House, component: bytes) -> None:
    (house.folder / "older.wasm").write_bytes(component)
    house.start("friend")
    older = house.start("older", component="older.wasm")
    assert house.client.request(older.id, b"ehello") == b"ehello"
    house.client.send(older.id, b"c")
    eventually(lambda: house.client.state(older.id).state == b"c")
    told = [
        f"{payload.interface} {payload.function}"
        for payload in reproduced(house, older.id)
        if isinstance(payload, Call | HostCall)
    ]
    assert told == [
        "theater:simple/actor init",
        "theater:simple/runtime log",
        f"{CLIENT} handle-request",
        "theater:simple/message-server-host request",
        f"{CLIENT} handle-send",
        "theater:simple/message-server-host send",
    ]


def test_a_channel_to_it_is_opened_and_replays(house: House, component: bytes) -> None:
    (house.folder / "called.wasm").write_bytes(component)
    row = house.start("called", component="called.wasm")
    with house.client.open_channel(row.id, b"first") as channel:
        assert channel.receive(10.0) == b"first"
    functions = [payload.function for payload in reproduced(house, row.id) if isinstance(payload, Call)]
    assert functions[:2] == ["init", "handle-channel-open"]


def test_it_goes_on_after_a_kill(house: House, component: bytes) -> None:
    (house.folder / "lasting.wasm").write_bytes(component)
    row = house.start("lasting", component="lasting.wasm")
    house.client.send(row.id, b"kept")
    eventually(lambda: house.client.state(row.id).state == b"kept")
    house.kill_worker(row.id)
    house.await_incarnation(row.id, 2)
    assert house.client.state(row.id).state == b"kept"
    reproduced(house, row.id)


def test_it_is_started_only_with_what_it_imports(house: House, component: bytes, tmp_path: Path) -> None:
    (house.folder / "poor.wasm").write_bytes(component)
    with pytest.raises(ComponentError, match="imports ntwk:theater/message-server-host, which the manifest does not"):
        house.start("poor", component="poor.wasm", handlers=(), register=False)
