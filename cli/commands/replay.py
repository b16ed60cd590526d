"""`theater replay`: does the record say what the guests did?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from theater.errors import IntegrityError, NotFound

from ..lines import short
from ..options import App, actors_argument, json_option, named, theater_command
from ..output import line, print_json, progress, table

if TYPE_CHECKING:
    from theater.core.verification import Verdict

_HEADINGS = ("ID", "NAME", "ENTRIES", "HEAD", "VERDICT")


@theater_command("replay")
@actors_argument(required=False)
@click.option("--all", "everyone", is_flag=True, help="Replays every chain of the home.")
@json_option
def command(app: App, actors: tuple[str, ...], everyone: bool) -> int:
    """Executes chains again and compares.

    Each chain is verified, then executed from its first entry with no network, no files, no clock and no other actor,
    with the server up or down. It ends with 0 if every digest was reproduced, else with 9, and shows the first entry
    that differs.
    """
    if everyone == bool(actors):
        raise click.UsageError("name ACTORs, or give --all")
    from theater import config
    from theater.replay.home import replay_home

    from ..home_files import find_chains

    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    wanted = None if everyone else find_chains(home, named(actors))
    with progress("verifying") as say:
        found = replay_home(home, config.cache() / "artefacts", wanted, say=say)
    ok = all(verdict.ok for verdict in found)
    if app.json:
        print_json({"ok": ok, "actors": [_plain(each) for each in found]})
    else:
        _show(found)
    return 0 if ok else IntegrityError.exit_code


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in ("id", "name", "entries", "head", "ok", "error")}


def _show(verdicts: Iterable[Verdict]) -> None:
    known = list(verdicts)
    rows = ((short(each.id), each.name, each.entries, each.head[:16], _words(each)) for each in known)
    table(_HEADINGS, rows, right=("ENTRIES",), wide=("NAME",))
    for each in known:
        if each.error is not None:
            first, *diff = each.error.split("\n")
            line(f"{each.id}: {first}")
            for row in diff:
                line(f"    {row}")


def _words(verdict: Verdict) -> str:
    if not verdict.ok:
        return "DIVERGED"
    return "reproduced" if verdict.entries else "nothing recorded"
