"""Time, chance and variables as a guest uses them (tests/actors/system.wat): bounded, granted, recorded."""

from __future__ import annotations

import os
import struct
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime
from house import RESTLESS, House, eventually, make_house, outcome
from replays import reproduced

from theater.client import Row
from theater.core.chain import HostCall
from theater.errors import ActorFailed, ComponentError

Name = Callable[[], str]
SYSTEM = Path(__file__).parents[1] / "actors" / "system.wat"
HANDLERS = ("message-server", "timing", "random", "environment")
SEEDED = '[[handler]]\ntype = "random"\nseed = "a good seed"'
LARGEST = (1 << 64) - 1


@pytest.fixture(scope="module")
def component() -> bytes:
    return bytes(wasmtime.wat2wasm(SYSTEM.read_text()))


@pytest.fixture(scope="module")
def house(component: bytes) -> Iterator[House]:
    shared = make_house(component)
    try:
        shared.server = shared.popen(APP_COLOUR="blue", APP_SIZE="9 m²", OTHER="hidden")
        shared.await_server()
        yield shared
    finally:
        shared.close()


def start(house: House, name: str, *more: str, **facts: object) -> Row:
    """An actor with these tables of handlers, and with those without permissions that its component needs beside."""
    path = house.folder / f"{name}.toml"
    house.write(name, handlers=[kind for kind in HANDLERS if f'"{kind}"' not in "".join(more)], **facts)
    path.write_text(path.read_text().replace("[actor]", "\n".join([*more, "[actor]"])))
    return house.client.start(path)


def number(op: bytes, *numbers: int) -> bytes:
    return op + b"".join(value.to_bytes(8, "little") for value in numbers)


def ask(house: House, row: Row, message: bytes) -> bytes:
    return house.client.request(row.id, message)


def refusal(house: House, row: Row, message: bytes) -> str:
    with pytest.raises(ActorFailed) as failed:
        ask(house, row, message)
    return failed.value.message


# ---- time


def test_the_clock_is_that_of_wasi(house: House, name: Name) -> None:
    row = start(house, name())
    before = time.time_ns() // 10**6
    told = int.from_bytes(ask(house, row, b"n"), "little")
    seconds, nanoseconds = struct.unpack("<QI", ask(house, row, b"C"))
    assert before <= told <= seconds * 1000 + nanoseconds // 10**6 <= time.time_ns() // 10**6
    reproduced(house, row.id)


def test_a_sleep_is_as_long_as_it_says_and_recorded(house: House, name: Name) -> None:
    row = start(house, name())
    began = time.monotonic()
    assert ask(house, row, number(b"z", 60)) == number(b"z", 60)
    until = time.time_ns() // 10**6 + 60
    ask(house, row, number(b"D", until))
    assert time.monotonic() - began >= 0.12
    assert time.time_ns() // 10**6 >= until
    calls = [entry for entry in reproduced(house, row.id) if isinstance(entry, HostCall)]
    assert [(call.function, *call.args) for call in calls] == [("sleep", 60), ("deadline", until)]


def test_a_moment_that_has_passed_is_not_waited_for(house: House, name: Name) -> None:
    row = start(house, name())
    assert ask(house, row, number(b"D", 1)) == number(b"D", 1)


@pytest.mark.parametrize("message", [number(b"z", 60_000), number(b"z", LARGEST), number(b"D", LARGEST)])
def test_a_wait_that_is_longer_than_the_call_is_refused_at_once(house: House, name: Name, message: bytes) -> None:
    row = start(house, name(), limits={"call_timeout": "5s"})
    assert "call_timeout" in refusal(house, row, message)
    assert ask(house, row, b"still here") == b"still here"
    reproduced(house, row.id)


def test_a_sleeper_takes_in_its_mail_and_holds_up_nobody_else(house: House, name: Name) -> None:
    sleeper, other = start(house, name()), start(house, name())
    sleep = threading.Thread(target=house.connect().request, args=(sleeper.id, number(b"z", 1500)))
    sleep.start()
    eventually(lambda: house.client.read_events(sleeper.id, types=["host-call"]), "it sleeps")
    began = time.monotonic()
    house.client.send(sleeper.id, b"a message")  # Whoever sends is told that it was taken in.
    ask(house, other, b"and so on")
    assert sleep.is_alive(), time.monotonic() - began
    sleep.join()


