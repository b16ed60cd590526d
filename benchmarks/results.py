"""What a run found, as a value and as JSON: times in seconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contestants import PEERS, THEATER
from benchmarks.figures import Figure
from benchmarks.rows import BY_KEY, Row

NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run found.

    Args:
        rows: those that were wanted.
        figures: by contestant's name and row.
        missing: names of contestants that are not installed.
        problems: what went wrong, in sentences.
        machine: facts of the machine.
        load_before, load_after: load averages.
        seconds: how long it took.
        settings: how it was called.
    """

    rows: Sequence[Row]
    figures: Mapping[str, Mapping[str, Figure]]
    missing: frozenset[str] = frozenset()
    problems: Sequence[str] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
    load_before: Sequence[float] = ()
    load_after: Sequence[float] = ()
    seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def figure(self, name: str, row: Row) -> Figure | None:
        return self.figures.get(name, {}).get(row.key)

    @property
    def peers(self) -> list[str]:
        """Names of the peers that took part, or would have."""
        return [name for name in PEERS if name in self.figures or name in self.missing]


def verdict(row: Row, figure: Figure | None) -> str:
    """`met`, `missed`, or why neither can be said; empty for a row without a target."""
    if row.target is None:
        return ""
    if figure is None:
        return "not measured"
    if row.meets(figure.median):
        return "met"
    return "not tried" if figure.open_end else "missed"


def to_plain(results: Results) -> dict[str, Any]:
    """The results as values that JSON has."""
    return {
        "machine": dict(results.machine),
        "load_before": list(results.load_before),
        "load_after": list(results.load_after),
        "seconds": round(results.seconds, 1),
        "settings": dict(results.settings),
        "not_installed": sorted(results.missing),
        "rows": [_row_to_plain(results, row) for row in results.rows],
        "problems": list(results.problems),
    }


def from_plain(plain: Mapping[str, Any]) -> Results:
    """The results that `to_plain` wrote."""
    figures: dict[str, dict[str, Figure]] = {}
    for row in plain["rows"]:
        for name, figure in {THEATER: row["measured"], **row["peers"]}.items():
            if figure is not None:
                figures.setdefault(name, {})[row["row"]] = Figure.from_plain(row["row"], figure)
    return Results(
        rows=[BY_KEY[row["row"]] for row in plain["rows"]],
        figures=figures,
        missing=frozenset(plain["not_installed"]),
        problems=plain["problems"],
        machine=plain["machine"],
        load_before=plain["load_before"],
        load_after=plain["load_after"],
        seconds=plain["seconds"],
        settings=plain["settings"],
    )


def _row_to_plain(results: Results, row: Row) -> dict[str, Any]:
    figure = results.figure(THEATER, row)
    found = {peer: results.figure(peer, row) for peer in results.peers}
    return {
        "row": row.key,
        "what": row.what,
        "target": row.shown_target,
        "measured": figure.to_plain() if figure is not None else None,
        "verdict": verdict(row, figure),
        "peers": {peer: figure.to_plain() for peer, figure in found.items() if figure is not None},
    }
