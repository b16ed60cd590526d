"""What news becomes, and how long it waits: the newsroom with a clock and ears of the test's own."""

from __future__ import annotations

import json

import pytest

from theater.core.exit_reason import ExitKind, ExitReason
from theater.core.wire import ChildEnded, LinkExit, MonitorDown
from theater.errors import WireError
from theater.worker.letters import Asked
from theater.worker.news import PATIENCE_NS, Heard, Newsroom, news_of, peer_name

KILLED = ExitReason.killed().to_dict()


class World:
    """A clock, and what is known of each peer."""

    def __init__(self) -> None:
        self.now = 10**12
        self.heard: dict[bytes, Heard] = {}
        self.room = Newsroom(lambda peer: self.heard[peer], lambda: self.now)

    def told(self) -> list[object]:
        """Who the news is about that may be told now."""
        found = []
        while (news := self.room.take()) is not None:
            found.append(next(param for param in news.params if isinstance(param, str)))
        return found


@pytest.fixture
def world() -> World:
    return World()


def test_news_waits_until_its_actor_has_been_heard_out(world: World) -> None:
    world.heard = {peer_name("a", 3): Heard.OPEN}
    world.room.add(MonitorDown(1, "a", 3, KILLED, True))
    assert world.told() == []
    assert world.room
    world.heard = {peer_name("a", 3): Heard.ENDED}
    assert world.told() == ["a"]
    assert not world.room


def test_news_of_one_who_did_not_know_the_address_waits_for_nothing(world: World) -> None:
    world.room.add(LinkExit("a", 3, KILLED, False))
    assert world.told() == ["a"]


def test_news_is_told_in_the_order_of_its_arrival(world: World) -> None:
    world.heard = {peer_name("a", 1): Heard.OPEN, peer_name("b", 1): Heard.ENDED}
    world.room.add(MonitorDown(1, "a", 1, KILLED, True))
    world.room.add(ChildEnded("b", 1, "error", None, KILLED, True))
    world.room.add(LinkExit("c", 1, KILLED, False))
    assert world.told() == []
    world.heard[peer_name("a", 1)] = Heard.ENDED
    assert world.told() == ["a", "b", "c"]


def test_the_wait_is_bounded_from_its_arrival_on(world: World) -> None:
    world.heard = {peer_name(name, 1): Heard.OPEN for name in "abc"}
    for name in "abc":
        world.room.add(MonitorDown(1, name, 1, KILLED, True))
    world.now += PATIENCE_NS - 1
    assert world.told() == []
    world.now += 1
    assert world.told() == ["a", "b", "c"]  # not one after the other


def test_news_that_is_taken_back_is_not_told(world: World) -> None:
    world.heard = {peer_name("a", 1): Heard.OPEN}
    for ref in (1, 2, 1):
        world.room.add(MonitorDown(ref, "a", 1, KILLED, True))
    world.room.add(LinkExit("a", 1, KILLED, True))
    assert world.room.take_back(Asked("monitor", 1))
    assert not world.room.take_back(Asked("monitor", 1))
    assert world.room.take_back(Asked("link", "a"))
    world.heard = {peer_name("a", 1): Heard.ENDED}
    assert world.told() == ["a"]


@pytest.mark.parametrize("kind", ExitKind)
def test_every_reason_becomes_a_record_and_an_error_of_a_child(kind: ExitKind) -> None:
    reason = ExitReason(kind, "detail", 9, 3, True)
    record = {"kind": kind.value.replace("_", "-"), "detail": "detail", "signal": 9, "status": 3, "commanded": True}
    assert news_of(MonitorDown(4, "a", 1, reason.to_dict(), True)).params == (4, "a", record)
    assert news_of(LinkExit("a", 1, reason.to_dict(), True)).params == ("a", record)
    child, error = news_of(ChildEnded("a", 1, "error", None, reason.to_dict(), True)).params
    assert child == "a"
    assert ExitReason.from_dict(json.loads(error["data"])) == reason
    expected = {"deadline": "operation-timeout", "shutdown": "shutting-down", "gave_up": "shutting-down"}
    assert error["error-type"] == expected.get(kind.value, "internal")


def test_what_is_no_reason_is_refused_whole(world: World) -> None:
    with pytest.raises(WireError):
        world.room.add(MonitorDown(1, "a", 1, {"reason": "bored"}, True))
    assert not world.room
