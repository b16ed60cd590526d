"""A disk that fails: whichever write or sync it is, nothing that was acknowledged is missing, and the chain is whole.

`power.c` has the n-th of them fail, for each n until a small life needs fewer. What a failed sync has left in memory is
gone from there once the cache is dropped, as on a real disk; so a server that believes its cache is found out.
"""

from __future__ import annotations

import errno

import machine as machines
import pytest
from house import House, eventually, outcome
from machine import Machine

from theater.chainlog import ChainReader
from theater.config import Home

power, machine = machines.power, machines.machine

MORE_THAN_IT_TAKES = 100


def counted(house: House, actor: str) -> int:
    """The highest count in an actor's chain."""
    found = [0]
    with ChainReader(Home(house.home).chain(actor)) as reader:
        while batch := reader.read(500):
            for entry in batch:
                if entry.kind.label == "outcome" and entry.payload[0] == "ok" and entry.payload[1]:
                    found.append(int.from_bytes(entry.payload[1][0][:4], "little"))
    return max(found)


def come_up(house: House, actor: str) -> None:
    """An actor that was refused for a reason is started again, now that the disk works."""

    def is_up() -> bool:
        row = house.row(actor)
        if row.state == "failed":
            assert row.last_exit is not None
            outcome(lambda: house.client.restart(actor))
        return row.state == "running"

    eventually(is_up, lambda: f"{house.row(actor)}")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("durability", ["host", "process"])
def test_whichever_write_or_sync_of_an_actor_fails_nothing_acknowledged_is_missing(
    machine: Machine, durability: str, error: int
) -> None:
    house = machine.open()
    for number in range(1, MORE_THAN_IT_TAKES):
        more = f'[chain]\ndurability = "{durability}"\n'
        actor = house.start(f"a{number}", more=more, supervision={"intensity": 1, "period": 60}).id
        acknowledged = house.count(actor)
        machine.fail(f"actors/{actor}/chain", number, error, partial=40 if number % 2 else 0)
        for _ in range(3):
            acknowledged += outcome(lambda actor=actor: house.client.request(actor, b"c", timeout=10.0)) == "reply"
        failed = machine.failed
        machine.repair()
        come_up(house, actor)
        assert counted(house, actor) >= acknowledged
        acknowledged = house.count(actor)
        house.client.stop(actor)
        assert counted(house, actor) == acknowledged
        house.verify()
        house.client.stop(actor, remove=True)
        if not failed:
            break
    else:
        pytest.fail("there is no end to its writes")
    assert number > 3, "some have failed"


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_whichever_write_or_sync_of_the_server_fails_its_chain_is_whole(machine: Machine, lasting: bool) -> None:
    """What happened meanwhile is in it in the end, once and in order; and it was never given as a checkpoint before it
    was safe."""
    house = machine.open()
    for number in range(1, MORE_THAN_IT_TAKES):
        machine.fail("supervisor.chain", number, errno.EIO, lasting=lasting)
        actor = house.start(f"a{number}").id
        house.count(actor)
        given = outcome(lambda: house.client.checkpoint())
        assert given in ("reply", "DiskFull")
        house.client.stop(actor)
        failed = machine.failed
        machine.repair()
        eventually(lambda: outcome(lambda: house.client.checkpoint()) == "reply", lambda: house.log_text()[-1500:])
        house.verify()
        events = [event for event, facts in house.history() if facts.get("actor") == actor]
        assert events == ["started", "spawned", "ready", "stop", "exited", "stopped"], events
        house.client.stop(actor, remove=True)
        if not failed:
            break
    else:
        pytest.fail("there is no end to its writes")
    assert number > 5, "some have failed"
    machine.kill()
    machine.open()
    house.verify()
