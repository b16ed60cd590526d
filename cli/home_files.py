"""What the files of a home say, for commands that work with the server up or down."""

from __future__ import annotations

from theater.config import Home
from theater.core.ids import Known, is_id, resolve
from theater.errors import IntegrityError
from theater.server.cast import Cast
from theater.server.kept_tree import kept_digests


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


def needed_by_actors(home: Home) -> set[str]:
    """The digests, in hex, of what the actors of a home and of its tree are made of.

    Raises:
        IntegrityError: an actor's row, or the tree, cannot be read, so that nobody knows what it needs.
    """
    cast = _cast(home)
    for row in home.actors.glob("*/actor"):
        if cast.get(row.parent.name) is None:
            raise IntegrityError(f"the row of an actor cannot be read: {row}")
    parts = (part for actor in cast for part in (actor.component, actor.program, actor.init_state))
    return {part for part in parts if part is not None} | kept_digests(home)


def _cast(home: Home) -> Cast:
    cast = Cast(home)
    if home.actors.is_dir():
        cast.load()
    return cast
