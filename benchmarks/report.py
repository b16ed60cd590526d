"""Results for people: a table of plain text for the terminal, and one in Markdown for the README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from benchmarks.contestants import PEERS, THEATER
from benchmarks.figures import Figure
from benchmarks.results import NOT_INSTALLED, Results, verdict
from benchmarks.rows import Row, Unit, amount

NOTHING = "-"
BEGIN, END = "<!-- the latest run -->", "<!-- end of the latest run -->"
_WIDTH = 160


def text(results: Results) -> str:
    """Aligned columns, and what has to be known beside them."""
    cells = _cells(results)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [line for note in _notes(results) for line in textwrap.wrap(note, _WIDTH, subsequent_indent="  ")]
    return "\n".join([*lines, "", *notes])


def markdown(results: Results) -> str:
    """The same as a table of Markdown and a list."""
    head, *rows = [" | ".join(row) for row in _cells(results)]
    rule = " | ".join("-" for _ in _cells(results)[0])
    return "\n".join([head, rule, *rows, "", *(f"* {note}" for note in _notes(results))])


def into(document: str, results: Results) -> str:
    """A document with the results in their place, which two comments mark."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{markdown(results)}\n\n{END}{after}"


# ---- cells


def _cells(results: Results) -> list[list[str]]:
    """The table, its head first."""
    lines = [["what", "target", "measured", "verdict", *results.peers]]
    for row in results.rows:
        figure = results.figure(THEATER, row)
        line = [row.what, row.shown_target, _measured(row, figure), verdict(row, figure)]
        line += [_of_peer(results, peer, row) for peer in results.peers]
        lines.append([cell or NOTHING for cell in line])
    return lines


def _measured(row: Row, figure: Figure | None) -> str:
    if figure is None:
        return NOTHING
    shown = amount(figure.median, row.unit)
    # Rounds of one sample each have no percentile, but differ.
    if figure.p99 is not None:
        return f"{shown} (p99 {amount(figure.p99, row.unit)})"
    if len(figure.rounds) > 1 and row.unit is not Unit.ACTORS:
        return f"{shown} ({amount(min(figure.rounds), row.unit)} to {amount(max(figure.rounds), row.unit)})"
    return shown


def _of_peer(results: Results, peer: str, row: Row) -> str:
    if peer in results.missing:
        return NOT_INSTALLED
    figure = results.figure(peer, row)
    return NOTHING if figure is None else amount(figure.median, row.unit)


# ---- notes


def _notes(results: Results) -> Iterator[str]:
    facts = results.machine
    yield f"{facts['cores']} cores of {facts['processor']}, Linux {facts['kernel']}, Python {facts['python']}; " + (
        ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    )
    yield f"load average before {_load(results.load_before)}, after {_load(results.load_after)}; " + (
        f"{results.seconds:.0f} s; medians of {results.settings['rounds']} rounds"
    )
    for name in (THEATER, *PEERS):
        for row in results.rows:
            figure = results.figure(name, row)
            if figure is not None and figure.note:
                yield f"{name}, {row.key}: {figure.note}"
    for problem in results.problems:
        yield f"problem: {problem}"


def _load(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
