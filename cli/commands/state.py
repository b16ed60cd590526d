"""`theater state`: an actor's committed state."""

from __future__ import annotations

from ..options import App, actor_argument, for_each, json_option, theater_command
from ..output import complain, is_terminal, print_json, write_bytes


@theater_command("state")
@actor_argument
@json_option
def command(app: App, actor: str) -> int:
    """Writes the state of an actor.

    It is that after the last committed call: its bytes as they are in a pipe, readable on a terminal. An actor
    without a state has none to write.
    """
    with app.client() as client:

        def show(actor: str) -> None:
            found = client.state(actor)
            if app.json:
                print_json(found.plain())
            elif found.state is not None:
                write_bytes(found.state)
            elif is_terminal():
                complain(f"{actor} has no state")

        return for_each(actor, show)
