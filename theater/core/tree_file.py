"""The tree file: supervisors and actors of an application, in the order in which they start.

    [[supervisor]]                        name, strategy, intensity, period, auto_shutdown, backoff, max_children, stop,
    name = "pool"; under = "root"         stop_deadline, limits; as a child of the one it is under: restart, significant
    [[child]]                             name, manifest; in place of what the manifest says: restart, shutdown,
    name = "a"; under = "pool"            significant, backoff, start_timeout
    manifest = "a/manifest.toml"

The file is flat: each row names the supervisor that it is under, which stands before it; without `under` that is
"root", the server's own. A `[[supervisor]]` named "root" is no new supervisor, it sets the flags of that one. The
name of a child is the name of its actor, so that one manifest serves for many. Supervisors end without a time limit,
since each bounds its own children. A dynamic supervisor starts empty, so nothing is under it in the file.

TOML keeps the two kinds of rows apart and so loses their common order; it is taken from their lines.
"""

# ruff: noqa: RUF009 (`key` is `dataclasses.field` with a reader)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from theater.core import schema
from theater.core.child_spec import AutoShutdown, Restart, ShutdownRule, StopOrder, Strategy
from theater.core.held_limits import Ceiling, read_ceiling
from theater.core.manifest import (
    DAY,
    Backoff,
    read_backoff,
    read_intensity,
    read_max_children,
    read_name,
    read_path,
    read_period,
    read_shutdown,
    read_stop_deadline,
    read_strategy,
)
from theater.core.schema import Place, key, optional
from theater.core.toml_text import Document, document
from theater.errors import ManifestError

ROOT = "root"
FOREVER: Final = "infinity"


def read_start_timeout(value: object, place: Place) -> int | Literal["infinity"]:
    """How long a start may take, in milliseconds, or "infinity"."""
    time: int | None = schema.milliseconds(1, DAY, infinity=True)(value, place)
    return FOREVER if time is None else time


@dataclass(frozen=True, slots=True)
class SupervisorRow:
    """A supervisor.

    Args:
        name: unique among all rows.
        under: the name of the supervisor that it is a child of.
        strategy: which children a failure concerns.
        intensity: restarts allowed within `period`.
        period: seconds.
        auto_shutdown: whether the end of significant children ends it.
        backoff: pauses before restarts; None for none.
        max_children: how many there may be; None for any number.
        stop: how its children are stopped when it ends: one after the other, or all at once.
        stop_deadline: ms that this may take; whoever is left then is killed. None for any time.
        restart: which of its own ends are answered with a restart.
        significant: whether its own end counts for the `auto_shutdown` of the one it is under.
        limits: over which no actor under it gets, at any depth.
    """

    name: str = key(read_name)
    under: str = key(read_name, ROOT)
    strategy: Strategy = key(read_strategy, Strategy.ONE_FOR_ONE)
    intensity: int = key(read_intensity, 3)
    period: int = key(read_period, 5)
    auto_shutdown: AutoShutdown = key(schema.one_of(AutoShutdown), AutoShutdown.NEVER)
    backoff: Backoff | None = key(optional(read_backoff), None)
    max_children: int | None = key(optional(read_max_children), None)
    stop: StopOrder = key(schema.one_of(StopOrder), StopOrder.SEQUENTIAL)
    stop_deadline: int | None = key(optional(read_stop_deadline), None)
    restart: Restart = key(schema.one_of(Restart), Restart.PERMANENT)
    significant: bool = key(schema.boolean, False)
    limits: Ceiling | None = key(optional(read_ceiling), None)


