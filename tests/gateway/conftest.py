"""Servers with an actor behind HTTP: the fast one of tests/actors/http.wat, and the talkative one of web_actor.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

sys.path.append(str(Path(__file__).parents[1] / "server"))

from house import House, make_house
from web import Web

from theater.build import build
from theater.core.manifest import parse
from theater.wasm.componentize import componentize

HERE = Path(__file__).parent
PLAIN = HERE.parent / "actors" / "http.wat"


def prepared() -> House:
    """A house that is not open yet, with both actors in it: manifests are made by `Web.write`."""
    house = make_house(b"")
    (house.folder / "http.wasm").write_bytes(componentize(bytes(wasmtime.wat2wasm(PLAIN.read_text()))))
    source = (HERE / "web_actor.py").read_text()
    (house.folder / "web_actor.py").write_text(source)
    text = Web.python("built")
    build(house.folder, parse(text, str(house.folder / "built.toml")))
    return house


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server that the tests of a module share."""
    shared = prepared()
    try:
        yield shared.open()
    finally:
        shared.close()


@pytest.fixture
def own_house() -> Iterator[House]:
    """A server for one test, which may kill its gateway or end it."""
    own = prepared()
    try:
        yield own.open()
    finally:
        own.close()


@pytest.fixture(scope="module")
def web(house: House) -> Web:
    """The talkative actor that the tests of a module share."""
    return Web.started(house, "web")
