"""`theater events`: what an actor's chain records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..lines import event_line
from ..options import App, actor_argument, for_each, json_option, theater_command
from ..output import colour, flush, line, print_json, print_json_line, print_json_list, progress
from ..places import existing_home, find_chain

if TYPE_CHECKING:
    from theater.client import Client, Event

TYPES = ("genesis", "call", "host-call", "host-result", "outcome", "lifecycle", "checkpoint")


@theater_command("events")
@actor_argument
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Only entries of this type; repeatable.")
@click.option(
    "--since", type=int, default=0, metavar="SEQ", help="From this sequence number on; -N: the last N entries."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many entries.")
@click.option("--follow", is_flag=True, help="Goes on with new entries until Ctrl-C or the end of the server.")
@click.option("--around", type=int, metavar="N", help="The entries around entry N, from the files; -1: the newest.")
@click.option("--context", type=click.IntRange(0), default=10, help="So many on either side of --around.")
@click.option("--causes", type=int, metavar="N", help="What caused entry N, over the chains of the home.")
@click.option("--effects", type=int, metavar="N", help="What came of entry N, over the chains of the home.")
@click.option("--depth", type=click.IntRange(1), default=100, help="How many messages they follow one after the other.")
@json_option
def command(
    app: App,
    actor: str,
    types: tuple[str, ...],
    since: int,
    limit: int | None,
    follow: bool,
    around: int | None,
    context: int,
    causes: int | None,
    effects: int | None,
    depth: int,
) -> int:
    """Shows the entries of an actor's chain.

    Oldest first; the ACTOR `supervisor` is the server itself. With --json an array, and with --follow one object
    a line. --around, --causes and --effects read the files of the home, with the server up or down.
    """
    looks_back = [option for option in (around, causes, effects) if option is not None]
    if looks_back and (len(looks_back) > 1 or types or since or limit or follow):
        raise click.UsageError(
            "--around, --causes and --effects stand alone: not together, nor with --type, --since, --limit or --follow"
        )
    if around is not None:
        return for_each(actor, lambda actor: _show_around(app, actor, around, context))
    if causes is not None:
        return for_each(actor, lambda actor: _show_graph(app, actor, causes, depth, forward=False))
    if effects is not None:
        return for_each(actor, lambda actor: _show_graph(app, actor, effects, depth, forward=True))
    with app.client() as client:

        def show(actor: str) -> None:
            found = _follow(client, actor, since, types) if follow else client.read_events(actor, since, types=types)
            chosen = found if limit is None else _first(found, limit)
            if app.json and not follow:
                print_json_list(event.plain() for event in chosen)
                return
            for event in chosen:
                print_json_line(event.plain()) if app.json else line(event_line(event))
                if follow:
                    flush()

        return for_each(actor, show)


def _follow(client: Client, actor: str, since: int, types: tuple[str, ...]) -> Iterator[Event]:
    return (event for _, event in client.follow_events(actor, since, types=types))


def _first(events: Iterator[Event], limit: int) -> Iterator[Event]:
    """The first `limit` events; the next is not even waited for."""
    for number, event in enumerate(events, 1):
        yield event
        if number == limit:
            return


# ---- looking back, in the files of the home


def _show_around(app: App, words: str, number: int, context: int) -> None:
    from theater.client.answers import Event
    from theater.lookback.home import Chains
    from theater.server.pages import event_of

    home = existing_home(app)
    with Chains(home) as chains:
        actor = find_chain(home, words)
        middle = chains.place(actor, number)
        events = [(entry.seq == middle, event_of(entry)) for entry in chains.around(actor, middle, context)]
    if app.json:
        print_json_list({**event, "marked": marked} for marked, event in events)
        return
    for marked, event in events:
        line(f"{colour('>', 'yellow') if marked else ' '} {event_line(Event.read(event))}")


def _show_graph(app: App, words: str, number: int, depth: int, *, forward: bool) -> None:
    from theater.lookback.causes import find_causes
    from theater.lookback.effects import find_effects
    from theater.lookback.home import Chains

    from ..causes import forward_tree, plain, tree

    home = existing_home(app)
    with Chains(home) as chains:
        actor = find_chain(home, words)
        find, show = (find_effects, forward_tree) if forward else (find_causes, tree)
        with progress("reading chains"):
            graph = find(chains, actor, chains.place(actor, number), depth)
        if app.json:
            print_json(plain(graph, chains))
            return
        for row in show(graph, chains):
            line(row)
