"""The seam: each host call permitted, recorded in order, answered, and refused in the guest's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from theater.core.values import Err, Ok
from theater.errors import ActorDown, LimitExceeded
from theater.host.base import Caused, Refused, Seam
from theater.host.otp import MAX_DELAY_MS, Timers

RESULT = ((), ("result", "string", "string"))
PLAIN = ((), "string")


class Recording:
    """A record in memory."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []

    def host_call(self, interface: str, function: str, args: Sequence[Any]) -> bytes:
        self.entries.append(("call", interface, function, tuple(args)))
        return b"digest %d" % len(self.entries)

    def host_result(self, value: Any, cause: bytes | None) -> None:
        self.entries.append(("result", value, cause))


class House:
    """An interface with a method for every kind of answer."""

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self.origins: list[bytes] = []

    def get_name(self, number: int) -> str:
        self.origins.append(self._seam.origin)
        return f"name {number}"

    def refuse(self) -> str:
        raise Refused("not today")

    def go_down(self) -> str:
        raise ActorDown("it is down")

    def fetch(self) -> Caused:
        return Caused("fetched", b"cause")

    def break_down(self) -> str:
        raise RuntimeError("a defect")

    def _hidden(self) -> str:
        return "secret"


@pytest.fixture
def record() -> Recording:
    return Recording()


@pytest.fixture
def seam(record: Recording) -> Seam:
    made = Seam()
    made.attach(record, {"house": House(made)}, {"vault": "the manifest does not grant vault"})
    return made


def test_a_call_is_recorded_before_its_result(seam: Seam, record: Recording) -> None:
    assert seam.bind("house", "get-name", PLAIN)(7) == "name 7"
    assert record.entries == [("call", "house", "get-name", (7,)), ("result", "name 7", None)]


def test_a_result_type_gets_its_ok(seam: Seam, record: Recording) -> None:
    assert seam.bind("house", "get-name", RESULT)(7) == Ok("name 7")
    assert record.entries[-1] == ("result", Ok("name 7"), None)


@pytest.mark.parametrize(("function", "words"), [("refuse", "not today"), ("go-down", "it is down")])
def test_a_refusal_is_an_err_and_recorded(seam: Seam, record: Recording, function: str, words: str) -> None:
    assert seam.bind("house", function, RESULT)() == Err(words)
    assert record.entries[-1] == ("result", Err(words), None)


def test_a_refusal_where_the_type_has_no_err_ends_the_call(seam: Seam) -> None:
    with pytest.raises(Refused):
        seam.bind("house", "refuse", PLAIN)()


def test_the_cause_of_a_value_is_recorded_and_not_given(seam: Seam, record: Recording) -> None:
    assert seam.bind("house", "fetch", RESULT)() == Ok("fetched")
    assert record.entries[-1] == ("result", Ok("fetched"), b"cause")


def test_a_defect_is_not_an_answer(seam: Seam) -> None:
    with pytest.raises(RuntimeError):
        seam.bind("house", "break-down", RESULT)()


def test_what_is_not_granted_is_refused_with_what_to_do(seam: Seam, record: Recording) -> None:
    assert seam.bind("vault", "open", RESULT)() == Err("the manifest does not grant vault")
    assert record.entries[0] == ("call", "vault", "open", ())


def test_what_is_unknown_or_private_is_refused(seam: Seam) -> None:
    assert seam.bind("house", "burn", RESULT)() == Err("house is not available to this actor")
    assert seam.bind("house", "-hidden", RESULT)() == Err("house is not available to this actor")


def test_a_method_knows_the_entry_that_asks(record: Recording) -> None:
    seam = Seam()
    house = House(seam)
    seam.attach(record, {"house": house}, {})
    for number in range(3):
        seam.bind("house", "get-name", PLAIN)(number)
    assert house.origins == [b"digest 1", b"digest 3", b"digest 5"]


def test_nothing_is_called_before_there_is_an_actor() -> None:
    with pytest.raises(Refused, match="before there was an actor"):
        Seam().bind("house", "get-name", RESULT)(1)


def test_what_a_template_was_answered_is_recorded_by_each_life(record: Recording) -> None:
    seam = Seam()
    assert seam.answer("wasi:random", "get", (8,), lambda: b"12345678") == b"12345678"
    seam.attach(record, {}, {})
    assert record.entries == [("call", "wasi:random", "get", (8,)), ("result", b"12345678", None)]
    assert seam.answer("wasi:clocks", "now", (), lambda: 5) == 5
    assert record.entries[2:] == [("call", "wasi:clocks", "now", ()), ("result", 5, None)]


def test_a_record_that_is_full_ends_the_call(seam: Seam) -> None:
    class Full(Recording):
        def host_call(self, interface: str, function: str, args: Sequence[Any]) -> bytes:
            raise LimitExceeded("one call recorded too much")

    made = Seam()
    made.attach(Full(), {"house": House(made)}, {})
    with pytest.raises(LimitExceeded):
        made.bind("house", "get-name", RESULT)(1)


class Clockwork:
    def __init__(self) -> None:
        self.started: list[tuple[int, int, bytes]] = []

    def start(self, delay_ms: int, period_ms: int, msg: bytes) -> int:
        self.started.append((delay_ms, period_ms, msg))
        return len(self.started)

    def cancel(self, timer: int) -> bool:
        return timer <= len(self.started)


def test_timers_have_bounds() -> None:
    clockwork = Clockwork()
    timers = Timers(clockwork)
    assert timers.send_after(0, b"now") == 1
    assert timers.send_interval(1, b"often") == 2
    assert clockwork.started == [(0, 0, b"now"), (1, 1, b"often")]
    with pytest.raises(Refused, match="interval of 0"):
        timers.send_interval(0, b"")
    for start in (timers.send_after, timers.send_interval):
        with pytest.raises(Refused, match="366 days"):
            start(MAX_DELAY_MS + 1, b"")
