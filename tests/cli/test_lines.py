"""How events and exits look for a person."""

from __future__ import annotations

import pytest
from theater_cli.lines import cut, event_line, exit_words, facts, short

from theater.client import Event, LastExit


def said(kind: str, data: object) -> str:
    return event_line(Event(7, kind, 0, "ab" * 32, "00" * 32, data)).split("abababab", 1)[1].strip()


@pytest.mark.parametrize(
    ("kind", "data", "shown"),
    [
        ("genesis", {"name": "a", "parent": None, "component": b"\xab" * 32}, "name=a component=abababababababab"),
        (
            "call",
            {"interface": "theater:simple/actor", "function": "init", "args": ["x", b"{}"], "sender": "peter"},
            "actor.init(x, {}) from peter",
        ),
        ("host-call", {"interface": "theater:otp/registry@0.1.0", "function": "f", "args": []}, "registry.f()"),
        ("host-result", {"value": {"err": "no"}}, '{"err":"no"}'),
        ("host-result", {"value": None}, ""),
        ("outcome", {"ending": "ok", "value": [b"hi"], "state": [b"x"], "state_digest": b"\xab" * 32},
         "ok  hi  state abababababababab"),
        ("outcome", {"ending": "err", "value": "no", "state": []}, "err  no"),
        ("lifecycle", {"event": "incarnation", "details": {"incarnation": 2}}, "incarnation incarnation=2"),
        ("checkpoint", {"marks": {}, "other": 1}, "marks={} other=1"),
    ],
)  # fmt: skip
def test_an_event_says_what_happened(kind: str, data: object, shown: str) -> None:
    assert said(kind, data) == shown


def test_what_an_actor_said_is_never_obeyed() -> None:
    assert said("lifecycle", {"event": "\x1b[2J", "details": {"\x1b": "\r"}}) == "\\u001b[2J \\u001b=\\r"


def test_long_values_are_cut() -> None:
    assert cut("x" * 100) == "x" * 59 + "…"
    assert facts({"a": b"\xff", "b": None, "c": []}) == "a=ff"


def test_ids_are_short_and_names_whole() -> None:
    assert short("c0000000-0000-4000-8000-000000000001") == "c0000000"
    assert short("a-rather-long-name") == "a-rather-long-name"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (LastExit("signal", None, 9, None, False), "SIGKILL"),
        (LastExit("signal", None, 99, None, False), "signal 99"),
        (LastExit("status", None, None, 3, False), "status 3"),
        (LastExit("trap", "unreachable", None, None, False), "trap"),
    ],
)
def test_an_exit_is_a_word_or_two(end: LastExit, words: str) -> None:
    assert exit_words(end) == words
