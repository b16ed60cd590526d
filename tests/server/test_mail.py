"""Messages from actor to actor: answered, refused, timed out or told of a death; in order, and recorded twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pytest
from house import RESTLESS, House, asking, bare_actor, eventually, flooding, outcome, sending

from theater.client import Client, Row
from theater.client.link import Outcome
from theater.errors import ActorFailed, MailboxFull, MessageTooLarge

Name = Callable[[], str]


def refusal(client: Client, actor: str, message: bytes) -> str:
    """The sentence with which a probe was refused what it asked or sent."""
    with pytest.raises(ActorFailed) as refused:
        client.request(actor, message)
    return refused.value.message


def submit(client: Client, actor: str, body: bytes, request: bool = True, timeout: float = 30.0) -> int:
    """Sends a message and does not wait for its end."""
    args = {"actor": actor, "body": body, "request": request, "timeout_ms": int(timeout * 1000)}
    return client._link.submit("message", args, timeout + 5)


def ends(client: Client, numbers: Iterable[int]) -> list[Outcome]:
    """How requests ended, in the order of their numbers."""
    wanted = list(numbers)
    waiting = set(wanted)
    found = {}
    while waiting:
        ended = client._link.outcome(waiting)
        waiting.discard(ended.number)
        found[ended.number] = ended
    return [found[number] for number in wanted]


def in_a_call(house: House, actor: str) -> None:
    eventually(lambda: house.client.inspect(actor).facts["call"] is not None, "a call runs")


def bodies(house: House, actor: str) -> list[bytes]:
    """The messages that an actor has begun to handle."""
    calls = house.client.read_events(actor, types=["call"])
    return [event.data["args"][-1] for event in calls if event.data["function"] != "init"]


# ---- asking


def test_an_actor_asks_another_and_gets_its_answer(house: House, name: Name) -> None:
    asker, asked = house.start(name()), house.start(name())
    assert house.client.request(asker.id, asking(asked.name, b"e hello")) == b"e hello"
    assert house.client.request(asker.id, asking(asked.name, b"c")) == b"\x01\0\0\0"


def test_both_chains_say_what_was_asked_and_are_linked(house: House, name: Name) -> None:
    asker, asked = house.start(name()), house.start(name())
    house.client.request(asker.id, asking(asked.name, b"e linked"))
    question, answer = [
        event for event in house.client.read_events(asker.id) if event.type in ("host-call", "host-result")
    ]
    call, end = list(house.client.read_events(asked.id))[-2:]
    assert (question.data["function"], question.data["args"]) == ("request", [asked.name, b"e linked"])
    assert call.data["cause"].hex() == question.digest
    assert call.data["sender"] == asker.id
    assert answer.data["cause"].hex() == end.digest
    assert answer.data["value"] == {"ok": b"e linked"}
    house.verify()


def test_an_err_of_the_asked_reaches_the_asker_as_its_sentence(house: House, name: Name) -> None:
    asker, asked = house.start(name()), house.start(name())
    assert refusal(house.client, asker.id, asking(asked.name, b"xnot now")) == "not now"


def test_an_unknown_name_is_an_error_at_once(house: House, name: Name) -> None:
    """(1.14, 1.16) No message goes to nobody in silence."""
    asker = house.start(name())
    begun = time.monotonic()
    assert "'nobody'" in refusal(house.client, asker.id, asking("nobody", b"e"))
    assert "'nobody'" in refusal(house.client, asker.id, sending("nobody", b"e"))
    assert time.monotonic() - begun < 2.0


def test_an_actor_that_takes_no_messages_says_what_its_manifest_lacks(house: House, name: Name) -> None:
    (house.folder / "deaf.wasm").write_bytes(bare_actor())
    asker = house.start(name())
    deaf = house.start(name(), component="deaf.wasm", handlers=())
    for words in (
        refusal(house.client, asker.id, asking(deaf.name, b"e")),
        refusal(house.client, deaf.id, b"e"),
    ):
        assert 'type = "message-server"' in words


def test_an_answer_that_does_not_come_in_time_is_a_timeout(house: House, name: Name) -> None:
    """(1.15) The asker is told; the message may still be handled."""
    asker, asked = house.start(name(), limits={"request_timeout": "150ms"}), house.start(name())
    begun = time.monotonic()
    assert "did not answer in time" in refusal(house.client, asker.id, asking(asked.name, b"n"))
    assert 0.1 < time.monotonic() - begun < 3.0
    assert house.count(asker.id) == 1


def test_a_late_answer_is_not_taken_for_the_next(house: House, name: Name) -> None:
    """(1.15) An answer that nobody waits for any more is dropped."""
    asker, asked = house.start(name(), limits={"request_timeout": "400ms"}), house.start(name())
    first = submit(house.client, asker.id, asking(asked.name, b"n first"))
    eventually(lambda: b"n first" in bodies(house, asked.id))
    (ended,) = ends(house.client, [first])
    assert isinstance(ended.error, ActorFailed)
    second = submit(house.client, asker.id, asking(asked.name, b"n second"))
    eventually(lambda: b"n second" in bodies(house, asked.id))
    house.client.request(asked.id, b"r late")
    (ended,) = ends(house.client, [second])
    assert ended.value is not None
    assert ended.value["reply"] == b" late"


def test_whoever_waits_for_an_actor_that_is_killed_is_told(house: House, name: Name) -> None:
    """(1.15) The wait ends with the reason of the other's end."""
    asker, asked = house.start(name()), house.start(name())
    number = submit(house.client, asker.id, asking(asked.name, b"n"))
    eventually(lambda: b"n" in bodies(house, asked.id))
    begun = time.monotonic()
    house.kill(asked.pid or 0)
    (ended,) = ends(house.client, [number])
    assert isinstance(ended.error, ActorFailed)
    assert "went down" in ended.error.message
    assert time.monotonic() - begun < 3.0
    house.await_incarnation(asked.id, 2)
    assert house.client.request(asker.id, asking(asked.name, b"e again")) == b"e again"


