"""`theater import`: the actors of a bundle in a home of one's own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from theater.errors import HomeInUse, IntegrityError, NoServer

from ..bundles import trust
from ..options import App, json_option, theater_command
from ..output import line, print_json, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from theater.bundle.index import Row
    from theater.bundle.opened import Trust
    from theater.bundle.take_in import Sorted
    from theater.config import Home

    Say = Callable[[str], None]
    Adopt = Callable[[str], object]


@theater_command("import")
@click.argument("bundle", metavar="BUNDLE")
@click.option("--key", "words", metavar="KEY", help="The public key that must have signed, or a file with it.")
@click.option("--checkpoint", "kept", metavar="FILE", help="Holds it against a checkpoint that was kept elsewhere.")
@json_option
def command(app: App, bundle: str, words: str | None, kept: str | None) -> int:
    """Imports the actors of a bundle.

    They are verified, and are then stopped actors of the home: `theater list`, `events`, `state`, `verify` and `replay`
    show them, and `theater restart` has them go on. All are imported or none, with the server up or down.
    """
    from theater.server import adoption
    from theater.server.cast import Cast
    from theater.server.lock import locked

    home = app.files().create()
    known = trust(words, kept)
    with progress("importing") as say:
        try:
            with locked(home):
                adoption.finish(home)
                cast = Cast(home)
                cast.load()
                found = _import(bundle, known, home, lambda folder: adoption.adopt(cast, folder), say)
        except HomeInUse as busy:
            found = _import(bundle, known, home, partial(_ask_server, app, busy), say)
    _tell(app, found)
    return 0


def _ask_server(app: App, busy: HomeInUse, folder: str) -> None:
    try:
        with app.client() as client:
            client.adopt(folder)
    except NoServer:
        raise busy from None  # It is no server that holds the lock, or one that is just starting or ending.


def _import(path: str, known: Trust, home: Home, adopt: Adopt, say: Say) -> Sorted:
    from theater.bundle.opened import open_bundle
    from theater.bundle.take_in import sort_out, take_in

    with open_bundle(path, known, home.root, say) as bundle:
        for verdict in bundle.verdicts:
            if not verdict.ok:
                raise IntegrityError(f"the bundle is not as it was signed: {verdict.id}: {verdict.error}")
        found = sort_out(bundle, home)
        if found.new:
            say("importing")
            take_in(bundle, found.new, home, adopt)
    return found


def _tell(app: App, found: Sorted) -> None:
    if app.json:
        print_json({"imported": [_plain(row) for row in found.new], "known": [_plain(row) for row in found.known]})
        return
    for row in found.new:
        line(f"imported {row.name} {row.id}, {row.entries} entries; it is stopped")
    for row in found.known:
        line(f"{row.name} {row.id} is here already, with this history; nothing to do")


def _plain(row: Row) -> dict[str, object]:
    return {"id": row.id, "name": row.name, "entries": row.entries, "head": row.head}
