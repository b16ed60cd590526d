"""`theater state`: an actor's committed state, now or after any entry of its chain."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

from ..options import App, actor_argument, for_each, json_option, theater_command
from ..output import complain, is_terminal, print_json, write_bytes
from ..places import Place, existing_home, find_chain, read_place

if TYPE_CHECKING:
    from theater.lookback.states import PastState


@theater_command("state")
@actor_argument
@json_option
def command(app: App, actor: str) -> int:
    """Writes the state of an actor.

    It is that after the last committed call: its bytes as they are in a pipe, readable on a terminal. An actor
    without a state has none to write. ACTOR@N is the actor as it was after entry N of its chain, ACTOR@-1 after the
    newest; that is read from the files of the home, with the server up or down.
    """
    with ExitStack() as stack:
        client = cache(lambda: stack.enter_context(app.client()))  # Who looks back needs none.

        def show(words: str) -> None:
            place = read_place(words)
            if place is not None:
                _show_past(app, place)
                return
            found = client().state(words)
            if app.json:
                print_json(found.plain())
            else:
                _write(found.state, f"{words} has no state")

        return for_each(actor, show)


def _show_past(app: App, place: Place) -> None:
    from theater.lookback.home import Chains

    home = existing_home(app)
    actor = find_chain(home, place.actor)
    with Chains(home) as chains:
        found = chains.state(actor, place.entry)
    if app.json:
        print_json(_plain(actor, found))
    else:
        _write(found.state, f"{place.actor} had no state after entry {found.entry}")


def _plain(actor: str, found: PastState) -> dict[str, Any]:
    return {
        "id": actor,
        "state": found.state,
        "digest": found.digest.hex() if found.digest is not None else None,
        "seq": found.held_by,
        "committed": found.committed,
        "entry": found.entry,
        "head": found.head.hex(),
        "time_ns": found.time_ns,
        "incarnation": found.incarnation,
    }


def _write(state: bytes | None, without: str) -> None:
    if state is not None:
        write_bytes(state)
    elif is_terminal():
        complain(without)
