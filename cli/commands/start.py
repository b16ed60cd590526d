"""`theater start`: brings an actor to life."""

from __future__ import annotations

import click

from ..options import App, json_option, read_input, theater_command
from ..output import line, print_json, progress, safe


@theater_command("start")
@click.argument("manifest", default=".", type=click.Path())
@click.option("--id-only", is_flag=True, help="Prints the actor's id and nothing else.")
@click.option("--name", metavar="NAME", help="The actor's name, instead of the manifest's.")
@click.option(
    "--init-state", metavar="FILE", help="The initial state instead of the manifest's; `-` is standard input."
)
@json_option
def command(app: App, manifest: str, id_only: bool, name: str | None, init_state: str | None) -> None:
    """Starts an actor.

    MANIFEST is a file, or a folder with a manifest.toml; by default the current folder. What `theater build` makes
    is built first if it is missing or older than its source.
    """
    state = None if init_state is None else read_input(init_state)
    with app.client() as client:
        client.hello()
        with progress(f"starting {manifest}") as say:
            row = client.start(manifest, name=name, init_state=state, on_progress=say)
    if app.json:
        print_json(row.plain())
    else:
        line(row.id if id_only else f"started {safe(row.name)} {row.id}")
