"""`theater checkpoint`."""

from __future__ import annotations

import json
from pathlib import Path

from commandline import Scripted, Theater
from scripted_server import COUNTER, PINGER

from theater.core.signed_checkpoint import SignedCheckpoint
from theater.errors import NoServer, UnknownActor


def test_it_writes_the_text_and_nothing_else(theater: Theater, server: Scripted) -> None:
    done = theater("checkpoint")
    assert done.code == 0
    assert set(SignedCheckpoint.read(done.out).positions) == {"supervisor", COUNTER, PINGER}
    assert done.err == ""


def test_only_the_actors_that_are_named(theater: Theater, server: Scripted) -> None:
    assert set(SignedCheckpoint.read(theater("checkpoint", "counter").out).positions) == {"supervisor", COUNTER}
    assert theater("checkpoint", "nobody").code == UnknownActor.exit_code


def test_into_a_file(theater: Theater, server: Scripted, tmp_path: Path) -> None:
    done = theater("checkpoint", "-o", str(tmp_path / "kept"))
    found = SignedCheckpoint.read((tmp_path / "kept").read_bytes())
    assert done.text == f"wrote {tmp_path / 'kept'}, signed by key {found.key.hex()}\n"
    done = theater("checkpoint", "-o", str(tmp_path / "missing" / "kept"))
    assert (done.code, "cannot write" in done.err) == (2, True)


def test_json(theater: Theater, server: Scripted) -> None:
    found = json.loads(theater("checkpoint", "--json").out)
    assert found == {
        "text": found["text"],
        "key": SignedCheckpoint.read(found["text"].encode()).key.hex(),
        "time_ns": 10**18,
    }


def test_without_a_server_it_says_so(theater: Theater) -> None:
    done = theater("checkpoint")
    assert done.code == NoServer.exit_code
    assert "no server at" in done.err
