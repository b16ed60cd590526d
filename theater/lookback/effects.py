"""What came of an entry: its effects, followed forward over the chains of a home, as causes.py follows them back.

A cause is named where its effect is recorded, and not the other way round. So all chains are gone through once, and
what each entry names as its cause is noted; from then on the way forward is known. Of what was done in a call those
entries count which have effects elsewhere, and the outcome, which is the end of the call and may be an answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from theater.core.chain import INCARNATION, Call, Entry, Genesis, HostCall, HostResult, Kind, Lifecycle
from theater.core.handlers import INIT, TIMERS
from theater.errors import TheaterError
from theater.lookback.causes import DEPTH, Edge, End, Graph, Place, Why, begin, grow
from theater.lookback.home import Chains
from theater.lookback.survey import Survey

_CAUSED = {
    Kind.CALL: Call._fields.index("cause"),
    Kind.HOST_RESULT: HostResult._fields.index("cause"),
    Kind.GENESIS: Genesis._fields.index("parent_head"),
}
"""Kinds of entries that name a cause, and in which field."""

_WHY = {Kind.CALL: Why.MESSAGE, Kind.HOST_RESULT: Why.REPLY, Kind.GENESIS: Why.SPAWN}
_ENDS_CALLS = frozenset({Kind.CALL, Kind.OUTCOME, Kind.LIFECYCLE})


def find_effects(chains: Chains, actor: str, seq: int, depth: int = DEPTH) -> Graph:
    """The effects of an entry, and theirs.

    Args:
        actor: an id, or `supervisor`.
        seq: the entry's number; it exists.
        depth: how many messages, answers, timers and spawns are followed one after the other.

    Raises:
        ChainBroken: the entry itself is not what it was. A chain that cannot be read is an end.
    """
    graph = begin(chains, Place(actor, seq))
    effects = _Forward(chains, graph).effects
    grow(graph, chains, depth, effects, lambda at, effect, why: Edge(effect, at, why), "effects")
    return graph


class _Forward:
    """Goes from entries to their direct effects."""

    def __init__(self, chains: Chains, graph: Graph) -> None:
        self._chains = chains
        self._graph = graph
        self._caused: defaultdict[bytes, list[Place]] = defaultdict(list)
        for actor in chains.actors():
            try:
                self._note(actor)
            except TheaterError as error:
                graph.ends.append(End(graph.root, "missing", f"the chain of {actor} cannot be read: {error.message}"))

    def _note(self, actor: str) -> None:
        chain = self._chains.chain(actor)
        for seq in chain.back_from(len(chain), _CAUSED.keys()):
            field = _CAUSED[Kind(chain.kind_number(seq))]
            cause = next(iter(chain.glance(seq)[field : field + 1]), None)
            if type(cause) is bytes and cause:
                self._caused[cause].append(Place(actor, seq))

    def effects(self, at: Place) -> Iterator[tuple[Why, Place]]:
        entry = self._graph.entries[at]
        yield from self._elsewhere(at, entry)
        try:
            yield from self._here(at, entry)
        except TheaterError as error:
            self._graph.ends.append(End(at, "missing", error.message))

    def _elsewhere(self, at: Place, entry: Entry) -> Iterator[tuple[Why, Place]]:
        """What names the entry as its cause."""
        for place in reversed(self._caused.get(entry.digest, [])):
            why = _WHY[Kind(self._chains.chain(place.actor).kind_number(place.seq))]
            is_timer = why is Why.MESSAGE and place.actor == at.actor and _sets_timer(entry)
            yield Why.TIMER if is_timer else why, place

    def _here(self, at: Place, entry: Entry) -> Iterator[tuple[Why, Place]]:
        """What was done in the call that the entry begins, or after the answer that it is; and the init of a life."""
        payload = entry.read()
        if isinstance(payload, Genesis) or (isinstance(payload, Lifecycle) and payload.event == INCARNATION):
            yield from self._init(at)
        elif isinstance(payload, Call):
            yield from ((Why.CALL, place) for place in self._done(at))
        elif isinstance(payload, HostResult) and payload.cause:
            yield from ((Why.HEARD, place) for place in self._done(at))

    def _done(self, at: Place) -> Iterator[Place]:
        """The entries behind `at` in its call that have effects, and its outcome."""
        chain = self._chains.chain(at.actor)
        seq = at.seq + 1
        while chain.has(seq):
            number = chain.kind_number(seq)
            if number == Kind.OUTCOME or (number == Kind.HOST_CALL and chain.entry(seq).digest in self._caused):
                yield Place(at.actor, seq)
            if number in _ENDS_CALLS:
                return
            seq += 1

    def _init(self, at: Place) -> Iterator[tuple[Why, Place]]:
        chain = self._chains.chain(at.actor)
        seq = at.seq + 1
        while chain.has(seq) and not self._begins_something(chain, seq):
            seq += 1
        if chain.has(seq) and chain.kind_number(seq) == Kind.CALL:
            call = chain.payload(seq)
            if isinstance(call, Call) and (call.interface, call.function) == INIT:
                yield Why.LIFE, Place(at.actor, seq)

    @staticmethod
    def _begins_something(chain: Survey, seq: int) -> bool:
        """Whether entry `seq` is a call or the beginning of a life."""
        number = chain.kind_number(seq)
        return number == Kind.CALL or (number == Kind.LIFECYCLE and chain.glance(seq)[:1] == [INCARNATION])


def _sets_timer(entry: Entry) -> bool:
    payload = entry.read()
    return isinstance(payload, HostCall) and payload.interface == TIMERS
