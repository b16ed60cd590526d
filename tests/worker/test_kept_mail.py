"""`[supervision] mail = "keep"`: what a dead life had not confirmed goes to the next one, once and in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from exchange import Elsewhere, Exchange
from one_life import ACTOR, Life

from theater.core.wire import Down, Found, Lookup, Missing, SendAgain, Stop, Undelivered, decode, encode
from theater.errors import ActorDown, TimedOut
from theater.worker.letters import Letter
from theater.worker.mail import Mail

CAUSE = bytes(32)


def life_of(question: Lookup, incarnation: int, *, keep: bool = True) -> Found:
    return Found(question.number, "other", incarnation, 1 << 20, 100, keep)


def send(mail: Mail, to: str, *bodies: bytes) -> None:
    for body in bodies:
        mail.send(to, body, CAUSE, 5.0)
    mail.post()


def befriend(exchange: Exchange, one: Mail, *bodies: bytes, keep: bool = True) -> None:
    """Has `one` send these to the first life of `other`."""
    sending = Elsewhere(lambda: send(one, "other", *bodies))
    peer, question = exchange.asked()
    exchange.tell(peer, life_of(question, 1, keep=keep))
    sending.result()


def received(mail: Mail, count: int, sender: Mail | None = None) -> list[bytes]:
    """So many bodies, while the sender sends what had to wait."""
    deadline = time.monotonic() + 10.0
    bodies: list[bytes] = []
    while len(bodies) < count:
        assert time.monotonic() < deadline
        letter = mail.next_letter()
        if isinstance(letter, Letter):
            bodies.append(letter.body)
        else:
            mail.wait(0.01)
            if sender is not None:
                sender.wait(0.0)
    return bodies


def down(exchange: Exchange, one: Mail, incarnation: int = 1) -> Lookup:
    """Tells `one` of a death; returns its question for the next life."""
    exchange.tell(b"one", Down("other", incarnation, "was killed"))
    one.wait(5.0)
    _, question = exchange.asked(Lookup)
    assert question.words == "other"
    return question


def test_the_next_life_gets_what_the_last_one_had_not_confirmed(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1", b"2", b"3")
    question = down(exchange, one)
    heir, _ = exchange.mail("other2", mailbox=100)
    exchange.tell(b"one", life_of(question, 2))
    one.wait(5.0)
    assert one.has_outgoing
    one.post()
    assert received(heir, 3) == [b"1", b"2", b"3"]


def test_what_is_sent_meanwhile_comes_behind_it(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1", b"2")
    first = down(exchange, one)
    sending = Elsewhere(lambda: send(one, "other", b"3"))
    _, second = exchange.asked(Lookup)
    heir, _ = exchange.mail("other2", mailbox=100)
    exchange.tell(b"one", life_of(second, 2))
    sending.result()
    exchange.tell(b"one", life_of(first, 2))  # the answer to the search comes later, and changes nothing
    one.wait(5.0)
    send(one, "other", b"4")
    assert received(heir, 4) == [b"1", b"2", b"3", b"4"]


def test_it_goes_from_heir_to_heir(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1", b"2")
    for life in range(1, 5):
        question = down(exchange, one, life)
        exchange.tell(b"one", life_of(question, life + 1))
        one.wait(5.0)
        one.post()
    heir, _ = exchange.mail("other5", mailbox=100)
    assert received(heir, 2) == [b"1", b"2"]


def test_without_a_next_life_it_is_dead(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1", b"2")
    question = down(exchange, one)
    exchange.tell(b"one", Missing(question.number, ActorDown("other is stopped").to_wire()))
    one.wait(5.0)
    _, report = exchange.asked(Undelivered)
    assert [letter[2] for letter in report.letters] == [b"1", b"2"]
    assert "other is stopped" in report.letters[0][4]


def test_a_search_that_takes_long_is_begun_anew(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1")
    question = down(exchange, one)
    exchange.tell(b"one", Missing(question.number, TimedOut("not yet").to_wire()))
    one.wait(5.0)
    _, again = exchange.asked(Lookup)
    heir, _ = exchange.mail("other2")
    exchange.tell(b"one", life_of(again, 2))
    one.wait(5.0)
    one.post()
    assert received(heir, 1) == [b"1"]


def test_it_is_dead_when_its_sender_ends_first(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1")
    down(exchange, one)
    one.close()
    _, report = exchange.asked(Undelivered)
    assert [letter[2] for letter in report.letters] == [b"1"]


def test_mail_that_is_not_kept_is_dead_at_once(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, b"1", keep=False)
    exchange.tell(b"one", Down("other", 1, "was killed"))
    one.wait(5.0)
    exchange.asked(Undelivered)


def test_what_is_sent_again_goes_in_frames_that_the_receiver_takes(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    bodies = [bytes([number]) * 400_000 for number in range(20)]
    befriend(exchange, one, *bodies)
    question = down(exchange, one)
    heir, _ = exchange.mail("other2", mailbox=100)
    exchange.tell(b"one", life_of(question, 2))
    one.wait(5.0)
    one.post()
    assert received(heir, 20, one) == bodies


# ---- what the next life makes of it


def test_a_letter_that_an_earlier_life_had_begun_is_confirmed_and_not_handled_again(exchange: Exchange) -> None:
    heir, _ = exchange.mail("heir")
    begun = bytes([7]) * 32
    asked = []
    heir.handled_before = lambda: asked.append(1) or frozenset({begun})  # type: ignore[func-returns-value]
    sender = exchange.stranger("heir")
    sender.send(encode(SendAgain(1, [[begun, b"1"], [bytes([8]) * 32, b"2"]])))
    sender.send(encode(SendAgain(3, [[begun, b"3"], [bytes([9]) * 32, b"4"]])))
    assert received(heir, 2) == [b"2", b"4"]
    assert asked == [1]  # the chain is looked at once
    heir.confirm()
    frame = sender.receive_within(5.0)
    assert frame is not None
    assert decode(frame).number == 3  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    source = Path(__file__).parents[1] / "actors" / "parent.wat"
    path = folder / "parent.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(source.read_text())))
    return path


@pytest.mark.parametrize("handled", [0, 1, 63, 100])
def test_no_message_is_handled_twice_and_none_is_lost_by_a_kill(
    exchange: Exchange, parent: Path, handled: int, request: pytest.FixtureRequest
) -> None:
    """Confirmations come late; what was begun is known from the chain, also the message that was at hand at the end."""

    def live(incarnation: int) -> Life:
        life = Life(exchange, parent.parent / "cache", parent, incarnation=incarnation)
        request.addfinalizer(life.close)
        return life.await_ready()

    one, _ = exchange.mail("one")
    first = live(1)
    sending = Elsewhere(lambda: send_all(one, [b"n%d" % number for number in range(handled)], then=b"b"))
    peer, question = exchange.asked(Lookup)
    exchange.tell(peer, Found(question.number, ACTOR, 1, 1 << 20, 1000, True))
    sending.result()
    first.await_call("handle-send", handled + 1)  # the last never ends
    first.kill()
    exchange.tell(b"one", Down(ACTOR, 1, "was killed"))
    one.wait(5.0)
    _, question = exchange.asked(Lookup)
    second = live(2)
    exchange.tell(b"one", Found(question.number, ACTOR, 2, 1 << 20, 1000, True))
    one.wait(5.0)
    one.post()
    expected = [f"note {number}" for number in range(handled)] + ["note after 0", "note after 1"]
    until(lambda: second.notes()[-1:] == ["note after 1"])
    assert second.notes() == expected
    second.tell(Stop())


def send_all(mail: Mail, bodies: list[bytes], then: bytes) -> None:
    """Sends all this, each with a cause of its own, and two notes behind it."""
    for number, body in enumerate([*bodies, then, b"nafter 0", b"nafter 1"]):
        mail.send(ACTOR, body, number.to_bytes(32, "big"), 5.0)
    mail.post()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
