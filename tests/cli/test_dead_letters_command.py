"""`theater dead-letters`."""

from __future__ import annotations

import json

import pytest
from commandline import Scripted, Theater

from theater.errors import WrongState


@pytest.mark.parametrize("words", [["dead-letters"], ["dead-letters", "list"]])
def test_a_table_has_a_row_for_each(theater: Theater, server: Scripted, words: list[str]) -> None:
    head, first, _ = theater(*words).text.splitlines()
    assert head.split() == ["NUMBER", "TIME", "FROM", "TO", "SIZE", "WHY"]
    assert first.split(None, 6) == ["1", "2001-09-09T01:46:40.000Z", "c0000000", "nobody", "2", "B", "no such actor"]


@pytest.mark.parametrize("words", [["dead-letters", "--json"], ["dead-letters", "list", "--json"]])
def test_json_has_the_body(theater: Theater, server: Scripted, words: list[str]) -> None:
    assert json.loads(theater(*words).out)[0]["body"] == {"base64": "/wA="}


def test_what_is_resent_or_dropped_is_gone(theater: Theater, server: Scripted) -> None:
    assert theater("dead-letters", "resend", "1").text == "resent 1\n"
    assert json.loads(theater("dead-letters", "drop", "2", "--json").out) == {"done": [2]}
    assert json.loads(theater("dead-letters", "--json").out) == []


def test_what_could_not_be_done_is_said(theater: Theater, server: Scripted) -> None:
    done = theater("dead-letters", "drop", "1", "7")
    assert (done.code, done.text) == (WrongState.exit_code, "dropped 1\n")
    assert done.err == "theater: not dropped: 7; `theater dead-letters` says why\n"