@dataclass(frozen=True, slots=True)
class ChildRow:
    """An actor.

    Args:
        name: of the actor, in place of the manifest's; unique among all rows.
        manifest: the path of its manifest, beside the tree file.
        under: the name of the supervisor that it is a child of.
        restart: as in the manifest's [supervision], likewise the rest; None leaves what the manifest says.
        shutdown: ms, or a rule.
        significant: whether its own end counts for the `auto_shutdown` of its supervisor.
        backoff: pauses before its restarts.
        start_timeout: ms that a start may take, or "infinity".
    """

    name: str = key(read_name)
    manifest: str = key(read_path)
    under: str = key(read_name, ROOT)
    restart: Restart | None = key(optional(schema.one_of(Restart)), None)
    shutdown: int | ShutdownRule | None = key(optional(read_shutdown), None)
    significant: bool | None = key(optional(schema.boolean), None)
    backoff: Backoff | None = key(optional(read_backoff), None)
    start_timeout: int | Literal["infinity"] | None = key(optional(read_start_timeout), None)


Row = SupervisorRow | ChildRow


@dataclass(frozen=True, slots=True)
class TreeFile:
    """What a tree file says.

    Args:
        root: the flags of the server's own supervisor.
        rows: everything else; a supervisor stands before what is under it, siblings in starting order.
    """

    root: SupervisorRow
    rows: tuple[Row, ...]

    def ceilings(self, row: Row) -> tuple[Ceiling, ...]:
        """The limits of the supervisors that a row is under, up to the root."""
        above = {each.name: each for each in self.supervisors}
        found, name = [self.root.limits], row.under
        while name in above:
            found.append(above[name].limits)
            name = above[name].under
        return tuple(limits for limits in found if limits is not None)

    def under(self, name: str) -> tuple[Row, ...]:
        """The children of a supervisor, in starting order."""
        return tuple(row for row in self.rows if row.under == name)

    def all_under(self, name: str) -> tuple[Row, ...]:
        """The children of a supervisor and all that is under them."""
        return tuple(below for row in self.under(name) for below in (row, *self.all_under(row.name)))

    @property
    def children(self) -> tuple[ChildRow, ...]:
        """The rows that are actors."""
        return tuple(row for row in self.rows if isinstance(row, ChildRow))

    @property
    def supervisors(self) -> tuple[SupervisorRow, ...]:
        """The rows that are supervisors, without the root."""
        return tuple(row for row in self.rows if isinstance(row, SupervisorRow))


EMPTY: Final = TreeFile(SupervisorRow(ROOT), ())
"""The tree of a server that was given none."""


@dataclass(frozen=True, slots=True)
class _Placed:
    row: Row
    place: Place


@dataclass(frozen=True, slots=True)
class _Tables:
    supervisor: tuple[_Placed, ...] = key(schema.rows(lambda value, place: _placed(SupervisorRow, value, place)), ())
    child: tuple[_Placed, ...] = key(schema.rows(lambda value, place: _placed(ChildRow, value, place)), ())


def parse(text: str, where: str) -> TreeFile:
    """The tree that `text` describes.

    Args:
        text: TOML.
        where: the file's name, for sentences.

    Raises:
        ManifestError: it describes none. `FILE:LINE:`, what was found, what is allowed. No other error.
    """
    source = document(text, where)
    tables = schema.read(_Tables, source.values, Place(source))
    rows = sorted((*tables.supervisor, *tables.child), key=lambda placed: placed.place.line or 0)
    _check_names(rows)
    _check_places(rows)
    _check_significance(rows)
    root = next((placed.row for placed in rows if placed.row.name == ROOT), SupervisorRow(ROOT))
    assert isinstance(root, SupervisorRow)  # _check_names refuses a child of this name
    return TreeFile(root, tuple(placed.row for placed in rows if placed.row.name != ROOT))


def to_plain(tree: TreeFile) -> dict[str, Any]:
    """The tree as plain values, every default filled in; `from_plain` reads it back."""
    rows = [[_TABLES[type(row)], schema.plain(row)] for row in tree.rows]
    return {"root": schema.plain(tree.root), "rows": rows}


