"""`theater why`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


def test_a_person_reads_sentences_what_to_do_and_what_was_done_last(theater: Theater, server: Scripted) -> None:
    shown = [line.strip() for line in theater("why", "counter").text.splitlines()]
    assert shown[0].split() == ["counter", "c0000000", "waiting"]
    assert shown[2:4] == ["what to do: `theater why b`", "it did last:"]
    assert "genesis" in shown[4]


def test_what_an_actor_chose_cannot_reach_a_terminal_as_it_is(theater: Theater, server: Scripted) -> None:
    for arguments in (("why", "counter"), ("why",), ("why", "f0")):
        assert "\x1b" not in theater(*arguments).text
    assert "\x1b[2J" not in theater.on_terminal("why", "counter").text


def test_without_an_actor_all_that_is_suspicious_is_shown(theater: Theater, server: Scripted) -> None:
    text = theater("why").text
    assert "gateway does not serve" in " ".join(text.split())
    assert "f0000000" in text
    assert "2 dead letters" in text


def test_json_is_what_the_server_says(theater: Theater, server: Scripted) -> None:
    assert json.loads(theater("why", "c0", "--json").out)["waits"]["kind"] == "reply"
    assert len(json.loads(theater("why", "--json").out)["suspicious"]) == 1


def test_an_unknown_actor_is_not_found(theater: Theater, server: Scripted) -> None:
    assert theater("why", "nobody").code == 4
