"""`theater channel`: talks with an actor, by hand or from a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from theater.errors import TheaterError

from ..lines import short
from ..options import App, complete_actor, json_option, theater_command, theater_group
from ..output import complain, is_terminal, line, print_json, table, when
from ..session import Session

if TYPE_CHECKING:
    from theater.client import Channel, ChannelRow

_HEADINGS = ("CHANNEL", "ACTOR", "NAME", "SINCE", "TO ACTOR", "TO CLIENT")
_CLOSE_S = 2.0
"""How long the actor may take to hear of the end when somebody has pressed Ctrl-C."""


@theater_group("channel")
@json_option
def command(app: App) -> None:
    """Lists the channels of clients.

    One is opened with `open`. Channels between actors stand in their chains.
    """
    if click.get_current_context().invoked_subcommand is None:
        _list(app, None)


@theater_command("list", command)
@click.argument("actor", required=False, shell_complete=complete_actor)
@json_option
def list_channels(app: App, actor: str | None) -> None:
    """Lists the channels of clients, or those with one actor."""
    _list(app, actor)


@theater_command("open", command)
@click.argument("actor", shell_complete=complete_actor)
@click.option("--message", default="", metavar="TEXT", help="The first message, with which the actor is asked.")
@click.option(
    "--bytes", "raw", is_flag=True, help="What is read becomes messages as it comes; messages are written as they are."
)
@click.option(
    "--grace", type=click.FloatRange(min=0), default=1.0, show_default=True, metavar="SECONDS",
    help="How long to wait for late answers once the input has ended.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, metavar="SECONDS",
    help="How long the actor has to accept.",
)  # fmt: skip
def open_channel(app: App, actor: str, message: str, raw: bool, grace: float, timeout: float) -> None:
    """Opens a channel to an actor and talks with it.

    Every line of standard input becomes a message, and every message of the actor a line of standard output. It ends
    when the actor closes the channel, or after the end of the input. Ctrl-C closes the channel.
    """
    with app.client() as client:
        channel = client.open_channel(actor, message.encode("utf-8", "surrogateescape"), timeout)
        try:
            if is_terminal(sys.stdin):
                sys.stderr.write(f"channel {short(channel.id)} to {short(channel.actor)} is open; Ctrl-D ends it\n")
            untaken = Session(channel, sys.stdin.fileno(), raw=raw, grace=grace).run()
        except BaseException:
            _close(channel)
            raise
    if untaken:
        complain(f"the actor closed the channel and did not take {untaken} messages")


def _close(channel: Channel) -> None:
    try:
        channel.close(_CLOSE_S)
    except TheaterError:
        pass  # It is closed when this process has ended.


def _list(app: App, actor: str | None) -> None:
    with app.client() as client:
        rows = client.channels(actor)
    if app.json:
        print_json([row.plain() for row in rows])
    elif rows or not is_terminal():
        table(_HEADINGS, map(_cells, rows), right=("TO ACTOR", "TO CLIENT"), wide=("NAME",))
    else:
        line("no channels")


def _cells(row: ChannelRow) -> tuple[object, ...]:
    return row.channel, short(row.id), row.name, when(row.since_ms * 1_000_000), row.to_actor, row.to_client
