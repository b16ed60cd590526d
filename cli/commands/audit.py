"""`theater audit`: who has commanded a server, as the supervisor's chain says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from ..lines import facts
from ..options import App, json_option, theater_command
from ..output import colour, flush, line, print_json_line, print_json_list, safe, when

if TYPE_CHECKING:
    from theater.client import Event


@theater_command("audit")
@click.option("--who", metavar="NAME", help="Only what this one did: a user of the machine, or the name of a key.")
@click.option(
    "--since", type=int, default=0, metavar="SEQ", help="From this entry of the supervisor's chain on; -N: the last N."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many.")
@click.option("--follow", is_flag=True, help="Goes on with new ones until Ctrl-C or the end of the server.")
@json_option
def command(app: App, who: str | None, since: int, limit: int | None, follow: bool) -> None:
    """Shows who has commanded the server.

    Oldest first: each command before it was carried out, and what became of it; attempts that were refused; and how
    often was read. With --json an array, and with --follow one object a line. `theater verify` proves that nothing of
    it was changed.
    """
    with app.client() as client:
        events: Iterator[Event]
        if follow:
            events = (event for _, event in client.follow_events("supervisor", since, types=("lifecycle",)))
        else:
            events = client.read_events("supervisor", since, types=("lifecycle",))
        found = _first(_chosen(events, who), limit)
        if app.json and not follow:
            print_json_list(found)
            return
        for entry in found:
            print_json_line(entry) if app.json else line(_line(entry))
            if follow:
                flush()


def _chosen(events: Iterable[Event], who: str | None) -> Iterator[dict[str, Any]]:
    """Those of the entries that speak of commands, each as one flat object."""
    from theater.core.commands import EVENTS

    for event in events:
        what, details = event.data["event"], event.data["details"]
        if what in EVENTS and (who is None or details["who"].get("name") == who):
            yield {"seq": event.seq, "time_ns": event.time_ns, "event": what, **details}


def _first(found: Iterator[dict[str, Any]], limit: int | None) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(found, 1):
        yield entry
        if number == limit:
            return


def _line(entry: dict[str, Any]) -> str:
    who = entry["who"]
    from_where = who.get("address") or (f"pid {who['pid']}" if "pid" in who else "")
    name = safe(str(who.get("name") or who.get("by") or "somebody"))
    return f"{entry['seq']:>6}  {when(entry['time_ns'])}  {name:<12}  {safe(from_where):<15}  {_what(entry)}".rstrip()


def _what(entry: dict[str, Any]) -> str:
    from theater.core.commands import COMMAND, ENDED, READ

    if entry["event"] == COMMAND:
        return f"#{entry['number']} {safe(entry['op'])} {facts(entry['args'])}"
    if entry["event"] == ENDED:
        end = colour("done", "green") if entry["error"] is None else colour(entry["error"], "red")
        return f"#{entry['number']} {safe(entry['op'])}: {end}"
    if entry["event"] == READ:
        return f"read: {facts(entry['counts'])}"
    times = f", {entry['times']} times" if entry["times"] > 1 else ""
    return f"{colour('refused', 'red')} {safe(entry['op'] or 'to come in')}: {safe(entry['why'])}{times}"