def test_an_actor_that_is_being_restarted_is_waited_for(house: House, name: Name) -> None:
    """(1.23) A message to an actor that is between two lives waits for the next one."""
    asker, asked = house.start(name()), house.start(name(), supervision=RESTLESS)
    house.client.request(asker.id, asking(asked.name, b"e"))
    for life in range(2, 12):
        house.kill(house.await_row(asked.id, lambda row: row.state == "running").pid or 0)
        answer = outcome(lambda: house.client.request(asker.id, asking(asked.name, b"e")))
        assert answer in ("reply", "ActorFailed")  # an error only if the question met the dying one
        house.await_incarnation(asked.id, life)
        assert house.client.request(asker.id, asking(asked.name, b"e")) == b"e"


def test_an_actor_that_was_stopped_is_an_error_at_once(house: House, name: Name) -> None:
    asker, asked = house.start(name()), house.start(name())
    house.client.request(asker.id, asking(asked.name, b"e"))
    house.client.stop(asked.id)
    begun = time.monotonic()
    assert outcome(lambda: house.client.request(asker.id, asking(asked.name, b"e"))) == "ActorFailed"
    assert time.monotonic() - begun < 2.0


def test_a_name_means_its_new_owner_as_soon_as_it_has_one(house: House, name: Name) -> None:
    """(1.16) Names, not addresses of processes, are what lasts."""
    asker, shared = house.start(name()), name()
    first = house.start(shared)
    assert house.client.request(asker.id, asking(shared, b"c")) == b"\x01\0\0\0"
    house.client.stop(first.id)
    second = house.client.start(house.write(shared))
    assert second.id != first.id
    assert house.client.request(asker.id, asking(shared, b"c")) == b"\x01\0\0\0"
    assert len(bodies(house, first.id)) == len(bodies(house, second.id)) == 1


