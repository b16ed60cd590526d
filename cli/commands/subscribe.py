"""`theater subscribe`: what is recorded, as it is recorded."""

from __future__ import annotations

import click

from ..lines import event_line, short
from ..options import App, actors_argument, json_option, named, theater_command
from ..output import colour, flush, line, print_json_line

_LOOK_BACK = 10
_SERVER = "supervisor"


@theater_command("subscribe")
@actors_argument()
@click.option(
    "--since", type=click.IntRange(0), metavar="SEQ",
    help=f"From this sequence number on. Default: the last {_LOOK_BACK} entries and what comes.",
)  # fmt: skip
@json_option
def command(app: App, actors: tuple[str, ...], since: int | None) -> None:
    """Shows entries of chains as they are written.

    It goes on over restarts of an actor, and ends with Ctrl-C or the server. With --json one object a line, with
    the actor's id in `actor`. The ACTOR `supervisor` is the server itself, from its beginning.
    """
    with app.client() as client:
        starts: dict[str, int] = {}
        for actor in named(actors):
            if actor == _SERVER:
                starts[actor] = since or 0
                continue
            row = client.inspect(actor).row
            starts[row.id] = max(0, row.entries - _LOOK_BACK) if since is None else since
        for actor, event in client.follow_events(starts):
            if app.json:
                print_json_line({"actor": actor, **event.plain()})
            else:
                line((f"{colour(short(actor), 'dim')} " if len(starts) > 1 else "") + event_line(event))
                flush()
