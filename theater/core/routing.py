"""Who is reachable, under which name, and who has asked: the directory that the supervisor keeps.

Pure: it is told what happens and answers whom to tell. Names are free before a death is announced, so that a
successor never meets its own old name (OTP 1.13, 7), and everybody who has looked an actor up is told exactly
once when that incarnation is dead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from theater.errors import InvalidInput, LimitExceeded, NameTaken, NotFound

_DEAD_REMEMBERED = 1024
"""So many of the dead are remembered with the addresses that they knew, the newest."""

MOST_NAMES = 1000
"""Names that one actor may have at a time."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(slots=True)
class Directory:
    """Registered names, and who watches whom. Actors are named by id."""

    _owner: dict[str, str] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)
    _watchers: dict[str, set[str]] = field(default_factory=dict)
    _asked_by_name: dict[str, set[str]] = field(default_factory=dict)
    _asked: dict[str, set[str]] = field(default_factory=dict)
    _asked_names: dict[str, set[str]] = field(default_factory=dict)
    _had_asked: dict[str, set[str]] = field(default_factory=dict)

    def register(self, name: str, actor: str) -> None:
        """Gives `name` to `actor`; giving it again to its owner changes nothing.

        Raises:
            NameTaken: it belongs to another actor.
            InvalidInput: it is no name.
            LimitExceeded: the actor has as many as it may.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"{name!r} is not a name: letters, digits, '.', '_' and '-', at most 64, are allowed")
        owner = self._owner.get(name)
        if owner is None:
            count = self._count.get(actor, 0)
            if count >= MOST_NAMES:
                raise LimitExceeded(f"an actor may have {MOST_NAMES} names at a time; unregister some")
            self._owner[name], self._count[actor] = actor, count + 1
        elif owner != actor:
            raise NameTaken(f"the name {name!r} belongs to actor {owner}", name=name, owner=owner)

    def unregister(self, name: str, actor: str) -> set[str]:
        """Frees `name`; returns the actors that have looked it up and must forget it.

        Raises:
            NotFound: it does not belong to `actor`.
        """
        if self._owner.get(name) != actor:
            raise NotFound(f"the name {name!r} is not registered by this actor")
        del self._owner[name]
        self._count[actor] -= 1
        if not self._count[actor]:
            del self._count[actor]
        return self._asked_by_name.pop(name, set())

    def release(self, actor: str) -> dict[str, set[str]]:
        """Frees all names of `actor`; returns each with the actors that must forget it."""
        return {name: self.unregister(name, actor) for name in self.names(actor)}

    def owner(self, name: str) -> str | None:
        return self._owner.get(name)

    def names(self, actor: str) -> list[str]:
        return sorted(name for name, owner in self._owner.items() if owner == actor)

    def by_owner(self) -> dict[str, list[str]]:
        """All names, by the actor that has them."""
        found: dict[str, list[str]] = {}
        for name, owner in sorted(self._owner.items()):
            found.setdefault(owner, []).append(name)
        return found

    def watch(self, watcher: str, actor: str, words: str) -> None:
        """Notes that `watcher` has been told where `actor` lives, having asked for `words`."""
        self._watchers.setdefault(actor, set()).add(watcher)
        self._asked.setdefault(watcher, set()).add(actor)
        if words != actor:
            self._asked_by_name.setdefault(words, set()).add(watcher)
            self._asked_names.setdefault(watcher, set()).add(words)

    def has_asked(self, watcher: str, actor: str) -> bool:
        """Whether `watcher` knows where the present life of `actor` is reached."""
        return watcher in self._watchers.get(actor, ())

    def had_asked(self, dead: str, actor: str) -> bool:
        """Whether the last life of `dead` knew where `actor` is reached, so that words of it may still be on their way.

        It is not remembered for ever; whoever died that long ago has been heard out.
        """
        return actor in self._had_asked.get(dead, ())

    def dead(self, actor: str) -> set[str]:
        """The incarnation of `actor` is dead: returns who must be told, and forgets what it had asked itself."""
        asked = self._asked.pop(actor, set())
        for other in asked:
            self._watchers.get(other, set()).discard(actor)
        for name in self._asked_names.pop(actor, set()):
            self._asked_by_name.get(name, set()).discard(actor)
        self._remember(actor, asked)
        watchers = self._watchers.pop(actor, set())
        for watcher in watchers:
            self._asked.get(watcher, set()).discard(actor)
        return watchers

    def _remember(self, dead: str, asked: set[str]) -> None:
        self._had_asked.pop(dead, None)
        if not asked:
            return
        if len(self._had_asked) >= _DEAD_REMEMBERED:
            del self._had_asked[next(iter(self._had_asked))]
        self._had_asked[dead] = asked
