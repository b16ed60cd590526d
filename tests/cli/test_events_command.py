"""`theater events`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Scripted, Theater

from theater.chainlog.writer import ChainWriter
from theater.core.chain import Call, Genesis, HostCall, Kind, outcome_ok
from theater.errors import NotFound

ONE = "10000000-0000-4000-8000-000000000001"
TWO = "20000000-0000-4000-8000-000000000002"


def test_a_line_says_number_time_type_digest_and_facts(theater: Theater, server: Scripted) -> None:
    theater("message", "counter", "hello")
    genesis, call = theater("events", "counter").text.splitlines()
    assert genesis.split()[:4] == ["0", "2001-09-09T01:46:40.000Z", "genesis", "00000000"]
    assert call.endswith("message-server-client.handle-request(hello)")


def test_types_since_and_limit_choose(theater: Theater, server: Scripted) -> None:
    for body in ("one", "two", "three"):
        theater("message", "counter", body)

    def numbers(*options: str) -> list[int]:
        return [event["seq"] for event in json.loads(theater("events", "counter", "--json", *options).out)]

    assert numbers() == [0, 1, 2, 3]
    assert numbers("--since", "2") == [2, 3]
    assert numbers("--since", "-3") == [1, 2, 3]
    assert numbers("--limit", "2") == [0, 1]
    assert numbers("--type", "call", "--limit", "2") == [1, 2]
    assert numbers("--type", "call", "--type", "genesis") == [0, 1, 2, 3]
    assert numbers("--type", "outcome") == []


def test_an_unknown_type_is_a_wrong_use_that_lists_the_types(theater: Theater) -> None:
    done = theater("events", "counter", "--type", "x")
    assert done.code == 2
    assert "'host-call'" in done.err


def test_follow_goes_on_until_the_limit(theater: Theater, server: Scripted) -> None:
    with theater.running("events", "counter", "--follow", "--json", "--limit", "2") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "genesis"
        theater("message", "counter", "x")
        assert json.loads(process.stdout.readline())["data"]["args"] == ["x"]
        assert process.wait(10) == 0


# ---- looking back: read from the files, so there is no server


@pytest.fixture
def chains(theater: Theater) -> Path:
    """Two actors: `one` was told something from outside (entry 1) and sent it on (2), to `two` (its entry 1)."""
    sent = b""
    for actor, name in ((ONE, "one"), (TWO, "two")):
        path = theater.home / "actors" / actor / "chain"
        path.parent.mkdir(parents=True)
        with ChainWriter.open(path, clock=lambda: 10**18) as writer:
            writer.append(Kind.GENESIS, Genesis(actor, name, None, None, None, {}))
            called = Call(
                "theater:simple/message-server-client",
                "handle-send",
                (b"x\x1b[2J",),
                sent or None,
                ONE if sent else None,
            )
            writer.append(Kind.CALL, called)
            sent = writer.append(Kind.HOST_CALL, HostCall("theater:simple/message-server-host", "send", ("two", b"x")))
            writer.append(Kind.OUTCOME, outcome_ok([], b"1", None))
    return theater.home


def test_around_shows_both_sides_and_marks_the_entry(theater: Theater, chains: Path) -> None:
    rows = theater("events", ONE, "--around", "1", "--context", "1").text.splitlines()
    assert [row.split()[:2] for row in rows] == [
        ["0", "2001-09-09T01:46:40.000Z"],
        [">", "1"],
        ["2", "2001-09-09T01:46:40.000Z"],
    ]
    found = json.loads(theater("events", ONE, "--around", "-1", "--context", "0", "--json").out)
    assert [(event["seq"], event["type"], event["marked"]) for event in found] == [(3, "outcome", True)]
    assert len(theater("events", ONE, "--around", "0").text.splitlines()) == 4


def test_causes_lead_from_the_entry_to_where_it_began(theater: Theater, chains: Path) -> None:
    rows = [row.split() for row in theater("events", TWO, "--causes", "3").text.splitlines()]
    assert [row[0] for row in rows] == ["two", "in", "sent", "in", "the"]
    assert rows[2][2:4] == ["one", "2"]
    found = json.loads(theater("events", TWO, "--causes", "3", "--json").out)
    assert list(found) == ["actor", "seq", "nodes", "edges", "ends"]
    assert found["edges"][1] == {
        "effect": {"actor": TWO, "seq": 1},
        "cause": {"actor": ONE, "seq": 2},
        "why": "message",
    }
    assert found["ends"] == [{"actor": ONE, "seq": 1, "why": "outside", "message": "the message came from outside"}]


def test_effects_lead_from_the_entry_to_what_came_of_it(theater: Theater, chains: Path) -> None:
    rows = [row.split() for row in theater("events", ONE, "--effects", "1").text.splitlines()]
    assert [row[0] for row in rows] == ["one", "did", "arrived", "did", "did"]
    assert rows[2][1:3] == ["two", "1"]
    found = json.loads(theater("events", ONE, "--effects", "2", "--json").out)
    assert found["edges"][0] == {
        "effect": {"actor": TWO, "seq": 1},
        "cause": {"actor": ONE, "seq": 2},
        "why": "message",
    }


def test_what_a_guest_wrote_does_not_reach_a_terminal(theater: Theater, chains: Path) -> None:
    assert b"\x1b[2J" not in theater.on_terminal("events", TWO, "--causes", "3", NO_COLOR="1").out
    assert b"\x1b[2J" not in theater.on_terminal("events", TWO, "--around", "3", NO_COLOR="1").out


def test_depth_and_a_missing_chain_end_the_causes_with_a_sentence(theater: Theater, chains: Path) -> None:
    found = json.loads(theater("events", TWO, "--causes", "3", "--depth", "1", "--json").out)
    assert [end["why"] for end in found["ends"]] == ["outside"]
    (chains / "actors" / ONE / "chain").unlink()
    done = theater("events", TWO, "--causes", "3")
    assert done.code == 0
    assert done.text.splitlines()[-1].strip() == f"the chain of {ONE} is not in this home"


def test_a_wrong_number_or_mixture_is_one_sentence(theater: Theater, chains: Path) -> None:
    for option in ("--around", "--causes", "--effects"):
        done = theater("events", ONE, option, "4")
        assert (done.code, done.err) == (NotFound.exit_code, "theater: one has no entry 4: its chain has 4, 0 to 3\n")
        assert theater("events", ONE, option, "1", "--follow").code == 2
    assert theater("events", ONE, "--around", "1", "--causes", "1").code == 2
