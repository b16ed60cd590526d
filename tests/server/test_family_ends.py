"""How families end and come back: strategies over children, subtrees that end first, restarts of parents."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from effort import effort
from house import House, eventually, is_running
from kin import Kin, text_of_child, toml_table

from theater.client import Client
from theater.errors import ActorDown, TheaterError, WrongState

EASY = {"intensity": 1000, "period": 1}


@pytest.fixture
def kin(house: House, name: Callable[[], str]) -> Kin:
    return Kin(house, name)


@pytest.fixture
def own_kin(own_house: House, name: Callable[[], str]) -> Kin:
    """On a server that the test ends."""
    return Kin(own_house, name)


def lives(kin: Kin, *actors: str) -> list[int]:
    return [kin.house.row(actor).incarnation for actor in actors]


def spawn_all(kin: Kin, parent: str, number: int) -> list[str]:
    file = kin.write()
    return [kin.spawn(parent, file) for _ in range(number)]


def pause(ms: int) -> dict[str, object]:
    """A back-off of that length."""
    return {"initial": ms, "max": ms, "jitter": 0}


# ---- strategies over children


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("one_for_one", [1, 2, 1]), ("one_for_all", [2, 2, 2]), ("rest_for_one", [1, 2, 2]), ("dynamic", [1, 2, 1])],
)
def test_the_strategy_says_whom_a_childs_death_concerns(kin: Kin, strategy: str, expected: list[int]) -> None:
    parent = kin.parent({**EASY, "strategy": strategy})
    children = spawn_all(kin, parent.id, 3)
    for child in children:
        kin.house.count(child)
    kin.kill(children[1])
    for child, number in zip(children, expected, strict=True):
        kin.await_life(child, number)
    assert lives(kin, parent.id, *children) == [1, *expected]
    assert [kin.house.count(child) for child in children] == [2, 2, 2]
    assert kin.heard(parent.id, children[1]) == ["error"]
    told = "stopped" if expected[2] == 2 else None
    assert kin.heard(parent.id, children[2]) == ([told] if told else [])


def test_an_order_of_the_parent_concerns_the_child_alone(kin: Kin) -> None:
    parent = kin.parent({**EASY, "strategy": "one_for_all"})
    children = spawn_all(kin, parent.id, 2)
    kin.stop(parent.id, children[0])
    assert [kin.house.row(child).state for child in children] == ["stopped", "running"]


def test_a_back_off_delays_the_next_life_and_mail_waits_for_it(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(supervision={"backoff": pause(400)}))
    kin.house.count(child)
    kin.kill(child)
    kin.house.await_row(child, lambda row: row.state == "restarting")
    assert kin.house.count(child) == 2
    restarting = [facts for event, facts in kin.house.history() if event == "restarting" and facts["actor"] == child]
    assert [(facts["old"], facts["delay_ms"]) for facts in restarting] == [(1, 400)]


def test_a_child_in_its_back_off_can_be_stopped(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(supervision={"backoff": pause(60_000)}))
    kin.kill(child)
    kin.house.await_row(child, lambda row: row.state == "restarting")
    kin.house.client.stop(child)
    assert kin.house.row(child).state == "stopped"
    kin.await_heard(parent.id, child, "error", "stopped")
    kin.restart(parent.id, child)
    assert kin.house.row(child).state == "running"


# ---- the parent ends


def test_a_stopped_parent_ends_after_its_children_newest_first(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(EASY))
    below = spawn_all(kin, child, 2)
    last = kin.spawn(parent.id, kin.write())
    everybody = [parent.id, child, *below, last]
    pids = [kin.pid(actor) for actor in everybody]
    kin.house.client.stop(parent.id)
    assert not any(is_running(pid) for pid in pids)
    exits = [actor for event, actor in kin.story(*everybody) if event == "exited"]
    assert exits == [last, below[1], below[0], child, parent.id]
    assert {kin.house.row(actor).state for actor in everybody} == {"stopped"}
    for actor in everybody:
        last_exit = kin.house.row(actor).last_exit
        assert last_exit is not None
        assert (last_exit.reason, last_exit.commanded) == ("shutdown", True)


def test_a_killed_parent_is_not_started_again_before_its_subtree_has_ended(kin: Kin) -> None:
    parent = kin.parent(EASY)
    kin.note(parent.id)
    child = kin.spawn(parent.id, kin.write(EASY))
    kin.note(child)
    grandchild = kin.spawn(child, kin.write())
    everybody = [parent.id, child, grandchild]
    kin.kill(parent.id)
    for actor in everybody:
        kin.await_life(actor, 2)
    told = [entry for entry in kin.story(*everybody) if entry[0] in ("exited", "restarting", "restarted")]
    assert told == [
        ("exited", parent.id),  # it was killed, so the kernel was first
        ("exited", grandchild),
        ("exited", child),
        *[(event, actor) for actor in everybody for event in ("restarting", "restarted")],
    ]


def test_events_of_a_restart_name_both_lives(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    kin.kill(child)
    kin.await_life(child, 2)
    story = [(event, facts) for event, facts in kin.house.history() if facts.get("actor") == child]
    words = [event for event, _ in story]
    assert words == ["started", "spawned", "ready", "exited", "restarting", "spawned", "ready", "restarted"]
    assert story[0][1]["parent"] == parent.id
    assert story[3][1]["commanded"] is False
    assert (story[7][1]["old"], story[7][1]["new"]) == (1, 2)


def test_a_parent_that_goes_on_has_its_children_back_as_they_were(kin: Kin) -> None:
    parent = kin.parent(EASY)
    kin.note(parent.id)
    kept, fresh, stopped = (
        kin.spawn(parent.id, kin.write()),
        kin.spawn(parent.id, kin.write(supervision={"state": "fresh"})),
        kin.spawn(parent.id, kin.write()),
    )
    for child in (kept, fresh, stopped):
        kin.house.count(child)
    kin.stop(parent.id, stopped)
    kin.kill(parent.id)
    kin.await_life(parent.id, 2)
    assert [kin.house.count(child) for child in (kept, fresh)] == [2, 1]
    assert kin.children(parent.id) == [kept, fresh, stopped]
    assert kin.house.row(stopped).state == "stopped"
    kin.restart(parent.id, stopped)
    assert kin.house.count(stopped) == 2


def test_who_writes_to_a_child_whose_parent_is_being_restarted_waits(kin: Kin) -> None:
    parent = kin.parent(EASY, supervision={"backoff": pause(300)})
    kin.note(parent.id)
    child = kin.spawn(parent.id, text_of_child("waiting").replace("register = false", "register = true"))
    kin.house.count(child)
    kin.kill(parent.id)
    kin.house.await_row(child, lambda row: row.state == "restarting")
    assert kin.house.row(parent.id).state == "restarting"
    assert kin.house.count("waiting") == 2


def test_who_writes_to_a_child_whose_parent_stays_down_is_told(kin: Kin) -> None:
    parent = kin.parent(EASY, supervision={"backoff": pause(60_000)})
    kin.note(parent.id)
    child = kin.spawn(parent.id, kin.write())
    kin.kill(parent.id)
    kin.house.await_row(child, lambda row: row.state == "restarting")
    link = kin.house.connect()._link
    number = link.submit("message", {"actor": child, "body": b"c", "request": True, "timeout_ms": 60_000}, 60.0)
    kin.house.client.stop(parent.id)
    assert isinstance(link.outcome({number}).error, ActorDown)
    assert kin.house.row(child).state == "stopped"


def test_a_parent_that_begins_anew_knows_nothing_of_its_children(kin: Kin) -> None:
    file = kin.write()
    parent = kin.parent(EASY, state=b"S" + file.encode(), supervision={"state": "fresh", "intensity": 10, "period": 1})
    first = kin.children(parent.id)
    more = kin.spawn(parent.id, file)
    kin.kill(parent.id)
    kin.await_life(parent.id, 2)
    second = kin.children(parent.id)
    assert len(second) == 1
    assert not {*first, more} & set(second)
    assert not {*first, more} & {row.id for row in kin.house.client.list()}
    assert kin.house.row(second[0]).parent == parent.id
    assert (kin.house.home / "actors" / more / "chain").exists()


def test_a_parent_that_begins_anew_may_use_the_names_of_its_former_children(kin: Kin) -> None:
    file = kin.write()
    path = kin.house.folder / file
    path.write_text(path.read_text().replace("register = false", "register = true"))
    parent = kin.parent(EASY, state=b"S" + file.encode(), supervision={"state": "fresh", "intensity": 10, "period": 1})
    for life in range(2, 5):
        kin.kill(parent.id)
        kin.await_life(parent.id, life)
        assert kin.house.count(file.removesuffix(".toml")) == 1


def test_a_parent_that_traps_takes_its_children_along(kin: Kin) -> None:
    parent = kin.parent(EASY, supervision={"restart": "temporary"})
    children = spawn_all(kin, parent.id, 3)
    pids = [kin.pid(child) for child in children]
    kin.house.client.send(parent.id, b"u")
    kin.house.await_row(parent.id, lambda row: row.state == "stopped")
    assert not any(is_running(pid) for pid in pids)
    assert {kin.house.row(child).state for child in children} == {"stopped"}


def test_a_parent_that_ends_by_its_own_choice_takes_its_children_along(kin: Kin) -> None:
    parent = kin.parent(EASY, supervision={"restart": "transient"})
    children = spawn_all(kin, parent.id, 2)
    pids = [kin.pid(child) for child in children]
    kin.house.client.request(parent.id, b"q")
    kin.house.await_row(parent.id, lambda row: row.state == "stopped")
    assert not any(is_running(pid) for pid in pids)


def test_the_time_of_a_parent_begins_when_its_children_have_ended(kin: Kin) -> None:
    """It is in a call that never ends, so it cannot do as asked; its child is not hurried by that."""
    parent = kin.parent(EASY, supervision={"shutdown": 300}, limits={"call_timeout": "infinity"})
    child = kin.spawn(parent.id, kin.write(limits={"call_timeout": "infinity"}, supervision={"shutdown": 300}))
    pids = [kin.pid(actor) for actor in (parent.id, child)]
    kin.house.client.send(child, b"b")
    kin.house.client.send(parent.id, b"b")
    kin.house.client.stop(parent.id)
    assert not any(is_running(pid) for pid in pids)
    for actor in (parent.id, child):
        last_exit = kin.house.row(actor).last_exit
        assert last_exit is not None
        assert (last_exit.reason, last_exit.commanded) == ("killed", True)
    exits = [actor for event, actor in kin.story(parent.id, child) if event == "exited"]
    assert exits == [child, parent.id]


def test_a_brutal_kill_takes_everybody_at_once(kin: Kin) -> None:
    parent = kin.parent(EASY, supervision={"shutdown": "brutal_kill"})
    children = spawn_all(kin, parent.id, 2)
    pids = [kin.pid(actor) for actor in (parent.id, *children)]
    kin.house.client.stop(parent.id)
    assert not any(is_running(pid) for pid in pids)
    assert {kin.house.row(actor).last_exit.reason for actor in (parent.id, *children)} == {"killed"}  # type: ignore[union-attr]


@pytest.mark.parametrize("stop", ["sequential", "parallel"])
def test_a_deadline_of_the_end_holds_for_the_whole_subtree(kin: Kin, stop: str) -> None:
    parent = kin.parent({**EASY, "stop": stop, "stop_deadline": 300})
    child = kin.spawn(parent.id, kin.write(EASY))
    file = kin.write(limits={"call_timeout": "infinity"}, supervision={"shutdown": "infinity"})
    stubborn = [kin.spawn(parent.id, file), kin.spawn(child, file)]
    pids = [kin.pid(actor) for actor in (parent.id, child, *stubborn)]
    for actor in stubborn:
        kin.house.client.send(actor, b"b")
    kin.house.client.stop(parent.id)
    assert not any(is_running(pid) for pid in pids)
    assert {kin.house.row(actor).last_exit.reason for actor in stubborn} == {"killed"}  # type: ignore[union-attr]
    assert kin.house.row(parent.id).last_exit.reason == "shutdown"  # type: ignore[union-attr]


def test_a_parent_that_is_removed_takes_the_rows_of_its_children_along(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(EASY))
    grandchild = kin.spawn(child, kin.write())
    kin.house.client.stop(parent.id, remove=True)
    assert not {parent.id, child, grandchild} & {row.id for row in kin.house.client.list()}


def test_a_child_of_a_stopped_parent_cannot_be_started_alone(kin: Kin) -> None:
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write())
    kin.house.client.stop(parent.id)
    with pytest.raises(WrongState, match="has ended"):
        kin.house.client.restart(child)
    kin.house.client.restart(parent.id)
    assert kin.house.row(parent.id).state == "running"


# ---- the family ends by its own decision


def test_a_family_that_gives_up_ends_its_parent_which_its_supervisor_restarts(kin: Kin) -> None:
    parent = kin.parent({"intensity": 0, "period": 60}, supervision={"intensity": 3, "period": 60})
    kin.note(parent.id)
    children = spawn_all(kin, parent.id, 2)
    kin.kill(children[0])
    row = kin.await_life(parent.id, 2)
    assert row.last_exit is not None
    assert (row.last_exit.reason, row.last_exit.commanded) == ("gave_up", False)
    assert row.last_exit.detail is not None
    assert children[0] in row.last_exit.detail
    assert "signal 9" in row.last_exit.detail
    assert kin.house.row(children[1]).last_exit.reason == "shutdown"  # type: ignore[union-attr]
    for child in children:
        kin.await_life(child, 2)


def test_a_transient_parent_that_gave_up_stays_down(kin: Kin) -> None:
    """As in OTP giving up is `shutdown`, which is no reason to restart a transient supervisor."""
    parent = kin.parent({"intensity": 0, "period": 60}, supervision={"restart": "transient"})
    children = spawn_all(kin, parent.id, 2)
    pids = [kin.pid(child) for child in children]
    kin.kill(children[0])
    row = kin.house.await_row(parent.id, lambda row: row.state == "stopped")
    assert row.last_exit is not None
    assert row.last_exit.reason == "gave_up"
    assert not any(is_running(pid) for pid in pids)


def test_giving_up_escalates_from_generation_to_generation(kin: Kin) -> None:
    once = {"intensity": 1, "period": 60}
    top = kin.parent(once)
    kin.note(top.id)
    middle = kin.spawn(top.id, kin.write(once))
    kin.note(middle)
    leaf = kin.spawn(middle, kin.write())
    for death in range(1, 5):  # (1 + 1) * (1 + 1) of them, as in OTP
        kin.kill(leaf)
        kin.await_life(leaf, death + 1)
    assert lives(kin, top.id, middle, leaf) == [2, 3, 5]


def test_a_significant_child_that_is_done_ends_its_parent(kin: Kin) -> None:
    children = {**EASY, "auto_shutdown": "any_significant"}
    parent = kin.parent(children, supervision={"restart": "transient"})
    other = kin.spawn(parent.id, kin.write())
    pid = kin.pid(other)
    child = kin.spawn(parent.id, kin.write(supervision={"restart": "transient", "significant": True}))
    kin.house.client.request(child, b"q")
    row = kin.house.await_row(parent.id, lambda row: row.state == "stopped")
    assert row.last_exit is not None
    assert (row.last_exit.reason, row.last_exit.commanded) == ("shutdown", False)
    assert not is_running(pid)


# ---- parents in a tree


@pytest.fixture
def tree(closed_house: House, name: Callable[[], str]) -> Kin:
    """A server with a tree: in a pool of one_for_all a parent, and one of its siblings."""
    kin = Kin(closed_house, name)
    house = closed_house
    parent, sibling = kin.write(EASY, supervision={}), kin.write(supervision={})
    pool = toml_table("[supervisor]", {"name": "pool", "strategy": "one_for_all", **EASY})
    rows = [("parent", parent), ("sibling", sibling)]
    children = [toml_table("[child]", {"name": name, "under": "pool", "manifest": file}) for name, file in rows]
    (house.folder / "theater.toml").write_text(pool + "".join(children))
    house.open("--tree", str(house.folder / "theater.toml"))
    for actor in ("parent", "sibling"):
        kin.pid(actor)
    return kin


def test_a_parent_in_a_tree_is_stopped_with_its_family_and_comes_back_with_it(tree: Kin) -> None:
    kin = tree
    kin.note("parent")
    children = spawn_all(kin, "parent", 2)
    everybody = [kin.house.row("parent").id, *children]
    for life, victim in ((2, "sibling"), (3, "parent")):
        kin.kill(victim)
        for actor in (*everybody, "sibling"):
            kin.await_life(actor, life)
        assert kin.children("parent") == children
    exits = [actor for event, actor in kin.story(*everybody) if event == "exited"]
    assert exits[:3] == everybody[::-1]
    restarted = [actor for event, actor in kin.story(*everybody) if event == "restarted"]
    assert restarted == everybody * 2
    assert [row.id for row in kin.house.client.list() if row.parent is not None] == children


def test_a_parent_in_a_tree_comes_back_with_its_family_after_a_kill_of_the_server(tree: Kin) -> None:
    kin = tree
    kin.note("parent")
    child = kin.spawn("parent", kin.write())
    kin.house.count(child)
    before = {row.id for row in kin.house.client.list()}
    kin.house.send_signal(signal.SIGKILL)
    kin.house.await_end()
    kin.house.open("--tree", str(kin.house.folder / "theater.toml"))
    kin.await_life(child, 2)
    assert kin.house.count(child) == 2
    assert {row.id for row in kin.house.client.list()} == before


# ---- the server ends


def test_a_server_that_stops_leaves_nobody(own_kin: Kin) -> None:
    kin = own_kin
    parent = kin.parent(EASY)
    child = kin.spawn(parent.id, kin.write(EASY))
    spawn_all(kin, child, 2)
    kin.house.client.stop_server()
    assert kin.house.await_end() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_family_of_three_generations_is_restored_with_its_ids(own_kin: Kin, number: int) -> None:
    kin = own_kin
    parent = kin.parent(EASY)
    kin.note(parent.id)
    child = kin.spawn(parent.id, kin.write(EASY))
    kin.note(child)
    leaves = spawn_all(kin, child, 2)
    stopped = kin.spawn(parent.id, kin.write())
    kin.stop(parent.id, stopped)
    everybody = [parent.id, child, *leaves]
    for leaf in leaves:
        kin.house.count(leaf)
    for life in (2, 3):
        kin.house.send_signal(number)
        kin.house.await_end()
        kin.house.open()
        for actor in everybody:
            kin.await_life(actor, life)
        assert [kin.house.count(leaf) for leaf in leaves] == [life, life]
        assert {row.id for row in kin.house.client.list()} == {*everybody, stopped}
        assert kin.house.row(stopped).state == "stopped"
        assert kin.children(parent.id) == [child, stopped]
        assert kin.children(child) == leaves
    workers = {row.pid for row in kin.house.client.list() if row.pid is not None}
    assert len(workers) == 4
    kin.house.verify()


def test_a_parent_that_begins_anew_has_no_doubles_after_a_kill_of_the_server(own_kin: Kin) -> None:
    kin = own_kin
    file = kin.write()
    parent = kin.parent(EASY, state=b"S" + file.encode(), supervision={"state": "fresh"})
    first = kin.children(parent.id)
    kin.house.send_signal(signal.SIGKILL)
    kin.house.await_end()
    kin.house.open()
    kin.await_life(parent.id, 2)
    second = kin.children(parent.id)
    assert len(second) == 1
    assert second != first
    assert {row.id for row in kin.house.client.list()} == {parent.id, *second}


def test_a_stopped_parent_stays_down_with_its_children_over_a_kill_of_the_server(own_kin: Kin) -> None:
    kin = own_kin
    parent = kin.parent(EASY)
    kin.note(parent.id)
    child = kin.spawn(parent.id, kin.write())
    kin.house.count(child)
    kin.house.client.stop(parent.id)
    kin.house.send_signal(signal.SIGKILL)
    kin.house.await_end()
    kin.house.open()
    assert [kin.house.row(actor).state for actor in (parent.id, child)] == ["stopped", "stopped"]
    kin.house.client.restart(parent.id)
    assert kin.house.count(child) == 2


def test_a_server_killed_in_the_middle_of_everything_restores_whole_families(own_kin: Kin) -> None:
    """Children are being spawned, and killed, as are their parents, when the server is."""
    kin, house, chance = own_kin, own_kin.house, random.Random(3)
    parent = kin.parent(EASY).id
    kin.note(parent)
    middle = kin.spawn(parent, kin.write({**EASY, "strategy": "rest_for_one"}))
    kin.note(middle)
    order = b"S" + kin.write().encode()

    def spawn(client: Client) -> None:
        client.request(middle, order, timeout=5.0)

    def kill(client: Client) -> None:
        house.kill(chance.choice([row.pid for row in client.list() if row.pid is not None]))
        time.sleep(chance.uniform(0.0, 0.05))

    for _ in range(effort(2, 8)):
        with restless(house, spawn), restless(house, kill):
            time.sleep(chance.uniform(0.2, 0.6))
            house.send_signal(signal.SIGKILL)
        house.await_end()
        house.open()
        eventually(lambda: {row.state for row in house.client.list()} == {"running"})
        assert kin.children(parent) == [middle]
        assert {*kin.children(middle), parent, middle} == {row.id for row in house.client.list()}
    house.verify()


@contextmanager
def restless(house: House, action: Callable[[Client], None]) -> Iterator[None]:
    """Does something again and again, whatever comes of it, until the end."""
    client, over = house.connect(), threading.Event()

    def go_on() -> None:
        while not over.is_set():
            with suppress(TheaterError):
                action(client)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_kills_at_any_moment_leave_a_family_whole(kin: Kin) -> None:
    """Of parent, child or grandchild, again and again, without waiting for anybody."""
    chance = random.Random(7)
    parent = kin.parent(EASY)
    kin.note(parent.id)
    child = kin.spawn(parent.id, kin.write({**EASY, "strategy": "one_for_all"}))
    kin.note(child)
    leaves = spawn_all(kin, child, 2)
    everybody = [parent.id, child, *leaves]
    killed = set()
    for _ in range(40):
        pid = kin.house.row(chance.choice(everybody)).pid
        if pid is not None:
            kin.house.kill(pid)
            killed.add(pid)

    def are_up() -> bool:
        """The server may not have heard yet of who was killed last."""
        rows = [kin.house.row(actor) for actor in everybody]
        return all(row.state == "running" and row.pid not in killed for row in rows)

    eventually(are_up)
    assert kin.children(parent.id) == [child]
    assert kin.children(child) == leaves
    for leaf in leaves:
        kin.house.count(leaf)
    pids = [kin.pid(actor) for actor in everybody]
    assert len({*pids}) == 4
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
