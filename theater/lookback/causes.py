"""Why an entry was written: its causes, followed back over the chains of a home. And what came of it, forward.

What an actor does, it does in a call. The call was caused by a message, which an entry of another chain (or an earlier
one of the same) has sent in a call of its own; or by a timer, which such an entry has set; or it is the init of a life.
What an actor was told in the same call counts too: a reply leads to the entry that gave it. So the causes of an entry
are a graph, whose edges lead to what was written before; it ends where a message came from outside, where the server
began a life of its own accord, or where the home does not have the record.

An entry is found by its digest, at a place where an entry ends; what a guest writes into a body is not looked at.
Records may be forged or incomplete: whatever they say, each entry is visited once, and what cannot be followed is an
`End` with a sentence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final, NamedTuple

from theater.core.chain import (
    INCARNATION,
    Call,
    Ending,
    Entry,
    Genesis,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
)
from theater.core.exit_reason import ExitKind
from theater.core.handlers import INIT, MESSAGE_SERVER_CLIENT, TIMERS
from theater.core.ids import is_id
from theater.core.replay import ENDED
from theater.core.verification import SUPERVISOR
from theater.errors import NotFound, TheaterError
from theater.lookback.home import Chains
from theater.lookback.states import details_of, life_beginning, life_number
from theater.lookback.survey import Survey

DEPTH: Final = 100
"""How many messages, replies, timers and spawns are followed one after the other, unless somebody wants more."""

MOST: Final = 2000
"""Entries in one graph."""

_MOST_REPLIES: Final = 100
"""Newest replies of one call that are followed."""

_EXITED: Final = "exited"
"""Lifecycle event of the supervisor's chain: the process of an actor's life has ended."""

_CAUSE = HostResult._fields.index("cause")
_DOINGS = frozenset({Kind.CALL, Kind.HOST_CALL, Kind.HOST_RESULT, Kind.OUTCOME})
_SEPARATES_CALLS = frozenset({Kind.GENESIS, Kind.CALL, Kind.OUTCOME, Kind.LIFECYCLE})


class Why(StrEnum):
    """What binds an entry to its cause."""

    CALL = "call"
    """It was done in this call."""
    LIFE = "life"
    """It belongs to the life that this entry begins, and to no call."""
    MESSAGE = "message"
    """This entry sent the message."""
    TIMER = "timer"
    """This entry set the timer."""
    HEARD = "heard"
    """It was done after this answer had come, in the same call."""
    REPLY = "reply"
    """This entry gave the answer."""
    REQUEST = "request"
    """It answers the request with which this call began."""
    SPAWN = "spawn"
    """This entry spawned the actor."""
    DEATH = "death"
    """The life began since the one before it had ended, as this entry of the server's chain says."""
    LAST = "last"
    """The life ended in this call, or with this outcome."""


NEAR = frozenset({Why.CALL, Why.LIFE, Why.HEARD})
"""What leads to an entry of the same chain that is part of the same doing, and so counts as no step."""


class Place(NamedTuple):
    """An entry: the actor's id, or `supervisor`, and the number."""

    actor: str
    seq: int


class Edge(NamedTuple):
    """Of two entries one is the other's cause."""

    effect: Place
    cause: Place
    why: Why


class End(NamedTuple):
    """Here nothing more is known.

    Args:
        at: the entry whose cause it would be.
        why: `outside`, `server`, `missing`, or `bound`: not followed any further.
        sentence: the same for a person.
    """

    at: Place
    why: str
    sentence: str


@dataclass(slots=True)
class Graph:
    """What was found.

    Args:
        root: where it was asked for.
        entries: every entry in it.
        edges: from each entry to its causes.
        ends: where the causes are not in the record.
    """

    root: Place
    entries: dict[Place, Entry] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)


def find_causes(chains: Chains, actor: str, seq: int, depth: int = DEPTH) -> Graph:
    """The causes of an entry, and theirs.

    Args:
        actor: an id, or `supervisor`.
        seq: the entry's number; it exists.
        depth: how many messages, replies, timers and spawns are followed one after the other.

    Raises:
        ChainBroken: the entry itself is not what it was. Of others, that is an end.
    """
    graph = begin(chains, Place(actor, seq))
    known = _Known(chains)

    def follow(at: Place) -> Iterable[tuple[Why, Place]]:
        return _Step(chains, graph, at, known).found()

    grow(graph, chains, depth, follow, lambda at, cause, why: Edge(at, cause, why), "causes")
    return graph


