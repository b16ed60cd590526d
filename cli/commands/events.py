"""`theater events`: what an actor's chain records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..lines import event_line
from ..options import App, actor_argument, for_each, json_option, theater_command
from ..output import flush, line, print_json_line, print_json_list

if TYPE_CHECKING:
    from theater.client import Client, Event

TYPES = ("genesis", "call", "host-call", "host-result", "outcome", "lifecycle", "checkpoint")


@theater_command("events")
@actor_argument
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Only entries of this type; repeatable.")
@click.option(
    "--since", type=int, default=0, metavar="SEQ", help="From this sequence number on; -N: the last N entries."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many entries.")
@click.option("--follow", is_flag=True, help="Goes on with new entries until Ctrl-C or the end of the server.")
@json_option
def command(app: App, actor: str, types: tuple[str, ...], since: int, limit: int | None, follow: bool) -> int:
    """Shows the entries of an actor's chain.

    Oldest first; the ACTOR `supervisor` is the server itself. With --json an array, and with --follow one object
    a line.
    """
    with app.client() as client:

        def show(actor: str) -> None:
            found = _follow(client, actor, since, types) if follow else client.read_events(actor, since, types=types)
            chosen = found if limit is None else _first(found, limit)
            if app.json and not follow:
                print_json_list(event.plain() for event in chosen)
                return
            for event in chosen:
                print_json_line(event.plain()) if app.json else line(event_line(event))
                if follow:
                    flush()

        return for_each(actor, show)


def _follow(client: Client, actor: str, since: int, types: tuple[str, ...]) -> Iterator[Event]:
    return (event for _, event in client.follow_events(actor, since, types=types))


def _first(events: Iterator[Event], limit: int) -> Iterator[Event]:
    """The first `limit` events; the next is not even waited for."""
    for number, event in enumerate(events, 1):
        yield event
        if number == limit:
            return
