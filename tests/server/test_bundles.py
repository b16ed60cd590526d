"""Bundles: what a server has recorded, verified, replayed and continued where that server has never been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import ready_commands
import wasmtime
from house import House, asking, eventually, flooding, make_house, outcome, sending
from kin import Kin

from theater import config
from theater.build import build
from theater.config import Home
from theater.core.manifest import parse
from theater.replay.tree import prove_tree
from theater.store.content import ContentStore

EASY = {"intensity": 1000, "period": 1}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Elsewhere:
    """Another machine, as far as there can be one on this: another home and working directory, nothing of the first.

    Compiled components are shared unless `cache` is another folder.
    """

    folder: Path
    cache: Path = field(default_factory=config.cache)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def __call__(self, *arguments: str, **environment: str) -> Done:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("THEATER_", "XDG_"))}
        own = {"HOME": str(self.folder), "THEATER_HOME": str(self.home), "THEATER_CACHE": str(self.cache)}
        done = ready_commands.run(
            arguments, text=True, timeout=120, cwd=self.folder, env={**kept, **own, **environment}
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with tempfile.TemporaryDirectory(prefix="te") as folder:
        yield Elsewhere(Path(folder))


@pytest.fixture
def kin(house: House, name: Callable[[], str]) -> Kin:
    return Kin(house, name)


def export(house: House, target: Path, *arguments: str) -> Done:
    """Exports from a house, with its server up or down."""
    here = Elsewhere(house.folder)
    done = here("export", *arguments, "-o", str(target), THEATER_HOME=str(house.home))
    assert done.code == 0, done.err
    return done


def test_a_bundle_verifies_and_replays_where_its_server_has_never_been(house: House, elsewhere: Elsewhere) -> None:
    actor = house.start("packed").id
    for _ in range(3):
        house.count(actor)
    bundle = elsewhere.folder / "run.theater"
    export(house, bundle, actor)
    verified = elsewhere("verify", str(bundle), "--json")
    assert verified.code == 0, verified.err
    (row,) = verified.json["actors"]
    assert (row["id"], row["name"], row["ok"]) == (actor, "packed", True)
    replayed = elsewhere("replay", "run.theater", "--json")
    assert replayed.code == 0, replayed.err
    assert replayed.json["actors"] == [{key: row[key] for key in ("id", "name", "entries", "head", "ok", "error")}]
    assert sorted(path.name for path in elsewhere.folder.iterdir()) == ["run.theater"]


def test_an_imported_actor_is_there_and_goes_on(house: House, elsewhere: Elsewhere, probe: bytes) -> None:
    actor = house.start("moved").id
    assert [house.count(actor) for _ in range(3)] == [1, 2, 3]
    bundle = elsewhere.folder / "run.theater"
    export(house, bundle, actor)
    other = make_house(probe)
    try:
        done = elsewhere("import", str(bundle), THEATER_HOME=str(other.home))
        assert done.code == 0, done.err
        other.open()
        row = other.row(actor)
        assert (row.name, row.state, row.incarnation) == ("moved", "stopped", 1)
        assert other.client.state(actor).state is not None
        assert other.client.restart(actor).state == "running"
        assert other.count(actor) == 4
        other.verify()
    finally:
        other.close()


# ---- families


def family(kin: Kin) -> tuple[str, list[str]]:
    """A parent, its child and its grandchild, who have talked to each other."""
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(parent=True))
    grandchild = kin.spawn(child, kin.write(register=True))
    name = kin.house.row(grandchild).name
    other = kin.house.start(kin.name()).id
    assert kin.house.client.request(other, asking(name, b"c"))
    return parent.id, [child, grandchild, other]


def test_a_tree_is_replayed_with_all_descendants(kin: Kin, elsewhere: Elsewhere) -> None:
    parent, (child, grandchild, other) = family(kin)
    bundle = elsewhere.folder / "run.theater"
    here = Elsewhere(kin.house.folder)
    home = {"THEATER_HOME": str(kin.house.home)}
    found = here("replay", parent, "--tree", "--json", **home).json
    assert (found["ok"], {row["id"] for row in found["actors"]}) == (True, {parent, child, grandchild})
    assert (found["tree"]["children"], found["tree"]["missing"]) == (2, [])
    export(kin.house, bundle, parent, other, "--tree")
    there = elsewhere("replay", str(bundle), "--tree", "--json")
    assert there.code == 0, there
    assert {row["id"] for row in there.json["actors"]} == {parent, child, grandchild, other}
    assert there.json["tree"] == {
        "ok": True, "children": 2, "messages": 2, "untold": 0, "missing": [], "errors": [],
    }  # fmt: skip


def test_a_child_that_is_not_there_is_named(kin: Kin, elsewhere: Elsewhere) -> None:
    parent = kin.parent(EASY).id
    child = kin.spawn(parent, kin.write())
    bundle = elsewhere.folder / "run.theater"
    export(kin.house, bundle, parent)
    assert elsewhere("replay", str(bundle)).code == 0
    alone = elsewhere("replay", str(bundle), "--tree")
    assert alone.code == 9
    assert f"{child}: missing; entry" in alone.out


def test_an_imported_family_goes_on_parent_first(kin: Kin, elsewhere: Elsewhere, probe: bytes) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    assert kin.house.count(child) == 1
    kin.note(parent.id)
    bundle = elsewhere.folder / "run.theater"
    export(kin.house, bundle, parent.id, "--tree")
    other = make_house(probe)
    try:
        other.open()  # This time into a server that runs.
        done = elsewhere("import", str(bundle), "--json", THEATER_HOME=str(other.home))
        assert done.code == 0, done.err
        assert {row["id"] for row in done.json["imported"]} == {parent.id, child}
        rows = {row.id: row for row in other.client.list()}
        assert [(rows[each].state, rows[each].parent) for each in (parent.id, child)] == [
            ("stopped", None),
            ("stopped", parent.id),
        ]
        assert ("imported", child) in {(event, details.get("actor")) for event, details in other.history()}
        other.client.restart(parent.id)
        other.client.restart(child)
        assert other.count(child) == 2
        other.verify()
        again = elsewhere("replay", child, "--tree", "--json", THEATER_HOME=str(other.home))
        assert again.code == 0, again
        assert again.json["actors"][0]["entries"] == other.row(child).entries
    finally:
        other.close()


def test_a_child_without_its_parent_stands_by_itself(kin: Kin, elsewhere: Elsewhere, probe: bytes) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    bundle = elsewhere.folder / "run.theater"
    export(kin.house, bundle, child)
    other = make_house(probe)
    try:
        assert elsewhere("import", str(bundle), THEATER_HOME=str(other.home)).code == 0
        other.open()
        assert other.row(child).parent is None
        other.client.restart(child)
        assert other.count(child) == 1
    finally:
        other.close()


# ---- export


PYTHON = """
import time
import theater


