"""What an import puts into a home, and what is left when it dies in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from packing import ONE, TWO, bundle, live, live_long, make_home, shrink_home, tree, write

from theater.bundle.opened import open_bundle
from theater.bundle.take_in import sort_out, take_in
from theater.chainlog.keys import public_key
from theater.chainlog.verify import verify_home
from theater.config import Home
from theater.errors import DiskFull, InvalidInput, NotFound, WrongState
from theater.server import adoption
from theater.server.cast import Cast, State
from theater.store.content import ContentStore

MADE = {"actors", "content", "labels", "run", "secrets", "websockets"}
"""What is in a home that has been made and in which no server ran."""


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A bundle of ONE and TWO."""
    return write(tmp_path / "b.theater", bundle(make_home(tmp_path / "h", ONE, TWO), ONE, TWO))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "target").create()


def cast_of(home: Home) -> Cast:
    cast = Cast(home)
    cast.load()
    return cast


def run(path: Path, home: Home, adopt: Callable[[str], object] | None = None) -> list[str]:
    cast = cast_of(home)
    with open_bundle(path, folder=home.root) as found:
        new = sort_out(found, home).new
        if new:
            take_in(found, new, home, adopt or (lambda name: adoption.adopt(cast, name)))
        return [row.id for row in new]


def test_an_imported_actor_has_a_row_that_its_chain_tells(packed: Path, home: Home) -> None:
    assert run(packed, home) == [ONE, TWO]
    cast = cast_of(home)
    assert [(actor.id, actor.state, actor.wanted, actor.number) for actor in cast] == [
        (ONE, State.STOPPED, False, 1),
        (TWO, State.STOPPED, False, 2),
    ]
    (one, _) = cast
    assert one.head is not None
    assert (one.head.entries, one.incarnation, one.manifest.name) == (3, 1, "a")
    content = ContentStore(home.content)
    assert verify_home(home, content).ok
    assert content.exists(one.component)
    assert {path.name for path in home.root.iterdir()} == MADE


def test_only_what_is_not_there_is_imported(packed: Path, home: Home, tmp_path: Path) -> None:
    both = packed
    alone = write(tmp_path / "one.theater", bundle(Home(tmp_path / "h"), ONE))
    assert run(alone, home) == [ONE]
    assert run(both, home) == [TWO]
    assert run(both, home) == []


def test_another_history_is_a_conflict_and_nothing_is_imported(packed: Path, home: Home) -> None:
    live(home, TWO, name="another", calls=2)
    before = tree(home.root)
    with pytest.raises(WrongState, match=f"{TWO} already, with another history: its entry 2 has digest"):
        run(packed, home)
    assert tree(home.root) == before


def test_less_of_the_same_history_is_a_conflict(packed: Path, home: Home, tmp_path: Path) -> None:
    run(packed, home)
    live(Home(tmp_path / "h"), ONE, calls=1)
    longer = write(tmp_path / "longer.theater", bundle(Home(tmp_path / "h"), ONE))
    with pytest.raises(WrongState, match="already, with less than the 5 entries of the bundle"):
        run(longer, home)


def test_a_folder_that_only_has_the_name_is_a_conflict(packed: Path, home: Home) -> None:
    home.actor(ONE).mkdir()
    with pytest.raises(WrongState):
        run(packed, home)


class Died(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("at", range(12))
def test_an_import_that_dies_anywhere_has_imported_all_or_nothing(
    at: int, packed: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies instead of its next rename; whoever comes next brings it to an end."""
    rename, left = os.rename, iter(range(at))

    def rename_or_die(source: object, target: object) -> None:
        if "content" not in str(target) and next(left, None) is None:
            raise Died
        rename(source, target)  # type: ignore[arg-type]

    cast = cast_of(home)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename_or_die)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # The dead remove nothing.
        try:
            run(packed, home, lambda name: adoption.adopt(cast, name))
        except Died:
            pass
    adoption.finish(home)
    found = [actor.id for actor in cast_of(home)]
    assert found in ([], [ONE, TWO])
    assert {path.name for path in home.root.iterdir()} == MADE
    assert {path.name for path in home.actors.iterdir()} == set(found)
    run(packed, home)
    assert [actor.id for actor in cast_of(home)] == [ONE, TWO]
    assert verify_home(home, ContentStore(home.content)).ok


def test_a_server_that_refuses_leaves_nothing(packed: Path, home: Home) -> None:
    def refuse(name: str) -> None:
        raise DiskFull("no room")

    with pytest.raises(DiskFull):
        run(packed, home, refuse)
    assert not list(home.actors.iterdir())
    assert {path.name for path in home.root.iterdir()} == MADE


@pytest.mark.parametrize("name", ["../evil", "importing.", "importing.a/b", "actors", "importing.ä", ""])
def test_a_server_takes_in_no_other_folder(name: str, home: Home) -> None:
    with pytest.raises(InvalidInput, match="no folder of an import"):
        adoption.adopt(cast_of(home), name)


def test_a_server_takes_in_no_folder_without_rows(home: Home) -> None:
    with pytest.raises(NotFound):
        adoption.adopt(cast_of(home), "importing.gone")
    (home.root / "importing.x" / ONE).mkdir(parents=True)
    with pytest.raises(InvalidInput, match="has no row of an actor"):
        adoption.adopt(cast_of(home), "importing.x")
    (home.root / "importing.x" / ONE / "actor").write_bytes(b"\xc1")
    with pytest.raises(InvalidInput, match="has no row of an actor"):
        adoption.adopt(cast_of(home), "importing.x")


def test_an_actor_of_which_only_a_snapshot_tells_can_go_on(home: Home, tmp_path: Path) -> None:
    source = make_home(tmp_path / "h", ONE)
    live_long(source, ONE)
    shrink_home(source, ONE, drop=True)
    assert run(write(tmp_path / "b.theater", bundle(source, ONE)), home) == [ONE]
    (actor,) = cast_of(home)
    assert actor.head is not None
    assert actor.head.snapshot_at is not None
    assert actor.manifest.name == "a"
    assert verify_home(home, ContentStore(home.content), key=public_key(source)).ok
