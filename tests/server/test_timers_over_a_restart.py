"""Intervals over a restart of the server, by the catch-up policy of the manifest (tests/actors/clock.wat)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime
from house import House, eventually, make_house

CLOCK = Path(__file__).parents[1] / "actors" / "clock.wat"
PERIOD_MS = 50
DOWN_S = 2.0


@pytest.fixture
def house() -> Iterator[House]:
    own = make_house(bytes(wasmtime.wat2wasm(CLOCK.read_text())))
    try:
        yield own.open()
    finally:
        own.close()


def start(house: House, policy: str) -> str:
    """An actor that counts at each moment of an interval."""
    path = house.write(policy, handlers=("message-server", "registry"))
    table = f'[[handler]]\ntype = "timers"\ncatch_up = "{policy}"\n[actor]'
    path.write_text(path.read_text().replace("[actor]", table))
    actor = house.client.start(path).id
    house.client.request(actor, b"i" + PERIOD_MS.to_bytes(4, "little") + b"c")
    return actor


def ticks(house: House, actor: str, life: int) -> list[int]:
    """When the messages of the interval were handled in a life, ns."""
    found: dict[int, list[int]] = {1: []}
    for event in house.client.read_events(actor, types=["call", "lifecycle"]):
        if event.type == "lifecycle" and "incarnation" in event.data["details"]:
            found.setdefault(event.data["details"]["incarnation"], [])
        elif event.type == "call" and event.data["args"] == [b"c"]:
            found[max(found)].append(event.time_ns)
    return found.get(life, [])


def test_moments_that_were_missed_are_caught_up_with_as_the_manifest_says(house: House) -> None:
    actors = {policy: start(house, policy) for policy in ("one", "all", "skip")}
    for actor in actors.values():
        eventually(lambda actor=actor: len(ticks(house, actor, 1)) >= 3)
    house.client.stop_server()
    assert house.await_end() == 0
    down = time.time()
    eventually(lambda: time.time() > down + DOWN_S, "the moments pass")
    house.open()
    missed = int(DOWN_S * 1000 / PERIOD_MS)
    eventually(lambda: len(ticks(house, actors["all"], 2)) >= missed, "all of them have come")
    for actor in actors.values():
        eventually(lambda actor=actor: len(ticks(house, actor, 2)) >= 3, "the intervals go on")
    caught_up = {policy: ticks(house, actor, 2) for policy, actor in actors.items()}
    last = min(times[-1] for times in caught_up.values())
    by_then = {policy: sum(moment <= last for moment in times) for policy, times in caught_up.items()}
    assert by_then["all"] - by_then["one"] >= missed // 2
    assert by_then["all"] - by_then["skip"] >= missed // 2
