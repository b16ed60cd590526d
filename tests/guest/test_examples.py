"""The examples and the templates in Python, each in a runner."""

from __future__ import annotations

from pathlib import Path

import pytest
from recording_host import IDENTITY, MESSAGES, TIMERS, Refused

from theater.build.python import read_program
from theater.build.templates import TEMPLATES
from theater.core.manifest import parse
from theater.core.tree_file import ChildRow
from theater.core.tree_file import parse as parse_tree
from theater.core.values import Err, Ok

EXAMPLES = Path(__file__).parents[2] / "examples"
COUNTERS = [EXAMPLES / "counter" / "actor.py", TEMPLATES / "python" / "basic" / "actor.py"]
TALKER = TEMPLATES / "python" / "message-server" / "actor.py"


@pytest.fixture(params=COUNTERS, ids=["example", "template"])
def counter(request, load):
    return load(request.param.read_text())


def test_a_counter_counts(counter):
    counter.init()
    assert counter.state == b'{"count":0}'
    assert counter.ask({"add": 2}) == {"count": 2}
    assert counter.ask({"add": -5}) == {"count": -3}


@pytest.mark.parametrize("body", [b"", b"hello", b"{}", b'{"add": 1.5}', b'{"add": "1"}', b"[1]", b'{"crash": false}'])
def test_a_counter_answers_anything_else_with_an_error(counter, body):
    assert isinstance(counter.request(body), Err)


def test_a_counter_crashes_when_it_is_told_to(counter):
    assert counter.crash({"crash": True}).endswith("RuntimeError: asked to crash\n")


def test_the_example_tells_its_count(load):
    assert load(COUNTERS[0].read_text()).ask({"get": True}) == {"count": 0}


@pytest.fixture
def talker(load):
    actor = load(TALKER.read_text())
    actor.init()
    return actor


def test_a_talker_asks_and_tells_others(talker):
    talker.host.answers = {(MESSAGES, "request"): lambda *_: b"fine", (MESSAGES, "send"): lambda *_: None}
    assert talker.request(b"ask two how are you") == Ok(b"fine")
    assert talker.request(b"tell two good morning") == Ok(b"told")
    assert talker.host.calls == [
        (MESSAGES, "request", ("two", b"how are you")),
        (MESSAGES, "send", ("two", b"good morning")),
    ]


def test_a_talker_says_who_it_is_and_passes_failures_on(talker):
    me = {"id": "i", "name": "n", "parent": None, "incarnation": 1}
    talker.host.answers = {(IDENTITY, "self"): lambda: me}
    assert talker.request(b"who") == Ok(b"i")
    assert talker.request(b"ask two x") == Err(f"request of {MESSAGES} is not granted")


def test_a_talker_answers_those_who_wait(talker):
    assert talker.request(b"wait") == Ok(None)
    talker.host.answers = {
        (MESSAGES, "list-outstanding-requests"): lambda: ["r1", "r2"],
        (MESSAGES, "respond-to-request"): lambda request, body: None,
    }
    talker.send(b"now")
    assert [call[2] for call in talker.host.calls if call[1] == "respond-to-request"] == [
        ("r1", b"now"),
        ("r2", b"now"),
    ]


@pytest.mark.parametrize("body", [b"", b"hello", b"whoever", b"asks two x", b"\xff"])
def test_a_talker_answers_anything_else_with_an_error(talker, body):
    assert isinstance(talker.request(body), Err)


def test_the_pinger_asks_both_counters_and_stands_the_death_of_one(load):
    def answer(to, body):
        if to == "counter-a":
            raise Refused("counter-a is down")
        return b'{"count": 7}'

    answers = {(MESSAGES, "request"): answer, (TIMERS, "send-interval"): lambda period, msg: 5}
    pinger = load((EXAMPLES / "app" / "pinger.py").read_text(), answers)
    pinger.init()
    assert pinger.host.calls == [(TIMERS, "send-interval", (1000, b'"ask"'))]
    assert isinstance(pinger.send("ask"), Ok)
    assert pinger.host.log == ["counter-a did not answer: counter-a is down", "counter-b has counted to 7"]


def test_the_application_names_manifests_that_can_be_built():
    tree = parse_tree((EXAMPLES / "app" / "theater.toml").read_text(), "theater.toml")
    children = [row for row in tree.under("app") if isinstance(row, ChildRow)]
    assert [child.name for child in children] == ["counter-a", "counter-b", "pinger"]
    for child in children:
        file = EXAMPLES / "app" / child.manifest
        manifest = parse(file.read_text(), str(file))
        assert manifest.actor.register
        read_program(file.parent, manifest)
