"""What becomes of messages to an actor that is being restarted: [supervision] mail of its manifest."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from house import RESTLESS, House, asking, eventually, flooding, outcome, sending

from theater.client import Row
from theater.client.link import Outcome
from theater.errors import ActorDown, ActorFailed, MailboxFull

Name = Callable[[], str]


def in_a_pause(pause: str, **facts: Any) -> Mapping[str, Any]:
    """[supervision] of an actor that comes back only after a while."""
    return {**RESTLESS, "backoff": {"initial": pause, "max": pause, "jitter": 0.0}, **facts}


def submit(house: House, actor: Row, body: bytes, request: bool = True, timeout: float = 30.0) -> int:
    """Sends a message and does not wait for its end."""
    args = {"actor": actor.id, "body": body, "request": request, "timeout_ms": int(timeout * 1000)}
    return house.client._link.submit("message", args, timeout + 5)


def ends(house: House, numbers: Iterable[int]) -> Iterator[Outcome]:
    for number in numbers:
        yield house.client._link.outcome({number})


def in_a_call(house: House, actor: Row) -> None:
    eventually(lambda: house.client.inspect(actor.id).facts["call"] is not None, "a call runs")


def bodies(house: House, actor: Row) -> list[bytes]:
    """The messages that an actor has begun to handle, in all its lives."""
    calls = house.client.read_events(actor.id, types=["call"])
    return [event.data["args"][-1] for event in calls if event.data["function"] != "init"]


def dead_letters(house: House, receiver: Row) -> list[bytes]:
    return [letter.body for letter in house.client.dead_letters() if letter.receiver == receiver.id]


def fall(house: House, actor: Row) -> None:
    """Ends an actor's life, and returns when it is in the pause before the next."""
    house.kill(actor.pid or 0)
    house.await_row(actor.id, lambda row: row.state == "restarting")


# ---- wait, which is the default


def test_a_message_waits_for_an_actor_that_comes_back(house: House, name: Name) -> None:
    """(1.23)"""
    row = house.start(name(), supervision=in_a_pause("300ms"))
    fall(house, row)
    assert house.client.request(row.id, b"e at last") == b"e at last"
    assert house.row(row.id).incarnation == 2


def test_a_message_to_an_actor_in_a_long_pause_ends_by_its_own_time(house: House, name: Name) -> None:
    row = house.start(name(), supervision=in_a_pause("30s"))
    asker = house.start(name(), limits={"request_timeout": "300ms"})
    fall(house, row)
    for ask in (
        lambda: house.client.request(row.id, b"e", timeout=0.3),
        lambda: house.client.send(row.id, b"e", timeout=0.3),
        lambda: house.client.request(asker.id, asking(row.name, b"e")),
    ):
        begun = time.monotonic()
        assert outcome(ask) in ("TimedOut", "ActorFailed")
        assert 0.2 < time.monotonic() - begun < 3.0
    assert house.row(row.id).state == "restarting"
    assert house.row(row.id).mailbox == 0


def test_what_waits_for_an_actor_is_bounded_by_its_mailbox(house: House, name: Name) -> None:
    row = house.start(name(), supervision=in_a_pause("30s"), limits={"mailbox": 5})
    fall(house, row)
    waiting = [submit(house, row, b"e%d" % number, request=number % 2 == 0) for number in range(5)]
    eventually(lambda: house.row(row.id).mailbox == 5)
    with pytest.raises(MailboxFull, match="full: 5 messages"):
        house.client.request(row.id, b"e")
    house.client.stop(row.id)
    for ended in ends(house, waiting):
        assert isinstance(ended.error, ActorDown)
        assert "signal 9" in ended.error.message


