"""What was measured, for people (a table) and for programs (JSON)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contestants import PEERS, THEATER
from benchmarks.figures import Figure
from benchmarks.rows import Row, Unit

NOT_INSTALLED = "not installed"
NOTHING = "-"
_WHAT_WIDTH = 72


@dataclass(slots=True)
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


# ---- words


def amount(value: float, unit: Unit) -> str:
    """A value with three significant digits, in its unit."""
    shown = value / unit.scale
    digits = 0 if shown >= 100 else 1 if shown >= 10 else 2
    number = f"{shown:,.{digits}f}"
    return f"{number} {unit.sign}" if unit is not Unit.PER_SECOND else f"{number}{unit.sign}"


def target(row: Row) -> str:
    if row.target is None:
        return NOTHING
    return f"{row.better.value} {row.target:,g}{'' if row.unit is Unit.PER_SECOND else ' '}{row.unit.sign}"


def verdict(row: Row, figure: Figure | None) -> str:
    """`met`, `missed`, or why neither can be said."""
    if figure is None:
        return NOTHING if row.target is None else "not measured"
    met = row.meets(figure.value)
    if met is None:
        return NOTHING
    if figure.open_end and not met:
        return "not tried"
    return "met" if met else "missed"


def measured(row: Row, figure: Figure | None) -> str:
    if figure is None:
        return NOTHING
    tail = f" (p99 {amount(figure.p99, row.unit)})" if figure.p99 is not None else ""
    return amount(figure.value, row.unit) + tail


def _of_peer(results: Results, peer: str, row: Row) -> str:
    if peer in results.missing:
        return NOT_INSTALLED
    figure = results.figure(peer, row)
    return NOTHING if figure is None else amount(figure.value, row.unit)


# ---- the table


def table(results: Results) -> str:
    """The table as aligned columns of plain text, with what has to be known beside it."""
    peers = [name for name in PEERS if name in results.figures or name in results.missing]
    head = ["what", "target", "measured", "verdict", *peers]
    lines = [head]
    for row in results.rows:
        figure = results.figure(THEATER, row)
        cells = [row.what, target(row), measured(row, figure), verdict(row, figure)]
        lines.append(cells + [_of_peer(results, peer, row) for peer in peers])
    return "\n".join([*_aligned(lines), "", *_footnotes(results)])


def _aligned(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for number, line in enumerate(lines):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _footnotes(results: Results) -> Iterable[str]:
    facts = results.machine
    if facts:
        yield f"{facts['cores']} cores of {facts['processor']}, Linux {facts['kernel']}, Python {facts['python']}; " + (
            ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        )
        yield f"load average before {_load(results.load_before)}, after {_load(results.load_after)}; " + (
            f"{results.seconds:.0f} s; medians of {results.settings.get('rounds', 1)} rounds"
        )
    for name in (THEATER, *PEERS):
        for figure in results.figures.get(name, {}).values():
            if figure.note:
                yield f"{name}, {figure.row}: {figure.note}"
    for problem in results.problems:
        yield from textwrap.wrap(f"problem: {problem}", 160, subsequent_indent="  ")


def _load(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


# ---- JSON


def plain(results: Results) -> dict[str, Any]:
    """All of it as values that JSON has; times in seconds, sizes in bytes."""
    return {
        "machine": dict(results.machine),
        "load_before": list(results.load_before),
        "load_after": list(results.load_after),
        "seconds": round(results.seconds, 1),
        "settings": dict(results.settings),
        "rows": [_plain_row(results, row) for row in results.rows],
        "problems": list(results.problems),
    }


def _plain_row(results: Results, row: Row) -> dict[str, Any]:
    figure = results.figure(THEATER, row)
    return {
        "row": row.key,
        "what": row.what,
        "unit": row.unit.sign,
        "target": target(row) if row.target is not None else None,
        "measured": _plain_figure(figure),
        "verdict": verdict(row, figure),
        "peers": {
            peer: NOT_INSTALLED if peer in results.missing else _plain_figure(found)
            for peer in PEERS
            if (found := results.figure(peer, row)) is not None or peer in results.missing
        },
    }


def _plain_figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {
        "median": figure.value,
        "p99": figure.p99,
        "samples": figure.samples,
        "rounds": list(figure.rounds),
        "note": figure.note,
    }
