"""`theater list`: the actors of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lines import exit_words, short
from ..options import App, json_option, theater_command
from ..output import is_terminal, line, print_json, table

if TYPE_CHECKING:
    from theater.client import Row

_HEADINGS = ("ID", "NAME", "STATE", "RESTARTS", "PID", "MAILBOX", "ENTRIES", "LAST EXIT")


@theater_command("list")
@json_option
def command(app: App) -> None:
    """Lists the actors.

    In the order of their start.
    """
    with app.client() as client:
        rows = client.list()
    if app.json:
        print_json([row.plain() for row in rows])
    elif rows or not is_terminal():
        table(_HEADINGS, map(_cells, rows), right=_HEADINGS[3:7], wide=("NAME", "LAST EXIT"))
    else:
        line("no actors; start one with `theater start MANIFEST`")


def _cells(row: Row) -> tuple[object, ...]:
    last = None if row.last_exit is None else exit_words(row.last_exit)
    return short(row.id), row.name, row.state, row.restarts, row.pid, row.mailbox, row.entries, last
