"""What an apply does, decided without doing it: tables, and laws that hold for any two trees (clause 1.18)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.child_spec import Restart, Strategy
from theater.core.tree_change import TreeChange, Verdict, compare
from theater.core.tree_file import EMPTY, ROOT, ChildRow, Row, SupervisorRow, TreeFile
from theater.errors import WrongState


def child(name: str, under: str = ROOT, **facts: object) -> ChildRow:
    return replace(ChildRow(name, f"{name}.toml", under), **facts)  # type: ignore[arg-type]


def supervisor(name: str, under: str = ROOT, **facts: object) -> SupervisorRow:
    return replace(SupervisorRow(name, under), **facts)  # type: ignore[arg-type]


def tree(*rows: Row, **root: object) -> TreeFile:
    return TreeFile(supervisor(ROOT, **root), rows)


def verdicts(change: TreeChange) -> dict[str, str]:
    return {step.row.name: step.verdict.value for step in change.steps if step.row.name != ROOT}


def names(rows: tuple[Row, ...]) -> list[str]:
    return [row.name for row in rows]


def begun(change: TreeChange) -> list[str]:
    return [step.row.name for step in change.begins]


POOL = tree(supervisor("pool"), child("a", "pool"), child("b", "pool"), child("c"))


# ---- the table


def test_what_is_new_is_added_in_its_place_and_started() -> None:
    new = tree(supervisor("pool"), child("a", "pool"), child("n", "pool"), child("b", "pool"), child("c"))
    change = compare(POOL, new)
    assert verdicts(change) == dict.fromkeys(("pool", "a", "b", "c"), "unchanged") | {"n": "added"}
    assert change.tree == new
    assert (change.ends, begun(change)) == ((), ["n"])


def test_a_new_supervisor_brings_what_is_under_it() -> None:
    new = tree(*POOL.rows, supervisor("more"), supervisor("inner", "more"), child("d", "inner"), child("e"))
    assert begun(compare(POOL, new)) == ["more", "e"]


def test_what_the_file_no_longer_lists_is_kept_and_placed_last() -> None:
    change = compare(POOL, tree(child("c"), supervisor("pool"), child("n", "pool")))
    assert verdicts(change) == {"c": "unchanged", "pool": "unchanged", "n": "added", "a": "kept", "b": "kept"}
    assert names(change.tree.under("pool")) == ["n", "a", "b"]
    assert change.ends == ()


def test_a_kept_supervisor_keeps_what_is_under_it() -> None:
    change = compare(POOL, tree(child("c")))
    assert names(change.tree.rows) == ["c", "pool", "a", "b"]
    assert verdicts(change) == {"c": "unchanged", "pool": "kept", "a": "kept", "b": "kept"}
    assert (change.ends, change.begins) == ((), ())


def test_prune_ends_what_is_not_listed_in_reverse_order_and_a_supervisor_with_all_under_it() -> None:
    old = tree(*POOL.rows, child("d"))
    change = compare(old, EMPTY, prune=True)
    assert names(change.ends) == ["d", "c", "pool"]
    assert [step.row.name for step in change.of(Verdict.PRUNED)] == ["d", "c", "b", "a", "pool"]
    assert change.tree == EMPTY


def test_flags_and_attributes_are_replaced_and_named() -> None:
    new = tree(
        supervisor("pool", strategy=Strategy.ONE_FOR_ALL, intensity=9),
        child("a", "pool", restart=Restart.TRANSIENT),
        child("b", "pool"),
        child("c"),
        period=60,
    )
    change = compare(POOL, new)
    keys = {step.row.name: step.keys for step in change.of(Verdict.CHANGED)}
    assert keys == {ROOT: ("period",), "pool": ("strategy", "intensity"), "a": ("restart",)}
    assert (change.ends, change.begins) == ((), ())


def test_another_order_is_a_change_of_the_supervisor_and_restarts_nobody() -> None:
    new = tree(child("c"), supervisor("pool"), child("b", "pool"), child("a", "pool"))
    change = compare(POOL, new)
    assert {step.row.name: step.keys for step in change.of(Verdict.CHANGED)} == {ROOT: ("order",), "pool": ("order",)}
    assert (change.tree, change.begins) == (new, ())


def test_a_child_with_another_manifest_or_component_runs_on() -> None:
    change = compare(POOL, POOL, renewed={"a": ("component",)})
    assert [(step.row.name, step.keys) for step in change.of(Verdict.CHANGED)] == [("a", ("component",))]
    assert change.begins == ()


def test_with_restart_changed_it_begins_a_new_life() -> None:
    change = compare(POOL, POOL, renewed={"a": ("component",)}, restart_changed=True)
    assert (begun(change), change.begins[0].verdict) == (["a"], Verdict.RESTARTED)


def test_but_not_if_somebody_has_stopped_it() -> None:
    change = compare(POOL, POOL, renewed={"a": ("component",)}, restart_changed=True, resting={"a"})
    assert (verdicts(change)["a"], change.begins) == ("changed", ())


def test_what_has_failed_is_started_again() -> None:
    change = compare(POOL, POOL, failed={"pool", "c"})
    assert (begun(change), verdicts(change)["pool"]) == (["pool", "c"], "started")


def test_what_has_failed_and_is_not_listed_is_left_alone() -> None:
    assert compare(POOL, EMPTY, failed={"c"}).begins == ()


def test_a_child_under_another_supervisor_ends_there_and_begins_here() -> None:
    new = tree(supervisor("pool"), child("b", "pool"), child("c"), child("a"))
    change = compare(POOL, new)
    assert (names(change.ends), begun(change), verdicts(change)["a"]) == (["a"], ["a"], "moved")
    assert change.ends[0].under == "pool"
    assert compare(POOL, new, resting={"a"}).begins == ()


def test_a_supervisor_is_moved_with_all_that_is_under_it() -> None:
    new = tree(supervisor("top"), supervisor("pool", "top"), child("a", "pool"), child("n", "pool"), child("c"))
    change = compare(POOL, new)
    assert (names(change.ends), begun(change)) == (["pool"], ["top"])
    assert verdicts(change) == {
        "top": "added", "pool": "moved", "a": "moved", "n": "added", "b": "moved", "c": "unchanged",
    }  # fmt: skip


def test_a_child_may_leave_a_supervisor_that_is_pruned() -> None:
    change = compare(POOL, tree(child("c"), child("a")), prune=True)
    assert (names(change.ends), begun(change)) == (["pool"], ["a"])
    assert verdicts(change) == {"c": "unchanged", "a": "moved", "b": "pruned", "pool": "pruned"}


def test_an_actor_becomes_a_supervisor_only_with_prune() -> None:
    new = tree(*POOL.rows[:3], supervisor("c"), child("d", "c"))
    with pytest.raises(WrongState, match="c is an actor and in the file a supervisor; prune it first"):
        compare(POOL, new)
    change = compare(POOL, new, prune=True)
    assert (names(change.ends), begun(change), change.tree) == (["c"], ["c"], new)


# ---- the laws


@st.composite
def trees(draw: st.DrawFn) -> TreeFile:
    rows: list[Row] = []
    supervisors = [ROOT]
    for name in draw(st.lists(st.sampled_from("abcdefgh"), unique=True)):
        under = draw(st.sampled_from(supervisors))
        if draw(st.booleans()):
            rows.append(child(name, under, restart=draw(st.sampled_from([None, *Restart]))))
        else:
            rows.append(supervisor(name, under, intensity=draw(st.integers(0, 2))))
            supervisors.append(name)
    return tree(*rows, intensity=draw(st.integers(0, 2)))


def shape(tree: TreeFile) -> object:
    """A tree without the accident of in which order supervisors' children are interleaved."""
    return tree.root, {row.name: tree.under(row.name) for row in (tree.root, *tree.rows)}


