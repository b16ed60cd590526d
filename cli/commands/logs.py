"""`theater logs`: what an actor said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..lines import log_line
from ..options import App, actor_argument, for_each, json_option, theater_command
from ..output import flush, line, print_json_line, print_json_list

if TYPE_CHECKING:
    from theater.client import Client, LogLine


@theater_command("logs")
@actor_argument
@click.option("-f", "--follow", is_flag=True, help="Goes on with new lines until Ctrl-C or the end of the server.")
@click.option("-n", "--lines", type=click.IntRange(1), metavar="N", help="Only the last N lines.")
@json_option
def command(app: App, actor: str, follow: bool, lines: int | None) -> int:
    """Shows the log of an actor.

    It holds what the actor logged, its standard streams, and what happened to it. With --json an array, and with
    --follow one object a line.
    """
    since = -lines if lines else 0
    with app.client() as client:

        def show(actor: str) -> None:
            found = _follow(client, actor, since) if follow else client.read_logs(actor, since)
            if app.json and not follow:
                print_json_list(entry.plain() for entry in found)
                return
            for entry in found:
                print_json_line(entry.plain()) if app.json else line(log_line(entry))
                if follow:
                    flush()

        return for_each(actor, show)


def _follow(client: Client, actor: str, since: int) -> Iterator[LogLine]:
    return (entry for _, entry in client.follow_logs(actor, since))
