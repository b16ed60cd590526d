"""What the files of a home say, for commands that work with the server up or down."""

from __future__ import annotations

from theater.config import Home
from theater.core.ids import Known, is_id, resolve
from theater.host import extensions
from theater.server.cast import Cast


def find_chains(home: Home, words: list[str]) -> list[str]:
    """The ids of the actors that `words` name. Of one that was removed only the chain is left, so it has no name.

    Raises:
        UnknownActor, AmbiguousActor: none is meant, or several.
    """
    cast = _cast(home)
    left = (folder.name for folder in home.actors.glob("*") if is_id(folder.name) and cast.get(folder.name) is None)
    everyone = [
        *(actor.known([actor.manifest.name] if actor.manifest.actor.register else []) for actor in cast),
        *(Known(actor, "") for actor in left),
    ]
    return [resolve(word, everyone) for word in words]


def _cast(home: Home) -> Cast:
    extensions.offer()
    cast = Cast(home)
    if home.actors.is_dir():
        cast.load()
    return cast
