"""`theater why` of real actors, while they hang, wait, sleep or are between two lives."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, asking, eventually

from theater.client import Client, Row
from theater.wasm.componentize import componentize

Name = Callable[[], str]
ACTORS = Path(__file__).parents[1] / "actors"


def submit(client: Client, actor: str, body: bytes) -> int:
    """Sends a request and does not wait for its end."""
    return client._link.submit("message", {"actor": actor, "body": body, "request": True, "timeout_ms": 60_000}, 65.0)


def wat(name: str) -> bytes:
    return bytes(wasmtime.wat2wasm((ACTORS / f"{name}.wat").read_text()))


def told(found: dict[str, Any]) -> str:
    return "; ".join([*found["sentences"], *found["advice"]])


def why(house: House, actor: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The answer, once `condition` holds for it."""
    last: dict[str, Any] = {}

    def look() -> dict[str, Any] | None:
        last.clear()
        last.update(house.client.why(actor))
        return last if condition(last) else None

    return dict(eventually(look, lambda: told(last)))


@pytest.fixture
def ring(house: House, name: Name) -> Iterator[list[Row]]:
    """Three actors that wait for each other: each was asked to ask the next before it could take what the one before
    asks of it. No path leads round, so none is refused; only a timeout ends it."""
    patient = {"request_timeout": "25s"}
    rows = [house.start(name(), limits=patient) for _ in range(3)]
    pairs = list(zip(rows, [*rows[1:], rows[0]], strict=True))
    for asker, asked in pairs:
        house.client.request(asker.id, asking(asked.name, b"e they know where each other is"))

    def closed() -> bool:
        for row in rows:
            os.kill(row.pid or 0, signal.SIGSTOP)
        client = house.connect()
        for asker, asked in pairs:
            submit(client, asker.id, asking(asked.name, b"e"))
        for row in rows:
            eventually(lambda row=row: house.client.why(row.id)["mailbox"]["outside"] == 1, "the message is on its way")
        for row in rows:
            os.kill(row.pid or 0, signal.SIGCONT)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            if house.client.why(rows[0].id)["circle"] is not None:
                return True
            if not any(house.client.why(row.id)["mailbox"]["outside"] for row in rows):
                return False  # One took the other's question before its own: all were answered.
        return False

    eventually(closed, "a circle closes")
    try:
        yield rows
    finally:
        for row in rows:
            house.kill_worker(row.id)


def test_three_that_ask_each_other_are_a_deadlock_with_its_members_and_its_end(house: House, ring: list[Row]) -> None:
    for row in ring:
        found = house.client.why(row.id)
        assert {wait["who"] for wait in found["circle"]["members"]} == {each.id for each in ring}
        assert found["waits"]["kind"] == "reply"
        assert found["activity"] == "waiting"
        left = (found["circle"]["until_ns"] - time.time_ns()) / 1e9
        assert 0 < left <= 25.0
        assert "deadlock" in told(found)
        assert "theater restart" in told(found)
    eventually(lambda: house.client.why()["circles"], "the circle is found without asking about a member")
    everything = house.client.why()
    (circle,) = everything["circles"]
    assert len(circle["members"]) == 3
    assert {row.id for row in ring} <= {each["id"] for each in everything["suspicious"]}


def test_where_it_waits_is_the_entry_of_its_chain_that_says_so(house: House, ring: list[Row]) -> None:
    wait = house.client.why(ring[0].id)["waits"]
    (event,) = house.client.events(ring[0].id, wait["entry"], limit=1).events
    assert (event.type, event.data["function"], event.data["args"][0]) == ("host-call", "request", ring[1].name)


