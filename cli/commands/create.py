"""`theater create`: a new project."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import App, json_option, theater_command
from ..output import is_terminal, line, print_json, safe

LANGUAGES = ("python", "wat", "c")
TEMPLATES = ("basic", "message-server", "http-server", "supervisor")


@theater_command("create")
@click.argument("name", type=click.Path(path_type=Path))
@click.option("--language", type=click.Choice(LANGUAGES), default="python", show_default=True, help="Of the source.")
@click.option(
    "--template", type=click.Choice(TEMPLATES), default="basic", show_default=True, help="What the actor does."
)
@json_option
def command(app: App, name: Path, language: str, template: str) -> None:
    """Creates the folder of a new actor.

    NAME is the folder, and its last part the actor's name. It gets a manifest, a source, a test and a README.
    """
    from theater.build.templates import create

    create(name, name.name, language, template)
    if app.json:
        print_json({"directory": str(name), "name": name.name, "language": language, "template": template})
        return
    line(f"created {safe(str(name))}")
    if is_terminal():
        line(f"next: cd {safe(str(name))} && theater build && theater start")
