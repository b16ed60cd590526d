"""What an actor's mail promises whatever its supervisor and its correspondents do."""

from __future__ import annotations

import time

import pytest
from exchange import Elsewhere, Exchange

from theater.core.wire import (
    Ask,
    Deliver,
    Down,
    Found,
    Handled,
    Lookup,
    Missing,
    MonitorDown,
    Named,
    Pardon,
    Send,
    Stop,
    Taken,
    Undelivered,
    Whereis,
    decode,
    encode,
)
from theater.errors import ActorDown, Deadlock, MailboxFull, MessageTooLarge, TimedOut, UnknownActor
from theater.worker.letters import Letter
from theater.worker.mail import Mail

CAUSE = bytes(32)


def found(question: Lookup, actor: str, *, incarnation: int = 1, mailbox: int = 10, keep: bool = False) -> Found:
    return Found(question.number, actor, incarnation, 1 << 20, mailbox, keep)


def befriend(exchange: Exchange, one: Mail, other: str, **facts: int) -> None:
    """Has `one` send a first message to `other`, so that there is a link."""
    sending = Elsewhere(lambda: send(one, other, b"first"))
    peer, question = exchange.asked()
    exchange.tell(peer, found(question, other, **facts))
    sending.result()


def send(mail: Mail, to: str, body: bytes) -> None:
    """Sends a message that is in the record already."""
    mail.send(to, body, CAUSE, 5.0)
    mail.post()


def answer_next(mail: Mail, answer: bytes) -> None:
    """Answers the first request that arrives or has arrived."""
    while True:
        letter = mail.next_letter()
        if letter is None:
            mail.wait(1.0)
        elif type(letter) is Letter and letter.reply is not None:
            letter.reply.answer(answer, None, CAUSE)
            return


# ---- finding