def test_an_actor_in_a_pause_can_be_stopped_and_started_and_its_mail_does_not_come_later(
    house: House, name: Name
) -> None:
    row = house.start(name(), supervision=in_a_pause("30s"))
    fall(house, row)
    number = submit(house, row, b"c", request=False)
    eventually(lambda: house.row(row.id).mailbox == 1)
    house.client.restart(row.id)
    (ended,) = ends(house, [number])
    assert isinstance(ended.error, ActorDown)
    assert house.count(row.id) == 1


# ---- fail


def test_a_message_to_an_actor_that_is_being_restarted_fails_at_once_if_it_says_so(house: House, name: Name) -> None:
    row = house.start(name(), supervision=in_a_pause("30s", mail="fail"))
    asker = house.start(name())
    house.client.request(asker.id, asking(row.name, b"e"))
    fall(house, row)
    begun = time.monotonic()
    for ask in (lambda: house.client.request(row.id, b"e"), lambda: house.client.send(row.id, b"e")):
        with pytest.raises(ActorDown, match=r"being restarted: it was killed by signal 9"):
            ask()
    for message in (asking(row.name, b"e"), sending(row.name, b"e")):
        with pytest.raises(ActorFailed, match=r"being restarted: it was killed by signal 9"):
            house.client.request(asker.id, message)
    assert time.monotonic() - begun < 3.0


def test_an_actor_that_refuses_mail_while_it_is_restarted_takes_it_when_it_is_back(house: House, name: Name) -> None:
    row = house.start(name(), supervision={**RESTLESS, "mail": "fail"})
    asker = house.start(name())
    for life in range(1, 6):
        assert house.count(row.id) == life
        assert house.client.request(asker.id, asking(row.name, b"e")) == b"e"
        house.kill_worker(row.id)


def test_a_first_start_is_waited_for_by_everybody(house: House, name: Name) -> None:
    """`fail` is about restarts: who is just being started has not failed anybody."""
    row = house.start(name(), supervision={**RESTLESS, "mail": "fail"})
    house.client.stop(row.id)
    assert outcome(lambda: house.client.request(row.id, b"e")) == "ActorDown"
    house.client.restart(row.id)
    assert house.count(row.id) == 1


# ---- keep


def test_messages_that_a_life_had_not_taken_go_to_the_next_one_in_order(house: House, name: Name) -> None:
    """(1.23) (1.25)"""
    row = house.start(name(), supervision={**RESTLESS, "mail": "keep"}, limits={"call_timeout": "20s"})
    loop = submit(house, row, b"b")
    in_a_call(house, row)
    sent = [submit(house, row, b"e%d" % number, request=False) for number in range(20)]
    eventually(lambda: house.row(row.id).mailbox == 20)
    house.kill(row.pid or 0)
    (ended,) = ends(house, [loop])
    assert isinstance(ended.error, ActorDown)  # It was being handled, and is a request.
    assert [ended.error for ended in ends(house, sent)] == [None] * 20
    assert bodies(house, row) == [b"b", *(b"e%d" % number for number in range(20))]
    assert house.row(row.id).incarnation == 2


def test_what_is_kept_comes_before_what_was_sent_later(house: House, name: Name) -> None:
    row = house.start(name(), supervision=in_a_pause("400ms", mail="keep"), limits={"call_timeout": "20s"})
    loop = submit(house, row, b"b")
    in_a_call(house, row)
    early = [submit(house, row, b"e early %d" % number, request=False) for number in range(3)]
    eventually(lambda: house.row(row.id).mailbox == 3)
    fall(house, row)
    late = [submit(house, row, b"e late %d" % number, request=number == 1) for number in range(3)]
    assert all(ended.error is None for ended in ends(house, [*early, *late]))
    assert bodies(house, row)[1:] == [
        *(b"e early %d" % number for number in range(3)),
        *(b"e late %d" % number for number in range(3)),
    ]
    list(ends(house, [loop]))


