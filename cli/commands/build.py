"""`theater build`: from a project's source to what a server runs."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import App, json_option, theater_command
from ..output import line, print_json, progress, safe, size


@theater_command("build")
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--standalone", is_flag=True, help="A Python actor becomes a component that needs no runner.")
@json_option
def command(app: App, path: Path, standalone: bool) -> None:
    """Builds an actor.

    PATH is the folder of a manifest.toml, or the manifest; by default the current folder. The result is what the
    manifest calls its component, or build/NAME.program for Python and build/NAME.wasm for everything else.
    """
    from theater.build import build
    from theater.host import extensions
    from theater.store.deployment import read_manifest

    extensions.offer()
    file, _, manifest = read_manifest(path)
    with progress(f"building {manifest.name}") as say:
        made = build(file.parent, manifest, standalone=standalone, progress=say)
    if app.json:
        print_json({"name": manifest.name, "path": str(made), "size": made.stat().st_size})
    else:
        line(f"built {safe(str(made))} ({size(made.stat().st_size)})")
