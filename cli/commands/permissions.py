"""`theater permissions`: what an actor may do, and what of it it has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..options import App, complete_actor, json_option, theater_command
from ..output import complain, line, print_json, safe, table
from ..places import existing_home, find_chain

if TYPE_CHECKING:
    from theater.core.permissions import Permissions
    from theater.core.uses import Use
    from theater.lookback.uses import Findings

_HEADINGS = ("HANDLER", "CALLS", "REFUSED", "GRANTED", "USED")


@theater_command("permissions")
@click.argument("actor", shell_complete=complete_actor)
@click.option("--suggest", is_flag=True, help="Writes the smallest manifest that the recorded runs need.")
@json_option
def command(app: App, actor: str, suggest: bool) -> None:
    """Shows what an actor may do, and has done.

    What it has used is in its chain: each call with its arguments. That is read from the files of the home, with the
    server up or down. What of the chain is not kept any more is not looked at.
    """
    from theater.lookback.uses import look_at_uses

    home = existing_home(app)
    found = look_at_uses(home, find_chain(home, actor))
    if found.dropped:
        complain(f"the oldest {found.dropped} entries of the chain are not kept any more: what they used is not known")
    if app.json:
        print_json(_plain(found))
    elif suggest:
        from theater.core.manifest_text import write

        line(write(found.smallest).rstrip("\n"))
    else:
        _show(found)


def _plain(found: Findings) -> dict[str, Any]:
    from theater.core.manifest_text import write

    return {
        "name": found.manifest.name,
        "entries": found.entries,
        "dropped": found.dropped,
        "handlers": [_plain_use(use) for use in found.uses],
        "suggested": write(found.smallest),
    }


def _plain_use(use: Use) -> dict[str, Any]:
    from theater.core import schema

    return {
        "type": use.type,
        "granted": None if use.granted is None else schema.plain(use.granted),
        "used": None if use.used is None else schema.plain(use.used),
        "calls": use.calls,
        "refused": use.refused,
        "functions": dict(use.functions),
        "refusals": dict(use.refusals),
    }


def _show(found: Findings) -> None:
    """A row for each handler, and one for each key of it that is not its default."""
    rows: list[tuple[object, ...]] = []
    for use in found.uses:
        granted, used = _words(use.granted), _words(use.used)
        state = "yes" if use.granted is not None else "no"
        rows.append((use.type, use.calls, use.refused, state, "yes" if use.used is not None else "no"))
        rows += [(f"  {name}", "", "", granted.get(name), used.get(name)) for name in granted]
    if rows:
        table(_HEADINGS, rows, right=("CALLS", "REFUSED"), wide=("GRANTED", "USED"))
        refusals = [(use.type, count, sentence) for use in found.uses for sentence, count in use.refusals.items()]
        if refusals:
            line()
            table(("HANDLER", "TIMES", "REFUSED BECAUSE"), refusals, right=("TIMES",), wide=("REFUSED BECAUSE",))
    else:
        line(f"{safe(found.manifest.name)} is granted nothing and has asked for nothing")


def _words(permissions: Permissions | None) -> dict[str, str]:
    """What the table of a handler says, key by key, where it says something."""
    from theater.core.manifest import Handler
    from theater.core.manifest_text import said

    if permissions is None:
        return {}
    return {name: _cell(value) for name, value in said(Handler("", permissions)).items() if name != "type"}


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
