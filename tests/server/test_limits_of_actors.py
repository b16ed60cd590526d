"""Each limit of a manifest holds for a real actor, ends in a clear reason, and is nobody's to raise."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from house import RESTLESS, House, asking, eventually, flooding, outcome
from kin import Kin

from theater.client import Row
from theater.errors import ActorFailed, LimitExceeded, StartFailed, TheaterError

REST = {"restart": "temporary"}


@pytest.fixture
def kin(house: House, name: Callable[[], str]) -> Kin:
    return Kin(house, name)


def end_of(house: House, actor: str) -> str:
    """How an actor ended that is not started again: in the words of its row."""
    row = house.await_row(actor, lambda row: row.last_exit is not None and row.pid is None)
    assert row.last_exit is not None
    return f"{row.last_exit.reason}: {row.last_exit.detail}"


# ---- messages a second


def test_a_message_over_the_rate_is_refused_and_the_refusal_is_recorded(house: House, name: Callable[[], str]) -> None:
    receiver = house.start(name(), limits={"mailbox": 100_000})
    sender = house.start(name(), limits={"messages_per_second": 50, "call_timeout": "20s"})
    with contextlib.suppress(ActorFailed):  # Whether it answers that or goes on is its own affair.
        house.client.request(sender.id, flooding(receiver.name, 200, b"c"), timeout=20.0)
    refused = [
        event
        for event in house.client.read_events(sender.id, types=["host-result"])
        if "may send 50 messages in a second, and has ([limits] messages_per_second)" in str(event.data)
    ]
    assert refused
    assert house.row(sender.id).state == "running"
    house.verify()


def test_messages_beyond_the_rate_wait_and_then_are_refused_by_the_mailbox(
    house: House, name: Callable[[], str]
) -> None:
    slow = house.start(name(), limits={"messages_per_second": 20, "mailbox": 5})
    began = time.monotonic()
    asked = [outcome(lambda: house.client.request(slow.id, b"e", timeout=20.0)) for _ in range(45)]
    assert asked == ["reply"] * 45
    assert time.monotonic() - began > 1.0, "45 messages at 20 a second, of which 20 may come at once"
    flooder = house.start(name())
    with pytest.raises(ActorFailed, match=r"the mailbox of .* is full"):
        house.client.request(flooder.id, flooding(slow.name, 100, b"c"), timeout=20.0)


def test_an_actor_over_its_rate_can_be_stopped_at_once(house: House, name: Callable[[], str]) -> None:
    slow = house.start(name(), limits={"messages_per_second": 1})
    house.client.request(slow.id, b"e")
    for _ in range(5):
        house.client.send(slow.id, b"c")
    house.client.stop(slow.id)
    assert house.row(slow.id).state == "stopped"


# ---- the chain


@pytest.mark.parametrize("size", [3_000, 60_000])
def test_an_actor_whose_record_is_too_long_ends_and_does_not_start_again(
    house: House, name: Callable[[], str], size: int
) -> None:
    """Whether it stands in the chain or beside it."""
    big = house.start(name(), supervision=REST, limits={"chain": "1MiB"})
    with contextlib.suppress(TheaterError):
        for _ in range(1000):
            house.client.request(big.id, b"l" + b"x" * size)
    assert "trap: limit: its chain has " in end_of(house, big.id)
    assert "([limits] chain)" in end_of(house, big.id)
    house.verify()


def test_an_actor_whose_chain_is_too_long_does_not_come_up_again(house: House, name: Callable[[], str]) -> None:
    big = house.start(name(), supervision=REST, limits={"chain": "1MiB"})
    with contextlib.suppress(TheaterError):
        for _ in range(1000):
            house.client.request(big.id, b"l" + b"x" * 3000)
    end_of(house, big.id)
    with pytest.raises(StartFailed, match=r"\[limits\] chain"):
        house.client.restart(big.id)


def test_one_call_cannot_record_more_than_it_may(house: House, name: Callable[[], str]) -> None:
    big = house.start(name(), supervision=REST, limits={"record": "1MiB", "call_timeout": "20s"})
    with contextlib.suppress(TheaterError):
        house.client.request(big.id, b"L" + b"x" * 10_000, timeout=20.0)
    assert "one call recorded more than 1048576 bytes ([limits] record)" in end_of(house, big.id)


# ---- the processor


def test_an_actor_with_a_share_of_a_processor_keeps_to_it_over_seconds(house: House, name: Callable[[], str]) -> None:
    """It burns in each call as long as it may, and is asked again as soon as it can be."""
    burner = house.start(name(), supervision=REST, limits={"cpu": "20%", "call_timeout": "20s"})
    pid = burner.pid
    assert pid is not None
    body = b"l" + b"x" * 100_000
    began, before = time.monotonic(), cpu_seconds(pid)
    while time.monotonic() - began < 4.0:
        house.client.request(burner.id, body, timeout=20.0)
    used, took = cpu_seconds(pid) - before, time.monotonic() - began
    assert used <= 0.2 * (took + 1.0) + 0.1


def test_who_dies_again_and_again_keeps_to_its_share_over_all_lives(house: House, name: Callable[[], str]) -> None:
    """The processor time of a life counts from the fork; what is owed at its end, the next life waits for."""
    crasher = house.start(name(), supervision={**RESTLESS, "poison": 1000}, limits={"cpu": "20%"})
    began = time.monotonic()
    while time.monotonic() - began < 4.0:
        with contextlib.suppress(TheaterError):
            house.client.request(crasher.id, b"u", timeout=20.0)
    took = time.monotonic() - began
    used = [facts["user_ms"] + facts["system_ms"] for facts in exits(house, crasher.id)]
    assert len(used) >= 5
    assert sum(used) / 1000 <= 0.2 * (took + 1.0) + 0.1


def test_an_actor_that_makes_up_for_its_share_says_so_and_can_be_stopped(house: House, name: Callable[[], str]) -> None:
    """A call of a second is worth a hundred seconds of a hundredth of a processor."""
    burner = house.start(name(), supervision=RESTLESS, limits={"cpu": "1%", "call_timeout": "1s"})
    with contextlib.suppress(TheaterError):
        house.client.request(burner.id, b"b", timeout=20.0)
    resting = house.await_row(burner.id, lambda row: row.state == "restarting" and row.pid is None)
    assert resting.incarnation == burner.incarnation
    attempt = house.client.call("why", {"actor": burner.id})["attempt_ns"]
    assert 60 < attempt / 1e9 - time.time() < 200
    assert house.client.stop(burner.id, timeout=5.0).state == "stopped"
    assert house.client.restart(burner.id).state == "running", "whom a user starts does not wait"


def exits(house: House, actor: str) -> list[Mapping[str, Any]]:
    """What the server has recorded of the ends of an actor's lives."""
    return [facts for event, facts in house.history() if event == "exited" and facts["actor"] == actor]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


