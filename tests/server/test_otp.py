"""Identity, names, timers and requests with a time of their own, as a guest uses them (tests/actors/clock.wat)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, eventually, make_house, outcome

from theater.client import Row
from theater.errors import ActorFailed

Name = Callable[[], str]
CLOCK = Path(__file__).parents[1] / "actors" / "clock.wat"
HANDLERS = ("message-server", "registry", "timers")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server whose actors are clocks."""
    shared = make_house(bytes(wasmtime.wat2wasm(CLOCK.read_text())))
    try:
        yield shared.open()
    finally:
        shared.close()


def start(house: House, name: str, **facts: Any) -> Row:
    return house.start(name, handlers=HANDLERS, **facts)


def after(delay_ms: int, message: bytes) -> bytes:
    return b"t" + delay_ms.to_bytes(4, "little") + message


def every(period_ms: int, message: bytes) -> bytes:
    return b"i" + period_ms.to_bytes(4, "little") + message


def timed(name: str, timeout_ms: int, message: bytes) -> bytes:
    return b"x" + name.ljust(8).encode() + timeout_ms.to_bytes(4, "little") + message


def counted(house: House, actor: str) -> int:
    """What the actor has counted to, without making it count."""
    state = house.client.state(actor).state
    return int.from_bytes((state or b"")[:4], "little")


# ---- identity


def test_an_actor_knows_which_life_it_is(house: House, name: Name) -> None:
    row = start(house, name())
    for life in (1, 2, 3):
        assert int.from_bytes(house.client.request(row.id, b"m"), "little") == life
        house.kill_worker(row.id)


def test_an_actor_knows_who_sent_what_it_handles(house: House, name: Name) -> None:
    asker, asked = start(house, name()), start(house, name())
    house.client.request(asker.id, timed(asked.name, 5000, b"hello"))
    assert house.client.request(asked.id, b"s").decode() == asker.id
    house.client.request(asked.id, b"from outside")
    assert house.client.request(asked.id, b"s") == b""


def test_an_actor_knows_until_when_it_is_waited_for(house: House, name: Name) -> None:
    row = start(house, name())
    deadline = int.from_bytes(house.client.request(row.id, b"d", timeout=20.0), "little") / 1000
    assert 10 < deadline - time.time() < 21


# ---- names


def test_a_name_works_as_an_id_does(house: House, name: Name) -> None:
    row, other, alias = start(house, name()), start(house, name()), name()
    house.client.request(row.id, b"R" + alias.encode())
    assert house.client.request(other.id, b"w" + alias.encode()).decode() == row.id
    assert house.client.request(other.id, timed(alias, 5000, b"hello")) == b"hello"
    assert house.client.request(alias, b"hello") == b"hello"
    assert house.client.inspect(row.id).facts["registered"] == sorted([row.name, alias])


def test_a_name_belongs_to_one_actor(house: House, name: Name) -> None:
    row, other, alias = start(house, name()), start(house, name()), name()
    house.client.request(row.id, b"R" + alias.encode())
    house.client.request(row.id, b"R" + alias.encode())  # its own once more
    with pytest.raises(ActorFailed, match=row.id):
        house.client.request(other.id, b"R" + alias.encode())
    with pytest.raises(ActorFailed, match="not registered by this actor"):
        house.client.request(other.id, b"U" + alias.encode())


def test_a_name_that_was_given_back_means_nobody(house: House, name: Name) -> None:
    row, other, alias = start(house, name()), start(house, name()), name()
    house.client.request(row.id, b"R" + alias.encode())
    assert house.client.request(other.id, timed(alias, 5000, b"hello")) == b"hello"
    house.client.request(row.id, b"U" + alias.encode())
    assert house.client.request(other.id, b"w" + alias.encode()) == b""
    with pytest.raises(ActorFailed, match=f"'{alias}'"):
        house.client.request(other.id, timed(alias, 5000, b"hello"))
    house.client.request(other.id, b"R" + alias.encode())
    assert house.client.request(alias, b"m") == (1).to_bytes(8, "little")


def test_a_name_outlives_a_restart_and_ends_with_a_stop(house: House, name: Name) -> None:
    row, other, alias = start(house, name()), start(house, name()), name()
    house.client.request(row.id, b"R" + alias.encode())
    house.kill_worker(row.id)
    assert house.client.request(other.id, b"w" + alias.encode()).decode() == row.id
    house.client.stop(row.id)
    assert house.client.request(other.id, b"w" + alias.encode()) == b""


