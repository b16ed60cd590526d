"""`theater permissions` of actors that have run: granted against used, and the smallest manifest, which runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from house import House
from kin import Kin

Name = Callable[[], str]
ACTORS = Path(__file__).parents[1] / "actors"
WIDE = """
[[handler]]
type = "timing"
[[handler]]
type = "random"
seed = 3
[[handler]]
type = "environment"
variables = ["HOME", "PATH", "APP_*"]
[[handler]]
type = "store"
"""


@pytest.fixture(scope="module", autouse=True)
def system(house: House) -> None:
    (house.folder / "system.wasm").write_bytes(wasmtime.wat2wasm((ACTORS / "system.wat").read_text()))


def theater(house: House, *words: str) -> str:
    command = [sys.executable, "-m", "theater_cli", "--home", str(house.home), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def start(house: House, name: str) -> str:
    path = house.write(name, component="system.wasm")
    path.write_text(path.read_text().replace("[actor]", f"{WIDE}[actor]"))
    return house.client.start(path).id


def test_granted_is_shown_against_used_and_the_suggestion_runs(house: House, name: Name) -> None:
    own = name()
    actor = start(house, own)
    for message in (b"vHOME", b"vAPP_X", b"vOTHER", b"n"):
        house.client.request(actor, message)
    found = json.loads(theater(house, "permissions", actor, "--json"))
    by_type = {each["type"]: each for each in found["handlers"]}
    assert by_type["environment"]["granted"] == {"variables": ["HOME", "PATH", "APP_*"]}
    assert by_type["environment"]["used"]["variables"] == ["APP_X", "HOME"]
    assert by_type["environment"]["functions"] == {"get-var": 3}
    assert (by_type["timing"]["calls"], by_type["store"]["used"], by_type["random"]["used"]) == (1, None, None)
    shown = theater(house, "permissions", actor)
    assert "store" in shown
    assert "HOME, PATH, APP_*" in shown

    house.client.stop(actor)
    text = theater(house, "permissions", actor, "--suggest")
    assert 'type = "store"' not in text
    path = house.folder / f"{own}-least.toml"
    path.write_text(text)
    house.client.stop(actor, remove=True)
    least = house.client.start(path).id
    assert house.client.request(least, b"vHOME") != b""
    assert house.client.request(least, b"vPATH") == b""


def test_a_family_goes_on_with_what_is_suggested_for_its_parent(house: House, name: Name) -> None:
    kin = Kin(house, name)
    tables = '[[handler]]\ntype = "timing"\n[[handler]]\ntype = "store"\n[[handler]]\ntype = "random"\n'
    child = kin.write(handlers=("message-server", "store"))
    parent = kin.parent(more=tables)
    kin.spawn(parent.id, child)
    text = theater(house, "permissions", parent.id, "--suggest")
    assert '[[grant]]\ntype = "store"' in text
    assert "timing" not in text
    house.client.stop(parent.id, remove=True)
    path = house.folder / f"{name()}.toml"
    path.write_text(text)
    again = house.client.start(path)
    assert house.row(kin.spawn(again.id, child)).state == "running"
