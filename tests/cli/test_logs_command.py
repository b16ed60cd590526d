"""`theater logs`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


def test_a_line_says_time_stream_and_text(theater: Theater, server: Scripted) -> None:
    assert theater("logs", "counter", "-n", "2").text.splitlines()[0] == "1970-01-01T00:00:01.000Z  log     one"


def test_a_line_cannot_move_the_cursor(theater: Theater, server: Scripted) -> None:
    assert "\x1b[2J" not in theater.on_terminal("logs", "counter").text


def test_only_the_last_lines_and_as_json(theater: Theater, server: Scripted) -> None:
    (line,) = json.loads(theater("logs", "counter", "-n", "1", "--json").out)
    assert line == {"time_ns": 10**9, "incarnation": 1, "stream": "log", "text": "t\x1b[2Jwo"}


def test_follow_ends_with_the_server(theater: Theater, server: Scripted) -> None:
    with theater.running("logs", "counter", "-f", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["text"] == "one"
        server.kill()
        assert process.wait(10) == 0
