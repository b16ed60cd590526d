"""`theater subscribe`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater
from scripted_server import COUNTER

from theater.errors import UnknownActor


def test_events_appear_as_they_happen(theater: Theater, server: Scripted) -> None:
    with theater.running("subscribe", "counter", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "genesis"
        theater("message", "counter", "x")
        event = json.loads(process.stdout.readline())
    assert (event["actor"], event["seq"], event["data"]["args"]) == (COUNTER, 1, ["x"])


def test_ids_come_from_standard_input(theater: Theater, server: Scripted) -> None:
    with theater.running("subscribe", "-", "--since", "1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("counter\nf0000000\n")
        process.stdin.close()
        theater("message", "f0000000", "x")
        assert process.stdout.readline().startswith("f0000000 ")


def test_it_ends_with_the_server(theater: Theater, server: Scripted) -> None:
    with theater.running("subscribe", "counter") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert theater("stop", "--server").code == 0
        assert process.wait(10) == 0


def test_nobody_to_subscribe_to_is_an_error(theater: Theater, server: Scripted) -> None:
    assert theater("subscribe", "nobody").code == UnknownActor.exit_code