def test_who_is_stopped_in_his_sleep_ends(house: House, name: Name) -> None:
    sleeper = start(house, name(), supervision={"shutdown": "20s"})
    sleep = threading.Thread(target=outcome, args=(lambda: house.connect().request(sleeper.id, number(b"z", 25_000)),))
    sleep.start()
    eventually(lambda: house.client.read_events(sleeper.id, types=["host-call"]), "it sleeps")
    began = time.monotonic()
    house.client.stop(sleeper.id)
    assert time.monotonic() - began < 10
    sleep.join()
    reproduced(house, sleeper.id)


# ---- chance


def test_numbers_are_within_their_ranges(house: House, name: Name) -> None:
    row = start(house, name())
    for low, high in [(0, 1), (5, 7), (0, LARGEST), (LARGEST - 1, LARGEST)]:
        assert low <= int.from_bytes(ask(house, row, number(b"r", low, high)), "little") < high
    (fraction,) = struct.unpack("<d", ask(house, row, b"f"))
    assert 0 <= fraction < 1
    assert uuid.UUID(ask(house, row, b"u").decode()).version == 4
    assert len(ask(house, row, b"b" + (100).to_bytes(4, "little"))) == 100
    assert ask(house, row, b"b" + bytes(4)) == b""
    reproduced(house, row.id)


def test_what_cannot_be_drawn_is_refused(house: House, name: Name) -> None:
    row = start(house, name())
    assert "up to, but not including, 7" in refusal(house, row, number(b"r", 7, 7))
    assert "1048576 are allowed" in refusal(house, row, b"b" + (1048577).to_bytes(4, "little"))


def test_a_seed_gives_each_life_a_stream_of_its_own_the_same_in_every_run(house: House, name: Name) -> None:
    own = name()
    draws: list[list[bytes]] = []
    for _ in range(2):
        row = start(house, own, SEEDED, supervision=RESTLESS)
        told = []
        for _ in range(2):
            told += [
                ask(house, row, b"u"),
                ask(house, row, number(b"W", 16)),
                ask(house, row, number(b"r", 0, LARGEST)),
            ]
            house.kill_worker(row.id)
        draws.append(told)
        reproduced(house, row.id)
        house.client.stop(row.id, remove=True)
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 6


def test_without_a_seed_nothing_comes_twice(house: House, name: Name) -> None:
    rows = [start(house, name()) for _ in range(2)]
    assert len({ask(house, row, message) for row in rows for message in (b"u", number(b"W", 16))}) == 4


# ---- variables


def granting(*variables: str) -> str:
    return f'[[handler]]\ntype = "environment"\nvariables = [{", ".join(f"{each!r}" for each in variables)}]'


def test_an_actor_sees_the_variables_that_are_granted_and_no_other(house: House, name: Name) -> None:
    row = start(house, name(), granting("APP_*", "NOT_SET"))
    assert ask(house, row, b"vAPP_COLOUR") == b"blue"
    assert ask(house, row, b"l").decode() == "APP_COLOUR=blue\nAPP_SIZE=9 m²\n"
    assert ask(house, row, b"eAPP_SIZE") == b"\1"
    for hidden in (b"OTHER", b"NOT_SET", b"PATH", b"", b"APP_*"):
        assert ask(house, row, b"v" + hidden) == b""
        assert ask(house, row, b"e" + hidden) == b"\0"
    reproduced(house, row.id)


def test_nothing_is_granted_by_default(house: House, name: Name) -> None:
    assert "PATH" in os.environ
    row = start(house, name())
    assert ask(house, row, b"l") == b""


def test_without_the_handler_there_is_no_actor(house: House, name: Name) -> None:
    house.write(own := name(), handlers=["message-server", "timing", "environment"])
    with pytest.raises(ComponentError, match='type = "random"'):
        house.client.start(house.folder / f"{own}.toml")
