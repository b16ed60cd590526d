"""`theater replay`: does the record say what the guests did?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from theater.errors import IntegrityError, NotFound

from ..bundles import meant
from ..lines import short
from ..options import App, actors_argument, json_option, named, theater_command
from ..output import line, print_json, progress, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from theater.core.verification import Verdict

    Say = Callable[[str], None]

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
    bundle = meant(actors)
    with progress("verifying") as say:
        found = _replay(app, named(actors), everyone, say) if bundle is None else _replay_bundle(bundle, say)
    ok = all(verdict.ok for verdict in found)
    if app.json:
        print_json({"ok": ok, "actors": [_plain(each) for each in found]})
    else:
        _show(found)
    return 0 if ok else IntegrityError.exit_code


def _replay(app: App, actors: list[str], everyone: bool, say: Say) -> list[Verdict]:
    from theater import config
    from theater.replay.home import replay_home

    from ..home_files import find_chains

    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    wanted = None if everyone else find_chains(home, actors)
    return replay_home(home, config.cache() / "artefacts", wanted, say=say)


def _replay_bundle(path: str, say: Say) -> list[Verdict]:
    """Replays the chains of a bundle that are as they were signed; the others have their verdict already."""
    from theater import config
    from theater.bundle.opened import open_bundle
    from theater.replay.home import replay_home

    with open_bundle(path, say=say) as bundle:
        good = [verdict.id for verdict in bundle.verdicts if verdict.ok]
        replayed = replay_home(bundle.home, config.cache() / "artefacts", good, say=say) if good else []
        return sorted([*replayed, *(verdict for verdict in bundle.verdicts if not verdict.ok)], key=lambda v: v.id)


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
