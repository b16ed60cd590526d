"""A server on the home of another one that was killed or stopped: the whole tree is back, by policy, nobody twice."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from effort import effort
from house import House, bare_actor, eventually, make_house, sending
from kin import Kin
from trees import apply, child, done, find, lives, running, shape, supervisor, write

from theater.errors import IntegrityError, TheaterError

RESTLESS = {"intensity": 100_000, "period": 1}
LEAVES = "abcdefgh"
THREE_LEVELS = (
    supervisor("root", None, **RESTLESS)
    + supervisor("left", strategy="one_for_all", **RESTLESS)
    + child("a", "left")
    + child("b", "left")
    + supervisor("inner", "left", strategy="rest_for_one", **RESTLESS)
    + child("c", "inner")
    + child("d", "inner")
    + supervisor("right", **RESTLESS)
    + child("e", "right")
    + supervisor("core", "right", **RESTLESS)
    + child("f", "core")
    + child("g", "core")
    + child("h")
)
WHOLE = (
    "root", [("left", ["a", "b", ("inner", ["c", "d"])]), ("right", ["e", ("core", ["f", "g"])]), "h"],
)  # fmt: skip
ENDS = pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])


@pytest.fixture
def house(probe: bytes) -> Iterator[House]:
    own = make_house(probe)
    try:
        yield own
    finally:
        own.close()


def plant(house: House, tree: str) -> None:
    house.open("--tree", write(house, tree))


def again(house: House, number: int = signal.SIGKILL, *options: str) -> None:
    """Ends the server, sees that nobody of it lives on, and starts another one on its home."""
    house.send_signal(number)
    assert house.server is not None
    house.server.wait()
    eventually(lambda: not house.processes(), "no worker outlives its server")
    house.open(*options)


def whole(house: House) -> None:
    """Waits until everything of the three levels runs, and sees that it is there once."""
    running(house, *LEAVES)
    assert sorted(row.name for row in house.client.list()) == list(LEAVES)
    pids = [row.pid for row in house.client.list()]
    assert len(set(pids)) == len(LEAVES)
    assert shape(house.client.tree()) == WHOLE


@ENDS
def test_the_tree_comes_back_without_its_file_with_the_same_actors_and_their_state(house: House, number: int) -> None:
    house.write("h", supervision={"state": "fresh"})
    plant(house, THREE_LEVELS)
    whole(house)
    ids = {row.name: row.id for row in house.client.list()}
    assert [house.count(name) for name in LEAVES] == [1] * 8
    (house.folder / "theater.toml").unlink()
    again(house, number)
    whole(house)
    assert {row.name: row.id for row in house.client.list()} == ids
    assert [house.count(name) for name in LEAVES] == [2] * 7 + [1], "h begins anew, by its policy"
    house.verify()


def test_a_server_killed_in_the_middle_of_restarts_leaves_a_tree_that_comes_back_whole(house: House) -> None:
    """Workers are killed at random while the server is; three times over, and everything is as it should be."""
    dice = random.Random(7)
    plant(house, THREE_LEVELS)
    whole(house)
    ids = {row.name: row.id for row in house.client.list()}
    for _ in range(3):
        counted = {name: house.count(name) for name in LEAVES}
        over = threading.Event()
        storm = threading.Thread(target=_kill_workers, args=(house, dice, over))
        storm.start()
        eventually(lambda: sum(lives(house, *LEAVES)) > 30, "there are restarts")
        house.send_signal(signal.SIGKILL)
        assert house.server is not None
        house.server.wait()
        over.set()
        storm.join()
        eventually(lambda: not house.processes(), "no worker outlives its server")
        house.open()
        whole(house)
        assert {row.name: row.id for row in house.client.list()} == ids
        assert all(house.count(name) == counted[name] + 1 for name in LEAVES)
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.verify()


def _kill_workers(house: House, dice: random.Random, over: threading.Event) -> None:
    client = house.connect()
    while not over.is_set():
        with contextlib.suppress(TheaterError):
            rows = [row for row in client.list(timeout=1) if row.pid is not None]
            if rows:
                house.kill(dice.choice(rows).pid or 0)


@ENDS
def test_what_somebody_had_stopped_or_what_was_done_stays_down(house: House, number: int) -> None:
    pool = supervisor("pool", **RESTLESS)
    tree = pool + child("a", "pool") + child("b", "pool", restart="temporary") + child("c", "pool", restart="transient")
    plant(house, tree + child("d", "pool") + child("e", restart="temporary"))
    running(house, *"abcde")
    house.client.stop("a")
    for name in "bc":
        house.client.request(name, b"q")
        house.await_row(name, lambda row: row.state == "stopped")
    again(house, number)
    running(house, "d", "e")
    assert [house.row(name).state for name in "abcde"] == ["stopped"] * 3 + ["running"] * 2
    assert [house.row(name).pid for name in "abc"] == [None] * 3
    assert [house.client.restart(name).state for name in "abc"] == ["running"] * 3
    assert lives(house, "a", "b", "c") == [2, 2, 2], "no number is used up for who does not live"
    again(house, number)
    running(house, *"abcde")


@ENDS
def test_a_supervisor_that_was_not_to_come_back_does_not(house: House, number: int) -> None:
    pool = supervisor("pool", restart="transient", intensity=0, period=60)
    tree = supervisor("top") + pool.replace("root", "top") + child("a", "pool") + child("b", "top") + child("c")
    plant(house, tree)
    running(house, *"abc")
    house.kill(house.row("a").pid or 0)
    eventually(lambda: find(house.client.tree(), "pool").state == "failed", "pool has given up")
    again(house, number)
    running(house, "b", "c")
    shown = find(house.client.tree(), "pool")
    assert (shown.state, shown.incarnation, house.row("a").state) == ("failed", 1, "failed")
    assert shown.last_exit is not None
    assert shown.last_exit.reason == "gave_up"
    assert done(apply(house, tree)) == {"pool": "started", "a": "started"}
    running(house, "a")
    assert find(house.client.tree(), "pool").incarnation == 2


def test_supervisors_count_their_lives_over_servers(house: House) -> None:
    plant(house, THREE_LEVELS)
    whole(house)
    house.kill(house.row("a").pid or 0)
    house.await_incarnation("d", 2)
    assert [find(house.client.tree(), name).incarnation for name in ("root", "left", "inner")] == [1, 1, 2]
    again(house, signal.SIGTERM)
    whole(house)
    assert [find(house.client.tree(), name).incarnation for name in ("root", "left", "inner")] == [2, 2, 3]
    begun = [
        (facts["supervisor"], facts["incarnation"]) for event, facts in house.history() if event == "supervisor-started"
    ]
    assert begun == [
        ("root", 1), ("left", 1), ("inner", 1), ("right", 1), ("core", 1), ("inner", 2),
        ("root", 2), ("left", 2), ("inner", 3), ("right", 2), ("core", 2),
    ]  # fmt: skip


def test_the_chain_says_what_happened(house: House) -> None:
    plant(house, THREE_LEVELS)
    whole(house)
    house.client.stop("b")
    again(house)
    running(house, "a")
    events = [event for event, _ in house.history()]
    second = events.index("server-started", 1)
    assert [event for event in events[:second] if event.startswith(("server", "tree"))] == [
        "server-started",
        "tree-applied",
    ]
    assert events[second : second + 3] == ["server-started", "tree-restored", "supervisor-started"]
    restored = next(facts for event, facts in house.history() if event == "tree-restored")
    assert (restored["supervisors"], restored["children"], restored["asleep"]) == (4, 8, ["b"])
    house.verify()


@ENDS
def test_what_was_applied_is_what_comes_back(house: House, number: int) -> None:
    plant(house, supervisor("pool") + child("a", "pool") + child("b", "pool") + child("c"))
    running(house, *"abc")
    house.write("a", limits={"call_timeout": "7s"})
    smaller = supervisor("pool", intensity=9) + child("n", "pool") + child("a", "pool")
    apply(house, smaller + child("c"), prune=True)
    apply(house, smaller)
    again(house, number)
    running(house, *"acn")
    assert shape(house.client.tree()) == ("root", [("pool", ["n", "a"]), "c"]), "c is kept, b was pruned"
    assert find(house.client.tree(), "pool").intensity == 9
    assert house.client.inspect("a").facts["manifest"]["limits"]["call_timeout"] == 7000
    assert not find(house.client.tree(), "pool").children[1].due  # type: ignore[union-attr]
    assert done(apply(house, smaller)) == {"c": "kept"}


def test_a_server_killed_while_a_tree_is_applied_has_the_old_tree_or_the_new_one(house: House) -> None:
    dice = random.Random(3)
    first = THREE_LEVELS
    second = supervisor("left", **RESTLESS) + child("a", "left") + child("h", "left") + child("n")
    shapes = {"first": WHOLE, "second": ("root", [("left", ["a", "h"]), "n"])}
    plant(house, first)
    running(house, *LEAVES)
    for round_number in range(effort(3, 12)):
        wished = second if round_number % 2 == 0 else first
        path = write(house, wished)
        client = house.connect()
        applying = threading.Thread(target=_apply, args=(client, path))
        applying.start()
        threading.Event().wait(dice.choice([0.0, 0.02, 0.05, 0.1, 0.2, 0.4]))  # The moment of the kill is drawn.
        again(house)
        applying.join()
        eventually(
            lambda: shape(house.client.tree()) in shapes.values(), lambda: f"{shape(house.client.tree())}: a whole tree"
        )
        now = next(name for name, wanted in shapes.items() if wanted == shape(house.client.tree()))
        names = LEAVES if now == "first" else "ahn"
        running(house, *names)
        alive = sorted(row.name for row in house.client.list() if row.pid is not None)
        assert alive == sorted(names)
        apply(house, wished, prune=True)
        assert shape(house.client.tree()) == shapes["first" if wished is first else "second"]
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.verify()


def _apply(client: object, path: str) -> None:
    with contextlib.suppress(TheaterError):
        client.apply_tree(path, prune=True)  # type: ignore[attr-defined]


def test_a_given_file_wins_over_what_the_home_keeps(house: House) -> None:
    plant(house, supervisor("pool") + child("a", "pool") + child("b", "pool") + child("c"))
    running(house, *"abc")
    assert [house.count(name) for name in "abc"] == [1, 1, 1]
    house.client.stop("c")
    ids = {row.name: row.id for row in house.client.list()}
    again(house, signal.SIGKILL, "--tree", write(house, child("a") + child("c") + child("n")))
    running(house, "a", "n")
    whole = ("root", ["a", "c", "n", "b"])
    eventually(lambda: shape(house.client.tree()) == whole, "those who are asleep have their places")
    assert {row.name: row.state for row in house.client.list()} == {
        "a": "running", "b": "stopped", "c": "stopped", "n": "running",
    }  # fmt: skip
    assert "retired" in {event for event, _ in house.history()}
    assert (house.count("a"), house.row("a").supervisor) == (2, "root")
    again(house, signal.SIGKILL)
    running(house, "a", "n")
    assert house.row("b").state == "stopped", "it was told to stay down"
    assert house.client.restart("b").supervisor == "root"
    assert house.count("b") == 2
    house.client.stop("b")
    assert apply(house, child("a") + child("c") + child("n") + child("b"))["b"].done == "added"
    assert (house.row("b").id, house.count("b")) == (ids["b"], 3), "it is the same actor"


def test_an_apply_does_not_take_an_actor_that_runs_by_itself(house: House) -> None:
    plant(house, child("a") + child("b"))
    running(house, "a", "b")
    again(house, signal.SIGTERM, "--tree", write(house, child("a")))
    house.client.restart("b")
    with pytest.raises(TheaterError, match="b runs by itself"):
        apply(house, child("a") + child("b"))
    assert house.row("b").state == "running"


def test_actors_that_were_started_by_themselves_come_back_beside_the_tree(house: House) -> None:
    plant(house, child("a"))
    running(house, "a")
    house.start("alone")
    again(house)
    running(house, "a", "alone")
    assert shape(house.client.tree()) == ("root", ["a", "alone"])
    house.client.request("alone", sending("a", b"c"))
    eventually(lambda: house.client.state("a").state == b"\x01\0\0\0", "they know each other")


@ENDS
def test_an_actor_of_the_tree_has_its_children_back(house: House, name: Callable[[], str], number: int) -> None:
    kin = Kin(house, name)
    parent = kin.write({"intensity": 50, "period": 60})
    plant(house, supervisor("pool") + child("p", "pool", manifest=parent))
    running(house, "p")
    kin.ask("p", b"nit has a state, so it goes on")
    ids = [kin.spawn("p", kin.write()) for _ in range(2)]
    again(house, number)
    running(house, "p")
    for key in ids:
        house.await_row(key, lambda row: row.state == "running")
    (shown,) = find(house.client.tree(), "pool").children
    assert [each.id for each in shown.family.children] == ids  # type: ignore[union-attr]
    assert len(house.client.list()) == 3
    house.verify()


def test_a_tree_that_cannot_be_read_ends_the_server_until_one_is_given(house: House) -> None:
    plant(house, child("a"))
    running(house, "a")
    house.client.stop_server()
    house.await_end()
    (house.home / "tree").write_bytes(b"\xff no tree")
    house.server = house.popen()
    assert house.await_end() == IntegrityError.exit_code
    assert "remove it to begin without a tree" in house.log_text()
    house.open("--tree", str(house.folder / "theater.toml"))
    running(house, "a")
    assert house.count("a") == 1


def test_a_failed_apply_does_not_end_the_next_server(house: House) -> None:
    plant(house, child("a"))
    running(house, "a")
    house.write("n", more='init_state_inline = "fail"')
    tree = child("a") + child("n") + supervisor("pool") + child("b", "pool") + child("m", "pool", manifest="n.toml")
    rows = apply(house, tree)
    assert {name for name, row in rows.items() if row.error is not None} == {"n", "pool"}
    again(house)
    running(house, "a")
    assert [house.row(name).pid for name in "nbm"] == [None] * 3
    house.write("n")
    assert done(apply(house, tree))["n"] == "started"
    running(house, *"anbm")


SPIN = """
    (local $n i32)
    (loop (br_if 0 (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 0x7fffffff))))
