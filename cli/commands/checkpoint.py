"""`theater checkpoint`: how far chains are, signed, to be kept elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..options import App, actors_argument, json_option, named, theater_command
from ..output import line, print_json


@theater_command("checkpoint")
@actors_argument(required=False)
@click.option("-o", "--output", metavar="FILE", help="Writes it to FILE instead of standard output.")
@json_option
def command(app: App, actors: tuple[str, ...], output: str | None) -> int:
    """Gives a signed checkpoint to keep elsewhere.

    It says how far the server's own chain is and those of the ACTORs, without any of all actors. Whoever keeps it can
    have `theater verify --checkpoint` find what was cut off or written anew since.
    """
    with app.client() as client:
        given = client.checkpoint(named(actors))
    if output is not None:
        _write(Path(output), given.text)
    if app.json:
        print_json(given.plain())
    elif output is not None:
        line(f"wrote {output}, signed by key {given.key}")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(given.text)
    return 0


def _write(path: Path, text: bytes) -> None:
    try:
        path.write_bytes(text)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from error
