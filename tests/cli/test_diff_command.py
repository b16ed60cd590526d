"""`theater diff`: read from the files of a home, so there is no server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from commandline import Theater

from theater.chainlog.writer import ChainWriter
from theater.core.chain import Call, Genesis, Kind, outcome_ok, state_digest
from theater.errors import NotFound, UnknownActor

ONE = "10000000-0000-4000-8000-000000000001"
TWO = "20000000-0000-4000-8000-000000000002"


def live(home: Path, actor: str, name: str, states: Sequence[bytes | None]) -> None:
    """Records calls that leave these states: after entry 2, 4, 6, and so on."""
    path = home / "actors" / actor / "chain"
    path.parent.mkdir(parents=True)
    with ChainWriter.open(path, clock=lambda: 10**18) as writer:
        writer.append(Kind.GENESIS, Genesis(actor, name, None, None, None, {}))
        before = None
        for state in states:
            writer.append(Kind.CALL, Call("theater:simple/actor", "f", (b"x",)))
            writer.append(Kind.OUTCOME, outcome_ok([], state, state_digest(before)))
            before = state


@pytest.fixture
def home(theater: Theater) -> Path:
    live(theater.home, ONE, "one", [b'{"count":1,"by":"a"}', b'{"count":2,"by":"a"}', b"\x1b[2J\n"])
    live(theater.home, TWO, "two", [b'{"count":2,"by":"b"}'])
    return theater.home


def test_two_moments_of_an_actor_are_compared_by_path(theater: Theater, home: Path) -> None:
    done = theater("diff", f"{ONE}@2", f"{ONE}@4")
    assert done.code == 1
    assert done.text.splitlines() == [
        "--- one@2  2001-09-09T01:46:40.000Z",
        "+++ one@4  2001-09-09T01:46:40.000Z",
        "-/count: 1",
        "+/count: 2",
    ]


def test_the_same_state_is_silence_and_0(theater: Theater, home: Path) -> None:
    for old, new in ((f"{ONE}@2", f"{ONE}@3"), (f"{ONE}@4", "10@-2"), (TWO, TWO)):
        done = theater("diff", old, new)
        assert (done.code, done.out, done.err) == (0, b"", "")


def test_two_actors_are_compared_and_an_actor_alone_is_its_newest(theater: Theater, home: Path) -> None:
    found = json.loads(theater("diff", f"{ONE}@4", TWO, "--json").out)
    assert (found["same"], found["form"]) == (False, "json")
    assert found["changes"] == [{"path": "/by", "old": "a", "new": "b"}]
    assert found["diff"] == ['-/by: "a"', '+/by: "b"']
    assert (found["old"]["name"], found["old"]["entry"], found["new"]["name"], found["new"]["entry"]) == (
        "one",
        4,
        "two",
        2,
    )
    assert json.loads(theater("diff", f"{ONE}@0", f"{TWO}@0", "--json").out)["same"] is True


def test_no_state_is_said(theater: Theater, home: Path) -> None:
    rows = theater("diff", f"{ONE}@0", f"{ONE}@2").text.splitlines()
    assert rows[0] == "--- one@0  2001-09-09T01:46:40.000Z  (no state)"
    assert rows[2] == '+{"count":1,"by":"a"}'


def test_what_a_guest_wrote_does_not_reach_a_terminal(theater: Theater, home: Path) -> None:
    shown = theater.on_terminal("diff", f"{ONE}@4", ONE, NO_COLOR="1")
    assert b"\x1b" not in shown.out
    assert shown.code == 1


def test_a_wrong_place_is_one_sentence(theater: Theater, home: Path) -> None:
    assert theater("diff", f"{ONE}@9", ONE).code == NotFound.exit_code
    assert theater("diff", ONE, "nobody").code == UnknownActor.exit_code
    done = theater("diff", ONE, f"{ONE}@first")
    assert done.code == 2
    assert "is no place in a chain" in done.err
