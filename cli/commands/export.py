"""`theater export`: actors and all that proves what they did, in one file."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theater.errors import InvalidInput, NoServer, NotFound

from ..options import App, actors_argument, json_option, named, theater_command
from ..output import is_terminal, line, print_json, progress, size

if TYPE_CHECKING:
    from theater.bundle.export import Exported
    from theater.config import Home
    from theater.core.signed_checkpoint import SignedCheckpoint


@theater_command("export")
@actors_argument()
@click.option("--tree", is_flag=True, help="Also exports all that the ACTORs have spawned.")
@click.option("-o", "--output", metavar="FILE", required=True, help="The bundle; `-` is standard output.")
@json_option
def command(app: App, actors: tuple[str, ...], tree: bool, output: str) -> int:
    """Exports actors into a bundle.

    Chains up to a checkpoint that is signed for it, and everything that they refer to, in one file. `theater verify`,
    `theater replay` and `theater import` take it on a machine that has never seen this server, which may be up or down.
    """
    from theater.bundle.export import export_file
    from theater.chainlog.kin import with_descendants

    from ..home_files import find_chains

    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    wanted = find_chains(home, named(actors))
    wanted = with_descendants(home, wanted) if tree else sorted(set(wanted))
    if output == "-" and app.json:
        raise InvalidInput("standard output cannot have both the bundle and --json; write the bundle into a file")
    if output == "-" and is_terminal():
        raise InvalidInput("a bundle is no text for a terminal; name a file, or a pipe's reader")
    with progress("exporting") as say:
        checkpoint = _checkpoint(app, home, wanted)
        if output == "-":
            _to_standard_output(home, checkpoint)
            return 0
        done = export_file(home, checkpoint, Path(output), say)
    _tell(app, output, done)
    return 0


def _checkpoint(app: App, home: Home, actors: list[str]) -> SignedCheckpoint:
    """How far is exported: signed by the server if it runs, else with the key of the home."""
    from theater.bundle.export import sign_here
    from theater.core.signed_checkpoint import SignedCheckpoint

    try:
        with app.client() as client:
            known = {row.id for row in client.list()}
            if known.issuperset(actors):
                return SignedCheckpoint.read(client.checkpoint(actors).text)
    except NoServer:
        pass
    # The server says nothing about actors that were removed, and their chains stay as they are.
    return sign_here(home, actors, time.time_ns())


def _to_standard_output(home: Home, checkpoint: SignedCheckpoint) -> None:
    from theater.bundle.export import export

    sys.stdout.flush()
    export(home, checkpoint, sys.stdout.buffer.write)
    sys.stdout.buffer.flush()


def _tell(app: App, output: str, done: Exported) -> None:
    if app.json:
        actors = [asdict(row) for row in done.rows]
        print_json(
            {
                "file": os.path.abspath(output),
                "size": done.size,
                "contents": done.contents,
                "key": done.key.hex(),
                "actors": actors,
            }
        )
        return
    for row in done.rows:
        line(f"{row.id} {row.name}: {row.entries} entries")
    line(f"wrote {output}, {size(done.size)}, with {done.contents} contents, signed by key {done.key.hex()}")