def begin(chains: Chains, root: Place) -> Graph:
    """The graph of one entry.

    Raises:
        ChainBroken: the entry is not what it was.
    """
    return Graph(root, {root: chains.chain(root.actor).entry(root.seq)})


def grow(
    graph: Graph,
    chains: Chains,
    depth: int,
    follow: Callable[[Place], Iterable[tuple[Why, Place]]],
    edge: Callable[[Place, Place, Why], Edge],
    what: str,
) -> None:
    """Adds to a graph of one entry all that can be followed from it, the nearest first.

    Args:
        depth: how many steps are taken that lead to another chain, or another call.
        follow: what an entry leads to, and why.
        edge: makes the edge between where it comes from and where it leads to.
        what: is followed, for sentences.
    """
    waiting = deque([(graph.root, 0)])
    while waiting:
        at, steps = waiting.popleft()
        for why, found in follow(at):
            taken = steps + (why not in NEAR)
            if found not in graph.entries:
                if taken > depth or len(graph.entries) >= MOST:
                    graph.ends.append(End(at, "bound", f"its {what} are followed no further; --depth says how far"))
                    continue
                try:
                    graph.entries[found] = chains.chain(found.actor).entry(found.seq)
                except TheaterError as error:
                    graph.ends.append(End(at, "missing", error.message))
                    continue
                waiting.append((found, taken))
            graph.edges.append(edge(at, found, why))


_Cause = tuple[Why, Place]


class _Known:
    """What is found out once.

    Attributes:
        told: of calls, before which entry the answers in them have been followed; more of them are not, again.
    """

    def __init__(self, chains: Chains) -> None:
        self.told: dict[Place, int] = {}
        self._chains = chains

    @cached_property
    def deaths(self) -> Mapping[tuple[object, object], int]:
        """The entry of the server's chain that says how a life ended, by actor and number of the life."""
        try:
            chain = self._chains.chain(SUPERVISOR)
        except NotFound:
            return {}
        found: dict[tuple[object, object], int] = {}
        for at in chain.back_from(len(chain), {Kind.LIFECYCLE}):
            event, details, *_ = (*chain.glance(at), None, None)
            if event == _EXITED and isinstance(details, Mapping):
                actor, life = details.get("actor"), details.get(INCARNATION)
                if isinstance(actor, str) and type(life) is int:
                    found.setdefault((actor, life), at)
        return found


