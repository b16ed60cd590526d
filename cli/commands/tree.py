"""`theater tree`: who supervises whom, and how that is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theater.errors import TheaterError, from_wire

from ..lines import exit_words, short
from ..options import App, json_option, theater_command, theater_group
from ..output import STYLES, colour, complain, duration, line, print_json, progress, safe

if TYPE_CHECKING:
    from theater.client import AppliedRow, LastExit, Member, Supervisor

_DONE = {
    "added": "green",
    "started": "green",
    "changed": "yellow",
    "moved": "yellow",
    "restarted": "yellow",
    "pruned": "red",
    "kept": "dim",
}


@theater_group("tree")
@json_option
def command(app: App) -> None:
    """Shows who supervises whom.

    Children stand in the order of their start. `theater tree apply` changes the tree.
    """
    if click.get_current_context().invoked_subcommand is None:
        _show(app)


@theater_command("apply", command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--prune", is_flag=True, help="Stops and removes what FILE does not list.")
@click.option("--restart-changed", is_flag=True, help="Restarts children with another manifest or component.")
@click.option("--dry-run", is_flag=True, help="Only says what would be done.")
@json_option
def apply(app: App, file: Path, prune: bool, restart_changed: bool, dry_run: bool) -> int:
    """Changes the running tree to that of FILE.

    What is new is started, what is changed takes effect without a restart, and what FILE does not list is kept. If
    anything in FILE is wrong, nothing is changed.
    """
    with app.client() as client:
        client.hello()
        with progress(f"applying {file}") as say:
            applied = client.apply_tree(
                file, prune=prune, restart_changed=restart_changed, dry_run=dry_run, on_progress=say
            )
    errors = [(row, from_wire(dict(row.error))) for row in applied.rows if row.error is not None]
    if app.json:
        print_json(applied.plain())
    else:
        _tell(applied.rows, dry_run)
    for row, error in errors:
        complain(f"{row.name}: {error.message}")
    return _exit_code(error for _, error in errors)


def _exit_code(errors: Iterable[TheaterError]) -> int:
    return next((error.exit_code for error in errors), 0)


def _tell(rows: tuple[AppliedRow, ...], dry_run: bool) -> None:
    told = [row for row in rows if row.done != "unchanged"]
    for row in told:
        what = f"{row.done:<9}"
        about = f"  ({', '.join(row.changed)})" if row.changed else ""
        under = f" under {safe(row.under)}" if row.under is not None and row.done in ("added", "moved") else ""
        kind = "supervisor " if row.kind == "supervisor" else ""
        line(f"{colour(what, _DONE.get(row.done, ''))}  {kind}{safe(row.name)}{under}{about}")
    if not told:
        line("nothing to do")
    elif dry_run:
        line("nothing of this was done")


def _show(app: App) -> None:
    with app.client() as client:
        root = client.tree()
    if app.json:
        print_json(root.plain())
        return
    line(_supervisor(root))
    for text in _below(root, ""):
        line(text)


def _below(node: Supervisor, indent: str) -> Iterator[str]:
    from theater.client import Supervisor

    for number, child in enumerate(node.children, 1):
        last = number == len(node.children)
        below = child if isinstance(child, Supervisor) else child.family
        yield f"{indent}{'└─ ' if last else '├─ '}{_words(child)}"
        if below is not None:
            yield from _below(below, indent + ("   " if last else "│  "))


def _words(node: Supervisor | Member) -> str:
    from theater.client import Supervisor

    return _supervisor(node) if isinstance(node, Supervisor) else _actor(node)


def _supervisor(node: Supervisor) -> str:
    limit = None if node.intensity is None else f"{node.intensity} in {node.period} s"
    return _joined(
        safe(node.name),
        node.strategy,
        limit,
        colour(node.state, STYLES.get(node.state, "")),
        _life(node.incarnation, node.restarts),
        f"{node.recent} of {node.intensity} used" if node.recent else None,
        _pause(node),
        _end(node.last_exit),
    )


def _actor(node: Member) -> str:
    return _joined(
        safe(node.name),
        short(node.id),
        colour(node.state, STYLES.get(node.state, "")),
        f"pid {node.pid}" if node.pid else None,
        _life(node.incarnation, node.restarts),
        "changed, not restarted" if node.due else None,
        _end(node.last_exit),
    )


def _life(incarnation: int | None, restarts: int | None) -> str | None:
    """Which life it is, and how many restarts there were; nothing of one that simply runs."""
    words = [f"life {incarnation}"] if incarnation is not None and incarnation > 1 else []
    if restarts:
        words.append("1 restart" if restarts == 1 else f"{restarts} restarts")
    return ", ".join(words) or None


def _pause(node: Supervisor) -> str | None:
    if node.backoff is None:
        return None
    return f"backs off {duration(node.backoff['initial'])} to {duration(node.backoff['max'])}"


def _end(end: LastExit | None) -> str | None:
    """Why the last life ended, if nobody wanted it to."""
    return None if end is None or end.commanded else f"last: {safe(exit_words(end))}"


def _joined(*parts: str | None) -> str:
    return "  ".join(part for part in parts if part)
