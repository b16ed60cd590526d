"""`theater message`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater

from theater.errors import TimedOut


def test_a_request_writes_the_replys_bytes_and_nothing_else(theater: Theater, server: Scripted) -> None:
    assert theater("message", "counter", '{"add": 2}', "--request").out == b'{"add": 2}'


def test_the_body_is_text_a_file_or_standard_input(theater: Theater, server: Scripted) -> None:
    (theater.home / "body").write_bytes(b"\x00\xff")
    assert theater("message", "counter", "@body", "--request").out == b"\x00\xff"
    assert theater("message", "counter", "-", "--request", stdin=b"\xfe\n").out == b"\xfe\n"


def test_a_file_that_is_not_there_is_a_wrong_use(theater: Theater, server: Scripted) -> None:
    done = theater("message", "counter", "@nothing")
    assert done.code == 2
    assert "cannot read nothing: No such file" in done.err


def test_without_request_it_says_that_it_was_taken(theater: Theater, server: Scripted) -> None:
    assert theater("message", "counter", "hello").text == "sent 5 B to c0000000\n"


def test_several_actors_reply_a_line_each(theater: Theater, server: Scripted) -> None:
    assert theater("message", "-", "hello", "--request", stdin=b"counter\nf0\n").out == b"hello\nhello\n"


def test_standard_input_cannot_be_actors_and_body(theater: Theater) -> None:
    assert theater("message", "-", "-").code == 2


def test_json_holds_the_reply(theater: Theater, server: Scripted) -> None:
    assert json.loads(theater("message", "counter", "hi", "--request", "--json").out) == {
        "actor": "counter",
        "reply": "hi",
    }


def test_no_reply_in_time_is_a_timeout(theater: Theater, server: Scripted) -> None:
    done = theater("message", "counter", "say nothing", "--request", "--timeout", "0.1")
    assert done.code == TimedOut.exit_code
