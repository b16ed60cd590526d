"""`theater diff`: how the states of two moments differ, or of two actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..options import App, complete_actor, json_option, theater_command
from ..output import colour, is_terminal, line, print_json, safe, when
from ..places import Place, existing_home, find_chain, read_place

if TYPE_CHECKING:
    from theater.config import Home
    from theater.lookback.difference import Change, Difference
    from theater.lookback.home import Chains
    from theater.lookback.states import PastState

_NEWEST = -1
_STYLES = {"-": "red", "+": "green", "@": "cyan"}


@theater_command("diff")
@click.argument("old", shell_complete=complete_actor)
@click.argument("new", shell_complete=complete_actor)
@json_option
def command(app: App, old: str, new: str) -> int:
    """Shows how states differ.

    OLD and NEW are ACTOR@N, the state after entry N of an actor's chain, or ACTOR, that after the newest; of one actor
    or of two. They are read from the files of the home, with the server up or down. It ends with 0 if the states are
    the same, and with 1 if they differ, as diff does.
    """
    from theater.lookback.difference import compare
    from theater.lookback.home import Chains

    home = existing_home(app)
    with Chains(home) as chains:
        sides = [_state(home, chains, words) for words in (old, new)]
    (_, before), (_, after) = sides
    found = compare(before.state, after.state)
    same = before.recorded == after.recorded
    if app.json:
        print_json(_plain(same, found, sides))
    elif not same:
        _show(found, sides)
        if not found.lines:
            line("a secret in it has another value")
    return 0 if same else 1


_Side = tuple[dict[str, str], "PastState"]
"""Whose state, and what it was."""


def _state(home: Home, chains: Chains, words: str) -> _Side:
    place = read_place(words) or Place(words, _NEWEST)
    actor = find_chain(home, place.actor)
    return {"id": actor, "name": chains.name(actor)}, chains.state(actor, place.entry)


def _plain(same: bool, found: Difference, sides: list[_Side]) -> dict[str, Any]:
    old, new = (
        {
            **who,
            "entry": state.entry,
            "time_ns": state.time_ns,
            "incarnation": state.incarnation,
            "seq": state.held_by,
            "digest": state.digest.hex() if state.digest is not None else None,
        }
        for who, state in sides
    )
    return {
        "same": same,
        "old": old,
        "new": new,
        "form": str(found.form),
        "changes": [_change(change) for change in found.changes],
        "diff": list(found.lines),
    }


def _change(change: Change) -> dict[str, Any]:
    from theater.lookback.difference import ABSENT

    sides = {"old": change.old, "new": change.new}
    return {"path": change.path, **{side: value for side, value in sides.items() if value is not ABSENT}}


def _show(found: Difference, sides: list[_Side]) -> None:
    for mark, (who, state) in zip(("---", "+++"), sides, strict=True):
        what = "" if state.state is not None else "  (no state)"
        line(colour(f"{mark} {safe(who['name'])}@{state.entry}  {when(state.time_ns)}{what}", _STYLES[mark[0]]))
    for row in found.lines:
        line(colour(safe(row) if is_terminal() else row, _STYLES.get(row[:1], "")))
