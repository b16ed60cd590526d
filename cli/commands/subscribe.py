"""`theater subscribe`: what is recorded, as it is recorded."""

from __future__ import annotations

import click

from ..lines import event_line, short
from ..options import App, actors_argument, json_option, named, theater_command
from ..output import colour, flush, line, print_json_line


@theater_command("subscribe")
@actors_argument()
@click.option(
    "--since", type=int, default=-10, show_default=True, metavar="SEQ",
    help="From this sequence number on; -N: from the last N entries on.",
)  # fmt: skip
@json_option
def command(app: App, actors: tuple[str, ...], since: int) -> None:
    """Shows entries of chains as they are written.

    It goes on over restarts of an actor, and ends with Ctrl-C or the server. With --json one object a line, with
    the actor's id in `actor`. The ACTOR `supervisor` is the server itself.
    """
    with app.client() as client:
        starts = dict.fromkeys(named(actors), since)
        for actor, event in client.follow_events(starts):
            if app.json:
                print_json_line({"actor": actor, **event.plain()})
            else:
                line((f"{colour(short(actor), 'dim')} " if len(starts) > 1 else "") + event_line(event))
                flush()
