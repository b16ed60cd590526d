"""Messages on the wire: each has one form, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core import wire
from theater.core.codec import pack
from theater.errors import WireError

VECTORS = Path(__file__).parent / "vectors" / "wire.json"
ACTOR = "50777ea9-99af-41ab-8e84-6d8c348b749f"
CHANNEL = "0b7c3d6e-4c36-8d0b-9d3f-5a1de8a0c111"
KILLED = {"reason": "signal", "detail": None, "signal": 9, "status": None, "commanded": False}
EXAMPLES: list[wire.Message] = [
    wire.Request(7, "list", {"actor": "a"}, 5000),
    wire.Reply(7, [1, None, b"x"]),
    wire.Failure(7, {"error": "NoServer", "message": "m", "details": {}}),
    wire.Progress(7, "compiling"),
    wire.Part(b"a piece", True),
    wire.Ready(3),
    wire.Lookup(1, "counter", 123),
    wire.Whereis(2, "counter"),
    wire.Register(3, "counter"),
    wire.Unregister(4, "counter"),
    wire.Handled(5, b"reply", None),
    wire.Undelivered([[None, ACTOR, b"body", b"", "why"]]),
    wire.Grown(12),
    wire.Spawn(10, ACTOR, bytes(32), "child/manifest.toml", b"{}", False),
    wire.OfChild(11, "stop", ACTOR),
    wire.Monitor(12, "counter", 1),
    wire.Demonitor(13, 1),
    wire.LinkTo(14, "counter"),
    wire.Unlink(15, "counter"),
    wire.TrapExits(True),
    wire.Found(1, ACTOR, 2, 1 << 20, 1000, True),
    wire.Meet(ACTOR, 2),
    wire.Missing(1, {"error": "UnknownActor", "message": "m", "details": {}}),
    wire.Named(2, ACTOR),
    wire.Deliver(9, True, b"body", 456),
    wire.Down(ACTOR, 2, "was killed by signal 9"),
    wire.Forget("counter"),
    wire.Stop(),
    wire.Pardon(bytes(32)),
    wire.Told(11, [ACTOR]),
    wire.MonitorDown(1, ACTOR, 2, KILLED, True),
    wire.LinkExit(ACTOR, 2, KILLED, False),
    wire.ChildEnded(ACTOR, 2, "error", None, KILLED, True),
    wire.Send(1, [[bytes(32), b"body"]]),
    wire.Ask(2, bytes(32), b"body", 789, [ACTOR]),
    wire.Answer(2, bytes(32), None, {"error": "Deadlock", "message": "m", "details": {}}),
    wire.Taken(64),
    wire.SendAgain(1, [[bytes(32), b"body"]]),
    wire.OpenChannel(3, CHANNEL, bytes(32), b"body", 789, [ACTOR]),
    wire.FindLife(16, ACTOR, 2),
    wire.OfferChannel(10, CHANNEL, b"body", 456),
    wire.OnChannel(CHANNEL, 11, [b"body", None]),
    wire.Fetched(CHANNEL, 2, 8),
    wire.StillThere(),
    wire.Serving("gateway"),
    wire.Admit(ACTOR, 2, "web", "web/manifest.toml", "/home", {"timing": {}}, {"mailbox": 1000}),
    wire.Dismiss(ACTOR, 2, True),
    wire.Announce("gateway", ACTOR, {"listens": ["127.0.0.1:8080"]}),
    wire.ServiceIs("gateway", True),
    wire.Want(1, "http-client.send", [b"x"], bytes(32), 789),
    wire.Given(1, {"status": 200}, None),
    wire.Invoke([[1, "theater:simple/http-handlers", "handle-request", [[1, {"method": "GET"}]], 789]]),
    wire.Returned([[1, [{"status": 200}], None, bytes(32)]]),
]


def test_there_is_an_example_of_every_row_of_the_table() -> None:
    assert {type(example) for example in EXAMPLES} == set(wire.ROWS.values())


def test_the_vectors_hold_one_frame_for_each_row() -> None:
    """Whoever writes another end of the protocol can compare with these bytes."""
    vectors = json.loads(VECTORS.read_text())
    assert vectors == {type(example).__name__: wire.encode(example).hex() for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_message_comes_back_as_it_was(example: wire.Message) -> None:
    found = wire.decode(wire.encode(example))
    assert type(found) is type(example)
    assert found == example


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(data: bytes) -> None:
    for frame in (data, b"TH\x01" + data, wire.encode(EXAMPLES[0])[:4] + data):
        try:
            message = wire.decode(frame)
        except WireError:
            continue
        assert wire.decode(wire.encode(message)) == message


@given(st.sampled_from(EXAMPLES), st.data())
def test_a_cut_message_is_refused(example: wire.Message, data: st.DataObject) -> None:
    frame = wire.encode(example)
    size = data.draw(st.integers(0, len(frame) - 1))
    with pytest.raises(WireError):
        wire.decode(frame[:size])


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (b"", "0 bytes that are no message"),
        (b"GET / HTTP/1.1", "14 bytes that are no message"),
        (b"TH\x02\x01\x90", "protocol version 2; this is version 1"),
        (b"TH\x01\xff\x90", "unknown kind 255"),
        (b"TH\x01\x25" + pack([1]), "a Stop message has 0 fields"),
        (b"TH\x01\x10" + pack(["1"]), "Ready.incarnation cannot be of type str"),
        (b"TH\x01\x10" + pack([True]), "Ready.incarnation cannot be of type bool"),
        (b"TH\x01\x10" + pack({"incarnation": 1}), "a Ready message has 1 fields"),
    ],
)
def test_a_frame_that_is_no_message_is_refused_with_the_reason(frame: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence.replace("(", r"\(")):
        wire.decode(frame)


def test_numbers_of_rows_are_unique_and_fit_into_a_byte() -> None:
    numbers: list[Any] = list(wire.ROWS)
    assert len(set(wire.ROWS.values())) == len(numbers)
    assert all(0 < number < 256 for number in numbers)


# ---- pieces


@given(st.binary(max_size=300_000))
def test_what_is_sent_in_pieces_is_put_together_again(body: bytes) -> None:
    said = wire.Reply(7, body)
    frames = list(wire.pieces(wire.encode(said)))
    assert all(len(frame) < wire.PIECE + 100 for frame in frames)
    joint = wire.Joint()
    between = wire.StillThere()
    for frame in frames[:-1]:
        assert joint.take(wire.decode(frame)) is None
        assert joint.take(between) is between
    assert joint.take(wire.decode(frames[-1])) == said
    assert joint.take(between) is between


def test_a_short_frame_is_sent_as_it_is() -> None:
    frame = wire.encode(wire.Reply(7, None))
    assert list(wire.pieces(frame)) == [frame]


@pytest.mark.parametrize(
    "whole", [b"no message", wire.encode(wire.Part(b"", False)), b""], ids=["no message", "a piece", "nothing"]
)
def test_pieces_that_make_no_message_are_refused_and_the_next_frame_is_heard(whole: bytes) -> None:
    joint = wire.Joint()
    assert joint.take(wire.Part(whole, True)) is None
    with pytest.raises(WireError):
        joint.take(wire.Part(b"", False))
    reply = wire.Reply(7, b"x")
    assert joint.take(wire.Part(wire.encode(reply), False)) == reply


def test_pieces_without_end_are_refused_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 1000)
    joint = wire.Joint()
    for _ in range(10):
        assert joint.take(wire.Part(bytes(100), True)) is None
    with pytest.raises(WireError, match="more than 1000 bytes"):
        joint.take(wire.Part(b"x", True))
