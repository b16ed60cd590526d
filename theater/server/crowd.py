"""How many actors there may be: in the whole server, and under each actor that has children.

Counted are the living: whoever starts, runs, is about to be started again, or is ending. Whoever is down for good takes
room on the disk and no process.
"""

from __future__ import annotations

from theater.errors import LimitExceeded
from theater.server.cast import Actor, Cast, State

MOST = 10_000
"""Living actors of a server, unless its operator says otherwise."""

_DOWN = frozenset({State.STOPPED, State.FAILED})


class Crowd:
    """Counts actors before one more comes.

    Attributes:
        most: living actors that the server may have.
    """

    def __init__(self, cast: Cast, most: int = MOST) -> None:
        self._cast = cast
        self.most = most

    def admit(self, actor: Actor) -> None:
        """Refuses an actor that would be one too many.

        Raises:
            LimitExceeded: the server, or an actor that it descends from, has as many as it may have.
        """
        if len(self._cast.actors) >= self.most:
            living = sum(_lives(other) for other in self._cast if other is not actor)
            if living >= self.most:
                raise LimitExceeded(
                    f"{actor.manifest.name} cannot be started: the server has {living} living actors, and may have "
                    f"{self.most} (theater server --max-actors)"
                )
        above = self._cast.get(actor.parent) if actor.parent is not None else None
        while above is not None:
            self._admit_below(above, actor)
            above = self._cast.get(above.parent) if above.parent is not None else None

    def _admit_below(self, ancestor: Actor, actor: Actor) -> None:
        most = ancestor.manifest.limits.actors
        if len(self._cast.actors) <= most:
            return  # All actors together are not too many.
        living = self._below(ancestor, actor)
        if living >= most:
            raise LimitExceeded(
                f"{actor.manifest.name} cannot be started: {ancestor.manifest.name} has {living} living actors below "
                f"it, and may have {most} ([limits] actors)"
            )

    def _below(self, ancestor: Actor, without: Actor) -> int:
        """How many actors live below one."""
        found, left = 0, self._cast.children(ancestor)
        while left:
            child = left.pop()
            found += child is not without and _lives(child)
            left += self._cast.children(child)
        return found


def _lives(actor: Actor) -> bool:
    return actor.state not in _DOWN