def test_an_idle_actor_waits_for_nothing(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    found = why(house, row.id, lambda found: found["activity"] == "idle")
    assert found["waits"] is None
    assert "idle" in told(found)
    assert [event["type"] for event in found["last"]][-2:] == ["call", "outcome"]
    assert row.id not in {each["id"] for each in house.client.why()["suspicious"]}


def test_a_line_of_waits_leads_to_the_one_that_hangs(house: House, name: Name) -> None:
    first, second, hung = (house.start(name(), limits={"call_timeout": "60s"}) for _ in range(3))
    client = house.connect()
    submit(client, hung.id, b"b")
    why(house, hung.id, lambda found: found["activity"] == "computing")
    submit(client, second.id, asking(hung.name, b"e"))
    submit(client, first.id, asking(second.name, b"e"))
    found = why(house, first.id, lambda found: len(found["path"]) == 2)
    assert [wait["on"] for wait in found["path"]] == [second.id, hung.id]
    assert f"{hung.name} computes" in told(found)
    found = why(house, hung.id, lambda found: found["held_up"] == 2)
    assert "its guest computes" in told(found)
    assert [wait["who"] for wait in found["waiters"]] == [second.id]
    suspicious = eventually(
        lambda: {each["id"] for each in house.client.why()["suspicious"]} >= {first.id, second.id, hung.id} or None
    )
    assert suspicious
    house.kill_worker(hung.id)


def test_a_process_that_is_stopped_is_said_to_be(house: House, name: Name) -> None:
    row = house.start(name())
    os.kill(row.pid or 0, signal.SIGSTOP)
    try:
        submit(house.connect(), row.id, b"e")
        why(house, row.id, lambda found: "stopped by a signal" in told(found) and found["mailbox"]["outside"] == 1)
        everything = eventually(lambda: [e for e in house.client.why()["suspicious"] if e["id"] == row.id])
        assert everything
    finally:
        os.kill(row.pid or 0, signal.SIGCONT)


def test_whoever_sleeps_says_until_when(house: House, name: Name) -> None:
    (house.folder / "system.wasm").write_bytes(wat("system"))
    handlers = ("message-server", "timing", "random", "environment")
    row = house.start(name(), component="system.wasm", handlers=handlers)
    submit(house.connect(), row.id, b"z" + (20_000).to_bytes(8, "little"))
    found = why(house, row.id, lambda found: found["waits"] is not None)
    assert found["waits"]["kind"] == "sleep"
    assert 0 < (found["waits"]["until_ns"] - time.time_ns()) / 1e9 <= 20
    house.kill_worker(row.id)


def test_a_request_to_a_server_that_does_not_answer_is_named(house: House, name: Name) -> None:
    (house.folder / "fetch.wasm").write_bytes(componentize(wat("fetch")))
    path = house.write(name(), component="fetch.wasm")
    grant = '[[handler]]\ntype = "http-client"\nallow = ["* http://127.0.0.1:*/*"]\nprivate = ["127.0.0.1"]\n[actor]'
    path.write_text(path.read_text().replace("[actor]", grant))
    row = house.client.start(path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/never"
        submit(house.connect(), row.id, (1).to_bytes(4, "little") + url.encode())
        found = why(house, row.id, lambda found: found["waits"] is not None and found["waits"]["kind"] == "service")
        assert url in found["waits"]["for"]
        house.kill_worker(row.id)


def test_an_actor_between_two_lives_says_why_and_when_it_is_tried_again(house: House, name: Name) -> None:
    pause = {"initial": "20s", "max": "20s", "jitter": 0.0}
    row = house.start(name(), supervision={**RESTLESS, "backoff": pause})
    client = house.connect()
    for _ in range(2):  # the first restart may be without a pause
        submit(client, row.id, b"u")
        house.await_row(row.id, lambda now: now.state == "restarting" or now.incarnation > row.incarnation)
        if house.row(row.id).state == "restarting":
            break
    found = why(house, row.id, lambda found: found["attempt_ns"] is not None)
    assert 0 < (found["attempt_ns"] - time.time_ns()) / 1e9 <= 20
    assert "its last life trapped" in told(found)
    assert "the next attempt" in told(found)
    asker = house.start(name())
    submit(client, asker.id, b"s" + row.name.ljust(8).encode() + b"e")
    found = why(house, asker.id, lambda found: found["waits"] is not None)
    assert (found["waits"]["kind"], found["waits"]["on"]) == ("receiver", row.id)
    house.client.stop(row.id)


def test_an_actor_that_failed_says_how_to_start_it_again(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"intensity": 0, "period": 5})
    submit(house.connect(), row.id, b"u")
    house.await_row(row.id, lambda now: now.state == "failed")
    found = house.client.why(row.id)
    assert "its supervisor has given up" in told(found)
    assert f"`theater restart {row.name}`" in told(found)


def test_a_reply_that_was_promised_for_later_is_told_on_both_sides(house: House, name: Name) -> None:
    asker, asked = house.start(name(), limits={"request_timeout": "25s"}), house.start(name())
    submit(house.connect(), asker.id, asking(asked.name, b"n"))
    found = why(house, asked.id, lambda found: "promised to answer later" in told(found))
    assert found["waiters"][0]["who"] == asker.id
    found = why(house, asker.id, lambda found: found["waits"] is not None)
    assert found["waits"]["on"] == asked.id
    assert "promised to answer later" in told(found)
    house.client.request(asked.id, b"r now")


def test_everybody_is_asked_about_without_asking_anybody(house: House, name: Name) -> None:
    """A hung worker would not answer; so one that is stopped while it waits is told about all the same."""
    asker, asked = house.start(name(), limits={"request_timeout": "25s"}), house.start(name())
    submit(house.connect(), asker.id, asking(asked.name, b"n"))
    why(house, asked.id, lambda found: "promised to answer later" in told(found))
    for row in (asker, asked):
        os.kill(row.pid or 0, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert house.client.why(asker.id)["waits"]["on"] == asked.id
        assert house.client.why()["in_calls"] >= 1
        assert time.monotonic() - begun < 20
    finally:
        for row in (asker, asked):
            os.kill(row.pid or 0, signal.SIGCONT)
    house.client.request(asked.id, b"r now")
