"""`theater state`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Scripted, Theater

from theater.chainlog.writer import ChainWriter
from theater.core.chain import Call, Genesis, Kind, outcome_err, outcome_ok, state_digest
from theater.errors import InvalidInput, NotFound, UnknownActor

ACTOR = "10000000-0000-4000-8000-000000000001"


def test_a_pipe_gets_the_bytes_as_they_are(theater: Theater, server: Scripted) -> None:
    assert theater("state", "counter").out == b'{"count": 2}\x1b[2J'


def test_a_terminal_gets_no_byte_that_it_obeys(theater: Theater, server: Scripted) -> None:
    assert theater.on_terminal("state", "counter").text == '{"count": 2}\\u001b[2J\n'


def test_json_says_what_it_is_the_state_of(theater: Theater, server: Scripted) -> None:
    found = json.loads(theater("state", "counter", "--json").out)
    assert (found["seq"], found["digest"], found["state"]) == (3, "cd" * 32, '{"count": 2}\x1b[2J')


def test_no_state_is_nothing(theater: Theater, server: Scripted) -> None:
    done = theater("state", "f0")
    assert (done.code, done.out, done.err) == (0, b"", "")


# ---- after an entry: read from the files, so there is no server


@pytest.fixture
def chain(theater: Theater) -> Path:
    """The chain of an actor that counts: its state is `1` after entry 2, and `2` after entry 6."""
    path = theater.home / "actors" / ACTOR / "chain"
    path.parent.mkdir(parents=True)
    with ChainWriter.open(path, clock=lambda: 10**18) as writer:
        writer.append(Kind.GENESIS, Genesis(ACTOR, "a", None, None, None, {}))
        before = None
        for outcome in (
            outcome_ok([], b"1\x1b[2J", before),
            outcome_err("no", state_digest(b"1\x1b[2J")),
            outcome_ok([], b"2", state_digest(b"1\x1b[2J")),
        ):
            writer.append(Kind.CALL, Call("theater:simple/actor", "f", (b"x",)))
            writer.append(Kind.OUTCOME, outcome)
    return path


def test_the_state_after_an_entry_needs_no_server(theater: Theater, chain: Path) -> None:
    found = [theater("state", f"{ACTOR}@{number}").out for number in range(7)]
    assert found == [b"", b"", b"1\x1b[2J", b"1\x1b[2J", b"1\x1b[2J", b"1\x1b[2J", b"2"]
    assert theater("state", "10@-2").out == b"1\x1b[2J"
    assert theater.on_terminal("state", f"{ACTOR}@4").text == "1\\u001b[2J\n"
    assert "had no state after entry 1" in theater.on_terminal("state", f"{ACTOR}@1").text


def test_json_names_the_entry_and_the_one_that_holds_the_state(theater: Theater, chain: Path) -> None:
    found = json.loads(theater("state", f"{ACTOR}@4", "--json").out)
    digest = state_digest(b"1\x1b[2J")
    assert digest is not None
    assert (found["id"], found["state"], found["digest"]) == (ACTOR, "1\x1b[2J", digest.hex())
    assert (found["seq"], found["entry"], found["incarnation"], found["time_ns"]) == (2, 4, 1, 10**18)
    assert (found["committed"], len(found["head"])) == (True, 64)


def test_several_places_are_read_from_standard_input(theater: Theater, chain: Path) -> None:
    assert theater("state", "-", stdin=f"{ACTOR}@2\n{ACTOR}@6\n".encode()).out == b"1\x1b[2J2"


def test_a_wrong_place_is_one_sentence(theater: Theater, chain: Path) -> None:
    done = theater("state", f"{ACTOR}@7")
    assert (done.code, done.err) == (NotFound.exit_code, "theater: a has no entry 7: its chain has 7, 0 to 6\n")
    assert theater("state", f"{ACTOR}@-8").code == NotFound.exit_code
    assert theater("state", f"{ACTOR}@x").code == 2
    assert theater("state", "nobody@1").code == UnknownActor.exit_code
    assert theater("state", "supervisor@1").code == InvalidInput.exit_code
    assert theater("state", f"{ACTOR}@1", "--home", str(theater.home / "no")).code == NotFound.exit_code
