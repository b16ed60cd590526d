"""Names of actors that had ended for good, and come back because their supervisor starts them again."""

from __future__ import annotations

from house import asking, eventually
from test_supervision_of_processes import POOL, Plant, child, plant, running, supervisor

__all__ = ["plant"]
ROOT = supervisor("root", under="", intensity=3, period=60).replace('under = ""\n', "")


def test_who_comes_back_with_its_supervisor_has_its_name_again(plant: Plant) -> None:
    """(1.16): the name is taken before init runs."""
    tree = ROOT + supervisor("pool", intensity=0, period=60, restart="permanent")
    house = plant(tree + child("a", "pool") + child("b", "root"))
    running(house, "a", "b")
    assert house.client.request("b", asking("a", b"e")) == b"e"
    house.kill(house.row("a").pid or 0)
    house.await_incarnation("a", 2)
    assert house.client.inspect("a").facts["registered"] == ["a"]
    assert house.client.request("b", asking("a", b"e")) == b"e"


def test_who_comes_back_with_its_siblings_has_its_name_again(plant: Plant) -> None:
    """(1.6.3) (1.16)"""
    house = plant(POOL + child("a", "pool", restart="transient") + child("b", "pool") + child("c", "root"))
    running(house, "a", "b", "c")
    house.client.request("a", b"q")
    eventually(lambda: house.row("a").state == "stopped")
    assert house.client.inspect("a").facts["registered"] == []
    house.kill(house.row("b").pid or 0)
    house.await_incarnation("a", 2)
    assert house.client.inspect("a").facts["registered"] == ["a"]
    assert house.client.request("c", asking("a", b"e")) == b"e"


def test_who_comes_back_when_its_name_has_gone_to_another_does_not_start(plant: Plant) -> None:
    """(1.3.7) (1.16): `already_started`, until its supervisor gives up (1.7)."""
    pool = supervisor("pool", strategy="one_for_all", intensity=2, period=60, restart="temporary")
    house = plant(pool + child("a", "pool", restart="transient") + child("b", "pool") + child("c", "root"))
    running(house, "a", "b", "c")
    first = house.row("a").id
    house.client.request("a", b"q")
    eventually(lambda: house.row(first).state == "stopped")
    heir = house.client.start(house.write("a"))
    house.kill(house.row("b").pid or 0)
    failed = house.await_row(first, lambda row: row.state == "failed")
    assert failed.last_exit is not None
    assert heir.id in str(failed.last_exit.detail)
    assert house.row(heir.id).state == "running"
