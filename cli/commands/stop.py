"""`theater stop`: ends actors, or the server."""

from __future__ import annotations

import click

from ..options import App, actors_argument, for_each, json_option, theater_command
from ..output import line, print_json, progress, safe


@theater_command("stop")
@actors_argument(required=False)
@click.option("--remove", is_flag=True, help="Also forgets the actor; its chain stays on disk.")
@click.option("--server", is_flag=True, help="Ends the server with all its actors, in order.")
@json_option
def command(app: App, actors: tuple[str, ...], remove: bool, server: bool) -> int:
    """Stops actors, or the server.

    An actor ends by its shutdown rule; with --server all do, in reverse order of their start.
    """
    if server == bool(actors):
        raise click.UsageError("name the actors to stop, or --server")
    return _stop_server(app) if server else _stop_actors(app, actors, remove)


def _stop_server(app: App) -> int:
    with app.client() as client:
        with progress(f"stopping the server at {client.address}"):
            client.stop_server()
        print_json({"stopped": client.address}) if app.json else line(f"stopped the server at {client.address}")
    return 0


def _stop_actors(app: App, actors: tuple[str, ...], remove: bool) -> int:
    with app.client() as client:

        def stop(actor: str) -> None:
            with progress(f"stopping {actor}"):
                row = client.stop(actor, remove=remove)
            done = "removed" if remove else "stopped"
            print_json(row.plain()) if app.json else line(f"{done} {safe(row.name)} {row.id}")

        return for_each(actors, stop)
