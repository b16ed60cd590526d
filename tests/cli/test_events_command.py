"""`theater events`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


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
