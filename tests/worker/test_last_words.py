"""OTP 1.13, 8: the news of a death comes after every message that the dead actor sent, whatever way each of them took.

Senders are processes of their own that are killed with SIGKILL in the middle of a burst, or when all of it has left
them; they are reaped, and only then the news is told, as the supervisor does it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from exchange import Elsewhere, Exchange
from senders import CAUSE, Burst, Nursery

from theater.core.handlers import MONITOR_HANDLERS
from theater.core.wire import ChildEnded, LinkExit, MonitorDown, Named, Send, Whereis, encode
from theater.worker.letters import Asked, Letter, News
from theater.worker.mail import Mail

KILLED = {"reason": "signal", "detail": None, "signal": 9, "status": None, "commanded": False}
PATIENCE = 20.0


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def introduce(exchange: Exchange, mail: Mail) -> None:
    """Lets the supervisor's socket know the mail's signals."""
    settling = Elsewhere(lambda: mail.settle(5.0))
    peer, question = exchange.asked(Whereis)
    exchange.tell(peer, Named(question.number, None))
    settling.result()


def next_one(mail: Mail) -> Letter | News:
    deadline = time.monotonic() + PATIENCE
    while (letter := mail.next_letter()) is None:
        assert time.monotonic() < deadline, "nothing comes"
        mail.wait(0.1)
    return letter


def heard_before_the_news(mail: Mail, *, slowly: bool = False) -> list[bytes]:
    """All bodies that come before the first news."""
    bodies: list[bytes] = []
    while isinstance(letter := next_one(mail), Letter):
        bodies.append(letter.body)
        if slowly:
            mail.take_signals()
    return bodies


def numbers(bodies: list[bytes]) -> list[int]:
    return [int.from_bytes(body[:4], "big") for body in bodies]


def nothing_follows(mail: Mail) -> bool:
    mail.wait(0.02)
    return mail.next_letter() is None


@pytest.mark.parametrize("mailbox", [1000, 5], ids=["room for all", "a mailbox that is soon full"])
def test_news_comes_after_all_that_was_received_at_all(exchange: Exchange, nursery: Nursery, mailbox: int) -> None:
    """Killed at any instant of a burst, a sender leaves a beginning of what it sent, and then comes its end."""
    dice = random.Random(mailbox)
    one, _ = exchange.mail("one", mailbox=mailbox)
    introduce(exchange, one)
    cut_short = 0
    for life in range(1, 151):
        burst = Burst(200, dice.choice((8, 100, 3000)), flushed=False)
        pid = nursery.sender(exchange.descriptor("one", "sender", life), burst)
        time.sleep(dice.random() * 0.006)
        nursery.kill(pid)
        exchange.tell(b"one", MonitorDown(life, "sender", life, KILLED, True))
        heard = numbers(heard_before_the_news(one, slowly=mailbox < 10))
        assert heard == list(range(1, len(heard) + 1))
        cut_short += len(heard) < burst.count
        assert nothing_follows(one), f"{len(heard)} messages, the news, and then more"
    assert 0 < cut_short < 151  # the instants were such that both happened


@pytest.mark.parametrize("mailbox", [200, 20], ids=["room for all", "a mailbox that is full"])
def test_nothing_is_missing_of_what_had_left_the_sender(exchange: Exchange, nursery: Nursery, mailbox: int) -> None:
    """The sender keeps to the bound of the mailbox, as every actor does."""
    one, _ = exchange.mail("one", mailbox=mailbox)
    introduce(exchange, one)
    for life in range(1, 151):
        burst = Burst(mailbox, 500, flushed=True)
        pid = nursery.sender(exchange.descriptor("one", "sender", life), burst)
        nursery.kill(pid)
        exchange.tell(b"one", LinkExit("sender", life, KILLED, True))
        assert numbers(heard_before_the_news(one)) == list(range(1, mailbox + 1))
        assert nothing_follows(one)


def test_news_comes_last_although_others_keep_the_mailbox_full(exchange: Exchange, nursery: Nursery) -> None:
    one, _ = exchange.mail("one", mailbox=4)
    introduce(exchange, one)
    others = [exchange.stranger("one") for _ in range(5)]
    for life in range(1, 41):
        for other in others:
            for number in range(20):
                other.send(encode(Send(number + 1, [[CAUSE, bytes(4)]])))
        while len(one.letters) < 4:
            one.wait(5.0)
        pid = nursery.sender(exchange.descriptor("one", "sender", life), Burst(4, 100, flushed=True))
        nursery.kill(pid)
        exchange.tell(b"one", MonitorDown(life, "sender", life, KILLED, True))
        heard = [number for number in numbers(heard_before_the_news(one, slowly=True)) if number]
        assert heard == [1, 2, 3, 4]
        while not nothing_follows(one):
            pass


def test_many_that_die_at_once_are_each_heard_out(exchange: Exchange, nursery: Nursery) -> None:
    one, _ = exchange.mail("one", mailbox=1000)
    introduce(exchange, one)
    names = [f"sender{number}" for number in range(20)]
    pids = [nursery.sender(exchange.descriptor("one", name, 1), Burst(30, 1000, flushed=True)) for name in names]
    for pid in pids:
        nursery.kill(pid)
    begun = time.monotonic()
    exchange.tell(b"one", *(ChildEnded(name, 1, "error", None, KILLED, True) for name in reversed(names)))
    spoken = dict.fromkeys(names, 0)
    ended: list[str] = []
    while len(ended) < len(names):
        letter = next_one(one)
        if isinstance(letter, Letter):
            assert letter.sender is not None
            assert letter.sender not in ended
            spoken[letter.sender] += 1
        else:
            ended.append(letter.params[0])
    assert set(spoken.values()) == {30}
    assert ended == names[::-1]
    assert time.monotonic() - begun < 5.0


def test_who_had_not_spoken_lately_is_told_of_at_once(exchange: Exchange, nursery: Nursery) -> None:
    """A link that has ended is known, so there is nothing to wait for."""
    one, _ = exchange.mail("one", mailbox=100)
    introduce(exchange, one)
    took = []
    for life in range(1, 6):
        pid = nursery.sender(exchange.descriptor("one", "sender", life), Burst(3, 10, flushed=True))
        for _ in range(3):
            next_one(one)
        nursery.kill(pid)
        begun = time.monotonic()
        exchange.tell(b"one", MonitorDown(1, "sender", life, KILLED, True))
        assert heard_before_the_news(one) == []
        took.append(time.monotonic() - begun)
    assert min(took) < 0.09  # A rule that waits would wait each time; a busy machine does not.


def test_news_of_one_who_never_spoke_does_not_wait(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    introduce(exchange, one)
    took = []
    for number in range(1, 6):
        begun = time.monotonic()
        exchange.tell(b"one", MonitorDown(number, f"nobody{number}", 0, {**KILLED, "reason": "no_process"}, False))
        letter = next_one(one)
        assert isinstance(letter, News)
        assert letter.function == "handle-down"
        assert letter.params[2]["kind"] == "no-process"
        took.append(time.monotonic() - begun)
    assert min(took) < 0.09


def test_news_of_one_whose_connection_does_not_end_waits_a_second(exchange: Exchange, nursery: Nursery) -> None:
    """A process may outlive its own SIGKILL."""
    one, _ = exchange.mail("one")
    introduce(exchange, one)
    burst = Burst(2, 10, flushed=False)
    pid = nursery.sender(exchange.descriptor("one", "undead", 1), burst)
    assert isinstance(next_one(one), Letter)
    begun = time.monotonic()
    exchange.tell(b"one", MonitorDown(1, "undead", 1, KILLED, True))
    assert len(heard_before_the_news(one)) == 1
    assert 0.9 < time.monotonic() - begun < 5.0
    nursery.kill(pid)


def test_what_is_undone_is_not_told_wherever_its_news_waits(exchange: Exchange) -> None:
    one, _ = exchange.mail("one")
    introduce(exchange, one)
    exchange.tell(b"one", MonitorDown(1, "a", 1, KILLED, False), LinkExit("a", 1, KILLED, False))
    shy = exchange.stranger("one", "shy", 1)
    exchange.tell(b"one", MonitorDown(2, "shy", 1, KILLED, True), LinkExit("shy", 1, KILLED, True))
    while len(one.letters) < 2:
        one.wait(1.0)
    assert one.take_back(Asked("monitor", 1))
    deadline = time.monotonic() + PATIENCE
    while not one.take_back(Asked("link", "shy")):  # It may be on its way still.
        assert time.monotonic() < deadline
        one.wait(0.01)
    assert not one.take_back(Asked("monitor", 1))
    shy.close()
    told = [next_one(one), next_one(one)]
    assert [letter.function for letter in told] == ["handle-exit", "handle-down"]
    assert [letter.interface for letter in told if isinstance(letter, News)] == [MONITOR_HANDLERS] * 2
    assert nothing_follows(one)
