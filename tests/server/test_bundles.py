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
from typing import Any

import pytest
from house import House, asking, make_house
from kin import Kin

from theater import config

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
        done = subprocess.run(
            [sys.executable, "-m", "theater_cli", *arguments],
            capture_output=True, text=True, timeout=120, cwd=self.folder, env={**kept, **own, **environment},
        )  # fmt: skip
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
