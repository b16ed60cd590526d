"""Channels between actors: accepted or refused, in order, both ways, and both ends told once that they are over."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from house import RESTLESS, House, eventually, make_house, outcome
from replays import reproduced
from talkers import add_talker, closing, flooding, numbers, open_channel, opening, start, told, writing

from theater.client import Row
from theater.config import Home
from theater.core.ids import channel_id
from theater.errors import ActorDown, ActorFailed
from theater.lookback.causes import find_causes
from theater.lookback.home import Chains
from theater.replay.tree import prove_tree
from theater.store.content import ContentStore

Name = Callable[[], str]


@pytest.fixture(scope="module")
def house(probe: bytes) -> Iterator[House]:
    """A server that the tests of this module share, with talkers."""
    shared = add_talker(make_house(probe))
    try:
        yield shared.open()
    finally:
        shared.close()


def pair(house: House, name: Name, **facts: object) -> tuple[Row, Row]:
    return start(house, name(), **facts), start(house, name(), **facts)


def refusal(house: House, actor: Row, message: bytes) -> str:
    """The sentence with which a talker was refused what it wanted."""
    with pytest.raises(ActorFailed) as refused:
        house.client.request(actor.id, message)
    return refused.value.message


# ---- opening


def test_a_channel_is_accepted_and_both_ends_know_it_by_the_same_id(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name, b"yes?")
    assert told(house, b.id) == [("open", b"yes?")]
    assert told(house, b.id, channel) == [("open", b"yes?")]
    assert told(house, a.id) == []


def test_the_id_follows_from_the_entry_that_records_the_wish(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    (wish,) = [event for event in house.client.read_events(a.id) if event.data.get("function") == "open-channel"]
    assert channel == channel_id(bytes.fromhex(wish.digest), wish.seq)


def test_the_first_answer_is_the_first_message_of_the_opener(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name, b"r first")
    house.client.request(b.id, writing(channel, b"second"))
    eventually(lambda: told(house, a.id, channel) == [("message", b"r first"), ("message", b"second")])


def test_an_actor_talks_in_both_directions(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"there"))
    house.client.request(b.id, writing(channel, b"back"))
    eventually(lambda: told(house, a.id, channel) == [("message", b"back")])
    eventually(lambda: told(house, b.id, channel) == [("open", b"y"), ("message", b"there")])


def test_a_refusal_is_an_error_with_its_reason(house: House, name: Name) -> None:
    a, b = pair(house, name)
    assert refusal(house, a, opening(b.name, b"nnot today")) == "the channel was refused: not today"
    assert refusal(house, a, opening(b.name, b"xno way")) == "no way"


def test_an_actor_without_the_handler_refuses(house: House, name: Name) -> None:
    a, probe = start(house, name()), house.start(name())
    assert "handle-channel-open" in refusal(house, a, opening(probe.name, b"y"))


def test_an_unknown_actor_cannot_be_talked_to(house: House, name: Name) -> None:
    a = start(house, name())
    assert "no actor has the id or registered name 'nobody'" in refusal(house, a, opening("nobody", b"y"))


def test_who_does_not_answer_in_time_leaves_no_channel_behind(house: House, name: Name) -> None:
    a = start(house, name(), limits={"request_timeout": "300ms"})
    b = start(house, name(), limits={"call_timeout": "2s"})
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"b"))  # b is busy for two seconds
    eventually(lambda: house.client.inspect(b.id).facts["call"] is not None)
    assert "did not answer in time" in refusal(house, a, opening(b.name, b"y"))
    house.await_incarnation(b.id, 2)


def test_who_accepts_too_late_finds_the_channel_closed(house: House, name: Name) -> None:
    a = start(house, name(), limits={"request_timeout": "100ms"})
    b = start(house, name())
    assert "did not answer in time" in refusal(house, a, opening(b.name, b"d"))
    eventually(lambda: told(house, b.id) == [("open", b"d"), ("close", None)])
    assert told(house, a.id) == []


def test_an_actor_that_dies_of_the_question_is_an_error_to_who_asked(house: House, name: Name) -> None:
    a, b = pair(house, name, supervision=RESTLESS)
    assert "went down before it answered" in refusal(house, a, opening(b.name, b"u"))


def test_a_channel_to_oneself_or_to_one_who_waits_is_refused_at_once(house: House, name: Name) -> None:
    a, b = pair(house, name)
    assert "could never be answered" in refusal(house, a, opening(a.name, b"y"))
    begun = time.monotonic()
    assert "could never be answered" in refusal(house, a, opening(b.name, b"o" + a.name.ljust(8).encode()))
    assert time.monotonic() - begun < 4


def test_two_that_open_to_each_other_at_the_same_time_do_not_hang(house: House, name: Name) -> None:
    a, b = pair(house, name)
    ends: list[str] = []

    def go(one: Row, other: Row) -> None:
        client = house.connect()
        for _ in range(50):
            ends.append(outcome(lambda: client.request(one.id, opening(other.name, b"y"))))

    threads = [threading.Thread(target=go, args=each) for each in ((a, b), (b, a))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ends) == 100
    assert set(ends) <= {"reply", "ActorFailed"}


def test_an_actor_opens_a_channel_in_its_init(house: House, name: Name) -> None:
    b = start(house, name())
    a = start(house, name(), init_state=opening(b.name, b"r hello"))
    eventually(lambda: told(house, a.id) == [("message", b"r hello")], "it is answered")


# ---- order and bounds


def test_ten_thousand_messages_arrive_in_order(house: House, name: Name) -> None:
    a, b = pair(house, name, limits={"mailbox": 20_000})
    channel = open_channel(house, a.id, b.name)
    for _ in range(10):
        house.client.request(a.id, flooding(channel, 1000))
    eventually(lambda: house.row(b.id).entries > 20_000, "all have arrived")
    eventually(lambda: house.row(b.id).mailbox == 0)
    assert numbers(house, b.id, channel) == list(range(1000)) * 10


def test_what_is_said_keeps_its_order_among_the_sends(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    for number in range(20):
        house.client.request(a.id, writing(channel, b"%d" % number))
        house.client.request(a.id, b"s" + b.name.ljust(8).encode() + b"e%d" % number)
    eventually(lambda: len(list(house.client.read_events(b.id, types=["call"]))) == 42)
    calls = [event.data for event in house.client.read_events(b.id, types=["call"])][2:]
    assert [call["function"] for call in calls] == ["handle-channel-message", "handle-send"] * 20


def test_who_is_too_far_ahead_gets_an_error_at_once(house: House, name: Name) -> None:
    a = start(house, name())
    b = start(house, name(), limits={"mailbox": 10, "call_timeout": "3s"}, supervision=RESTLESS)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"b"))  # b is busy
    assert "is full" in refusal(house, a, flooding(channel, 100))


# ---- ends


def test_the_other_end_is_told_once_that_a_channel_is_closed(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"last"))
    house.client.request(a.id, closing(channel))
    eventually(lambda: ("close", None) in told(house, b.id, channel))
    assert told(house, b.id, channel) == [("open", b"y"), ("message", b"last"), ("close", None)]
    for end in (a, b):
        assert "no open channel" in refusal(house, end, writing(channel, b"more"))
        assert "no open channel" in refusal(house, end, closing(channel))
    assert told(house, a.id, channel) == []


def test_who_is_asked_may_close_too(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"K"))
    eventually(lambda: told(house, a.id, channel) == [("message", b"adieu"), ("close", None)])


@pytest.mark.parametrize("victim", ["opener", "other"])
@pytest.mark.parametrize("times", range(3))
def test_a_killed_end_is_news_to_the_other_behind_its_last_message(
    house: House, name: Name, victim: str, times: int
) -> None:
    a, b = pair(house, name, supervision=RESTLESS, limits={"mailbox": 20_000})
    channel = open_channel(house, a.id, b.name)
    dies, lives = (a, b) if victim == "opener" else (b, a)
    client = house.connect()
    flood = threading.Thread(
        target=lambda: [outcome(lambda: client.request(dies.id, flooding(channel, 500), 10)) for _ in range(4)]
    )
    flood.start()
    eventually(lambda: len(numbers(house, lives.id, channel)) > 100 * times)
    house.kill_worker(dies.id)
    flood.join(60)
    eventually(lambda: ("close", None) in told(house, lives.id, channel), "the news has come")
    heard = [what for what, _ in told(house, lives.id, channel) if what != "open"]
    assert heard == ["message"] * (len(heard) - 1) + ["close"]
    found = numbers(house, lives.id, channel)
    assert found == (list(range(500)) * 4)[: len(found)]
    assert "no open channel" in refusal(house, lives, writing(channel, b"more"))
    assert "no open channel" in refusal(house, dies, writing(channel, b"more"))


def test_a_stopped_end_is_news_to_the_other(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    house.client.request(b.id, flooding(channel, 100))
    house.client.stop(b.id)
    eventually(lambda: told(house, a.id, channel)[-1:] == [("close", None)])
    assert numbers(house, a.id, channel) == list(range(100))


def test_words_that_ended_an_actor_twice_are_left_out(house: House, name: Name) -> None:
    a, b = pair(house, name, supervision=RESTLESS)
    for life in (2, 3):
        house.client.request(a.id, writing(open_channel(house, a.id, b.name), b"u"))
        house.await_incarnation(b.id, life)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"u"))
    house.client.request(a.id, writing(channel, b"after"))
    eventually(lambda: told(house, b.id, channel)[1:] == [("message", b"after")])
    assert [letter.body for letter in house.client.dead_letters() if letter.receiver == b.id] == [b"u"]


def test_a_trap_while_it_is_told_something_closes_the_channel(house: House, name: Name) -> None:
    a, b = pair(house, name, supervision=RESTLESS)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"u"))
    eventually(lambda: told(house, a.id, channel) == [("close", None)])
    house.await_incarnation(b.id, 2)
    again = open_channel(house, a.id, b.name)
    assert again != channel


def test_what_a_dead_end_had_not_taken_is_no_dead_letter(house: House, name: Name) -> None:
    a = start(house, name())
    b = start(house, name(), supervision=RESTLESS)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"b"))
    house.client.request(a.id, writing(channel, b"never taken"))
    house.kill_worker(b.id)
    eventually(lambda: told(house, a.id, channel) == [("close", None)])
    assert not [letter for letter in house.client.dead_letters() if letter.receiver == b.id]


def test_an_actor_that_keeps_its_mail_keeps_no_channels(house: House, name: Name) -> None:
    a = start(house, name())
    b = start(house, name(), supervision={**RESTLESS, "mail": "keep"})
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"b"))  # b is busy
    house.client.request(a.id, writing(channel, b"lost with the channel"))
    house.client.request(a.id, b"s" + b.name.ljust(8).encode() + b"e kept")
    house.kill_worker(b.id)
    eventually(lambda: told(house, a.id, channel) == [("close", None)])
    eventually(lambda: list(house.client.read_events(b.id, types=["call"]))[-1].data["args"] == [b"e kept"])
    assert ("message", b"lost with the channel") not in told(house, b.id)


def test_an_err_of_a_handler_goes_to_the_log_and_the_channel_stays_open(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"x oops"))
    house.client.request(a.id, writing(channel, b"after"))
    eventually(lambda: told(house, b.id, channel)[-1] == ("message", b"after"))
    eventually(lambda: any("x oops" in line.text for line in house.client.read_logs(b.id)))


# ---- the record


def test_both_ends_replay(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name, b"r first")
    eventually(lambda: told(house, a.id, channel))
    house.client.request(a.id, flooding(channel, 100))
    refusal(house, a, opening(b.name, b"nno"))
    house.client.request(b.id, closing(channel))
    eventually(lambda: ("close", None) in told(house, a.id, channel))
    for end in (a, b):
        reproduced(house, end.id)


def test_the_chains_of_both_ends_tell_one_story(house: House, name: Name) -> None:
    a, b = pair(house, name, supervision=RESTLESS)
    channel = open_channel(house, a.id, b.name, b"r first")
    eventually(lambda: told(house, a.id, channel))
    house.client.request(b.id, flooding(channel, 10))
    house.client.request(a.id, writing(channel, b"e back"))
    house.client.request(a.id, closing(channel))
    eventually(lambda: ("close", None) in told(house, b.id, channel))
    open_channel(house, a.id, b.name)
    house.kill_worker(b.id)
    eventually(lambda: told(house, a.id)[-1] == ("close", None))
    home = Home(house.home)
    chains = {end.id: home.chain(end.id) for end in (a, b)}
    proof = prove_tree(chains, ContentStore(home.content).get)
    assert proof.ok, proof.flaws
    assert proof.messages >= 2 + 1 + 10 + 1 + 1 + 2


def test_the_causes_of_a_word_lead_over_the_channel_to_where_it_began(house: House, name: Name) -> None:
    a, b = pair(house, name)
    channel = open_channel(house, a.id, b.name)
    house.client.request(a.id, writing(channel, b"ehello"))
    eventually(lambda: told(house, a.id, channel) == [("message", b"hello")])
    (heard,) = [
        event.seq
        for event in house.client.read_events(a.id, types=["call"])
        if event.data["function"] == "handle-channel-message"
    ]
    with Chains(Home(house.home)) as chains:
        graph = find_causes(chains, a.id, heard)
    functions = [entry.read().function for entry in graph.entries.values()]  # type: ignore[union-attr]
    assert functions == [
        "handle-channel-message",
        "send-on-channel",
        "handle-channel-message",
        "send-on-channel",
        "handle-request",
    ]
    assert [end.why for end in graph.ends] == ["outside"]


# ---- whatever happens


def test_kills_closes_and_floods_among_four_actors_leave_one_story(house: House, name: Name) -> None:
    """Some channels are closed, some broken by kills, some left open; all is told once, in order, and fits together."""
    chance = random.Random(5)
    rows = [start(house, name(), supervision=RESTLESS, limits={"mailbox": 5000}) for _ in range(4)]
    channels: list[tuple[Row, Row, str]] = []
    for _ in range(60):
        match chance.choice(["open", "open", "flood", "flood", "close", "kill"]):
            case "open":
                one, other = chance.sample(rows, 2)
                first = chance.choice([b"y", b"r first", b"nno"])
                with contextlib.suppress(ActorFailed, ActorDown):
                    channels.append((one, other, open_channel(house, one.id, other.name, first)))
            case "flood" if channels:
                one, other, channel = chance.choice(channels)
                outcome(lambda: house.client.request(chance.choice([one, other]).id, flooding(channel, 50)))  # noqa: B023
            case "close" if channels:
                one, other, channel = chance.choice(channels)
                outcome(lambda: house.client.request(chance.choice([one, other]).id, closing(channel)))  # noqa: B023
            case "kill" if chance.random() < 0.4:
                house.kill_worker(chance.choice(rows).id)
    for row in rows:
        house.await_row(row.id, lambda row: row.state == "running" and row.mailbox == 0)
        house.client.request(row.id, b"nothing")
    for one, other, channel in channels:
        for end, opposite in ((one, other), (other, one)):
            heard = [what for what, _ in told(house, end.id, channel) if what != "open"]
            assert "close" not in heard[:-1]
            floods = numbers(house, end.id, channel)
            assert floods == (list(range(50)) * 60)[: len(floods)], opposite.name
    home = Home(house.home)
    proof = prove_tree({row.id: home.chain(row.id) for row in rows}, ContentStore(home.content).get)
    assert proof.ok, proof.flaws