class Actor(theater.Actor):
    initial = {"n": 0}

    def handle_request(self, message):
        if message == "crash":
            raise SystemExit(3)
        self.state["n"] += message
        return {"n": self.state["n"], "at": time.time()}
"""
C = """
#include "theater.h"

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    if (body.size == 1) __builtin_trap();
    return theater_reply((theater_option){true, body}, theater_format("taken"));
}
"""
HANDLER = '[[handler]]\ntype = "message-server"\n[supervision]\nintensity = 1000\nperiod = 1\n'


def python_actor(house: House) -> str:
    folder = house.folder / "python"
    folder.mkdir()
    (folder / "actor.py").write_text(PYTHON)
    (folder / "manifest.toml").write_text(
        f'name = "snake"\n[build]\nlanguage = "python"\nsource = "actor.py"\n{HANDLER}'
    )
    actor = house.client.start(folder / "manifest.toml").id
    house.client.request(actor, b"3", timeout=60.0)
    assert outcome(lambda: house.client.request(actor, b'"crash"')) == "ActorDown"
    house.await_incarnation(actor, 2)
    house.client.request(actor, b"4")
    return actor


def c_actor(house: House) -> str:
    pytest.importorskip("ziglang", reason="building C needs the package ziglang")
    folder = house.folder / "c"
    folder.mkdir()
    (folder / "actor.c").write_text(C)
    built = build(folder, parse(f'name = "sea"\n[build]\nlanguage = "c"\nsource = "actor.c"\n{HANDLER}', "m.toml"))
    actor = house.start("sea", component=str(built), supervision=EASY).id
    house.client.request(actor, b"some state" * 1000)
    assert outcome(lambda: house.client.request(actor, b"x")) == "ActorDown"
    house.await_incarnation(actor, 2)
    return actor


def test_actors_in_three_languages_and_several_lives(closed_house: House, elsewhere: Elsewhere) -> None:
    house = closed_house.open()
    actors = {python_actor(house), c_actor(house), house.start("wat").id}
    bundle = elsewhere.folder / "run.theater"
    export(house, bundle, *actors)
    house.close()
    assert not house.home.exists()
    assert elsewhere("verify", "run.theater").code == 0
    replayed = elsewhere("replay", "run.theater", "--tree", "--json")
    assert replayed.code == 0, replayed
    assert {row["id"] for row in replayed.json["actors"]} == actors


def test_a_machine_that_has_compiled_nothing_yet(house: House, elsewhere: Elsewhere) -> None:
    actor = house.start("new").id
    house.count(actor)
    bundle = elsewhere.folder / "run.theater"
    export(house, bundle, actor)
    (elsewhere.folder / "cache").mkdir()
    elsewhere.cache = elsewhere.folder / "cache"
    assert elsewhere("replay", str(bundle)).code == 0


def test_an_actor_that_goes_on_is_exported_up_to_one_head(house: House, elsewhere: Elsewhere) -> None:
    actor = house.start("busy").id
    house.count(actor)
    client = house.connect()
    done = Event()

    def go_on() -> None:
        while not done.is_set():
            client.request(actor, b"c")

    going = Thread(target=go_on)
    going.start()
    try:
        for number in range(3):
            export(house, elsewhere.folder / f"{number}.theater", actor)
    finally:
        done.set()
        going.join()
    found = [elsewhere("verify", f"{number}.theater", "--json").json for number in range(3)]
    assert all(each["ok"] for each in found)
    assert elsewhere("replay", "2.theater").code == 0
    entries = [each["actors"][0]["entries"] for each in found]
    assert entries == sorted(set(entries))


def test_without_a_server_the_key_of_the_home_signs(closed_house: House, elsewhere: Elsewhere) -> None:
    house = closed_house.open()
    actor = house.start("silent").id
    house.count(actor)
    removed = house.start("removed").id
    kept = elsewhere.folder / "kept"
    kept.write_bytes(house.client.checkpoint([actor]).text)
    key = house.client.hello().key
    house.client.stop(removed, remove=True)
    export(house, elsewhere.folder / "up.theater", actor, removed)
    house.client.stop_server()
    export(house, elsewhere.folder / "down.theater", actor, removed)
    for bundle in ("up.theater", "down.theater"):
        verified = elsewhere("verify", bundle, "--key", key, "--checkpoint", "kept", "--json")
        assert verified.code == 0, verified
        assert verified.json["signed"]["key"] == verified.json["checkpoint"]["key"] == key
        assert verified.json["checkpoint"]["unnamed"] == [removed]
    stranger = elsewhere("verify", "up.theater", "--key", "0" * 64)
    assert (stranger.code, stranger.out) == (9, "")
    assert "the key that you trust" in stranger.err


def test_standard_output_gets_the_same_bytes_as_a_file(closed_house: House, elsewhere: Elsewhere) -> None:
    house = closed_house.open()
    actor = house.start("piped").id
    house.client.stop_server()
    here = [sys.executable, "-m", "theater_cli", "--home", str(house.home), "export", actor, "-o", "-"]
    with (elsewhere.folder / "piped.theater").open("wb") as pipe:
        subprocess.run(here, stdout=pipe, check=True, timeout=60)
    assert elsewhere("verify", "piped.theater").code == 0
    assert elsewhere("replay", "piped.theater").code == 0


# ---- import


def files(folder: Path) -> set[Path]:
    """Everything in a home but what its server makes and removes all the time."""
    return {path for path in folder.rglob("*") if "run" not in path.parts}


def test_what_is_there_already_is_left_and_another_history_is_a_conflict(
    own_house: House, elsewhere: Elsewhere
) -> None:
    actor = own_house.start("twice").id
    own_house.count(actor)
    export(own_house, elsewhere.folder / "early.theater", actor)
    own_house.count(actor)
    export(own_house, elsewhere.folder / "late.theater", actor)
    assert elsewhere("import", "early.theater").code == 0
    again = elsewhere("import", "early.theater")
    assert (again.code, "is here already, with this history; nothing to do" in again.out) == (0, True)
    before = files(elsewhere.home)
    conflict = elsewhere("import", "late.theater")
    assert conflict.code == 12
    assert f"there is an actor {actor} already" in conflict.err
    assert files(elsewhere.home) == before
    at_home = elsewhere("import", "early.theater", THEATER_HOME=str(own_house.home))
    assert (at_home.code, "nothing to do" in at_home.out) == (0, True)


def test_commands_show_an_imported_actor_as_any_other(house: House, elsewhere: Elsewhere) -> None:
    actor = house.start("shown").id
    house.count(actor)
    export(house, elsewhere.folder / "run.theater", actor)
    assert elsewhere("import", "run.theater").code == 0
    assert elsewhere("verify", "shown").code == 0
    assert elsewhere("replay", "shown").code == 0
    export_again = elsewhere("export", "shown", "-o", "again.theater")
    assert (export_again.code, "never had a server" in export_again.err) == (12, True)


def test_a_bundle_with_other_words_beside_it_is_a_wrong_use(elsewhere: Elsewhere) -> None:
    (elsewhere.folder / "a.theater").write_bytes(b"")
    for command in ("verify", "replay"):
        assert elsewhere(command, "a.theater", "b").code == 3
        assert elsewhere(command, "gone.theater").code == 4
        assert elsewhere(command, "a.theater").code == 3
    assert not elsewhere.home.exists()


def test_a_memory_goes_on_where_its_actor_has_never_been(house: House, elsewhere: Elsewhere, probe: bytes) -> None:
    """With the image of a snapshot, whose pages are in the bundle, and what came after it."""
    memory = Path(__file__).parents[1] / "actors" / "memory.wat"
    (house.folder / "memory.wasm").write_bytes(bytes(wasmtime.wat2wasm(memory.read_text())))
    path = house.write("memory", component="memory.wasm", supervision={**EASY, "state": "replay"})
    path.write_text(path.read_text() + '[chain]\nsnapshot = { entries = 10 }\nstate_root = "call"\n')
    actor = house.client.start(path).id
    assert [house.count(actor) for _ in range(10)] == list(range(1, 11))
    snapshots = [details["memory"] for event, details in house.history(actor) if event == "snapshot"]
    assert any(memory is not None for memory in snapshots)
    export(house, elsewhere.folder / "run.theater", actor)
    assert elsewhere("replay", "run.theater").code == 0
    other = make_house(probe)
    try:
        assert elsewhere("import", "run.theater", THEATER_HOME=str(other.home)).code == 0
        other.open()
        other.client.restart(actor)
        assert other.count(actor) == 11
        other.verify()
        assert elsewhere("replay", actor, THEATER_HOME=str(other.home)).code == 0
    finally:
        other.close()


def test_everything_that_this_house_has_recorded_fits_together(kin: Kin) -> None:
    """With actors that talk to each other in all ways, and to themselves."""
    house = kin.house
    first, second = house.start("first").id, house.start("second").id
    for _ in range(20):
        house.client.request(first, asking("second", b"c"))
        house.client.request(second, sending("first", b"c" * 5000))
    house.client.request(first, flooding("second", 100, b"x"))
    house.kill_worker(second)
    house.client.request(first, asking("second", b"e" * 5000))
    home = Home(house.home)
    chains = {path.parent.name: path for path in home.actors.glob("*/chain")}
    eventually(lambda: prove_tree(chains, ContentStore(home.content).get).messages >= 62)
    proof = prove_tree(chains, ContentStore(home.content).get, at_once=7)
    assert (proof.flaws, proof.missing, proof.untold) == ((), (), 0)