def running_after(old: TreeFile, change: TreeChange) -> dict[str, str]:
    """Who runs under whom when the ends and begins of a change were carried out."""
    running = {row.name: row.under for row in old.rows}
    for row in change.ends:
        for name in _with_all_under(running, row.name):
            del running[name]
    for step in change.begins:
        below = {row.name: row.under for row in change.tree.rows}
        for name in _with_all_under(below, step.row.name):
            assert step.verdict is Verdict.RESTARTED or name not in running, "it runs twice"
            running[name] = below[name]
    return running


def _with_all_under(parents: dict[str, str], name: str) -> list[str]:
    found = [name]
    for other in found:
        found += [below for below, above in parents.items() if above == other]
    return found


@given(trees(), trees())
def test_apply_with_prune_is_starting_with_the_file(old: TreeFile, new: TreeFile) -> None:
    change = compare(old, new, prune=True)
    assert shape(change.tree) == shape(new)
    assert running_after(old, change) == {row.name: row.under for row in new.rows}


@given(trees(), trees())
def test_applying_twice_changes_nothing(old: TreeFile, new: TreeFile) -> None:
    try:
        once = compare(old, new)
    except WrongState:
        return
    twice = compare(once.tree, new)
    assert twice.is_empty
    assert twice.tree == once.tree
    assert (twice.ends, twice.begins) == ((), ())


@given(trees(), trees())
def test_without_prune_everybody_runs_who_ran_or_is_listed(old: TreeFile, new: TreeFile) -> None:
    try:
        change = compare(old, new)
    except WrongState:
        return
    running = running_after(old, change)
    assert running == {row.name: row.under for row in change.tree.rows}
    assert set(running) == {row.name for row in (*old.rows, *new.rows)}


@given(trees(), trees(), st.booleans())
def test_a_supervisor_stands_before_what_is_under_it(old: TreeFile, new: TreeFile, prune: bool) -> None:
    try:
        merged = compare(old, new, prune=prune).tree
    except WrongState:
        return
    before = {ROOT}
    for row in merged.rows:
        assert row.under in before
        before.add(row.name)


@given(trees())
def test_the_same_tree_is_unchanged(old: TreeFile) -> None:
    for prune in (False, True):
        assert {step.verdict for step in compare(old, old, prune=prune).steps} == {Verdict.UNCHANGED}