def from_plain(plain: Mapping[str, Any], where: str = "tree") -> TreeFile:
    """The tree of a plain form.

    Raises:
        ManifestError: it is not one.
    """
    place = Place(Document(where, plain))
    kinds = {table: kind for kind, table in _TABLES.items()}
    try:
        root = schema.read(SupervisorRow, plain["root"], place / "root")
        rows = tuple(schema.read(kinds[table], row, place / "rows") for table, row in plain["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(f"{where}: this is no tree: {error!r}") from error
    return TreeFile(root, rows)


_TABLES: Final[Mapping[type[Row], str]] = {SupervisorRow: "supervisor", ChildRow: "child"}


def _placed(kind: type[Row], value: object, place: Place) -> _Placed:
    return _Placed(schema.read(kind, value, place), place)


def _check_names(rows: Iterable[_Placed]) -> None:
    first: dict[str, Place] = {}
    for placed in rows:
        row, place = placed.row, placed.place
        if row.name == ROOT and isinstance(row, ChildRow):
            raise (place / "name").error_of_key('found "root", the server\'s own supervisor; allowed: another name')
        if row.name in first:
            raise (place / "name").error_of_key(
                f'"{row.name}" is the name of the row at line {first[row.name].line}; allowed: a name of its own'
            )
        first[row.name] = place


def _check_places(rows: list[_Placed]) -> None:
    """Each row is under a supervisor that stands before it; so nothing is under itself, at any distance."""
    supervisors = {placed.row.name: placed for placed in rows if isinstance(placed.row, SupervisorRow)}
    dynamic = {name for name, placed in supervisors.items() if _is_dynamic(placed.row)}
    before = {ROOT: None}
    for placed in rows:
        row, place = placed.row, placed.place
        if row.name == ROOT:
            _check_root(row, place)
            continue
        if row.under not in before:
            raise (place / "under").error_of_key(_why_not(row, supervisors, before))
        if row.under in dynamic:
            sentence = f'"{row.under}" is dynamic, so it starts empty; allowed: a supervisor with another strategy'
            raise (place / "under").error_of_key(sentence)
        if isinstance(row, SupervisorRow):
            before[row.name] = None


def _is_dynamic(row: Row) -> bool:
    return isinstance(row, SupervisorRow) and row.strategy is Strategy.DYNAMIC


def _check_root(row: Row, place: Place) -> None:
    assert isinstance(row, SupervisorRow)  # _check_names refuses a child of this name
    plain = SupervisorRow(ROOT)
    for name in ("under", "restart", "significant"):
        if getattr(row, name) != getattr(plain, name):
            sentence = "the server's own supervisor is under no other; allowed for it: strategy, intensity, period"
            more = ", auto_shutdown, backoff, max_children, stop, stop_deadline, limits"
            raise (place / name).error_of_key(sentence + more)


def _why_not(row: Row, supervisors: dict[str, _Placed], before: dict[str, None]) -> str:
    if row.under not in supervisors:
        near = schema.did_you_mean(row.under, dict.fromkeys((ROOT, *supervisors)))
        return f'"{row.under}" is no supervisor; allowed: {", ".join(before)}{near}'
    circle = _circle(row, supervisors)
    if circle:
        return f"{' is under '.join(circle)}: a circle; allowed: a supervisor that leads to root"
    line = supervisors[row.under].place.line
    return f'"{row.under}" comes later, at line {line}; allowed: a supervisor that stands before what is under it'


def _circle(row: Row, supervisors: dict[str, _Placed]) -> list[str]:
    """The names from `row` upwards until it comes again; empty when it does not."""
    names = [row.name]
    above = row.under
    while above in supervisors and above not in names:
        names.append(above)
        above = supervisors[above].row.under
    return [*names, above] if above == row.name else []


def _check_significance(rows: list[_Placed]) -> None:
    flags = {placed.row.name: placed.row for placed in rows if isinstance(placed.row, SupervisorRow)}
    for placed in rows:
        row, place = placed.row, placed.place
        if not row.significant:
            continue
        if row.restart is Restart.PERMANENT:
            sentence = "what is permanent is always restarted, so its end never counts; allowed: transient, temporary"
            raise (place / "significant").error_of_key(sentence)
        if flags.get(row.under, SupervisorRow(ROOT)).auto_shutdown is AutoShutdown.NEVER:
            sentence = f'the auto_shutdown of "{row.under}" is never; allowed: under any_significant, all_significant'
            raise (place / "significant").error_of_key(sentence)
