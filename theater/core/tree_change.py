"""From a tree that runs and a tree file to what has to be done: OTP's merge (clause 1.18) over a whole tree.

The flags of a supervisor and the attributes of a child become those of the file while the child runs on; what is new
comes to its place in the order of the file; what the file no longer lists is kept, and placed last. Beyond OTP, since
a person applies a file and expects it to be so:

* what is new is started, in order, and so is what the file lists and what had failed;
* with `prune` what the file no longer lists is stopped in reverse order, and removed;
* a row that is now under another supervisor is *moved*: it ends there and begins here, with everything under it;
* with `restart_changed` a child whose manifest or component has become another begins a new life with it. Otherwise
  it gets them when it is next restarted.

Applying the same file again changes nothing, and with `prune` the result is the tree of the file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

from theater.core.tree_file import ROOT, ChildRow, Row, SupervisorRow, TreeFile
from theater.errors import WrongState


class Verdict(StrEnum):
    """What an apply does with a row."""

    ADDED = "added"
    CHANGED = "changed"
    MOVED = "moved"
    RESTARTED = "restarted"
    STARTED = "started"
    KEPT = "kept"
    PRUNED = "pruned"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one row.

    Args:
        row: as it will be; of one that is pruned, as it was.
        verdict: what is done with it.
        keys: what has become different: keys of its row, `order` of a supervisor's children, parts of the actor.
    """

    row: Row
    verdict: Verdict
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeChange:
    """What an apply does.

    Args:
        tree: the one that there will be.
        steps: the root, all rows of that tree in starting order, then those that are pruned, in the order in which they
            are stopped.
        ends: the rows of the old tree to stop and take out, in this order; with a supervisor goes all that is under it.
        begins: the rows of the new tree to start, in this order, after everything else; with a supervisor comes all
            that is under it. Those of verdict `restarted` are stopped first.
    """

    tree: TreeFile
    steps: tuple[Step, ...]
    ends: tuple[Row, ...]
    begins: tuple[Step, ...]

    def of(self, *verdicts: Verdict) -> tuple[Step, ...]:
        """The steps with one of these verdicts."""
        return tuple(step for step in self.steps if step.verdict in verdicts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return all(step.verdict in (Verdict.UNCHANGED, Verdict.KEPT) for step in self.steps)


def compare(
    old: TreeFile,
    new: TreeFile,
    *,
    prune: bool = False,
    restart_changed: bool = False,
    renewed: Mapping[str, tuple[str, ...]] | None = None,
    failed: Collection[str] = (),
    resting: Collection[str] = (),
) -> TreeChange:
    """What has to be done so that `old` becomes `new`.

    Args:
        old: the tree that there is.
        new: the tree of a file.
        prune: whether what is not in `new` goes.
        restart_changed: whether children that are `renewed` are restarted.
        renewed: by the names of children, which parts of their actors have become different: they need a new life.
        failed: names of rows that are down and should not be.
        resting: names of children that are down, and rightly so: somebody stopped them, or they have done their work.

    Raises:
        WrongState: a name would stand for an actor and for a supervisor at a time.
    """
    merged = _merge(old, new, prune)
    cases = _Cases({row.name for row in new.rows}, restart_changed, renewed or {}, failed, resting)
    steps = (_root_step(old, merged), *cases.steps(old, merged))
    kinds = {row.name: type(row) for row in merged.rows}
    pruned = tuple(row for row in reversed(old.rows) if kinds.get(row.name) is not type(row))
    moved = {step.row.name for step in steps if step.verdict is Verdict.MOVED}
    leaving = moved | {row.name for row in pruned}
    return TreeChange(
        merged,
        (*steps, *(Step(row, Verdict.PRUNED) for row in pruned)),
        tuple(row for row in reversed(old.rows) if row.name in leaving and row.under not in leaving),
        tuple(step for step in _topmost(steps) if step.verdict is not Verdict.MOVED or step.row.name not in resting),
    )


def _merge(old: TreeFile, new: TreeFile, prune: bool) -> TreeFile:
    """The rows of the file and, unless they are pruned, behind them, under each supervisor, those it does not list."""
    listed = {row.name: row for row in new.rows}
    kept: list[Row] = []
    for row in () if prune else old.rows:
        other = listed.get(row.name)
        if other is None:
            kept.append(row)
        elif type(other) is not type(row):
            raise WrongState(f"{row.name} is {_KINDS[type(row)]} and in the file {_KINDS[type(other)]}; prune it first")
    below: dict[str, list[Row]] = defaultdict(list)
    for row in (*new.rows, *kept):
        below[row.under].append(row)

    def all_under(name: str) -> Iterator[Row]:
        for row in below[name]:
            yield row
            yield from all_under(row.name)

    return TreeFile(new.root, tuple(all_under(ROOT)))


@dataclass(frozen=True, slots=True)
class _Cases:
    """Decides on each row; the fields are the arguments of `compare`, and the names that the file lists."""

    listed: Collection[str]
    restart_changed: bool
    renewed: Mapping[str, tuple[str, ...]]
    failed: Collection[str]
    resting: Collection[str]

    def steps(self, old: TreeFile, merged: TreeFile) -> Iterator[Step]:
        """A supervisor's verdict comes before those on what is under it, and counts for them if it is moved."""
        before = {row.name: row for row in old.rows}
        orders = _Orders(old, merged)
        moved: set[str] = set()
        for row in merged.rows:
            was = before.get(row.name)
            if was is None or type(was) is not type(row):
                yield Step(row, Verdict.ADDED)
                continue
            keys = (*_different(was, row), *orders.of(row.name), *self.renewed.get(row.name, ()))
            if row.under != was.under or row.under in moved:
                moved.add(row.name)
                yield Step(row, Verdict.MOVED, keys)
            else:
                yield Step(row, self._verdict(row, keys), keys)

    def _verdict(self, row: Row, keys: tuple[str, ...]) -> Verdict:
        if row.name not in self.listed:
            return Verdict.KEPT
        if row.name in self.failed:
            return Verdict.STARTED
        if self.restart_changed and row.name in self.renewed and row.name not in self.resting:
            return Verdict.RESTARTED
        return Verdict.CHANGED if keys else Verdict.UNCHANGED


class _Orders:
    """Whether what stays under a supervisor stands in another order than before."""

    def __init__(self, old: TreeFile, new: TreeFile) -> None:
        self._old, self._new = _names_below(old), _names_below(new)

    def of(self, name: str) -> tuple[str, ...]:
        before, after = self._old[name], self._new[name]
        stay = set(before) & set(after)
        same = [name for name in before if name in stay] == [name for name in after if name in stay]
        return () if same else ("order",)


def _names_below(tree: TreeFile) -> defaultdict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in tree.rows:
        found[row.under].append(row.name)
    return found


def _root_step(old: TreeFile, merged: TreeFile) -> Step:
    keys = (*_different(old.root, merged.root), *_Orders(old, merged).of(ROOT))
    return Step(merged.root, Verdict.CHANGED if keys else Verdict.UNCHANGED, keys)


def _different(before: Row, after: Row) -> tuple[str, ...]:
    """The keys in which two rows of one kind differ, save for the place, of which the verdict tells."""
    names = (field.name for field in fields(after) if field.name not in ("name", "under"))
    return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def _topmost(steps: Iterable[Step]) -> Iterator[Step]:
    """Those that begin and do not come with a supervisor that begins."""
    coming: set[str] = set()
    for step in steps:
        row = step.row
        begins = step.verdict in _BEGIN
        if begins and row.under not in coming:
            yield step
        if isinstance(row, SupervisorRow) and (begins or row.under in coming):
            coming.add(row.name)


_BEGIN = frozenset({Verdict.ADDED, Verdict.MOVED, Verdict.STARTED, Verdict.RESTARTED})
_KINDS: Mapping[type[Row], str] = {SupervisorRow: "a supervisor", ChildRow: "an actor"}
