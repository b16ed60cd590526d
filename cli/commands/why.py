"""`theater why`: what an actor waits for, who waits for it, and what is stuck."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click

from ..lines import event_line, short
from ..options import App, complete_actor, for_each, json_option, theater_command
from ..output import colour, line, print_json, safe


@theater_command("why")
@click.argument("actor", required=False, shell_complete=complete_actor)
@json_option
def command(app: App, actor: str | None) -> int:
    """Says why an actor does not go on.

    It is read from the record: what the actor waits for, since when and until when; who waits for it; circles of
    actors that wait for each other; what it did last; and of one that is not up the reason, and what to do. Without
    an ACTOR everything is shown that is stuck or suspicious.
    """
    with app.client() as client:
        if actor is None:
            _print(app, client.why(), _everybody)
            return 0

        def show(words: str) -> None:
            _print(app, client.why(words), _one)

        return for_each(actor, show)


def _print(app: App, found: dict[str, Any], lines: Callable[[dict[str, Any]], Iterator[str]]) -> None:
    if app.json:
        print_json(found)
        return
    for each in lines(found):
        line(each)


def _one(found: dict[str, Any]) -> Iterator[str]:
    yield from _told(found)
    if found.get("unreadable"):
        yield f"  {colour('its record cannot be read', 'red')}: {safe(found['unreadable'])}"
    if found.get("last"):
        yield "  it did last:"
        yield from (f"    {each}" for each in _events(found["last"]))


def _events(events: list[dict[str, Any]]) -> Iterator[str]:
    from theater.client import Event

    return (event_line(Event.read(each)) for each in events)


def _told(found: dict[str, Any]) -> Iterator[str]:
    state = safe(str(found["activity"]))
    style = "red" if found["circle"] else _STYLES.get(found["activity"], "")
    yield f"{safe(str(found['name']))}  {short(str(found['id']))}  {colour(state, style)}"
    yield from (f"  {safe(str(sentence))}" for sentence in found["sentences"])
    yield from (f"  {colour('what to do:', 'cyan')} {safe(str(sentence))}" for sentence in found["advice"])


def _everybody(found: dict[str, Any]) -> Iterator[str]:
    for service in found["services_down"]:
        yield f"{colour('service', 'red')}  {safe(str(service))} does not serve: its actors wait for it"
    for each in found["suspicious"]:
        yield from _told(each)
    if found["in_calls"] > found["looked_at"]:
        yield f"{found['in_calls']} actors are in calls; {found['looked_at']} of them were looked at"
    if found["dead_letters"]:
        yield f"{found['dead_letters']} dead letters wait: `theater dead-letters` shows them"
    if not found["suspicious"] and not found["services_down"]:
        yield f"nothing is stuck: {found['actors']} actors, {found['in_calls']} of them in a call"


_STYLES = {"running": "green", "idle": "green", "restarting": "yellow", "starting": "yellow", "failed": "red"}