def test_a_receiver_is_looked_up_once(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other")
    for _ in range(5):
        send(one, "other", b"more")
    assert not exchange.says_more()


def test_a_receiver_that_nobody_knows_is_the_supervisors_error(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    sending = Elsewhere(lambda: send(one, "nobody", b""))
    peer, question = exchange.asked()
    exchange.tell(peer, Missing(question.number, UnknownActor("no nobody here").to_wire()))
    with pytest.raises(UnknownActor, match="no nobody here"):
        sending.result()


def test_a_receiver_that_dies_before_there_is_a_link_to_it_is_no_silence(exchange: Exchange) -> None:
    """Found and Down arrive together: either there is a link already, which goes down, or it is looked up again."""
    one, _ = exchange.mail("one")
    other, _ = exchange.mail("other")
    for life in range(1, 21):
        asking = Elsewhere(lambda: one.ask("other", b"hello", CAUSE, 10.0))
        peer, question = exchange.asked()
        exchange.tell(peer, found(question, "gone", incarnation=life), Down("gone", life, "was killed"))
        while asking.is_going_on and (received := exchange.heard_now()) is None:
            time.sleep(0.001)
        if asking.is_going_on:
            peer, question = received
            assert isinstance(question, Lookup)
            exchange.tell(peer, found(question, "other"))
            answer_next(other, b"here")
            assert asking.result().value == b"here"
            return
        with pytest.raises(ActorDown):
            asking.result()


def test_a_supervisor_that_says_nothing_is_waited_for_no_longer_than_the_request(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        one.ask("other", b"", CAUSE, 0.1)
    assert time.monotonic() - begun < 5.0


# ---- asking


def test_a_request_ends_with_the_timeout_when_nothing_else_ends_it(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    exchange.mail("other")
    befriend(exchange, one, "other")
    begun = time.monotonic()
    with pytest.raises(TimedOut, match="did not answer in time"):
        one.ask("other", b"", CAUSE, 0.2)
    assert 0.15 < time.monotonic() - begun < 5.0


def test_a_request_ends_when_the_receiver_is_said_to_be_dead(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other")
    asking = Elsewhere(lambda: one.ask("other", b"", CAUSE, 20.0))
    exchange.tell(b"one", Down("other", 1, "trapped (unreachable)"))
    with pytest.raises(ActorDown, match="trapped"):
        asking.result()


def test_the_death_of_an_earlier_incarnation_ends_nothing(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    other, _ = exchange.mail("other")
    befriend(exchange, one, "other", incarnation=2)
    asking = Elsewhere(lambda: one.ask("other", b"alive", CAUSE, 20.0))
    exchange.tell(b"one", Down("other", 1, "long ago"))
    answer_next(other, b"yes")
    assert asking.result().value == b"yes"


def test_a_request_ends_when_the_actor_is_told_to_end(exchange: Exchange) -> None:
    for number, by_signal in enumerate((True, False)):
        me = f"one{number}"
        one, stop = exchange.mail(me)
        befriend(exchange, one, "other")
        asking = Elsewhere(lambda one=one: one.ask("other", b"", CAUSE, 20.0))
        if by_signal:
            stop()
        else:
            exchange.tell(me.encode(), Stop())
        with pytest.raises(ActorDown, match="being stopped"):
            asking.result()


def test_a_request_to_oneself_is_refused(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    with pytest.raises(Deadlock):
        one.ask("one", b"", CAUSE, 5.0)


def test_of_two_that_ask_each_other_the_smaller_id_refuses(exchange: Exchange) -> None:
    a, _ = exchange.mail("a")
    b, _ = exchange.mail("b")
    befriend(exchange, a, "b")
    befriend(exchange, b, "a")
    asks = Elsewhere(lambda: a.ask("b", b"from a", CAUSE, 20.0))
    with pytest.raises(Deadlock):
        b.ask("a", b"from b", CAUSE, 20.0)
    answer_next(b, b"well")
    assert asks.result().value == b"well"


# ---- sending


def test_unconfirmed_messages_are_counted_until_the_mailbox_is_full(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    exchange.mail("other")
    befriend(exchange, one, "other", mailbox=3)
    send(one, "other", b"second")
    send(one, "other", b"third")
    with pytest.raises(MailboxFull, match="full: 3"):
        send(one, "other", b"fourth")


def test_a_confirmed_message_makes_room_and_is_no_dead_letter(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    other, _ = exchange.mail("other")
    befriend(exchange, one, "other", mailbox=2)
    send(one, "other", b"second")
    deadline = time.monotonic() + 10
    while (letter := other.next_letter()) is None:
        assert time.monotonic() < deadline
        other.wait(1.0)
    assert letter.taken is not None
    letter.taken(None)
    other.confirm()
    deadline = time.monotonic() + 10
    while True:
        try:
            send(one, "other", b"third")
            break
        except MailboxFull:
            assert time.monotonic() < deadline
    exchange.tell(b"one", Down("other", 1, "gone"))
    one.wait(5.0)
    _, report = exchange.asked(Undelivered)
    assert [letter[2] for letter in report.letters] == [b"second", b"third"]


def test_a_message_over_the_receivers_limit_is_not_sent(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other")
    with pytest.raises(MessageTooLarge):
        send(one, "other", bytes((1 << 20) + 1))


def test_dead_letters_are_reported_in_frames_of_bounded_size(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other", mailbox=100)
    for number in range(20):
        send(one, "other", bytes([number]) * 400_000)
    exchange.tell(b"one", Down("other", 1, "gone"))
    telling = Elsewhere(lambda: one.wait(5.0))
    letters = []
    while len(letters) < 21:
        _, report = exchange.asked(Undelivered)
        assert sum(len(letter[2]) for letter in report.letters) <= 1 << 20
        letters += report.letters
    telling.result()
    assert [letter[2][:1] for letter in letters] == [b"f", *(bytes([number]) for number in range(20))]


# ---- receiving


def test_who_sends_what_is_no_message_is_hung_up_on_and_what_it_said_before_is_handled(exchange: Exchange) -> None:
    one, _ = exchange.mail("one", mailbox=100)
    noise = [b"\0" * 100, b"TH\x01\xff\x90", b"TH\x02\x30\x90", encode(Taken(1)), encode(Stop())]
    for number, frame in enumerate(noise):
        stranger = exchange.stranger("one")
        stranger.send(encode(Send(1, [[CAUSE, b"good"]])))
        stranger.send(frame)
        while (letter := one.next_letter()) is None or one.refused == number:
            one.wait(0.1)
            if letter is not None:
                assert letter.body == b"good"
                break
        deadline = time.monotonic() + 10
        while one.refused == number:
            assert time.monotonic() < deadline
            one.wait(0.1)
        while stranger.receive() is None and not stranger.ended:
            assert time.monotonic() < deadline
        assert stranger.ended
    assert not one.stopping  # only the supervisor may say so


def test_a_mailbox_takes_no_more_than_it_holds_and_goes_on_when_there_is_room(exchange: Exchange) -> None:
    one, _ = exchange.mail("one", mailbox=3)
    sender = exchange.stranger("one")
    for number in range(8):
        sender.send(encode(Send(number + 1, [[CAUSE, b"%d" % number]])))
    taken = []
    while len(taken) < 8:
        one.wait(5.0)
        assert len(one.letters) <= 3
        while (letter := one.next_letter()) is not None:
            taken.append(letter.body)
    assert taken == [b"%d" % number for number in range(8)]


def test_messages_that_are_sent_together_arrive_one_after_the_other(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    other, _ = exchange.mail("other")
    befriend(exchange, one, "other", mailbox=100)
    for number in range(20):
        one.send("other", b"%d" % number, CAUSE, 5.0)
    assert one.has_outgoing
    one.post()
    assert not one.has_outgoing
    taken: list[bytes] = []
    while len(taken) < 21:
        other.wait(5.0)
        while (letter := other.next_letter()) is not None:
            taken.append(letter.body)
    assert taken == [b"first", *(b"%d" % number for number in range(20))]


def test_what_was_to_be_sent_to_one_who_died_meanwhile_is_a_dead_letter(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other")
    one.send("other", b"second", CAUSE, 5.0)
    exchange.tell(b"one", Down("other", 1, "gone"))
    one.wait(5.0)
    one.post()
    _, report = exchange.asked(Undelivered)
    assert [letter[2] for letter in report.letters] == [b"first", b"second"]


def test_a_full_mailbox_can_be_closed(exchange: Exchange) -> None:
    one, _ = exchange.mail("one", mailbox=2)
    sender = exchange.stranger("one")
    for number in range(5):
        sender.send(encode(Send(number + 1, [[CAUSE, b""]])))
    while len(one.letters) < 2:
        one.wait(5.0)
    introduce(exchange, one)
    exchange.tell(b"one", Deliver(1, False, b"", 0))
    while len(one.letters) < 3:  # What the supervisor brings is bounded by the supervisor.
        one.wait(5.0)
    one.close()


def introduce(exchange: Exchange, mail: Mail) -> None:
    """Lets the supervisor's socket know the mail's signals."""
    settling = Elsewhere(lambda: mail.settle(5.0))
    peer, question = exchange.asked(Whereis)
    exchange.tell(peer, Named(question.number, None))
    settling.result()


def test_a_message_from_outside_is_acknowledged_when_it_is_taken(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    introduce(exchange, one)
    exchange.tell(b"one", Deliver(7, False, b"hello", 0))
    while (letter := one.next_letter()) is None:
        one.wait(5.0)
    assert letter.reply is None
    assert letter.taken is not None
    letter.taken(None)
    _, handled = exchange.asked(Handled)
    assert handled == Handled(7, None, None)


def test_a_pardon_reaches_the_actor(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    introduce(exchange, one)
    pardoned: list[bytes] = []
    one.on_pardon = pardoned.append
    exchange.tell(b"one", Pardon(CAUSE))
    one.wait(5.0)
    assert pardoned == [CAUSE]


# ---- the end


def test_the_supervisor_has_heard_everything_when_it_is_settled(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    settling = Elsewhere(lambda: one.settle(20.0))
    peer, question = exchange.asked(Whereis)
    assert settling.is_going_on
    exchange.tell(peer, Named(question.number, None))
    settling.result()


def test_a_supervisor_that_says_nothing_is_not_waited_for_for_ever(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    begun = time.monotonic()
    one.settle(0.1)
    assert 0.05 < time.monotonic() - begun < 5.0


def test_what_the_supervisor_says_of_others_after_the_end_disturbs_nothing(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other")
    one.close()
    settling = Elsewhere(lambda: one.settle(20.0))
    peer, question = exchange.asked(Whereis)
    killed = {"reason": "killed", "detail": None, "signal": 9, "status": None, "commanded": True}
    exchange.tell(peer, Down("other", 1, "was killed"), MonitorDown(1, "other", 1, killed, True))
    exchange.tell(peer, Named(question.number, None))
    settling.result()


def test_messages_to_oneself_that_were_not_taken_are_reported(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    send(one, "one", b"mine")
    one.close()
    _, report = exchange.asked(Undelivered)
    assert [letter[:3] for letter in report.letters] == [["one", "one", b"mine"]]


def test_an_ask_names_all_who_wait(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    befriend(exchange, one, "other")
    other = exchange.impostor("other")
    one.path = ("zero",)
    asking = Elsewhere(lambda: one.ask("other", b"", CAUSE, 0.5))
    asked = None
    while not isinstance(asked, Ask):
        frame = other.receive()
        asked = decode(frame) if frame is not None else None
    assert asked.path == ["zero", "one"]
    with pytest.raises(TimedOut):
        asking.result()
