"""Everything that is written for somebody to read: tables, JSON, bytes, progress, complaints.

A terminal and a pipe get different things. On a terminal there are colours (unless $NO_COLOR), tables fit the
width, long work shows a spinner, and what an actor said is shown with its control characters escaped, for
bytes of an actor could otherwise move the cursor, recolour the screen or answer the terminal's own queries.
In a pipe everything is plain, whole and raw. rich is imported only for a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import click

from theater.core.printable import safe as safe

STYLES = {
    "running": "green",
    "starting": "yellow",
    "restarting": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
    "failed": "red",
    "ok": "green",
    "BROKEN": "red",
    "reproduced": "green",
    "DIVERGED": "red",
}
"""Words that stand in colour wherever they fill a cell."""

# ---- text


def when(time_ns: int) -> str:
    """A wall time for people and programs: UTC, to the millisecond."""
    from datetime import UTC, datetime

    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{rest // 1_000_000:03d}Z"


def size(count: int) -> str:
    """A number of bytes: `17 B`, `1.2 MiB`."""
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while value >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def duration(milliseconds: float) -> str:
    """A span of time in the largest unit that it fills: `300 ms`, `3 s`, `2 h`."""
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if milliseconds >= length:
            return f"{milliseconds / length:.0f} {unit}"
    return f"{milliseconds:.0f} ms"


def line(text: str = "") -> None:
    """One line on standard output; the caller has made foreign text `safe`."""
    sys.stdout.write(f"{text}\n")


def end_line() -> None:
    """Ends a line of bytes that do not end it themselves, when several follow each other in a pipe."""
    if not is_terminal():
        line()


def flush() -> None:
    """Hands over what was written, so that a live stream is live in a pipe too."""
    sys.stdout.flush()


def complain(sentence: str) -> None:
    """What went wrong, on standard error: one line, and below it, indented, what a compiler had to say."""
    first, *more = [safe(row.rstrip()) for row in sentence.strip().splitlines()] or [""]
    sys.stdout.flush()
    sys.stderr.write("\n  ".join([f"theater: {' '.join(first.split())}", *more]) + "\n")


# ---- bytes of actors


def write_bytes(data: bytes) -> None:
    """An actor's bytes: as they are into a pipe, readable on a terminal."""
    if is_terminal():
        line(readable(data))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def readable(data: bytes) -> str:
    """Bytes as lines of text that are safe on a terminal; JSON is indented, what is no UTF-8 stands as \\xNN."""
    text = data.decode("utf-8", "backslashreplace")
    if text.lstrip()[:1] in ("{", "["):
        try:
            text = json_text(json.loads(text), indent=2)
        except (ValueError, RecursionError):
            pass
    return "\n".join(safe(part) for part in text.split("\n"))


# ---- JSON


def json_text(value: object, indent: int | None = None) -> str:
    """JSON of plain values, on one line unless indented. Bytes are a string if they are UTF-8, else
    {"base64": "..."}; results and variants of WIT are objects of one key."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, default=_other, ensure_ascii=False, indent=indent, separators=separators)


def print_json(value: object) -> None:
    """A value as indented JSON."""
    _write_json(json_text(value, indent=2))


def print_json_line(value: object) -> None:
    """A value as one line of JSON, at once: an element of a stream that has no end."""
    _write_json(json_text(value))
    sys.stdout.flush()


def print_json_list(values: Iterable[object]) -> None:
    """An array with an element on each line, written as the elements come."""
    written = False
    for value in values:
        _write_json((",\n" if written else "[\n") + json_text(value), end="")
        written = True
    line("\n]" if written else "[]")


def _write_json(text: str, end: str = "\n") -> None:
    shown = "\n".join(safe(part) for part in text.split("\n")) if is_terminal() else text
    sys.stdout.write(shown + end)


def _other(value: object) -> object:
    from theater.core.values import Case, Err, Ok, Some

    match value:
        case bytes():
            return _bytes(value)
        case Ok():
            return {"ok": value.value}
        case Err():
            return {"err": value.value}
        case Some():
            return {"some": value.value}
        case Case():
            return {value.name: value.payload}
        case frozenset():
            return sorted(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _bytes(data: bytes) -> object:
    try:
        return data.decode()
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(data).decode()}


# ---- terminals


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person looks at `stream`, standard output unless given."""
    return (stream or sys.stdout).isatty()


def colour(text: str, style: str) -> str:
    """`text` in a colour, or dim or bold, on a terminal that shall have any."""
    if not style or not is_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, dim=True) if style == "dim" else click.style(text, fg=style)


def table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = (), wide: Iterable[str] = ()
) -> None:
    """Aligned columns. On a terminal they fit its width; in a pipe nothing is cut.

    Args:
        headings: one for each column.
        rows: cells; None is shown as `-`, and foreign text is made safe here.
        right: headings of the columns that are aligned to the right.
        wide: headings of the columns that give way where the terminal is narrow.
    """
    cells = [["-" if cell is None else safe(str(cell)) for cell in row] for row in rows]
    if is_terminal():
        _fitted_table(headings, cells, frozenset(right), frozenset(wide))
    else:
        _whole_table(headings, cells, frozenset(right))


def _whole_table(headings: Sequence[str], rows: list[list[str]], right: frozenset[str]) -> None:
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        cells = zip(headings, row, widths, strict=True)
        padded = [cell.rjust(width) if heading in right else cell.ljust(width) for heading, cell, width in cells]
        line("  ".join(padded).rstrip())


def _fitted_table(headings: Sequence[str], rows: list[list[str]], right: frozenset[str], wide: frozenset[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, justify="right" if heading in right else "left", no_wrap=heading not in wide)
    for row in rows:
        grid.add_row(*(Text(cell, STYLES.get(cell, ""), no_wrap=True, overflow="ellipsis") for cell in row))
    Console(file=sys.stdout).print(grid)


def pairs(known: Iterable[tuple[str, object]]) -> None:
    """Names and values, a pair on each line, for what is looked at alone; None is shown as `-`."""
    lines = [(name, "-" if value is None else safe(str(value))) for name, value in known]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        line(f"{colour(name.ljust(width), 'dim')}  {colour(value, STYLES.get(value, ''))}")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner with what is being done and for how long, on standard error if that is a terminal; else nothing.

    Yields a function that says what is done now.
    """
    if not is_terminal(sys.stderr):
        yield _say_nothing
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(safe(text), total=None)
        yield lambda now: bar.update(task, description=safe(now))


def _say_nothing(text: str) -> None:
    """Nobody looks."""
