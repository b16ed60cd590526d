"""What is said on channels, between mails: nothing of it is lost to a full queue, and its order is kept."""

from __future__ import annotations

import time

import pytest
from exchange import PATIENCE, Elsewhere, Exchange

from theater.bus.links import Link
from theater.core.channels import Party
from theater.core.wire import FindLife, Found, Missing, Send, decode
from theater.errors import ActorDown, MailboxFull
from theater.worker.letters import Word
from theater.worker.mail import Mail

CAUSE = bytes(32)
BOB = Party("bob", 1)


def meet(exchange: Exchange, mail: Mail, mailbox: int) -> None:
    """Has `mail` find the life of bob."""
    meeting = Elsewhere(lambda: mail.meet(BOB, 5.0))
    peer, question = exchange.asked(FindLife)
    assert question[1:] == BOB
    exchange.tell(peer, Found(question.number, "bob", 1, 1 << 20, mailbox, False))
    meeting.result()


def heard(inbox: Link, mail: Mail, count: int) -> list[list[object]]:
    """So many letters, while the sender tries again what its queue did not take."""
    letters: list[list[object]] = []
    deadline = time.monotonic() + PATIENCE
    while len(letters) < count:
        assert time.monotonic() < deadline, letters
        mail.wait(0.0)
        mail.post()
        while (frame := inbox.receive()) is not None:
            message = decode(frame)
            assert isinstance(message, Send)
            letters += message.letters
    return letters


def test_what_a_full_queue_does_not_take_is_sent_again_in_order(exchange: Exchange) -> None:
    alice, _ = exchange.mail("alice")
    meet(exchange, alice, mailbox=2)
    for number in range(4000):  # A close needs no room, so that there may be many.
        alice.say(BOB, str(number), None, CAUSE)
        alice.post()
    assert alice.has_outgoing
    bob = exchange.impostor("bob")
    assert heard(bob, alice, 4000) == [[CAUSE, None, str(number)] for number in range(4000)]
    assert not alice.has_outgoing


def test_words_count_against_the_mailbox_as_sends_do(exchange: Exchange) -> None:
    alice, _ = exchange.mail("alice")
    meet(exchange, alice, mailbox=2)
    alice.say(BOB, "1", b"one", CAUSE)
    alice.say(BOB, "1", b"two", CAUSE)
    with pytest.raises(MailboxFull):
        alice.say(BOB, "1", b"three", CAUSE)
    alice.say(BOB, "2", b"first answer", CAUSE, is_first=True)
    bob = exchange.impostor("bob")
    assert [letter[1] for letter in heard(bob, alice, 3)] == [b"one", b"two", b"first answer"]


def test_a_life_that_is_over_is_not_met_and_not_spoken_to(exchange: Exchange) -> None:
    alice, _ = exchange.mail("alice")
    meeting = Elsewhere(lambda: alice.meet(BOB, 5.0))
    peer, question = exchange.asked(FindLife)
    exchange.tell(peer, Missing(question.number, ActorDown("it is over").to_wire()))
    with pytest.raises(ActorDown, match="it is over"):
        meeting.result()
    with pytest.raises(ActorDown, match="to which channel 1 belonged is over"):
        alice.say(BOB, "1", b"x", CAUSE)
    assert not alice.say(BOB, "1", None, CAUSE)
    assert not alice.has_outgoing


def test_words_arrive_as_words_among_the_letters(exchange: Exchange) -> None:
    alice, _ = exchange.mail("alice")
    bob, _ = exchange.mail("bob")
    meet(exchange, alice, mailbox=10)
    alice.send("bob", b"sent", CAUSE, 1.0)
    alice.say(BOB, "1", b"said", CAUSE)
    alice.say(BOB, "1", None, CAUSE)
    alice.post()
    deadline = time.monotonic() + PATIENCE
    while len(bob.letters) < 3:
        assert time.monotonic() < deadline
        bob.wait(0.1)
    kinds = [(type(letter).__name__, letter.body) for letter in bob.letters if not isinstance(letter, tuple)]  # type: ignore[union-attr]
    assert kinds == [("Letter", b"sent"), ("Word", b"said"), ("Word", None)]
    assert all(letter.sender == "alice" for letter in bob.letters if isinstance(letter, Word))
