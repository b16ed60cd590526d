"""`theater chain`: how large chains are, and making them smaller, in the files of the home."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from theater.errors import NotFound, TheaterError

from ..lines import short
from ..options import App, actors_argument, json_option, named, theater_command, theater_group
from ..output import complain, is_terminal, line, print_json, progress, safe, size, table

if TYPE_CHECKING:
    from theater.chainlog.measures import Measures
    from theater.config import Home
    from theater.server.upkeep import Tended, Upkeep
    from theater.store.content import Collected

_STATS = ("ID", "ENTRIES", "SIZE", "ON DISK", "COMPRESSED", "DROPPED", "SNAPSHOTS", "CONTENT")


@theater_group("chain")
def command(app: App) -> None:
    """Says how large chains are, or shrinks them.

    It works on the files of the home, with the server up or down.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@theater_command("stats", command)
@actors_argument(required=False)
@json_option
def stats(app: App, actors: tuple[str, ...]) -> None:
    """Counts what chains are made of.

    Without ACTORs all of the home, and the server's own, which is called `supervisor`. Each chain is read from its
    beginning.
    """
    from theater.chainlog.measures import measure
    from theater.store.content import ContentStore

    home = _home(app)
    content = ContentStore(home.content)
    found: dict[str, Measures] = {}
    with progress("reading") as say:
        for actor in _chosen(home, actors):
            say(f"reading {actor}")
            found[actor] = measure(home.chain(actor), content.get, content.size)
    if app.json:
        print_json([{"id": actor, **asdict(each)} for actor, each in found.items()])
    elif found or not is_terminal():
        right = tuple(heading for heading in _STATS if heading != "ID")
        table(_STATS, (_row(actor, each) for actor, each in found.items()), right=right)
    else:
        line("there are no chains")


@theater_command("gc", command)
@actors_argument(required=False)
@click.option("--dry-run", is_flag=True, help="Only says what would be done.")
@click.option(
    "--grace", default="1h", show_default=True, metavar="TIME", help="Spares content that was put since then."
)
@json_option
def gc(app: App, actors: tuple[str, ...], dry_run: bool, grace: str) -> int:
    """Compresses and drops what is old of chains.

    Without ACTORs all of the home, and the server's own, `supervisor`, of which nothing is dropped. Entries of others
    are, up to a snapshot, where the actor's manifest has a retention, and a signed statement takes their place; what
    else is old is compressed. Then content is deleted that nothing refers to any more. A running server and its actors
    go on meanwhile.
    """
    from theater.core.quantities import duration
    from theater.server.upkeep import Upkeep

    home = _home(app)
    chosen = _chosen(home, actors)
    grace_s = duration(grace) / 1000
    with progress("verifying") as say:
        upkeep = Upkeep(home, time.time_ns(), dry_run=dry_run)
        done = []
        for tended in upkeep.tend(chosen):
            done.append(tended)
            say(f"tended {tended.id}")
        say("looking for content that nothing refers to")
        collected, error = _collect(upkeep, grace_s)
    _say_json(done, collected, error, dry_run) if app.json else _say(done, collected, error, dry_run)
    return next((each.exit_code for each in (*(each.error for each in done), error) if each is not None), 0)


def _home(app: App) -> Home:
    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    return home


def _chosen(home: Home, actors: tuple[str, ...]) -> list[str]:
    """Whose chains are meant: ids of actors, and `supervisor` for the server's own."""
    from theater.core.ids import is_id
    from theater.core.verification import SUPERVISOR

    from ..home_files import find_chains

    if actors:
        words = named(actors)
        found = [*find_chains(home, [word for word in words if word != SUPERVISOR]), *{SUPERVISOR}.intersection(words)]
    else:
        found = [SUPERVISOR, *sorted(folder.name for folder in home.actors.glob("*") if is_id(folder.name))]
    return [actor for actor in found if home.chain(actor).exists()]


def _collect(upkeep: Upkeep, grace_s: float) -> tuple[Collected, TheaterError | None]:
    """What was deleted, and why nothing was."""
    from theater.store.content import Collected

    try:
        return upkeep.collect(grace_s), None
    except TheaterError as error:
        return Collected(0, 0), error


def _row(actor: str, found: Measures) -> tuple[object, ...]:
    return (
        short(actor),
        found.entries,
        size(found.size),
        size(found.on_disk),
        size(found.compressed),
        found.dropped,
        found.snapshots,
        f"{found.contents}, {size(found.contents_size)}",
    )


def _say(done: list[Tended], collected: Collected, error: TheaterError | None, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for each in done:
        if each.done.dropped_entries:
            what = f"{each.done.dropped_entries:,} entries, {size(each.done.dropped_bytes)}"
            line(f"{each.id}: {what} {would}dropped, up to a snapshot")
        if each.done.compressed:
            line(f"{each.id}: {size(each.done.compressed)} {would}compressed")
        if each.done.note is not None:
            line(f"{each.id}: {safe(each.done.note)}")
        if each.error is not None:
            complain(f"{each.id}: {each.error.message}")
    if error is not None:
        complain(f"no content was deleted: {error.message}")
    if collected.count:
        line(f"content: {collected.count} {would}deleted, {size(collected.size)}")
    if not dry_run:
        line(f"freed {size(max(0, sum(each.done.freed for each in done)) + collected.size)}")


def _say_json(done: list[Tended], collected: Collected, error: TheaterError | None, dry_run: bool) -> None:
    print_json(
        {
            "ok": error is None and all(each.error is None for each in done),
            "dry_run": dry_run,
            "actors": [_plain(each) for each in done],
            "content": {
                "count": collected.count,
                "size": collected.size,
                "error": error.message if error is not None else None,
            },
        }
    )


def _plain(each: Tended) -> dict[str, Any]:
    error: TheaterError | None = each.error
    return {
        "id": each.id,
        "compressed": each.done.compressed,
        "dropped": each.done.dropped_entries,
        "dropped_size": each.done.dropped_bytes,
        "freed": each.done.freed,
        "note": each.done.note,
        "error": error.message if error is not None else None,
    }
