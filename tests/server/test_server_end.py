"""The end of the server itself, in order and not, and its return to the same home."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import wasmtime
from house import RESTLESS, House, bare_actor, eventually, manifest, marked, outcome

from theater.client import Client, deploy
from theater.errors import NoServer


def sockets(house: House) -> list[str]:
    return sorted(path.name for path in (house.home / "run").iterdir())


def three_actors(house: House) -> list[str]:
    return [house.start(name).id for name in ("one", "two", "three")]


def end_by_signal(number: int) -> object:
    return lambda house: house.send_signal(number)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(end_by_signal(signal.SIGINT), id="Ctrl-C"),
        pytest.param(end_by_signal(signal.SIGTERM), id="SIGTERM"),
        pytest.param(lambda house: house.client.stop_server(), id="stop_server"),
    ],
)
def test_an_orderly_end_stops_actors_in_reverse_order_and_leaves_nothing(own_house: House, end: object) -> None:
    """(1.9.1, 1.9.3) Whoever stops the server stops the root supervisor, and nobody else can."""
    house = own_house
    ids = three_actors(house)
    assert callable(end)
    end(house)
    assert house.await_end() == 0
    assert sockets(house) == []
    house.verify()
    house.open()
    exits = [facts for event, facts in house.history() if event == "exited"]
    assert [facts["actor"] for facts in exits] == ids[::-1]
    assert all(facts["reason"] == "shutdown" and facts["commanded"] for facts in exits)


def test_the_second_interrupt_kills(own_house: House) -> None:
    house = own_house
    house.start("busy", limits={"call_timeout": "infinity"}, supervision={"shutdown": "infinity"})
    link = house.connect()._link
    link.submit("message", {"actor": "busy", "body": b"b", "request": True, "timeout_ms": 60_000}, 60.0)
    eventually(lambda: house.client.inspect("busy").facts["call"] is not None)
    house.send_signal(signal.SIGINT)
    eventually(lambda: house.row("busy").state == "stopping")
    assert house.server is not None
    assert house.server.poll() is None
    house.send_signal(signal.SIGINT)
    assert house.await_end() == 0


def test_an_actor_that_does_not_end_in_time_is_killed(own_house: House) -> None:
    """(1.8, 1.24) The time to end is limited."""
    house = own_house
    row = house.start("busy", supervision={"shutdown": 100})
    link = house.connect()._link
    link.submit("message", {"actor": "busy", "body": b"b", "request": True, "timeout_ms": 60_000}, 60.0)
    eventually(lambda: house.client.inspect("busy").facts["call"] is not None)
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.open()
    last = [facts for event, facts in house.history() if event == "exited" and facts["actor"] == row.id][-1]
    assert last["signal"] == 9
    assert last["commanded"]


def test_whoever_waits_is_told_when_the_server_ends(own_house: House) -> None:
    house = own_house
    house.start("one")
    link = house.connect()._link
    polling = link.submit("events", {"actor": "one", "since": 99, "wait_ms": 60_000}, 60.0)
    asking = link.submit("message", {"actor": "one", "body": b"n", "request": True, "timeout_ms": 60_000}, 60.0)
    eventually(lambda: house.row("one").entries > 4)
    house.send_signal(signal.SIGTERM)
    assert link.outcome({polling}).value["events"] == []
    assert type(link.outcome({asking}).error).__name__ in ("ActorDown", "NoServer")
    assert house.await_end() == 0


def test_a_server_that_stops_starts_nothing_any_more(own_house: House) -> None:
    house = own_house
    house.start("busy", supervision={"shutdown": 500})
    link = house.connect()._link
    link.submit("message", {"actor": "busy", "body": b"b", "request": True, "timeout_ms": 60_000}, 60.0)
    eventually(lambda: house.client.inspect("busy").facts["call"] is not None)
    house.send_signal(signal.SIGTERM)
    eventually(lambda: house.row("busy").state == "stopping")
    path = house.write("late")
    with pytest.raises(Exception, match="stopping"):
        house.client.start(path)
    assert house.await_end() == 0


def test_when_the_server_is_killed_every_process_dies_within_a_second(own_house: House) -> None:
    """(1.9.6, 1.24, 1.25) Death of the parent is a signal that nobody can trap; the whole group goes."""
    house = own_house
    three_actors(house)
    assert len(house.processes()) >= 6
    house.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    eventually(lambda: not marked(house.mark), "everybody is dead", 5.0)
    assert time.monotonic() - begun < 1.5
    with pytest.raises(NoServer):
        house.client.hello()


def test_a_killed_server_leaves_no_compiler_behind(own_house: House) -> None:
    """A component that takes seconds to compile, and a server that is killed meanwhile."""
    house = own_house
    functions = "\n".join(
        f"(func (result i32) {'(i32.add (i32.const 1) ' * 300}(i32.const 1){')' * 300})" for _ in range(3000)
    )
    (house.folder / "slow.wasm").write_bytes(wasmtime.wat2wasm(f"(component (core module {functions}))"))
    (house.folder / "slow.toml").write_text(manifest("slow", component="slow.wasm"))
    before = set(house.processes())
    ready = deploy.prepare(house.folder / "slow.toml", lambda text: None)
    for digest in house.client.have(ready.contents):
        house.client.put(ready.contents[digest].read_bytes())
    link = house.connect()._link
    link.submit(
        "start",
        {
            "manifest": ready.manifest,
            "where": ready.where,
            "component": ready.component,
            "program": None,
            "init_state": None,
            "parent": None,
            "name": None,
        },
        60.0,
    )
    eventually(lambda: len(set(house.processes()) - before) >= 2, "two compilers run")
    house.send_signal(signal.SIGKILL)
    eventually(lambda: not marked(house.mark), "everybody is dead", 5.0)


def test_a_template_that_never_finishes_loading_does_not_keep_the_server(own_house: House) -> None:
    """A start function that loops: there is neither an actor nor a deadline yet."""
    house = own_house
    (house.folder / "slow.wasm").write_bytes(bare_actor("(func $f (loop $l (br $l))) (start $f)"))
    path = house.write("slow", component="slow.wasm", handlers=())
    house.start("beside")
    starting = threading.Thread(target=lambda: outcome(lambda: house.connect().start(path)))
    starting.start()
    eventually(lambda: len(house.client.list()) == 2 and len(house.templates()) == 2, "its template loads")
    assert house.count("beside") == 1
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    starting.join()


def test_a_new_server_finds_the_actors_with_their_last_state(own_house: House) -> None:
    house = own_house
    ids = three_actors(house)
    for times, id in enumerate(ids, start=1):
        for _ in range(times):
            house.count(id)
    house.client.stop(ids[0])
    house.send_signal(signal.SIGKILL)
    house.await_end()
    house.open()
    for id in ids[1:]:
        house.await_incarnation(id, 2)
    rows = house.client.list()
    assert [row.id for row in rows] == ids
    assert [row.state for row in rows] == ["stopped", "running", "running"]
    assert [house.count(id) for id in ids[1:]] == [3, 4]
    assert house.row("two").id == ids[1]
    house.client.restart("one")
    assert house.count("one") == 2
    house.verify()


def test_a_server_may_listen_anywhere(closed_house: House) -> None:
    house = closed_house
    address = f"ipc://{house.folder}/elsewhere"
    house.server = house.popen("--log-level", "info", THEATER_ADDRESS=address)
    with Client(address, home=house.home) as client:
        eventually(lambda: outcome(client.hello) == "reply")
        assert client.start(house.write("one")).state == "running"
        client.stop_server()
    assert house.await_end() == 0
    assert not (house.folder / "elsewhere").exists()


def test_an_actor_that_was_removed_does_not_come_back(own_house: House) -> None:
    house = own_house
    ids = three_actors(house)
    house.client.stop(ids[1], remove=True)
    assert house.client.stop_server() is None
    house.await_end()
    house.open()
    assert [row.id for row in house.client.list()] == [ids[0], ids[2]]
    assert house.start("two").id != ids[1]


def test_an_actor_that_failed_stays_failed_until_it_is_restarted(own_house: House) -> None:
    house = own_house
    house.start("weak", supervision={"intensity": 0})
    house.count("weak")
    house.kill(house.row("weak").pid or 0)
    house.await_row("weak", lambda row: row.state == "failed")
    house.client.stop_server()
    house.await_end()
    house.open()
    assert house.row("weak").state == "failed"
    assert house.client.restart("weak").state == "running"
    assert house.count("weak") == 2


def test_a_home_outlives_five_kills_of_its_server(own_house: House) -> None:
    house = own_house
    row = house.start("count", supervision=RESTLESS)
    for total in range(1, 6):
        assert house.count(row.id) == total
        house.send_signal(signal.SIGKILL)
        house.await_end()
        house.open()
        house.await_row(row.id, lambda row: row.state == "running")
    house.verify()
    assert os.path.exists(house.home / "actors" / row.id / "chain")
