"""A tree of supervisors over real processes: order, strategies, giving up, and the same tree after a restart."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from house import House, eventually, make_house, manifest, sending

Plant = Callable[[str], House]


def supervisor(name: str, under: str = "root", **facts: object) -> str:
    return _table("supervisor", name=name, under=under, **facts)


def child(name: str, under: str, **facts: object) -> str:
    return _table("child", name=name, under=under, manifest=f"{name}.toml", **facts)


def _table(kind: str, **facts: object) -> str:
    rows = [
        f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}".lower() for key, value in facts.items()
    ]
    return "\n".join((f"[[{kind}]]", *rows, ""))


@pytest.fixture
def plant(probe: bytes) -> Iterator[Plant]:
    """Starts servers with a tree; each child is a probe."""
    houses: list[House] = []

    def start(tree: str, *, children: Sequence[str] = "abcd") -> House:
        house = make_house(probe)
        houses.append(house)
        for name in children:
            (house.folder / f"{name}.toml").write_text(manifest(name, limits={"call_timeout": "5s"}))
        (house.folder / "theater.toml").write_text(tree)
        return house.open("--tree", str(house.folder / "theater.toml"))

    yield start
    for house in houses:
        house.close()


def running(house: House, *names: str) -> None:
    for name in names:
        eventually(
            lambda name=name: [row for row in house.client.list() if row.name == name and row.state == "running"]
        )


def lives(house: House, *names: str) -> list[int]:
    return [house.row(name).incarnation for name in names]


POOL = supervisor("pool", strategy="one_for_all", intensity=5, period=60)


def test_children_start_in_the_order_of_the_file_and_stop_in_reverse(plant: Plant) -> None:
    tree = child("c", "root") + POOL + child("a", "pool") + child("b", "pool") + child("d", "root")
    house = plant(tree)
    running(house, "a", "b", "c", "d")
    ids = {house.row(name).id: name for name in "abcd"}
    ready = [ids[facts["actor"]] for event, facts in house.history() if event == "ready"]
    assert ready == ["c", "a", "b", "d"]
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.open("--tree", str(house.folder / "theater.toml"))
    exits = [ids[facts["actor"]] for event, facts in house.history() if event == "exited"]
    assert exits == ["d", "b", "a", "c"]


def test_one_for_all_concerns_its_own_children_alone(plant: Plant) -> None:
    house = plant(POOL + child("a", "pool") + child("b", "pool") + child("c", "root"))
    running(house, "a", "b", "c")
    for name in "abc":
        house.count(name)
    house.kill(house.row("a").pid or 0)
    house.await_incarnation("a", 2)
    house.await_incarnation("b", 2)
    assert lives(house, "a", "b", "c") == [2, 2, 1]
    assert [house.count(name) for name in "abc"] == [2, 2, 2]
    assert house.row("b").last_exit.commanded  # type: ignore[union-attr]
    assert not house.row("a").last_exit.commanded  # type: ignore[union-attr]


def test_one_for_one_concerns_nobody_else(plant: Plant) -> None:
    house = plant(supervisor("pool", intensity=5, period=60) + child("a", "pool") + child("b", "pool"))
    running(house, "a", "b")
    house.kill(house.row("a").pid or 0)
    house.await_incarnation("a", 2)
    assert lives(house, "a", "b") == [2, 1]


def test_a_supervisor_that_gives_up_is_restarted_by_its_own(plant: Plant) -> None:
    tree = supervisor("pool", intensity=0, period=60, restart="permanent") + child("a", "pool") + child("b", "root")
    house = plant(supervisor("root", under="", intensity=3, period=60).replace('under = ""\n', "") + tree)
    running(house, "a", "b")
    house.count("a")
    house.kill(house.row("a").pid or 0)
    house.await_incarnation("a", 2)
    assert house.count("a") == 2
    assert lives(house, "a", "b") == [2, 1]
    assert "gave-up" in {event for event, _ in house.history()}


def test_who_writes_to_an_actor_whose_supervisor_is_being_restarted_waits_for_it(plant: Plant) -> None:
    """(1.7) The supervisor pauses; its children keep their names meanwhile, at any depth."""
    root = '[[supervisor]]\nname = "root"\nintensity = 3\nperiod = 60\nbackoff = { initial = "1s", jitter = 0 }\n'
    tree = root + supervisor("pool", intensity=0, period=60) + child("a", "pool") + supervisor("inner", "pool")
    house = plant(tree + child("b", "inner") + child("c", "root"))
    running(house, "a", "b", "c")
    house.count("b")
    house.kill(house.row("a").pid or 0)
    for name in "ab":
        house.await_row(name, lambda row: row.state == "restarting")
        assert house.client.inspect(name).facts["registered"] == [name]
    assert house.count("b") == 2
    assert lives(house, "a", "b", "c") == [2, 2, 1]


def test_a_server_whose_root_gives_up_ends_with_everybody(plant: Plant) -> None:
    house = plant(
        '[[supervisor]]\nname = "root"\nintensity = 0\nperiod = 60\n' + child("a", "root") + child("b", "root")
    )
    running(house, "a", "b")
    house.kill(house.row("a").pid or 0)
    assert house.await_end() != 0
    assert "root" in house.log_text()


def test_a_child_that_does_not_start_ends_the_server_with_its_reason(plant: Plant, probe: bytes) -> None:
    house = make_house(probe)
    try:
        (house.folder / "a.toml").write_text(manifest("a"))
        (house.folder / "b.toml").write_text(manifest("b", more='init_state_inline = "fail"'))
        (house.folder / "theater.toml").write_text(child("a", "root") + child("b", "root"))
        house.server = house.popen("--tree", str(house.folder / "theater.toml"))
        assert house.await_end() not in (0, None)
        assert "init answered with an error: fail" in house.log_text()
        house.verify()
    finally:
        house.close()


def test_the_same_tree_has_the_same_actors_again(plant: Plant) -> None:
    house = plant(POOL + child("a", "pool") + child("b", "pool"))
    running(house, "a", "b")
    ids = [house.row(name).id for name in "ab"]
    assert [house.count(name) for name in "ab"] == [1, 1]
    for number in (signal.SIGKILL, signal.SIGTERM):
        house.send_signal(number)
        house.await_end()
        house.open("--tree", str(house.folder / "theater.toml"))
        running(house, "a", "b")
        assert [house.row(name).id for name in "ab"] == ids
    assert [house.count(name) for name in "ab"] == [2, 2]


def test_a_child_that_is_stopped_stays_down_and_can_be_restarted(plant: Plant) -> None:
    house = plant(supervisor("pool", intensity=5, period=60) + child("a", "pool") + child("b", "pool"))
    running(house, "a", "b")
    house.count("a")
    assert house.client.stop("a").state == "stopped"
    house.kill(house.row("b").pid or 0)
    house.await_incarnation("b", 2)
    assert house.row("a").state == "stopped"
    assert house.client.restart("a").state == "running"
    assert house.count("a") == 2


def test_a_transient_child_that_is_done_is_left_in_peace(plant: Plant) -> None:
    tree = supervisor("pool", strategy="one_for_one", intensity=5, period=60)
    house = plant(tree + child("a", "pool", restart="transient") + child("b", "pool"))
    running(house, "a", "b")
    house.client.request("a", b"q")
    house.await_row("a", lambda row: row.state == "stopped")
    assert lives(house, "a", "b") == [1, 1]


def test_the_last_significant_child_ends_its_supervisor(plant: Plant) -> None:
    tree = supervisor("pool", auto_shutdown="all_significant", intensity=5, period=60, restart="temporary")
    tree += child("a", "pool", restart="transient", significant=True) + child("b", "pool") + child("c", "root")
    house = plant(tree)
    running(house, "a", "b", "c")
    house.client.request("a", b"q")
    for name in "ab":
        house.await_row(name, lambda row: row.state == "stopped")
    assert house.count("c") == 1


def test_children_of_a_tree_know_each_other_by_name(plant: Plant) -> None:
    house = plant(child("a", "root") + child("b", "root"))
    running(house, "a", "b")
    house.client.request("a", sending("b", b"c"))
    eventually(lambda: house.client.state("b").state == b"\x01\0\0\0")


def test_the_tree_is_shown_as_it_is(plant: Plant) -> None:
    house = plant(POOL + child("a", "pool") + child("b", "pool") + child("c", "root"))
    running(house, "a", "b", "c")
    house.start("alone")
    root = house.client.tree()
    assert [getattr(below, "name", None) for below in root.children] == ["pool", "c", "alone"]
    pool = root.children[0]
    assert [below.name for below in pool.children] == ["a", "b"]  # type: ignore[union-attr]
    assert (pool.strategy, pool.intensity, pool.period) == ("one_for_all", 5, 60)  # type: ignore[union-attr]


def test_an_actor_that_the_tree_has_no_more_stays_down_until_somebody_starts_it(plant: Plant) -> None:
    house = plant(child("a", "root") + child("b", "root"))
    running(house, "a", "b")
    assert house.count("b") == 1
    house.client.stop_server()
    house.await_end()
    Path(house.folder / "theater.toml").write_text(child("a", "root"))
    house.open("--tree", str(house.folder / "theater.toml"))
    running(house, "a")
    assert house.row("b").state == "stopped"
    assert house.client.restart("b").supervisor == "root"
    assert house.count("b") == 2


def test_who_writes_to_a_sibling_that_is_stopped_to_be_started_again_waits(plant: Plant) -> None:
    """b is in a call that never ends, so it is killed when its time is over; its mail waits for its next life."""
    house = plant(POOL + child("a", "pool") + child("b", "pool", shutdown=2500))
    number = house.connect()._link.submit("message", {"actor": "b", "body": b"b", "request": True}, 20.0)
    assert number
    house.await_row("b", lambda row: row.state == "running")  # Its init is a call, too.
    eventually(lambda: house.client.inspect("b").facts["call"] is not None, "b is busy")
    house.kill(house.row("a").pid or 0)
    stopping = house.await_row("b", lambda row: row.state != "running")
    assert (stopping.state, stopping.incarnation) == ("restarting", 1)
    assert house.count("b") == 1
    assert lives(house, "a", "b") == [2, 2]