# ---- circles


def test_an_actor_that_asks_itself_is_refused(house: House, name: Name) -> None:
    """(1.15) It could only be answered after itself."""
    actor = house.start(name())
    begun = time.monotonic()
    assert "could never be answered" in refusal(house.client, actor.id, asking(actor.name, b"e"))
    assert time.monotonic() - begun < 2.0


def test_a_question_that_comes_back_along_the_chain_is_refused(house: House, name: Name) -> None:
    a, b, c = house.start(name()), house.start(name()), house.start(name())
    begun = time.monotonic()
    words = refusal(house.client, a.id, asking(b.name, asking(c.name, asking(a.name, b"e"))))
    assert "could never be answered" in words
    assert time.monotonic() - begun < 2.0
    assert house.client.request(a.id, asking(b.name, asking(c.name, b"e deep"))) == b"e deep"


def test_two_actors_that_ask_each_other_at_the_same_moment_are_not_stuck(house: House, name: Name) -> None:
    one, other = house.start(name()), house.start(name())
    refused = 0
    begun = time.monotonic()
    client = house.client
    for number in range(200):
        word = b"e%d" % number
        pair = (submit(client, one.id, asking(other.name, word)), submit(client, other.id, asking(one.name, word)))
        for ended in ends(client, pair if number % 2 else pair[::-1]):
            if ended.error is None:
                assert ended.value["reply"] == word
            else:
                assert isinstance(ended.error, ActorFailed)
                assert "waits for" in ended.error.message
                refused += 1
    assert refused <= 200  # never both
    assert time.monotonic() - begun < 20.0
    assert house.row(one.id).incarnation == house.row(other.id).incarnation == 1


def test_three_that_ask_each_other_in_a_circle_all_end(house: House, name: Name) -> None:
    limits = {"request_timeout": "300ms"}
    a, b, c = (house.start(name(), limits=limits) for _ in range(3))
    for _ in range(5):
        numbers = [submit(house.client, one.id, asking(two.name, b"e")) for one, two in ((a, b), (b, c), (c, a))]
        for ended in ends(house.client, numbers):
            assert ended.error is None or isinstance(ended.error, ActorFailed)
    assert {house.row(row.id).incarnation for row in (a, b, c)} == {1}


# ---- sending


def test_ten_thousand_sends_arrive_in_order(house: House, name: Name) -> None:
    """(1.14) Messages from one actor to another arrive in the order of sending."""
    sender, receiver = house.start(name()), house.start(name(), limits={"mailbox": 100_000})
    window: list[int] = []
    for number in range(10_000):
        if len(window) == 500:
            assert all(ended.error is None for ended in ends(house.client, window))
            window = []
        body = sending(receiver.name, b"n%d" % number)
        window.append(submit(house.client, sender.id, body, request=False))
    assert all(ended.error is None for ended in ends(house.client, window))
    house.client.request(sender.id, asking(receiver.name, b"e last"), timeout=60.0)
    assert bodies(house, receiver.id) == [b"n%d" % number for number in range(10_000)] + [b"e last"]
    house.verify()


def test_an_actor_may_send_to_itself(house: House, name: Name) -> None:
    actor = house.start(name())
    house.client.request(actor.id, sending(actor.name, b"c"))
    assert house.count(actor.id) == 2
    call = list(house.client.read_events(actor.id, types=["call"]))[-2]
    assert (call.data["function"], call.data["sender"]) == ("handle-send", actor.id)


def test_a_full_mailbox_is_an_error_at_once(house: House, name: Name) -> None:
    """(1.14) A mailbox is bounded here, and whoever fills it is told."""
    sender, busy = house.start(name()), house.start(name(), limits={"mailbox": 10, "call_timeout": "20s"})
    number = submit(house.client, busy.id, b"b")
    in_a_call(house, busy.id)
    begun = time.monotonic()
    assert house.client.request(sender.id, flooding(busy.name, 10, b"n")) == b"f"
    words = refusal(house.client, sender.id, sending(busy.name, b"n one too many"))
    assert "mailbox" in words
    assert "full" in words
    assert time.monotonic() - begun < 2.0
    house.kill(busy.pid or 0)
    ends(house.client, [number])


