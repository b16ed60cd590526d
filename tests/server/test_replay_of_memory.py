"""Lives that go on with the memory that their calls gave them; snapshots that spare them most of it; state roots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, count, eventually, make_house, outcome
from replays import endings, entries_of, reproduced

from theater.client import Row
from theater.core.chain import INCARNATION, SNAPSHOT, Lifecycle, Outcome, Payload

Name = Callable[[], str]
MEMORY = Path(__file__).parents[1] / "actors" / "memory.wat"
WITH_MEMORY = {**RESTLESS, "state": "replay"}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server whose actors are those of memory.wat."""
    shared = make_house(bytes(wasmtime.wat2wasm(MEMORY.read_text())))
    try:
        yield shared.open()
    finally:
        shared.close()


def start(house: House, name: str, chain: str = "", **facts: Any) -> Row:
    """An actor with the memory of its lives before; `chain` is the content of the manifest's [chain]."""
    facts.setdefault("supervision", WITH_MEMORY)
    path = house.write(name, **facts)
    path.write_text(path.read_text() + f"[chain]\n{chain}\n")
    return house.client.start(path)


def ask(house: House, actor: str, message: bytes = b"c") -> int:
    return count(house.client.request(actor, message))


def lives(payloads: list[Payload]) -> list[Mapping[str, Any]]:
    """What the lives after the first say of themselves."""
    return [each.details for each in payloads if isinstance(each, Lifecycle) and each.event == INCARNATION]


def snapshots(house: House, actor: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Number and details of each."""
    found = [(entry.seq, entry.read()) for entry in entries_of(house, actor)]
    return [(seq, each.details) for seq, each in found if isinstance(each, Lifecycle) and each.event == SNAPSHOT]


# ---- recovery


def test_the_memory_is_there_again_after_a_kill_a_trap_and_a_restart(house: House, name: Name) -> None:
    row = start(house, name())
    assert [ask(house, row.id) for _ in range(3)] == [1, 2, 3]
    house.kill_worker(row.id)
    assert ask(house, row.id) == 4
    assert outcome(lambda: ask(house, row.id, b"x")) == "ActorFailed"
    assert outcome(lambda: ask(house, row.id, b"u")) == "ActorDown"
    house.await_incarnation(row.id, 3)
    assert ask(house, row.id, b"l") == 6, "what the error counted is there, what the trap counted is not"
    house.client.restart(row.id)
    house.await_incarnation(row.id, 4)
    assert ask(house, row.id, b"s") == 7
    house.client.stop(row.id)
    house.client.restart(row.id)
    assert ask(house, row.id, b"g") == 8
    payloads = reproduced(house, row.id)
    trapped = next(at for at, each in enumerate(payloads) if isinstance(each, Outcome) and each.ending == "trap") - 1
    assert [(each["state"], each["from"], each["left_out"]) for each in lives(payloads)] == [
        ("replay", 0, []),
        ("replay", 0, [trapped]),
        ("replay", 0, [trapped]),
        ("replay", 0, [trapped]),
    ]


def test_a_call_that_was_cut_by_a_kill_is_left_out(house: House, name: Name) -> None:
    row = start(house, name(), limits={"call_timeout": 100_000, "record": 1 << 30})
    ask(house, row.id)
    for message in (b"b", b"L"):
        before = house.row(row.id).entries
        house.client.send(row.id, message)
        eventually(lambda before=before: house.row(row.id).entries > before, "the call has begun")
        house.kill_worker(row.id)
    assert ask(house, row.id) == 2
    payloads = reproduced(house, row.id)
    assert [len(each["left_out"]) for each in lives(payloads)] == [1, 2]
    assert endings(payloads) == ["ok"] * 3
