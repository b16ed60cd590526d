"""ACTOR@N: an actor as it was after entry N of its chain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from theater.errors import NotFound

from .options import App

if TYPE_CHECKING:
    from theater.config import Home

_PLACE = re.compile(r"(?P<actor>[^@]+)@(?P<entry>-?[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Place:
    """What `ACTOR@N` means.

    Args:
        actor: the words that name an actor; the name of none has an @.
        entry: the number; counted from the end if it is negative.
    """

    actor: str
    entry: int


def read_place(words: str) -> Place | None:
    """The place that `words` name; None if they name an actor alone.

    Raises:
        click.UsageError: what stands behind the @ is no number.
    """
    if "@" not in words:
        return None
    found = _PLACE.fullmatch(words)
    if found is None:
        raise click.UsageError(
            f"{words!r} is no place in a chain: write ACTOR@N with the number of an entry, as counter@12, or "
            "counter@-1 for the newest"
        )
    return Place(found["actor"], int(found["entry"]))


def existing_home(app: App) -> Home:
    """The home whose files are meant.

    Raises:
        NotFound: there is none.
    """
    home = app.files()
    if not home.root.is_dir():
        raise NotFound(f"there is no home {home.root}; name one with --home")
    return home


def find_chain(home: Home, actor: str) -> str:
    """The id of the actor that is named, or `supervisor`.

    Raises:
        UnknownActor, AmbiguousActor: none is meant, or several.
    """
    from theater.core.verification import SUPERVISOR

    from .home_files import find_chains

    return SUPERVISOR if actor == SUPERVISOR else find_chains(home, [actor])[0]
