"""Channels between clients and actors: fed no faster than the actor reads, and closed when a client vanishes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import RESTLESS, House, eventually, make_house, outcome
from replays import reproduced
from talkers import add_talker, closing, flooding, numbers, start, told, writing

from theater.client import Channel
from theater.errors import (
    ActorDown,
    ActorFailed,
    MailboxFull,
    MessageTooLarge,
    NotFound,
    TimedOut,
    UnknownActor,
    WrongState,
)

Name = Callable[[], str]


@pytest.fixture(scope="module")
def house(probe: bytes) -> Iterator[House]:
    """A server that the tests of this module share, with talkers."""
    shared = add_talker(make_house(probe))
    try:
        yield shared.open()
    finally:
        shared.close()


def received(channel: Channel, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        message = channel.receive(30)
        assert message is not None
        found.append(message)
    return found


def talk_until_it_dies(channel: Channel, found: list[bytes]) -> None:
    for number in range(1_000_000):
        channel.send(b"e%d" % number)
        found += channel.take()


def rss(pid: int) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- opening


def test_a_client_talks_with_an_actor(house: House, name: Name) -> None:
    a = start(house, name())
    with house.client.open_channel(a.name, b"r hello") as channel:
        assert channel.actor == a.id
        assert channel.receive(10) == b"r hello"
        channel.send(b"eone", b"etwo")
        assert received(channel, 2) == [b"one", b"two"]
        assert [row.channel for row in house.client.channels(a.id)] == [channel.id]
        house.client.request(a.id, writing(channel.id, b"unasked"))
        assert channel.receive(10) == b"unasked"
    assert told(house, a.id)[-1] == ("close", None)
    assert house.client.channels(a.id) == ()


def test_a_refusal_is_an_error_of_the_actor(house: House, name: Name) -> None:
    a = start(house, name())
    with pytest.raises(ActorFailed, match="the channel was refused: not today"):
        house.client.open_channel(a.id, b"nnot today")
    with pytest.raises(ActorFailed, match="no way"):
        house.client.open_channel(a.id, b"xno way")
    with pytest.raises(ActorFailed, match="before this call has answered"):
        house.client.open_channel(a.id, b"w")
    with pytest.raises(ActorFailed, match="takes no channels"):
        house.client.open_channel(house.start(name()).id)
    with pytest.raises(UnknownActor):
        house.client.open_channel("nobody")
    with pytest.raises(MessageTooLarge):
        house.client.open_channel(start(house, name(), limits={"message": 10}).id, b"y" * 11)


def test_an_actor_that_dies_of_the_question_is_down(house: House, name: Name) -> None:
    a = start(house, name(), supervision=RESTLESS)
    with pytest.raises(ActorDown):
        house.client.open_channel(a.id, b"u")


def test_who_accepts_too_late_finds_the_channel_closed(house: House, name: Name) -> None:
    a = start(house, name())
    with pytest.raises(TimedOut):
        house.client.open_channel(a.id, b"d", 0.1)
    eventually(lambda: told(house, a.id) == [("open", b"d"), ("close", None)])


def test_a_channel_is_nobody_elses(house: House, name: Name) -> None:
    a = start(house, name())
    with house.client.open_channel(a.id) as channel:
        other = house.connect()
        for op, args in (("send", {"messages": [b"x"]}), ("receive", {"wait_ms": 0}), ("close", {})):
            with pytest.raises(NotFound, match="you have no channel"):
                other.call(f"channel_{op}", {"channel": channel.id, **args})


# ---- order and bounds


def test_ten_thousand_messages_go_there_and_back_in_order(house: House, name: Name) -> None:
    a = start(house, name())
    expected = [b"%d" % number for number in range(10_000)]
    with house.client.open_channel(a.id) as channel:
        found: list[bytes] = []
        for at in range(0, len(expected), 10):
            channel.send(*(b"e" + body for body in expected[at : at + 10]))
            found += channel.take()
        while len(found) < len(expected):
            message = channel.receive(30)
            assert message is not None
            found.append(message)
    assert found == expected


def test_a_client_that_says_more_than_its_window_is_told_so(house: House, name: Name) -> None:
    a = start(house, name(), limits={"mailbox": 8, "call_timeout": "3s"}, supervision=RESTLESS)
    channel = house.client.open_channel(a.id)
    with pytest.raises(MailboxFull, match="takes 8 messages"):
        house.client.call("channel_send", {"channel": channel.id, "messages": [b"x"] * 9})
    channel.send(b"b", *[b"y"] * 7)
    assert not channel.has_room
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        channel.send(b"more", timeout=0.2)
    assert time.monotonic() - begun < 5
    with pytest.raises(ActorDown):
        channel.receive(30)


def test_an_actor_that_floods_a_client_which_does_not_read_gets_an_error_at_once(house: House, name: Name) -> None:
    a = start(house, name())
    channel = house.client.open_channel(a.id)
    with pytest.raises(ActorFailed, match="has 1000 messages of 5000 bytes to fetch yet"):
        house.client.request(a.id, flooding(channel.id, 5000))
    assert [int.from_bytes(body[1:], "little") for body in received(channel, 1000)] == list(range(1000))
    eventually(lambda: outcome(lambda: house.client.request(a.id, flooding(channel.id, 500))) == "reply")
    received(channel, 500)
    channel.close()


def test_much_through_a_slow_actor_is_neither_lost_nor_held_in_memory(house: House, name: Name) -> None:
    a = start(house, name(), limits={"mailbox": 16})
    chunk = b"#" + bytes(65_535)
    before = rss(house.pid)
    with house.client.open_channel(a.id) as channel:
        for _ in range(800):  # 50 MiB
            channel.send(chunk)
        channel.flush()
        grown = rss(house.pid) - before
    assert grown < 20 << 20
    assert len(numbers(house, a.id, channel.id)) == 800


def test_many_clients_share_a_small_mailbox(house: House, name: Name) -> None:
    a = start(house, name(), limits={"mailbox": 4})
    channels = [house.connect().open_channel(a.id) for _ in range(6)]

    def talk(channel: Channel) -> None:
        for number in range(100):
            channel.send(b"#" + number.to_bytes(4, "little"))
        channel.close()

    threads = [threading.Thread(target=talk, args=(channel,)) for channel in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for channel in channels:
        assert numbers(house, a.id, channel.id) == list(range(100))
        assert told(house, a.id, channel.id)[-1] == ("close", None)


# ---- ends


def test_an_actor_closes_behind_its_last_message(house: House, name: Name) -> None:
    a = start(house, name())
    channel = house.client.open_channel(a.id)
    channel.send(b"K")
    assert channel.receive(10) == b"adieu"
    assert channel.receive(10) is None
    assert channel.is_over
    with pytest.raises(WrongState, match="is closed"):
        channel.send(b"more")
    channel.close()
    assert told(house, a.id)[-1][0] == "message"


def test_what_the_actor_says_before_it_is_told_of_the_close_still_comes(house: House, name: Name) -> None:
    a = start(house, name())
    channel = house.client.open_channel(a.id)
    channel.send(*(b"e%d" % number for number in range(50)))
    channel.end()
    assert list(channel) == [b"%d" % number for number in range(50)]
    assert told(house, a.id)[-1] == ("close", None)


def test_the_death_of_the_actor_is_told_once_behind_what_it_had_said(house: House, name: Name) -> None:
    a = start(house, name(), supervision=RESTLESS)
    channel = house.client.open_channel(a.id)
    house.client.request(a.id, writing(channel.id, b"last"))
    assert house.client.channels(a.id)[0].to_client == 1
    house.kill_worker(a.id)
    with pytest.raises(ActorDown, match="signal 9"):
        assert list(channel) == [b"last"]
    assert channel.receive(1) is None
    assert outcome(lambda: house.client.request(a.id, writing(channel.id, b"x"))) == "ActorFailed"


def test_a_stopped_actor_ends_its_channels(house: House, name: Name) -> None:
    a = start(house, name())
    channel = house.client.open_channel(a.id)
    house.connect().stop(a.id)
    with pytest.raises(ActorDown):
        channel.receive(10)


def test_a_client_that_was_killed_has_closed_its_channel(house: House, name: Name) -> None:
    a = start(house, name())
    program = (
        "import sys, time; from theater.client import Client\n"
        f"channel = Client(home={str(house.home)!r}).open_channel({a.id!r})\n"
        "print(channel.id, flush=True)\nwhile True: channel.send(b'#12345')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        channel = victim.stdout.readline().strip()
        eventually(lambda: len(told(house, a.id, channel)) > 100)
        victim.send_signal(signal.SIGKILL)
        eventually(lambda: told(house, a.id, channel)[-1] == ("close", None))
        assert [what for what, _ in told(house, a.id, channel)].count("close") == 1
        assert house.client.channels(a.id) == ()
        assert outcome(lambda: house.client.request(a.id, closing(channel))) == "ActorFailed"


def test_kills_of_the_actor_in_the_middle_of_a_burst(house: House, name: Name) -> None:
    a = start(house, name(), supervision=RESTLESS)
    for _ in range(5):
        channel = house.client.open_channel(a.id)
        pid = house.row(a.id).pid
        assert pid is not None
        killer = threading.Timer(0.05, house.kill, (pid,))
        killer.start()
        found: list[bytes] = []
        with pytest.raises(ActorDown):
            talk_until_it_dies(channel, found)
        killer.join()
        found += channel.take()
        assert found == [b"%d" % number for number in range(len(found))]
        house.await_row(a.id, lambda row, pid=pid: row.state == "running" and row.pid != pid)  # type: ignore[misc]


def test_the_record_of_it_replays(house: House, name: Name) -> None:
    a = start(house, name())
    with house.client.open_channel(a.id, b"r first") as channel:
        channel.send(b"eone", b"x err", b"etwo")
        assert received(channel, 3) == [b"r first", b"one", b"two"]
    outcome(lambda: house.client.open_channel(a.id, b"nno"))
    reproduced(house, a.id)
