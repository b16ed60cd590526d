"""`theater dead-letters`: the messages that nobody took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from theater.errors import WrongState

from ..lines import short
from ..options import App, json_option, theater_command, theater_group
from ..output import is_terminal, line, print_json, size, table, when

if TYPE_CHECKING:
    from theater.client import DeadLetter

_HEADINGS = ("NUMBER", "TIME", "FROM", "TO", "SIZE", "WHY")

_numbers = click.argument("numbers", nargs=-1, required=True, type=click.IntRange(0), metavar="NUMBER...")


@theater_group("dead-letters")
@json_option
def command(app: App) -> None:
    """Lists messages that nobody took.

    Those are sent again with `resend` and deleted with `drop`.
    """
    if click.get_current_context().invoked_subcommand is None:
        _list(app)


@theater_command("list", command)
@json_option
def list_letters(app: App) -> None:
    """Lists dead letters, oldest first.

    The same as `theater dead-letters` alone.
    """
    _list(app)


@theater_command("resend", command)
@_numbers
@json_option
def resend(app: App, numbers: tuple[int, ...]) -> None:
    """Sends dead letters to their receivers again."""
    with app.client() as client:
        _report(app, "resent", numbers, client.resend_dead_letters(numbers))


@theater_command("drop", command)
@_numbers
@json_option
def drop(app: App, numbers: tuple[int, ...]) -> None:
    """Deletes dead letters."""
    with app.client() as client:
        _report(app, "dropped", numbers, client.drop_dead_letters(numbers))


def _list(app: App) -> None:
    with app.client() as client:
        letters = client.dead_letters()
    if app.json:
        print_json([letter.plain() for letter in letters])
    elif letters or not is_terminal():
        table(_HEADINGS, map(_cells, letters), right=("NUMBER", "SIZE"), wide=("WHY",))
    else:
        line("no dead letters")


def _cells(letter: DeadLetter) -> tuple[object, ...]:
    sender = None if letter.sender is None else short(letter.sender)
    return letter.number, when(letter.time_ns), sender, short(letter.receiver), size(letter.size), letter.why


def _report(app: App, verb: str, wanted: Iterable[int], done: tuple[int, ...]) -> None:
    if app.json:
        print_json({"done": list(done)})
    else:
        for number in done:
            line(f"{verb} {number}")
    left = sorted(set(wanted) - set(done))
    if left:
        raise WrongState(f"not {verb}: {', '.join(map(str, left))}; `theater dead-letters` says why", numbers=left)
