"""How the causes of an entry look: the entry first, below it what caused it, and so on to where it all began.

What leads back from call to call stands in one column. What an actor was told meanwhile leads aside, and stands
indented below the entry that came after it. The effects of an entry stand below it likewise, oldest first; what comes
of each of several stands indented below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .lines import event_line, short
from .output import colour, safe

if TYPE_CHECKING:
    from theater.core.chain import Entry
    from theater.lookback.causes import End, Graph, Place
    from theater.lookback.home import Chains

CAUSES = {
    "call": "in the call",
    "life": "in the life",
    "message": "sent by",
    "timer": "timer of",
    "heard": "told before",
    "reply": "answer of",
    "request": "asked in",
    "spawn": "spawned by",
    "death": "began after",
    "last": "ended in",
}
"""Before an entry that is a cause of the one above."""
EFFECTS = {
    "call": "did",
    "life": "began with",
    "message": "arrived",
    "timer": "timer fired",
    "heard": "did then",
    "reply": "was told",
    "spawn": "spawned",
}
"""Before an entry that is an effect of the one above."""
_ASIDE = frozenset({"heard", "reply", "request"})
_WIDTH = max(map(len, [*CAUSES.values(), *EFFECTS.values()]))
_LONGEST_NAME = 24


def plain(graph: Graph, chains: Chains) -> dict[str, Any]:
    """The graph for programs: nodes, edges from effect to cause, and where the record ends."""
    return {
        "actor": graph.root.actor,
        "seq": graph.root.seq,
        "nodes": [
            {"actor": place.actor, "name": chains.name(place.actor), **_event(entry)}
            for place, entry in graph.entries.items()
        ],
        "edges": [
            {"effect": _place(edge.effect), "cause": _place(edge.cause), "why": str(edge.why)} for edge in graph.edges
        ],
        "ends": [{**_place(end.at), "why": end.why, "message": end.sentence} for end in graph.ends],
    }


def _place(place: Place) -> dict[str, Any]:
    return {"actor": place.actor, "seq": place.seq}


def _event(entry: Entry) -> dict[str, Any]:
    from theater.server.pages import event_of

    return event_of(entry)


def tree(graph: Graph, chains: Chains) -> Iterator[str]:
    """The graph as lines for a person."""
    return _Tree(graph, chains).lines()


def forward_tree(graph: Graph, chains: Chains) -> Iterator[str]:
    """A graph of effects as lines for a person."""
    return _Forward(graph, chains).lines()


class _Rows:
    """The lines of a graph, each entry on one."""

    _words = CAUSES

    def __init__(self, graph: Graph, chains: Chains) -> None:
        self._graph = graph
        self._names = {actor: _shown(chains.name(actor)) for actor in {place.actor for place in graph.entries}}
        self._width = max(map(len, self._names.values()))
        self._ends: dict[Place, list[End]] = {}
        for end in graph.ends:
            self._ends.setdefault(end.at, []).append(end)
        self._shown: set[Place] = set()

    def _line(self, why: str, place: Place, indent: int) -> str:
        from theater.client.answers import Event

        event = Event.read(_event(self._graph.entries[place]))
        mark = self._words.get(why, "")
        return f"{self._beginning(mark, indent)}  {self._names[place.actor]:<{self._width}}  {event_line(event)}"

    def _mention(self, why: str, place: Place, indent: int) -> str:
        name = self._names[place.actor]
        where = "above" if place in self._shown else "below"
        return f"{self._beginning(self._words.get(why, ''), indent)}  {name:<{self._width}}  {place.seq:>6}  ({where})"

    def _note(self, end: End, indent: int) -> str:
        return f"{self._beginning('', indent)}  {safe(end.sentence)}"

    def _beginning(self, words: str, indent: int) -> str:
        return " " * indent + colour(f"{words:<{_WIDTH}}", "dim")


class _Tree(_Rows):
    """Goes through a graph from its root to the causes."""

    def __init__(self, graph: Graph, chains: Chains) -> None:
        super().__init__(graph, chains)
        self._causes: dict[Place, list[tuple[str, Place]]] = {}
        for edge in graph.edges:
            self._causes.setdefault(edge.effect, []).append((str(edge.why), edge.cause))

    def lines(self) -> Iterator[str]:
        yield from self._line_of_causes("", self._graph.root, 0, frozenset())

    def _line_of_causes(self, why: str, start: Place, indent: int, reserved: frozenset[Place]) -> Iterator[str]:
        """An entry and what leads back from it, in one column; `reserved` is shown further out."""
        column = self._column(start)
        inner = reserved.union(column)
        for place, (leads, cause) in zip(column, [(why, start), *self._steps(column)], strict=True):
            assert cause == place
            if place in reserved or place in self._shown:
                yield self._mention(leads, place, indent)
                return
            self._shown.add(place)
            yield self._line(leads, place, indent)
            for aside, reply in self._of(place, aside=True):
                yield from self._line_of_causes(aside, reply, indent + 2, inner)
            yield from (self._note(end, indent) for end in self._ends.get(place, ()))

    def _column(self, start: Place) -> list[Place]:
        """What leads back from an entry; where it would lead round in a circle it stops, with the entry again."""
        found = [start]
        while causes := self._of(found[-1], aside=False):
            again = causes[0][1] in found
            found.append(causes[0][1])
            if again:
                break
        return found

    def _steps(self, column: list[Place]) -> list[tuple[str, Place]]:
        return [self._of(place, aside=False)[0] for place in column[:-1]]

    def _of(self, place: Place, *, aside: bool) -> list[tuple[str, Place]]:
        return [(why, cause) for why, cause in self._causes.get(place, ()) if (why in _ASIDE) is aside]


class _Forward(_Rows):
    """Goes through a graph from its root to the effects."""

    _words = EFFECTS

    def __init__(self, graph: Graph, chains: Chains) -> None:
        super().__init__(graph, chains)
        self._effects: dict[Place, list[tuple[str, Place]]] = {}
        for edge in graph.edges:
            self._effects.setdefault(edge.cause, []).append((str(edge.why), edge.effect))

    def lines(self) -> Iterator[str]:
        waiting = [("", self._graph.root, 0, True)]
        claimed = {self._graph.root}
        while waiting:
            why, place, indent, is_first = waiting.pop()
            if not is_first:
                yield self._mention(why, place, indent)
                continue
            self._shown.add(place)
            yield self._line(why, place, indent)
            yield from (self._note(end, indent) for end in self._ends.get(place, ()))
            found = self._effects.get(place, [])
            inner = indent + 2 * (len(found) > 1)
            rows = [(why, effect, inner, effect not in claimed) for why, effect in found]
            claimed.update(effect for _, effect in found)
            # What is done after an answer is done in the same call, where it stands already.
            waiting += [row for row in reversed(rows) if row[3] or row[0] != "heard"]


def _shown(name: str) -> str:
    text = safe(short(name))
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