def test_a_mailbox_has_room_again_when_its_mail_was_taken(house: House, name: Name) -> None:
    sender, receiver = house.start(name()), house.start(name(), limits={"mailbox": 8})
    for _ in range(20):
        eventually(
            lambda: outcome(lambda: house.client.request(sender.id, flooding(receiver.name, 8, b"c"))) == "reply"
        )
    eventually(lambda: len(bodies(house, receiver.id)) >= 160)
    assert house.client.request(sender.id, asking(receiver.name, b"e")) == b"e"


def test_a_mailbox_is_full_for_clients_too(house: House, name: Name) -> None:
    busy = house.start(name(), limits={"mailbox": 5, "call_timeout": "20s"})
    numbers = [submit(house.client, busy.id, b"b")]
    in_a_call(house, busy.id)
    numbers += [submit(house.client, busy.id, b"c") for _ in range(4)]
    with pytest.raises(MailboxFull, match="full: 5 messages"):
        house.client.request(busy.id, b"c")
    assert house.row(busy.id).mailbox == 4
    house.kill(busy.pid or 0)
    ends(house.client, numbers)


def test_a_message_over_the_limit_is_refused_and_not_recorded(house: House, name: Name) -> None:
    sender, receiver = house.start(name()), house.start(name(), limits={"message": 100})
    assert house.client.request(sender.id, asking(receiver.name, b"e" * 100)) == b"e" * 100
    assert "accepts 100" in refusal(house.client, sender.id, asking(receiver.name, b"e" * 101))
    assert "accepts 100" in refusal(house.client, sender.id, sending(receiver.name, b"e" * 101))
    with pytest.raises(MessageTooLarge, match="101 bytes"):
        house.client.request(receiver.id, b"e" * 101)
    with pytest.raises(MessageTooLarge, match="101 bytes"):
        house.client.send(receiver.id, b"e" * 101)
    assert len(bodies(house, receiver.id)) == 1


def test_a_message_over_a_mebibyte_is_refused_by_default(house: House, name: Name) -> None:
    row = house.start(name())
    assert house.client.request(row.id, b"e" * (1 << 20)) == b"e" * (1 << 20)
    with pytest.raises(MessageTooLarge):
        house.client.request(row.id, b"e" * ((1 << 20) + 1))


# ---- answers that come later


def test_a_deferred_answer_goes_to_the_one_who_asked_first(house: House, name: Name) -> None:
    row = house.start(name())
    waiting = [submit(house.client, row.id, b"n%d" % number) for number in range(3)]
    for number in range(3):
        assert house.client.request(row.id, b"r%d" % number) == b"r%d" % number
    assert [ended.value["reply"] for ended in ends(house.client, waiting)] == [b"0", b"1", b"2"]
    assert "nobody asked" in refusal(house.client, row.id, b"r")


def test_an_actor_may_answer_another_actor_later(house: House, name: Name) -> None:
    asker, asked = house.start(name()), house.start(name())
    number = submit(house.client, asker.id, asking(asked.name, b"n"))
    eventually(lambda: b"n" in bodies(house, asked.id))
    house.client.request(asked.id, b"rat last")
    assert ends(house.client, [number])[0].value["reply"] == b"at last"


def test_nobody_is_outstanding_who_has_given_up(house: House, name: Name) -> None:
    row = house.start(name())
    assert outcome(lambda: house.client.request(row.id, b"n", timeout=0.05)) == "TimedOut"
    assert "nobody asked" in refusal(house.client, row.id, b"r")


