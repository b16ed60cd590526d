"""`theater list`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


def test_a_table_has_a_row_for_each_actor(theater: Theater, server: Scripted) -> None:
    head, counter, pinger = theater("list").text.splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "RESTARTS", "PID", "MAILBOX", "ENTRIES", "LAST", "EXIT"]
    assert counter.split() == ["c0000000", "counter", "running", "0", "4242", "0", "1", "-"]
    assert pinger.endswith("SIGKILL")


def test_json_is_an_array_of_the_published_fields(theater: Theater, server: Scripted) -> None:
    rows = json.loads(theater("list", "--json").out)
    published = "id name state incarnation restarts pid parent supervisor mailbox head entries last_exit"
    assert [list(row) for row in rows] == [published.split()] * 2
    assert list(rows[1]["last_exit"]) == ["reason", "detail", "signal", "status", "commanded"]


def test_a_terminal_shows_whole_lines_and_obeys_no_name(theater: Theater, server: Scripted) -> None:
    shown = theater.on_terminal("list", columns=80, NO_COLOR="1").text
    assert "\x1b[31m" not in shown
    assert "ping\\u001b[31mer" in shown
    assert all(len(line) <= 80 for line in shown.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines())