def test_requests_are_not_kept(house: House, name: Name) -> None:
    """Somebody waits, and is told at once."""
    row = house.start(name(), supervision={**RESTLESS, "mail": "keep"}, limits={"call_timeout": "20s"})
    numbers = [submit(house, row, b"b"), *(submit(house, row, b"c") for _ in range(3))]
    in_a_call(house, row)
    eventually(lambda: house.row(row.id).mailbox == 3)
    house.kill(row.pid or 0)
    assert [type(ended.error).__name__ for ended in ends(house, numbers)] == ["ActorDown"] * 4
    house.await_incarnation(row.id, 2)
    assert house.count(row.id) == 1


def test_without_keep_the_senders_are_told(house: House, name: Name) -> None:
    """(1.14) (1.25): mail for a dead life never reaches its successor unless the manifest says so."""
    row = house.start(name(), supervision=RESTLESS, limits={"call_timeout": "20s"})
    loop = submit(house, row, b"b")
    in_a_call(house, row)
    sent = [submit(house, row, b"c", request=False) for _ in range(3)]
    eventually(lambda: house.row(row.id).mailbox == 3)
    house.kill(row.pid or 0)
    assert [type(ended.error).__name__ for ended in ends(house, [loop, *sent])] == ["ActorDown"] * 4


def test_a_message_that_ends_its_receiver_is_not_kept(house: House, name: Name) -> None:
    """It had been taken when it did. As often as it is sent it ends a life, until it is set aside."""
    row = house.start(name(), supervision={**RESTLESS, "mail": "keep", "poison": 2})
    sent = [submit(house, row, body, request=False) for body in (b"u", b"c", b"u", b"c", b"u", b"c", b"c")]
    results = [ended.error for ended in ends(house, sent)]
    assert [type(error).__name__ for error in results if error is not None] in (["PoisonMessage"], ["ActorDown"])
    house.await_row(row.id, lambda row: row.state == "running")
    assert house.count(row.id) == 5
    assert bodies(house, row).count(b"u") == 2
    assert house.row(row.id).incarnation == 3


def test_what_is_kept_for_one_that_does_not_come_back_fails(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"restart": "temporary", "mail": "keep"}, limits={"call_timeout": "20s"})
    numbers = [submit(house, row, b"b"), *(submit(house, row, b"c", request=False) for _ in range(3))]
    in_a_call(house, row)
    eventually(lambda: house.row(row.id).mailbox == 3)
    house.kill(row.pid or 0)
    assert [type(ended.error).__name__ for ended in ends(house, numbers)] == ["ActorDown"] * 4


def test_each_message_is_handled_once_whenever_its_receiver_is_killed(house: House, name: Name) -> None:
    """100 kills at random moments in a stream of numbered messages: none is lost, none comes twice, all in order."""
    row = house.start(name(), supervision={**RESTLESS, "mail": "keep"}, limits={"mailbox": 10_000})
    chance = random.Random(5)
    sent: list[int] = []
    count = 0
    for life in range(1, 101):
        for _ in range(30):
            sent.append(submit(house, row, b"e%d" % count, request=False))
            count += 1
        until = time.perf_counter() + chance.uniform(0, 0.01)
        while time.perf_counter() < until:
            pass
        house.kill(house.await_incarnation(row.id, life).pid or 0)
        house.await_incarnation(row.id, life + 1)
    assert [ended.error for ended in ends(house, sent)] == [None] * count
    assert bodies(house, row) == [b"e%d" % number for number in range(count)]
    house.verify()


def test_messages_of_actors_are_kept_too(house: House, name: Name) -> None:
    sender = house.start(name())
    row = house.start(name(), supervision={**RESTLESS, "mail": "keep"}, limits={"call_timeout": "20s"})
    loop = submit(house, row, b"b")
    in_a_call(house, row)
    house.client.request(sender.id, flooding(row.name, 10, b"c"))
    house.kill(row.pid or 0)
    list(ends(house, [loop]))
    eventually(lambda: bodies(house, row) == [b"b", *[b"c"] * 10])
    assert dead_letters(house, row) == []
    assert house.count(row.id) == 11