@pytest.mark.parametrize("words", [b"", b"two words", b"x" * 65, "é".encode(), b"-x", b"a/b"])
def test_what_is_no_name_is_refused(house: House, name: Name, words: bytes) -> None:
    row = start(house, name())
    with pytest.raises(ActorFailed, match="not a name"):
        house.client.request(row.id, b"R" + words)


# ---- timers


def test_a_timer_brings_its_message_once(house: House, name: Name) -> None:
    row = start(house, name())
    house.client.request(row.id, after(20, b"c"))
    eventually(lambda: counted(house, row.id) == 1)
    assert house.client.request(row.id, b"s").decode() == row.id
    time.sleep(0.1)  # it would have come again by now
    assert counted(house, row.id) == 1


def test_an_interval_brings_its_message_again_and_again(house: House, name: Name) -> None:
    row = start(house, name())
    timer = house.client.request(row.id, every(10, b"c"))
    eventually(lambda: counted(house, row.id) >= 5)
    assert house.client.request(row.id, b"k" + timer) == b"\x01"
    assert house.client.request(row.id, b"k" + timer) == b"\x00"
    now = counted(house, row.id)
    time.sleep(0.1)
    assert counted(house, row.id) == now


def test_timers_outlive_a_kill(house: House, name: Name) -> None:
    row = start(house, name(), supervision=RESTLESS)
    house.client.request(row.id, b"c")
    house.client.request(row.id, after(300, b"c"))
    house.client.request(row.id, every(50, b"."))
    house.kill_worker(row.id)
    eventually(lambda: counted(house, row.id) == 2)
    house.kill_worker(row.id)
    ticks = [event for event in house.client.read_events(row.id, types=["call"]) if event.data["args"] == [b"."]]
    eventually(
        lambda: (
            len([event for event in house.client.read_events(row.id, types=["call"]) if event.data["args"] == [b"."]])
            > len(ticks)
        )
    )


def test_timers_of_a_fresh_life_are_gone(house: House, name: Name) -> None:
    row = start(house, name(), supervision={"state": "fresh", **RESTLESS})
    house.client.request(row.id, every(20, b"c"))
    eventually(lambda: counted(house, row.id) >= 1)
    house.kill_worker(row.id)
    calls = len(list(house.client.read_events(row.id, types=["call"])))
    time.sleep(0.15)
    assert len(list(house.client.read_events(row.id, types=["call"]))) == calls


def test_a_timer_that_was_due_while_the_actor_was_down_comes_when_it_is_back(house: House, name: Name) -> None:
    row = start(house, name())
    house.client.request(row.id, b"c")
    house.client.request(row.id, after(50, b"c"))
    house.client.stop(row.id)
    time.sleep(0.1)
    house.client.restart(row.id)
    eventually(lambda: counted(house, row.id) == 2)


def test_timers_have_bounds(house: House, name: Name) -> None:
    row = start(house, name())
    with pytest.raises(ActorFailed, match="interval of 0"):
        house.client.request(row.id, every(0, b"c"))
    assert house.client.request(row.id, after(2**32 - 1, b"c"))  # some 50 days, longer than a poll(2) can wait
    assert house.client.request(row.id, b"hello") == b"hello"
    assert house.row(row.id).incarnation == 1


def test_an_actor_of_many_timers_still_answers(house: House, name: Name) -> None:
    row = start(house, name())
    for _ in range(20):
        house.client.request(row.id, every(1, b"."))
    for number in range(50):
        assert house.client.request(row.id, b"hello %d" % number, timeout=10.0) == b"hello %d" % number
    assert house.client.stop(row.id).last_exit.reason == "shutdown"  # type: ignore[union-attr]


# ---- requests


def test_a_request_may_have_a_time_of_its_own(house: House, name: Name) -> None:
    asker = start(house, name())
    sleeper = start(house, name())
    house.kill(sleeper.pid or 0, 19)  # stopped in its tracks, it answers nobody
    begun = time.monotonic()
    with pytest.raises(ActorFailed, match="did not answer in time"):
        house.client.request(asker.id, timed(sleeper.name, 100, b"hello"))
    assert time.monotonic() - begun < 3.0
    house.kill(sleeper.pid or 0, 18)
    assert house.client.request(asker.id, timed(sleeper.name, 5000, b"hello")) == b"hello"


def test_what_is_not_granted_is_refused_when_it_starts(house: House, name: Name) -> None:
    assert outcome(lambda: house.start(name(), handlers=("message-server", "timers"))) == "ComponentError"
