"""`theater verify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Theater

from theater.chainlog.writer import ChainWriter
from theater.core.chain import Checkpoint, Genesis, Kind, Lifecycle, Mark
from theater.errors import ChainBroken, NotFound, UnknownActor

ONE = "10000000-0000-4000-8000-000000000001"
TWO = "20000000-0000-4000-8000-000000000002"


def chain(path: Path, actor: str, name: str) -> Mark:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, Genesis(actor, name, None, None, None, {}))
        writer.append(Kind.LIFECYCLE, Lifecycle("something", {}))
        writer.flush()
        return writer.mark


@pytest.fixture
def home(theater: Theater) -> Path:
    marks = {
        actor: chain(theater.home / "actors" / actor / "chain", actor, name) for actor, name in ((ONE, "a"), (TWO, "b"))
    }
    path = theater.home / "supervisor.chain"
    chain(path, "supervisor", "supervisor")
    with ChainWriter.open(path) as writer:
        writer.append(Kind.CHECKPOINT, Checkpoint({actor: list(mark) for actor, mark in marks.items()}))
        writer.flush()
    return theater.home


def damage(chain: Path) -> None:
    content = bytearray(chain.read_bytes())
    content[-40] ^= 1
    chain.write_bytes(content)


def test_a_sound_home_ends_with_0(theater: Theater, home: Path) -> None:
    done = theater("verify")
    assert done.code == 0
    assert [row.split()[::2] for row in done.text.splitlines()[2:]] == [
        ["10000000", "2", "ok"],
        ["20000000", "2", "ok"],
    ]


def test_json_has_the_published_fields(theater: Theater, home: Path) -> None:
    found = json.loads(theater("verify", "--json").out)
    assert found["ok"] is True
    assert [list(actor) for actor in found["actors"]] == [["id", "name", "entries", "head", "ok", "error"]] * 2
    assert [actor["id"] for actor in found["actors"]] == [ONE, TWO]


def test_a_changed_byte_ends_with_9_and_says_where(theater: Theater, home: Path) -> None:
    damage(home / "actors" / TWO / "chain")
    done = theater("verify")
    assert done.code == ChainBroken.exit_code
    assert f"{TWO}: entry 1 at byte" in done.text
    assert "expected" in done.text
    assert "found" in done.text
    found = json.loads(theater("verify", "--json").out)
    assert (found["ok"], [actor["ok"] for actor in found["actors"]]) == (False, [True, False])


def test_a_chain_that_was_cut_does_not_agree_with_its_checkpoint(theater: Theater, home: Path) -> None:
    (home / "actors" / ONE / "chain").write_bytes(b"")
    done = theater("verify", ONE, "--json")
    assert done.code == ChainBroken.exit_code
    assert "by a checkpoint" in json.loads(done.out)["actors"][0]["error"]


def test_a_torn_tail_is_reported_and_no_error(theater: Theater, home: Path) -> None:
    with (home / "actors" / ONE / "chain").open("ab") as file:
        file.write(b"\0\0\0")
    done = theater("verify", "1")
    assert done.code == 0
    assert "ok, 3 bytes unfinished" in done.text


def test_only_the_actors_that_are_named(theater: Theater, home: Path) -> None:
    damage(home / "actors" / TWO / "chain")
    assert theater("verify", "10").code == 0
    assert theater("verify", "-", stdin=f"{ONE}\n{TWO}\n".encode()).code == ChainBroken.exit_code
    assert theater("verify", "nobody").code == UnknownActor.exit_code


def test_no_home_is_not_found(theater: Theater, tmp_path: Path) -> None:
    assert theater("verify", "--home", str(tmp_path / "nothing")).code == NotFound.exit_code


def test_a_home_without_a_record_is_as_it_was(theater: Theater) -> None:
    theater("store", "put", "-", stdin=b"x")
    assert json.loads(theater("verify", "--json").out)["actors"] == []
    assert theater("verify").code == 0
