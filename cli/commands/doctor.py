"""`theater doctor`: what this machine and this home lack, and what to do."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from theater.errors import TheaterError

from ..options import App, json_option, theater_command
from ..output import colour, line, print_json, progress, safe

if TYPE_CHECKING:
    from theater.config import Home
    from theater.doctor.finding import Finding

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("PROBLEM", "red")}
_ANSWER_S = 5.0


@theater_command("doctor")
@json_option
def command(app: App) -> int:
    """Says what this machine lacks.

    Kernel features, limits, permissions of the home, disk, clock, packages, toolchains; and how a running server is.
    Nothing is changed. The exit code is 0 if nothing is a problem, else that of the first problem's kind.
    """
    from theater.doctor.finding import exit_code

    with progress("examining") as say:
        found = []
        for finding in _findings(app):
            say(f"examining the {finding.area}")
            found.append(finding)
    if app.json:
        print_json({"ok": exit_code(found) == 0, "findings": [each.plain() for each in found]})
    else:
        _show(found)
    return exit_code(found)


def _findings(app: App) -> Iterator[Finding]:
    from theater.doctor import files, kernel, limits, software

    home = app.files()
    yield from kernel.examine()
    yield from limits.examine()
    yield from files.examine(home)
    yield from software.examine()
    yield from _server(app, home)


def _server(app: App, home: Home) -> Iterator[Finding]:
    from theater.doctor import server

    with app.client() as client:
        try:
            hello = client.call("hello", {}, _ANSWER_S)
        except TheaterError as error:
            yield from server.absent(home, error.message)
            return
        try:
            stuck = client.why(timeout=_ANSWER_S)
        except TheaterError:
            stuck = None
        yield from server.examine(hello, stuck, home, importlib.metadata.version("theater"))


def _show(found: list[Finding]) -> None:
    area = ""
    for each in found:
        if each.area != area:
            area = each.area
            line(colour(area, "cyan"))
        mark, style = _MARKS[each.verdict.value]
        line(f"  {colour(f'{mark:<7}', style)}  {safe(each.says)}")
        if each.advice:
            line(f"           {colour('→', 'cyan')} {safe(each.advice)}")
    counts = {verdict: sum(each.verdict.value == verdict for each in found) for verdict in _MARKS}
    line(f"{counts['problem']} problems, {counts['note']} notes, {counts['ok']} in order")
