"""The log: what a line holds in each form, and what never gets into one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from theater import log
from theater.core.printable import safe

NASTY = "a\x1b[2J\x07b\u202ec\nd"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    style, level = log.chosen()
    yield
    log.identify(None)
    log.configure(style, level)


def line(style: str, event: str = "it happened", out: io.StringIO | None = None, **fields: object) -> str:
    stream = out or io.StringIO()
    log.configure(style, "debug", stream)
    log.logger().warning(event, **fields)
    return stream.getvalue()


def test_a_line_for_programs_is_one_object() -> None:
    found = json.loads(line("json", number=3, why="x"))
    assert (found["event"], found["level"], found["number"], found["why"]) == ("it happened", "warning", 3, "x")
    assert found["timestamp"].endswith("Z")


def test_a_line_for_a_journal_has_its_priority_before_it() -> None:
    said = line("journal")
    assert said.startswith("<4>{")
    assert json.loads(said[3:])["event"] == "it happened"


@pytest.mark.parametrize("style", log.STYLES)
def test_nothing_that_a_terminal_would_obey_is_in_a_line(style: str) -> None:
    said = line(style, why=NASTY, name=[NASTY], more={"x": NASTY})
    assert said.count("\n") == 1
    assert not {"\x1b", "\x07", "\u202e"} & set(said)


def test_a_traceback_is_escaped_line_by_line() -> None:
    for style in log.STYLES:
        out = io.StringIO()
        log.configure(style, "debug", out)
        try:
            raise ValueError(NASTY)
        except ValueError:
            log.logger().exception("a defect")
        assert not {"\x1b", "\x07", "\u202e"} & set(out.getvalue())
        assert "ValueError" in out.getvalue()


def test_a_traceback_does_not_show_what_variables_held() -> None:
    for style in log.STYLES:
        out = io.StringIO()
        log.configure(style, "debug", out)
        try:
            secret = "s3cr" + "et"
            raise ValueError(len(secret))
        except ValueError:
            log.logger().exception("a defect")
        assert "s3cret" not in out.getvalue()


def test_a_value_has_an_end() -> None:
    assert len(line("json", why="x" * 1_000_000)) < 5000


def test_what_is_not_known_is_left_out() -> None:
    assert "entry" not in json.loads(line("json", entry=None))


def test_a_line_about_an_actor_says_who_it_is_and_where_in_its_chain() -> None:
    log.identify(lambda actor: {"name": "counter", "incarnation": 2, "entry": 41} if actor == "c0" else {})
    found = json.loads(line("json", actor="c0", why="x"))
    assert list(found)[:5] == ["event", "actor", "name", "incarnation", "entry"]
    assert (found["name"], found["incarnation"], found["entry"]) == ("counter", 2, 41)
    assert "name" not in json.loads(line("json", actor="c1"))
    assert json.loads(line("json", actor="c0", incarnation=1))["incarnation"] == 1, "what the line says itself holds"


def test_the_level_is_the_lowest_that_is_shown() -> None:
    out = io.StringIO()
    log.configure("json", "warning", out)
    log.logger().info("no")
    log.logger().error("yes")
    assert [json.loads(said)["event"] for said in out.getvalue().splitlines()] == ["yes"]


def test_the_form_is_what_fits_to_standard_error(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        found = os.fstat(file.fileno())
        assert log.fitting({}, file) == "json"
        assert log.fitting({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, file) == "journal"
        assert log.fitting({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, file) == "json"
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        assert log.fitting({"JOURNAL_STREAM": "8:1"}, terminal) == "console"
    os.close(master)


def test_what_is_escaped_stands_as_in_a_json_string() -> None:
    assert safe("a\x1bb\x7f") == "a\\u001bb\\u007f"
    assert json.loads(f'"{safe(NASTY)}"') == NASTY


def test_of_what_happens_again_and_again_not_every_line_is_written() -> None:
    now = 0.0
    limiter = log.Limiter(lambda: now)

    def passes(event: str, actor: str) -> object:
        try:
            return dict(limiter(None, "warning", {"event": event, "actor": actor}))
        except structlog.DropEvent:
            return None

    shown = [passes("ended", "a") for _ in range(200)]
    assert sum(each is not None for each in shown) == 60
    assert passes("ended", "b") is not None, "another actor is another matter"
    assert passes("running", "a") is not None
    now = 1.0
    assert passes("ended", "a") == {"event": "ended", "actor": "a", "left_out": 140}
    assert passes("ended", "a") == {"event": "ended", "actor": "a"}
    assert passes("ended", "a") is None


def test_what_is_remembered_of_lines_has_an_end() -> None:
    limiter = log.Limiter(lambda: 0.0)
    for number in range(5000):
        limiter(None, "info", {"event": "ended", "actor": str(number)})
    assert len(limiter._flows) < 2000


def test_a_disk_that_is_full_ends_nobody() -> None:
    with open("/dev/full", "w") as full:
        log.configure("json", "info", full)
        log.logger().error("lost")
        with contextlib.suppress(OSError):
            full.close()


def test_who_is_asked_about_an_actor_cannot_end_the_line() -> None:
    def broken(actor: str) -> dict[str, object]:
        raise RuntimeError("no")

    log.identify(broken)
    assert json.loads(line("json", actor="c0"))["actor"] == "c0"
