"""docs/logs.md and the calls of the log in the source say the same."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "logs.md").read_text()
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "log"})
EVERYWHERE = frozenset({"actor", "name", "incarnation", "entry"})
ROWS = {
    event: (frozenset(level.split(" or ")), frozenset(re.findall(r"`([a-z_]+)`", fields)))
    for level, event, fields in re.findall(r"^\| ([a-z ]+) \| ([^|`]+?) \|([^|]*)\|", PAGE, re.MULTILINE)
    if level not in ("level", "field")
}


@dataclass(frozen=True)
class Line:
    """One call of the log: where it is, and what it says."""

    where: str
    level: str
    event: str | None
    fields: frozenset[str]


def lines() -> Iterator[Line]:
    for path in sorted((ROOT / "theater").rglob("*.py")):
        if {"guest", "templates"} & set(path.parts) or path.name == "log.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                whose = ast.unparse(node.func.value)
                if re.search(r"(^|[._])log$", whose) and "host" not in path.parts and not whose.endswith("math.log"):
                    yield _line(path, node, node.func.attr)


def _line(path: Path, node: ast.Call, level: str) -> Line:
    event = node.args[1 if level == "log" else 0]
    said = event.value if isinstance(event, ast.Constant) and isinstance(event.value, str) else None
    fields = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
    where = f"{path.relative_to(ROOT)}:{node.lineno}"
    return Line(where, "error" if level == "exception" else level, said, frozenset(fields - {"exc_info"}))


LINES = list(lines())


def test_what_happens_is_said_in_words_that_are_always_the_same() -> None:
    """What differs is in fields, so that whoever searches a journal finds all that is alike."""
    assert [line.where for line in LINES if line.event is None] == []


def test_every_event_is_on_the_page_and_no_other() -> None:
    assert {line.event for line in LINES} == set(ROWS)


def test_the_page_has_the_level_of_every_event() -> None:
    wrong = [
        (line.where, line.event)
        for line in LINES
        if line.level != "log" and line.level not in ROWS[line.event or ""][0]
    ]
    assert wrong == []


def test_the_page_has_the_fields_of_every_event() -> None:
    wrong = [
        (line.where, line.event, line.fields)
        for line in LINES
        if not line.fields - EVERYWHERE <= ROWS[line.event or ""][1]
    ]
    assert wrong == []


def test_a_line_about_an_actor_says_no_more_of_it_than_its_id() -> None:
    """The rest is added in one place (theater.log.identify), so that it is always there; a line that is written later
    than what it is about says itself which life that was."""
    allowed = {"running", "ended"}
    assert [line.where for line in LINES if line.fields & {"name", "incarnation"} and line.event not in allowed] == []
