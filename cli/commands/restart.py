"""`theater restart`: gives actors a new incarnation."""

from __future__ import annotations

from ..options import App, actors_argument, for_each, json_option, theater_command
from ..output import line, print_json, progress, safe


@theater_command("restart")
@actors_argument()
@json_option
def command(app: App, actors: tuple[str, ...]) -> int:
    """Starts new incarnations of actors.

    The present one is ended, and the next gets the state that the manifest's policy says. A stopped or failed
    actor is started again.
    """
    with app.client() as client:

        def restart(actor: str) -> None:
            with progress(f"restarting {actor}"):
                row = client.restart(actor)
            print_json(row.plain()) if app.json else line(f"restarted {safe(row.name)} {row.id}")

        return for_each(actors, restart)
