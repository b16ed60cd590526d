"""`theater tree apply` over real processes: OTP's merge (1.18), then what is new is started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from house import House, bare_actor, eventually, make_house
from kin import Kin
from trees import apply, child, done, find, lives, running, shape, supervisor, write

from theater.client import Member
from theater.errors import ComponentError, ManifestError, NameTaken, SpecError, TheaterError, WrongState

POOL = supervisor("pool", intensity=20, period=60)


@pytest.fixture
def garden(probe: bytes) -> Iterator[House]:
    """A server with a pool of a and b, and c beside it."""
    house = make_house(probe)
    try:
        tree = write(house, POOL + child("a", "pool") + child("b", "pool") + child("c"))
        house.open("--tree", tree)
        running(house, "a", "b", "c")
        yield house
    finally:
        house.close()


BASE = POOL + child("a", "pool") + child("b", "pool") + child("c")


def test_an_apply_to_a_server_without_a_tree_grows_it(own_house: House) -> None:
    rows = apply(own_house, BASE)
    assert done(rows) == dict.fromkeys(("pool", "a", "b", "c"), "added")
    assert [own_house.row(name).state for name in "abc"] == ["running"] * 3
    assert shape(own_house.client.tree()) == ("root", [("pool", ["a", "b"]), "c"])
    ids = {own_house.row(name).id: name for name in "abc"}
    ready = [ids[facts["actor"]] for event, facts in own_house.history() if event == "ready"]
    assert ready == ["a", "b", "c"]


def test_the_same_file_again_changes_nothing(garden: House) -> None:
    before = [garden.row(name) for name in "abc"]
    for how in ({}, {"prune": True}, {"restart_changed": True}):
        assert done(apply(garden, BASE, **how)) == {}
    assert [garden.row(name).pid for name in "abc"] == [row.pid for row in before]


def test_what_is_new_starts_in_its_place_while_the_others_run_on(garden: House) -> None:
    pids = [garden.row(name).pid for name in "abc"]
    tree = POOL + child("a", "pool") + child("n", "pool") + child("b", "pool") + child("c")
    assert done(apply(garden, tree)) == {"n": "added"}
    assert shape(garden.client.tree()) == ("root", [("pool", ["a", "n", "b"]), "c"])
    assert [garden.row(name).pid for name in "abc"] == pids
    assert garden.row("n").state == "running"


def test_new_flags_hold_at_once_and_restart_nobody(garden: House) -> None:
    tree = supervisor("pool", strategy="one_for_all", intensity=7, period=60) + BASE.removeprefix(POOL)
    rows = apply(garden, tree)
    assert (rows["pool"].done, rows["pool"].changed) == ("changed", ("strategy", "intensity"))
    assert lives(garden, "a", "b") == [1, 1]
    garden.kill_worker("a")
    garden.await_incarnation("b", 2)
    pool = find(garden.client.tree(), "pool")
    assert (pool.strategy, pool.intensity, pool.recent) == ("one_for_all", 7, 1)


def test_new_attributes_of_a_child_hold_while_it_runs_on(garden: House) -> None:
    tree = POOL + child("a", "pool", restart="temporary") + child("b", "pool") + child("c")
    assert apply(garden, tree)["a"].changed == ("restart",)
    garden.kill(garden.row("a").pid or 0)
    garden.await_row("a", lambda row: row.state == "stopped")
    assert lives(garden, "a", "b") == [1, 1]


def test_what_is_not_listed_is_kept_and_with_prune_it_is_stopped_and_removed(garden: House) -> None:
    smaller = POOL + child("b", "pool") + child("n", "pool")
    assert done(apply(garden, smaller)) == {"a": "kept", "c": "kept", "n": "added", "pool": "changed"}
    assert shape(garden.client.tree()) == ("root", [("pool", ["b", "n", "a"]), "c"])
    assert garden.row("a").state == "running"
    kept = {name: garden.row(name) for name in "ac"}
    rows = apply(garden, smaller, prune=True)
    assert {name: row.done for name, row in rows.items() if row.done == "pruned"} == {"c": "pruned", "a": "pruned"}
    assert shape(garden.client.tree()) == ("root", [("pool", ["b", "n"])])
    assert {row.name for row in garden.client.list()} == {"b", "n"}
    exits = [facts["actor"] for event, facts in garden.history() if event == "exited"]
    assert exits == [kept["c"].id, kept["a"].id], "in reverse order of their start"


def test_a_pruned_supervisor_takes_everything_with_it(garden: House) -> None:
    assert done(apply(garden, child("c"), prune=True)) == {"pool": "pruned", "a": "pruned", "b": "pruned"}
    assert shape(garden.client.tree()) == ("root", ["c"])
    assert {row.name for row in garden.client.list()} == {"c"}
    assert done(apply(garden, BASE)) == {"pool": "added", "a": "added", "b": "added"}
    running(garden, "a", "b", "c")


def test_supervisors_in_supervisors_are_added_changed_and_pruned(garden: House) -> None:
    inner = supervisor("inner", "pool", strategy="rest_for_one", intensity=9, period=60)
    deep = BASE + inner + child("d", "inner") + supervisor("core", "inner") + child("e", "core")
    assert done(apply(garden, deep)) == dict.fromkeys(("inner", "d", "core", "e"), "added")
    assert shape(garden.client.tree()) == (
        "root", [("pool", ["a", "b", ("inner", ["d", ("core", ["e"])])]), "c"],
    )  # fmt: skip
    again = deep.replace("rest_for_one", "one_for_all").replace(child("d", "inner"), child("f", "inner"))
    rows = apply(garden, again, prune=True)
    assert done(rows) == {"inner": "changed", "f": "added", "d": "pruned"}
    assert find(garden.client.tree(), "inner").strategy == "one_for_all"
    assert lives(garden, "a", "b", "c", "e", "f") == [1, 1, 1, 1, 1]


def test_a_child_that_was_changed_runs_on_until_it_is_restarted(garden: House) -> None:
    garden.count("a")
    garden.write("a", limits={"call_timeout": "7s"})
    rows = apply(garden, BASE)
    assert (rows["a"].done, rows["a"].changed) == ("changed", ("manifest",))
    assert done(apply(garden, BASE)) == {}, "it was told already"
    assert garden.client.inspect("a").facts["manifest"]["limits"]["call_timeout"] == 5000
    a, b = find(garden.client.tree(), "pool").children
    assert (a.due, b.due) == (True, False)  # type: ignore[union-attr]
    garden.kill_worker("a")
    assert garden.client.inspect("a").facts["manifest"]["limits"]["call_timeout"] == 7000
    assert garden.count("a") == 2


def test_restart_changed_begins_a_new_life_with_what_was_changed(garden: House) -> None:
    garden.count("a")
    garden.write("a", limits={"call_timeout": "7s"})
    apply(garden, BASE)
    rows = apply(garden, BASE, restart_changed=True)
    assert (rows["a"].done, lives(garden, "a", "b")) == ("restarted", [2, 1])
    assert garden.client.inspect("a").facts["manifest"]["limits"]["call_timeout"] == 7000
    assert garden.count("a") == 2
    assert done(apply(garden, BASE, restart_changed=True)) == {}


def test_another_component_comes_with_the_next_life(garden: House) -> None:
    before = garden.client.inspect("a").facts["component_digest"]
    (garden.folder / "other.wasm").write_bytes((garden.folder / "probe.wasm").read_bytes() + b"\x00\x05\x04note")
    garden.write("a", component="other.wasm")
    assert "component" in apply(garden, BASE)["a"].changed
    assert garden.client.inspect("a").facts["component_digest"] == before
    assert done(apply(garden, BASE, restart_changed=True)) == {"a": "restarted"}
    assert garden.client.inspect("a").facts["component_digest"] != before


def test_a_moved_child_ends_there_and_begins_here_with_its_state(garden: House) -> None:
    garden.count("a")
    before = garden.row("a")
    rows = apply(garden, POOL + child("b", "pool") + child("c") + child("a"))
    assert rows["a"].done == "moved"
    assert shape(garden.client.tree()) == ("root", [("pool", ["b"]), "c", "a"])
    after = garden.row("a")
    assert (after.id, after.incarnation, after.supervisor) == (before.id, 2, "root")
    assert garden.count("a") == 2


def test_a_moved_supervisor_takes_its_children_along(garden: House) -> None:
    garden.count("b")
    tree = supervisor("top") + supervisor("pool", "top", intensity=20, period=60) + BASE.removeprefix(POOL)
    rows = apply(garden, tree)
    assert {name: row.done for name, row in rows.items() if name != "root"} == {
        "top": "added", "pool": "moved", "a": "moved", "b": "moved", "c": "unchanged",
    }  # fmt: skip
    assert shape(garden.client.tree()) == ("root", [("top", [("pool", ["a", "b"])]), "c"])
    assert lives(garden, "a", "b", "c") == [2, 2, 1]
    assert (garden.count("b"), find(garden.client.tree(), "pool").incarnation) == (2, 2)


def test_what_somebody_has_stopped_stays_stopped(garden: House) -> None:
    garden.client.stop("a")
    garden.write("a", limits={"call_timeout": "7s"})
    rows = apply(garden, BASE + child("n", "pool"), restart_changed=True)
    assert (rows["a"].done, garden.row("a").state) == ("changed", "stopped")
    assert garden.client.restart("a").state == "running"
    assert garden.client.inspect("a").facts["manifest"]["limits"]["call_timeout"] == 7000


def test_a_dry_run_says_what_would_be_done_and_does_nothing(garden: House) -> None:
    before = garden.client.tree().plain()
    rows = apply(garden, POOL + child("n", "pool"), prune=True, dry_run=True)
    assert done(rows) == {"n": "added", "a": "pruned", "b": "pruned", "c": "pruned"}
    assert garden.client.tree().plain()["children"][0]["children"] == before["children"][0]["children"]
    assert {row.name for row in garden.client.list()} == {"a", "b", "c"}


def test_a_start_that_fails_is_told_and_concerns_nobody_else(garden: House) -> None:
    garden.write("n", more='init_state_inline = "fail"')
    tree = POOL + child("a", "pool") + child("n", "pool") + child("b", "pool") + child("m", "pool") + child("c")
    rows = apply(garden, tree)
    assert {name for name, row in rows.items() if row.error is not None} == {"n"}
    assert "init answered with an error: fail" in str(rows["n"].error)
    assert (garden.row("n").state, garden.row("m").state) == ("failed", "running")
    garden.write("n", more='init_state_inline = "fine"')
    assert done(apply(garden, tree)) == {"n": "started"}, "the next apply tries again"
    assert garden.row("n").state == "running"


def test_a_supervisor_whose_child_does_not_start_is_down_until_the_next_apply(garden: House) -> None:
    garden.write("n", more='init_state_inline = "fail"')
    tree = BASE + supervisor("more") + child("m", "more") + child("n", "more") + child("o", "more") + child("p")
    rows = apply(garden, tree)
    assert {name for name, row in rows.items() if row.error is not None} == {"more"}
    assert [garden.row(name).state for name in "mnop"] == ["failed", "failed", "failed", "running"]
    assert find(garden.client.tree(), "more").state == "failed"
    garden.write("n")
    assert done(apply(garden, tree))["more"] == "started"
    assert [garden.row(name).state for name in "mnop"] == ["running"] * 4


def test_the_children_of_an_actor_stand_below_it_and_go_with_it(garden: House, name: Callable[[], str]) -> None:
    kin = Kin(garden, name)
    parent = kin.write({"strategy": "one_for_all", "intensity": 50, "period": 60})
    apply(garden, BASE + child("p", "pool", manifest=parent))
    first = kin.spawn("p", kin.write())
    middle = kin.spawn("p", kin.write(parent=True))
    last = kin.spawn(middle, kin.write())
    (_, _, shown) = find(garden.client.tree(), "pool").children
    assert isinstance(shown, Member)
    assert shown.family is not None
    assert (shown.family.strategy, shown.family.intensity, shown.family.state) == ("one_for_all", 50, "running")
    below = [each for each in shown.family.children if isinstance(each, Member)]
    assert [(each.id, each.parent) for each in below] == [(first, shown.id), (middle, shown.id)]
    assert below[0].family is None
    assert below[1].family is not None
    assert [each.id for each in below[1].family.children if isinstance(each, Member)] == [last]
    assert done(apply(garden, BASE, prune=True)) == {"p": "pruned"}
    assert {row.name for row in garden.client.list()} == {"a", "b", "c"}


def test_a_child_that_somebody_removes_is_out_of_the_tree(garden: House) -> None:
    apply(garden, BASE.replace(POOL, supervisor("pool", strategy="one_for_all", intensity=20, period=60)))
    before = garden.client.stop("a", remove=True)
    eventually(lambda: shape(garden.client.tree()) == ("root", [("pool", ["b"]), "c"]), "a is gone")
    garden.kill_worker("b")
    garden.send_signal(signal.SIGKILL)
    assert garden.server is not None
    garden.server.wait()
    garden.open()
    running(garden, "b", "c")
    assert shape(garden.client.tree()) == ("root", [("pool", ["b"]), "c"])
    assert done(apply(garden, BASE)) == {"pool": "changed", "a": "added"}
    assert garden.row("a").id != before.id


def test_the_tree_can_be_looked_at_while_children_are_removed(garden: House) -> None:
    names = "efghijkl"
    apply(garden, BASE + "".join(child(name, "pool") for name in names))
    looker, over, looks = garden.connect(), threading.Event(), [0]

    def look() -> None:
        while not over.is_set():
            find(looker.tree(), "pool")
            looks[0] += 1

    with ThreadPoolExecutor(1) as aside:
        looking = aside.submit(look)
        for name in names:
            garden.client.stop(name, remove=True)
        seen = looks[0]
        eventually(lambda: looks[0] > seen or looking.done(), "the tree is looked at once more")
        over.set()
        looking.result()
    assert shape(garden.client.tree()) == ("root", [("pool", ["a", "b"]), "c"])


# ---- refused: nothing is changed


def refused(house: House, tree: str, **how: bool) -> TheaterError:
    before = [(row.id, row.pid, row.state) for row in house.client.list()], shape(house.client.tree())
    with pytest.raises(TheaterError) as caught:
        apply(house, tree, **how)
    assert ([(row.id, row.pid, row.state) for row in house.client.list()], shape(house.client.tree())) == before
    return caught.value


def test_a_refused_apply_changes_nothing(garden: House, probe: bytes) -> None:
    assert isinstance(refused(garden, BASE.replace('under = "pool"', 'under = "pol"')), ManifestError)
    garden.write("n", component="nothing.wasm")
    assert isinstance(refused(garden, child("m") + child("n"), prune=True), ComponentError)
    garden.write("n", handlers=())
    error = refused(garden, child("m") + child("n"), prune=True)
    assert isinstance(error, ComponentError)
    assert "n.toml" in error.message
    garden.write("n")
    garden.client.start(garden.write("x"), name="m")
    assert isinstance(refused(garden, BASE + child("n") + child("m")), NameTaken)
    significant = 'name = "a"\nunder = "pool"\nmanifest = "a.toml"\nrestart = "transient"\nsignificant = true'
    text = BASE.replace(POOL, supervisor("pool", auto_shutdown="any_significant", intensity=20, period=60))
    apply(garden, text.replace('name = "a"\nunder = "pool"\nmanifest = "a.toml"', significant))
    error = refused(garden, POOL + child("b", "pool"))
    assert isinstance(error, SpecError)
    assert "pool: Child 'a' is significant" in error.message
    assert isinstance(
        refused(garden, BASE.replace('[[child]]\nname = "c"', '[[supervisor]]\nname = "c"')), TheaterError
    )
    assert isinstance(refused(garden, supervisor("root", None, strategy="dynamic")), (WrongState, SpecError))


# ---- while things happen


def test_an_apply_works_while_children_crash(garden: House) -> None:
    """Kills go on during applies that add, move, prune and change; in the end the tree is that of the last file."""
    restless = supervisor("pool", strategy="one_for_all", intensity=10_000, period=1)
    over = threading.Event()

    def storm() -> None:
        client = garden.connect()
        while not over.is_set():
            for row in client.list():
                if row.pid is not None and row.name in "abde":
                    garden.kill(row.pid)

    apply(garden, restless + BASE.removeprefix(POOL))
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        inner = supervisor("inner", "pool", intensity=10_000, period=1)
        first = restless + child("a", "pool") + inner + child("d", "inner") + child("e", "inner") + child("c")
        second = restless + child("e", "pool") + child("b", "pool") + child("c") + child("f")
        for _ in range(3):
            for tree in (first, second):
                rows = apply(garden, tree, prune=True)
                assert not [row for row in rows.values() if row.error is not None and row.name in "cf"], rows
    finally:
        over.set()
        thread.join()
    assert shape(garden.client.tree()) == ("root", [("pool", ["e", "b"]), "c", "f"])
    apply(garden, second, prune=True)
    running(garden, "b", "c", "e", "f")
    assert {row.name for row in garden.client.list()} == {"b", "c", "e", "f"}
    assert lives(garden, "c") == [1]
    garden.send_signal(signal.SIGTERM)
    assert garden.await_end() == 0
    garden.verify()


def test_two_applies_at_once_come_one_after_the_other(garden: House) -> None:
    trees = [BASE + child("m"), BASE + child("m") + child("n")]
    files = []
    for number, tree in enumerate(trees):
        path = garden.folder / f"tree{number}.toml"
        write(garden, tree)
        path.write_text(tree)
        files.append(path)
    clients = [garden.connect() for _ in range(4)]
    threads = [
        threading.Thread(target=client.apply_tree, args=(files[number % 2],)) for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row.name for row in garden.client.list()} == {"a", "b", "c", "m", "n"}
    assert lives(garden, "a", "b", "c", "m", "n") == [1, 1, 1, 1, 1]


def test_slow_starts_and_slow_stops_hold_up_nobody(garden: House, probe: bytes) -> None:
    """One child is in its `init` for seconds, another takes seconds to end: everything else is answered meanwhile."""
    spin = {"supervision": {"shutdown": "3s"}, "limits": {"call_timeout": "60s"}}
    garden.write("s", **spin)
    apply(garden, BASE + child("s", "pool"))
    other = garden.connect()
    busy = threading.Thread(target=lambda: _suppressed(lambda: other.request("s", b"b", timeout=30)))
    busy.start()
    eventually(lambda: garden.client.inspect("s").facts["call"] is not None, "s is in its call")
    stopper = garden.connect()
    stop = threading.Thread(target=lambda: stopper.stop("s"))
    stop.start()
    garden.await_row("s", lambda row: row.state == "stopping")
    answers = 0
    while garden.row("s").state == "stopping":
        assert garden.count("a") + garden.count("c") > 1
        assert garden.client.inspect("b").row in garden.client.list()
        assert find(garden.client.tree(), "pool").state == "running"
        answers += 1
    assert answers > 20, "there were many answers while s was ending"
    stop.join()
    busy.join()


def test_a_slow_start_holds_up_nobody_and_has_a_deadline(garden: House) -> None:
    (garden.folder / "slow.wasm").write_bytes(bare_actor(init="(loop (br 0)) (i32.const 64)"))
    garden.write("n", component="slow.wasm", handlers=(), limits={"call_timeout": "60s"})
    tree = write(garden, BASE + child("n", "pool", start_timeout="3s", restart="transient") + child("m"))
    other, told = garden.connect(), []
    apply = threading.Thread(target=lambda: told.extend(other.apply_tree(tree).rows))
    apply.start()
    eventually(lambda: "n" in {row.name for row in garden.client.list()}, "n is known")
    answers = 0
    while garden.row("n").state == "starting":
        assert garden.count("a") + garden.count("c") > 1
        assert garden.client.inspect("b").row in garden.client.list()
        assert find(garden.client.tree(), "pool").state == "running"
        answers += 1
    assert answers > 20, "there were many answers while n was starting"
    apply.join()
    errors = {row.name: row.error for row in told if row.error is not None}
    assert list(errors) == ["n"]
    assert "its start took longer than 3000 ms" in str(errors["n"])
    assert (garden.row("n").state, garden.row("m").state) == ("failed", "running")


def _suppressed(act: object) -> None:
    try:
        act()  # type: ignore[operator]
    except TheaterError:
        pass