"""


@pytest.fixture
def sapling(house: House) -> House:
    """A server whose tree has not grown: it waits for a child whose `init` takes a while. One before it is asleep."""
    (house.folder / "slow.wasm").write_bytes(bare_actor(init=f"{SPIN} (i32.const 64)"))
    house.write("slow", component="slow.wasm", handlers=(), limits={"call_timeout": "60s"})
    pool = supervisor("pool") + child("a", "pool") + child("b")
    plant(house, pool + child("slow", start_timeout="60s") + child("c"))
    running(house, "slow", "c")
    for name in "ab":
        house.client.stop(name)
    again(house)
    assert (house.row("slow").state, house.row("c").pid) == ("starting", None)
    return house


def test_a_child_that_sleeps_can_be_started_before_the_tree_has_grown(sapling: House) -> None:
    with ThreadPoolExecutor(2) as both:
        starts = [both.submit(sapling.connect().restart, name) for name in "ab"]
        assert [start.result().state for start in starts] == ["running"] * 2
    assert shape(sapling.client.tree()) == ("root", [("pool", ["a"]), "b", "slow", "c"])


def test_a_child_can_be_stopped_before_its_supervisor_has_come_to_it(sapling: House) -> None:
    assert sapling.client.stop("c").state == "stopped"
    eventually(lambda: sapling.client.tree().state == "running", "the tree has grown")
    assert (sapling.row("c").state, sapling.row("c").pid) == ("stopped", None)


def test_a_child_can_be_stopped_while_its_component_is_compiled(house: House) -> None:
    plant(house, child("a") + child("b"))
    running(house, *"ab")
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.server = house.popen(XDG_CACHE_HOME=str(house.folder / "cold"))
    house.await_server()
    assert house.client.stop("a").state == "stopped"
    running(house, "b")
    assert (house.row("a").state, house.row("a").pid) == ("stopped", None)


def _goes_on_without(house: House, gone: str, left: str) -> None:
    """A crash in a pool that restarts all of its children concerns those that are left, and no others."""
    eventually(lambda: house.client.tree().state == "running", "the tree has grown")
    before = {name: house.row(name).incarnation for name in left}
    house.kill_worker(left[-1])
    eventually(lambda: all(house.row(name).incarnation > before[name] for name in left), "all of them live again")
    running(house, *left)
    pool = find(house.client.tree(), "pool")
    assert pool.state == "running"
    assert (pool.recent, pool.last_exit) == (1, None)
    assert not {child.name for child in pool.children} & set(gone)


def test_who_was_removed_before_the_tree_had_grown_is_not_restarted_with_its_siblings(house: House) -> None:
    (house.folder / "slow.wasm").write_bytes(bare_actor(init=f"{SPIN} (i32.const 64)"))
    house.write("slow", component="slow.wasm", handlers=(), limits={"call_timeout": "60s"})
    pool = supervisor("pool", strategy="one_for_all") + "".join(child(name, "pool") for name in "abcd")
    plant(house, pool + child("slow", start_timeout="60s"))
    running(house, *"abcd", "slow")
    again(house)
    running(house, *"abcd")
    assert house.row("slow").state == "starting"
    house.client.stop("a", remove=True)
    _goes_on_without(house, "a", "bcd")


def test_those_that_were_removed_at_once_are_not_restarted_with_their_siblings(house: House) -> None:
    plant(house, supervisor("pool", strategy="one_for_all") + "".join(child(name, "pool") for name in "abcde"))
    running(house, *"abcde")
    with ThreadPoolExecutor(3) as three:
        for stopped in [three.submit(house.connect().stop, name, remove=True) for name in "abc"]:
            stopped.result()
    _goes_on_without(house, "abc", "de")