def test_an_end_cancels_what_was_to_be_answered_later(house: House, name: Name) -> None:
    for end in (b"q", b"u"):
        row = house.start(name())
        waiting = [submit(house.client, row.id, b"n") for _ in range(3)]
        eventually(lambda row=row: len(bodies(house, row.id)) == 3)
        outcome(lambda row=row, end=end: house.client.request(row.id, end))
        assert [type(ended.error).__name__ for ended in ends(house.client, waiting)] == ["ActorDown"] * 3
        house.await_incarnation(row.id, 2)
        assert "nobody asked" in refusal(house.client, row.id, b"r")


# ---- dead letters


def dead_letters(house: House, receiver: Row) -> list[bytes]:
    return [letter.body for letter in house.client.dead_letters() if letter.receiver == receiver.id]


def test_what_a_killed_receiver_had_not_taken_becomes_dead_letters(house: House, name: Name) -> None:
    """(1.14, 1.23) At most once; and what is lost can be seen."""
    sender, busy = house.start(name()), house.start(name(), limits={"call_timeout": "20s"})
    number = submit(house.client, busy.id, b"b")
    in_a_call(house, busy.id)
    for letter in range(5):
        house.client.request(sender.id, sending(busy.name, b"c%d" % letter))
    assert dead_letters(house, busy) == []
    house.kill(busy.pid or 0)
    ends(house.client, [number])
    eventually(lambda: len(dead_letters(house, busy)) == 5)
    letters = [letter for letter in house.client.dead_letters() if letter.receiver == busy.id]
    assert [letter.body for letter in letters] == [b"c%d" % letter for letter in range(5)]
    assert {letter.sender for letter in letters} == {sender.id}
    assert all("went down" in letter.why and "signal 9" in letter.why for letter in letters)
    house.await_incarnation(busy.id, 2)
    assert len(house.client.resend_dead_letters([letter.number for letter in letters])) == 5
    assert house.count(busy.id) == 6
    assert dead_letters(house, busy) == []


def test_what_a_stopped_receiver_had_not_taken_becomes_dead_letters(house: House, name: Name) -> None:
    sender = house.start(name())
    busy = house.start(name(), limits={"call_timeout": "500ms", "mailbox": 3}, supervision={"restart": "temporary"})
    number = submit(house.client, busy.id, b"b")
    in_a_call(house, busy.id)
    house.client.request(sender.id, flooding(busy.name, 3, b"c"))
    ends(house.client, [number])
    eventually(lambda: dead_letters(house, busy) == [b"c"] * 3)
    number = next(letter.number for letter in house.client.dead_letters() if letter.receiver == busy.id)
    assert outcome(lambda: house.client.resend_dead_letters([number])) == "ActorDown"


def test_what_an_actor_had_sent_to_itself_becomes_a_dead_letter_when_it_ends(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"restart": "temporary"})
    numbers = [submit(house.client, row.id, body) for body in (sending(row.name, b"c own"), b"q")]
    ends(house.client, numbers)
    house.await_row(row.id, lambda row: row.state == "stopped")
    assert dead_letters(house, row) in ([], [b"c own"])
    handled = bodies(house, row.id)
    assert (b"c own" in handled) != (dead_letters(house, row) == [b"c own"])


# ---- many at once


def test_a_crowd_of_actors_asks_in_all_directions(house: House, name: Name) -> None:
    rows = [house.start(name(), limits={"request_timeout": "500ms"}) for _ in range(6)]
    failures: list[str] = []

    def ask(start: int) -> None:
        client = house.connect()
        for step in range(40):
            one, other = rows[(start + step) % 6], rows[(start + step * 5 + 1) % 6]
            word = b"e%d.%d" % (start, step)
            how = outcome(lambda one=one, other=other, word=word: client.request(one.id, asking(other.name, word)))
            if how not in ("reply", "ActorFailed"):
                failures.append(how)

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {house.row(row.id).incarnation for row in rows} == {1}
    house.verify()
