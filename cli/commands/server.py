"""`theater server`: the process in which everything begins."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import App, theater_command


@theater_command("server")
@click.option("--tree", type=click.Path(path_type=Path), metavar="FILE", help="Starts the supervision tree of FILE.")
@click.option(
    "--log-format",
    type=click.Choice(("console", "json")),
    default="console",
    show_default=True,
    help="For people, or for a journal.",
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="The lowest level that is logged.",
)
def command(app: App, tree: Path | None, log_format: str, log_level: str) -> int:
    """Runs a server in the foreground.

    It starts the actors of its home again, with their last state. Ctrl-C, SIGTERM and `theater stop --server` end
    it in order. Its own log goes to standard error; what actors say is shown by `theater logs`.
    """
    if app.address is not None:
        raise click.UsageError("a server listens at the address of its home; give --home")
    from theater.server.main import serve

    return serve(app.files(), tree, log_format=log_format, log_level=log_level)