class _Step:
    """Goes from one entry to its direct causes."""

    def __init__(self, chains: Chains, graph: Graph, at: Place, known: _Known) -> None:
        self._chains = chains
        self._graph = graph
        self._at = at
        self._known = known
        self._chain: Survey = chains.chain(at.actor)

    def found(self) -> Iterator[_Cause]:
        """Its causes, as far as they can be read."""
        try:
            yield from self._causes()
        except TheaterError as error:
            self._end("missing", error.message)

    def _causes(self) -> Iterator[_Cause]:
        payload = self._graph.entries[self._at].read()
        match payload:
            case Genesis():
                yield from self._of_genesis(payload)
            case Lifecycle(event=event) if event == INCARNATION:
                yield from self._of_life()
            case Lifecycle(event=event) if event == _EXITED and self._at.actor == SUPERVISOR:
                yield from self._of_death(payload)
            case Call():
                yield from self._of_call(payload)
            case _ if self._at.seq and self._at.seq == self._chain.first_kept:
                self._end("missing", f"what was before is not kept: {self._chain.dropped}")
            case _ if self._at.actor == SUPERVISOR:
                self._end("server", "the server wrote it of its own accord")
            case _:
                yield from self._in_call(payload)

    # ---- beginnings

    def _of_genesis(self, genesis: Genesis) -> Iterator[_Cause]:
        if self._at.actor == SUPERVISOR:
            self._end("server", "the server began its own chain here")
        elif genesis.parent is None:
            self._end("outside", f"{self._name(self._at.actor)} was started from outside, or by a tree file")
        elif not genesis.parent_head:
            self._end("missing", f"{self._name(genesis.parent)} spawned it; the genesis does not say in which entry")
        else:
            yield from self._entry(Why.SPAWN, genesis.parent_head, [genesis.parent])

    def _of_call(self, call: Call) -> Iterator[_Cause]:
        if call.cause:
            senders = [call.sender] if call.sender else list(self._chains.actors())
            for why, place in self._entry(Why.MESSAGE, call.cause, senders):
                yield (Why.TIMER if self._sets_timer(place) else why), place
        elif (call.interface, call.function) == INIT:
            yield Why.LIFE, self._here(life_beginning(self._chain, self._at.seq))
        elif call.sender is not None:
            self._end("missing", f"{self._name(call.sender)} sent it; the record does not say in which entry")
        elif (call.interface, call.function) == (MESSAGE_SERVER_CLIENT, "handle-channel-close"):
            self._end("outside", "the channel was closed from outside, or the life at its other end was over")
        elif call.interface == MESSAGE_SERVER_CLIENT:
            self._end("outside", "the message came from outside")
        else:
            args = call.args if isinstance(call.args, list) else ()
            ids = [arg for arg in args if isinstance(arg, str) and is_id(arg)]
            self._end("server", f"the server told it of {self._name(ids[0])}" if ids else "the server told it so")

    def _sets_timer(self, place: Place) -> bool:
        if place.actor != self._at.actor:
            return False
        payload = self._chain.payload(place.seq)
        return isinstance(payload, HostCall) and payload.interface == TIMERS

    # ---- ends, which the server's chain records

    def _of_life(self) -> Iterator[_Cause]:
        get, actor = self._chains.get, self._at.actor
        number, before = (life_number(self._chain, seq, get) for seq in (self._at.seq, self._at.seq - 1))
        exited = self._known.deaths.get((actor, before))
        if exited is None:
            self._end("server", f"the server began life {number} of {self._name(actor)} here")
        else:
            yield Why.DEATH, Place(SUPERVISOR, exited)

    def _of_death(self, exited: Lifecycle) -> Iterator[_Cause]:
        details = details_of(exited, self._chains.get)
        actor, life, reason = (details.get(name) for name in ("actor", INCARNATION, "reason"))
        if not isinstance(actor, str) or not is_id(actor) or type(life) is not int:
            self._end("server", "the server does not say whose end that was")
            return
        chain = self._chains.chain(actor)
        if not len(chain):
            self._end("server", f"{self._name(actor)} ended before anything was recorded of it")
            return
        at = self._last(chain, life)
        if _ended_in(chain.payload(at), reason):
            yield Why.LAST, Place(actor, at)
        else:
            how = f"signal {details['signal']}" if details.get("signal") else str(reason)
            self._end("server", f"{self._name(actor)} was not in a call when its life {life} ended: {how}")

    def _last(self, chain: Survey, life: int) -> int:
        """The last entry of a life that says what it did: not that it ended, nor what it was."""
        end = len(chain)
        for at in chain.back_from(end, {Kind.LIFECYCLE}):
            payload = chain.payload(at)
            if isinstance(payload, Lifecycle) and payload.event == INCARNATION:
                if life_number(chain, at, self._chains.get) <= life:
                    break
                end = at
        beginning = life_beginning(chain, end - 1)
        doings = (at for at in range(end - 1, beginning, -1) if chain.kind_number(at) != Kind.LIFECYCLE)
        return next(doings, beginning)

    # ---- within a life

    def _in_call(self, payload: Payload) -> Iterator[_Cause]:
        seq = self._at.seq
        is_heard = any(edge.why is Why.HEARD and edge.cause == self._at for edge in self._graph.edges)
        if isinstance(payload, HostResult) and payload.cause:
            yield from self._entry(Why.REPLY, payload.cause, self._asked(seq))
        if is_heard:
            return  # in the same call as the entry from which it was come to
        if isinstance(payload, Lifecycle) and payload.event == ENDED:
            last = next(self._chain.back_from(seq, _DOINGS), 0)
            if _ended_in(self._chain.payload(last), details_of(payload, self._chains.get).get("reason")):
                yield Why.LAST, self._here(last)
                return
        call = self._call_around(seq)
        if call is None:
            yield Why.LIFE, self._here(life_beginning(self._chain, seq))
            return
        if isinstance(payload, HostCall):
            yield from self._requested(payload)
        yield from ((Why.HEARD, self._here(heard)) for heard in self._heard(call, seq))
        yield Why.CALL, self._here(call)

    def _call_around(self, seq: int) -> int | None:
        """The call in which entry `seq` was written; None if it was in none."""
        nearest = next(self._chain.back_from(seq, _SEPARATES_CALLS), 0)
        return nearest if self._chain.kind_number(nearest) == Kind.CALL else None

    def _heard(self, call: int, seq: int) -> list[int]:
        """The answers out of other chains that came in a call before entry `seq`, oldest first."""
        begin = self._known.told.get(self._here(call), call)
        self._known.told[self._here(call)] = max(begin, seq)
        found: list[int] = []
        for at in self._chain.back_from(seq, {Kind.HOST_RESULT}):
            if at < begin:
                break
            if any(self._chain.glance(at)[_CAUSE:]):
                if len(found) == _MOST_REPLIES:
                    self._end(
                        "bound", f"it was told more in this call; the newest {_MOST_REPLIES} answers are followed"
                    )
                    break
                found.append(at)
        return found[::-1]

    def _asked(self, seq: int) -> list[str]:
        """Who may have given the answer in entry `seq`, the likeliest first."""
        everyone = list(self._chains.actors())
        asked = self._chain.payload(seq - 1) if seq else None
        to = asked.args[0] if isinstance(asked, HostCall) and isinstance(asked.args, list) and asked.args else None
        if isinstance(to, str) and is_id(to):
            return [to, *(actor for actor in everyone if actor != to)]
        return sorted(everyone, key=lambda actor: self._name(actor) != to)

    def _requested(self, answer: HostCall) -> Iterator[_Cause]:
        """The call whose request this host call answers, if it does that: requests have the number of their entry."""
        name = answer.args[0] if isinstance(answer.args, list) and answer.args else None
        number = name.removeprefix("request-") if isinstance(name, str) and name.startswith("request-") else ""
        if number.isascii() and number.isdigit() and int(number) < self._at.seq:
            call = self._chain.payload(int(number))
            if isinstance(call, Call) and call.request == name:
                yield Why.REQUEST, self._here(int(number))

    # ---- finding

    def _entry(self, why: Why, digest: bytes, actors: list[str]) -> Iterator[_Cause]:
        """The entry of this digest, in the first chain that has it; an end if none does."""
        lacking = []
        for actor in actors:
            try:
                chain = self._chains.chain(actor)
                seq = chain.find(digest)
            except NotFound:
                lacking.append(f"the chain of {actor} is not in this home")
                continue
            except TheaterError as error:
                lacking.append(f"the chain of {actor} cannot be read: {error.message}")
                continue
            if seq is not None:
                yield why, Place(actor, seq)
                return
            if chain.dropped is not None:
                lacking.append(f"the chain of {self._name(actor)} does not have it any more: {chain.dropped}")
        alone = f"the chain of {self._name(actors[0])} has no" if len(actors) == 1 else "no chain of this home has an"
        self._end("missing", lacking[0] if lacking else f"{alone} entry of digest {digest.hex()[:8]}")

    def _here(self, seq: int) -> Place:
        return Place(self._at.actor, seq)

    def _name(self, actor: str) -> str:
        return self._chains.name(actor)

    def _end(self, why: str, sentence: str) -> None:
        self._graph.ends.append(End(self._at, why, sentence))


def _ended_in(last: Payload, reason: object) -> bool:
    """Whether a life ended in the call of its last entry, and not while it waited for another.

    Args:
        reason: of the end, as the record has it.
    """
    at_rest = isinstance(last, Outcome) and last.ending != Ending.TRAP
    return not at_rest or reason == ExitKind.NORMAL
