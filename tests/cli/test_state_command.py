"""`theater state`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


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