# ---- children and actors


def test_a_child_too_many_is_refused(kin: Kin) -> None:
    parent = kin.parent(limits={"children": 2, "call_timeout": "20s"})
    for _ in range(2):
        kin.spawn(parent.id, kin.write())
    with pytest.raises(ActorFailed, match=r"\[limits\] children"):
        kin.spawn(parent.id, kin.write())
    assert len(kin.children(parent.id)) == 2


def test_a_grandchild_too_many_is_refused_by_the_one_who_may_not_have_it(kin: Kin) -> None:
    top = kin.parent(limits={"actors": 2, "call_timeout": "20s"})
    middle = kin.spawn(top.id, kin.write(parent=True))
    kin.spawn(middle, kin.write())
    with pytest.raises(
        ActorFailed, match=rf"{top.name} has 2 living actors below it, and may have 2 \(\[limits\] actors"
    ):
        kin.spawn(middle, kin.write())


def test_a_child_has_no_limit_above_its_parents(kin: Kin) -> None:
    parent = kin.parent(limits={"memory": "8MiB", "state": "1MiB", "mailbox": 7, "fuel": 10_000_000_000, "cpu": "150%"})
    child = kin.spawn(parent.id, kin.write(parent=True, limits={"memory": "32MiB", "mailbox": 100}))
    grandchild = kin.spawn(child, kin.write(limits={"memory": "16MiB", "mailbox": 3}))

    def limits(actor: str) -> dict[str, object]:
        return dict(kin.house.client.inspect(actor).facts["manifest"]["limits"])

    assert [limits(child)[key] for key in ("memory", "mailbox", "fuel", "cpu")] == [8 << 20, 7, 10_000_000_000, 150]
    assert [limits(grandchild)[key] for key in ("memory", "mailbox", "cpu")] == [8 << 20, 3, 150]
    pages = int.from_bytes(kin.house.client.request(grandchild, b"m"), "little")
    assert pages <= (8 << 20) >> 16, "and it is what holds its memory"


def test_a_server_starts_no_more_actors_than_it_may_have(closed_house: House) -> None:
    house = closed_house.open("--max-actors", "2")
    first = house.start("a")
    house.start("b")
    with pytest.raises(LimitExceeded, match=r"has 2 living actors, and may have 2 \(theater server --max-actors\)"):
        house.start("c")
    house.client.stop(first.id)
    house.start("c")
    with pytest.raises(LimitExceeded, match="--max-actors"):
        house.client.restart(first.id)


# ---- trees


def test_the_actors_of_a_tree_are_held_to_the_limits_of_its_supervisors(closed_house: House) -> None:
    house = closed_house
    house.write("a", limits={"memory": "32MiB"})
    tree = Path(house.folder / "tree.toml")
    tree.write_text(
        '[[supervisor]]\nname = "pool"\nlimits = { memory = "4MiB", mailbox = 9 }\n'
        '[[child]]\nname = "a"\nunder = "pool"\nmanifest = "a.toml"\n'
    )
    house.open("--tree", str(tree))
    row: Row = eventually(lambda: next(iter(house.client.list()), None), "the tree grows")
    house.await_row(row.id, lambda row: row.state == "running")
    limits = house.client.inspect(row.id).facts["manifest"]["limits"]
    assert (limits["memory"], limits["mailbox"], limits["record"]) == (4 << 20, 9, 16 << 20)


# ---- descriptors


def test_an_actor_that_knows_more_others_than_it_has_descriptors_for_hears_so_and_lives(
    house: House, name: Callable[[], str]
) -> None:
    """Each other actor that it speaks to is a connection of its own."""
    asker = house.start(name(), limits={"descriptors": 64})
    others = [house.start(name()).name for _ in range(70)]
    assert house.client.request(asker.id, asking(others[0], b"e")) == b"e"

    def ask_all() -> None:
        for other in others:
            house.client.request(asker.id, asking(other, b"e"))

    with pytest.raises(ActorFailed, match=r"\[limits\] descriptors"):
        ask_all()
    assert house.row(asker.id).pid == asker.pid, "it is the same life"
    assert house.client.request(asker.id, b"e") == b"e"
