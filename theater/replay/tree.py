"""Several chains held against each other: whether those at hand tell one story (core/tree_proof.py).

Chains are read as often as that takes, and never held in memory: so many claims of one chain about others are taken
down at once, and then the chains of the senders are read for them. What is remembered beside that is a row for each
chain and one for each spawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from theater.chainlog.reader import ChainReader
from theater.core.chain import Get, Record
from theater.core.tree_proof import Claim, Flaw, Hearing, Kinship, Origin, Spawn, Witness
from theater.core.verification import Verdict
from theater.errors import TheaterError

AT_ONCE: Final = 50_000
"""Claims that are held in memory."""

_RECORDS: Final = 256


@dataclass(frozen=True, slots=True)
class TreeProof:
    """What was found.

    Args:
        flaws: what does not fit, in the order in which it was met.
        missing: children that were spawned and have no chain here.
        children: how many fit to their parents' entries.
        messages: how many messages, requests and replies fit to what their senders' chains say.
        untold: of how many of both nobody can say, since the other entry is behind the end of what is at hand, or was
            dropped.
    """

    flaws: tuple[Flaw, ...]
    missing: tuple[Spawn, ...]
    children: int
    messages: int
    untold: int

    @property
    def ok(self) -> bool:
        """Whether everything fits and nobody is missing."""
        return not self.flaws and not self.missing


def prove_tree(
    chains: Mapping[str, Path], get: Get, say: Callable[[str], None] = lambda text: None, at_once: int = AT_ONCE
) -> TreeProof:
    """Holds chains against each other.

    Args:
        chains: the file of each, by the id of its actor; verified.
        get: content that they refer to.
        say: told what is being done.
        at_once: how many claims are held in memory.
    """
    return _Trial(chains, get, say).run(at_once)


def judge(verdicts: Iterable[Verdict], proof: TreeProof) -> list[Verdict]:
    """The verdicts of a replay, with what the chains say of each other: the first error of each counts."""
    flaws: dict[str, str] = {}
    for flaw in proof.flaws:
        flaws.setdefault(flaw.actor, flaw.sentence)
    for spawn in proof.missing:
        flaws.setdefault(spawn.parent, f"entry {spawn.entry}: it spawned {spawn.child}, and that chain is missing")
    return [
        replace(verdict, ok=False, error=flaws[verdict.id]) if verdict.ok and verdict.id in flaws else verdict
        for verdict in verdicts
    ]


class _Trial:
    def __init__(self, chains: Mapping[str, Path], get: Get, say: Callable[[str], None]) -> None:
        self._chains = chains
        self._get = get
        self._say = say
        self._flaws: list[Flaw] = []
        self._origins: dict[str, Origin] = {}
        self._spawns: dict[str, Mapping[str, Spawn]] = {}
        self._messages = self._untold = 0

    def run(self, at_once: int) -> TreeProof:
        claims = self._claims()
        while batch := list(islice(claims, at_once)):
            self._settle(batch)
        kinship = Kinship(self._get)
        self._flaws += kinship.compare(self._origins, self._spawns)
        untold = self._untold + kinship.untold
        missing = tuple(kinship.missing)
        return TreeProof(tuple(self._flaws), missing, kinship.children, self._messages, untold)

    def _claims(self) -> Iterator[Claim]:
        """What the chains claim of each other; what they say of families is noted on the way."""
        for actor, path in self._chains.items():
            self._say(f"looking for what {actor} got from others")
            witness = Witness(actor, self._get)
            try:
                for record in _records(path):
                    claim = witness.note(record)
                    if claim is not None and (claim.sender is None or claim.sender in self._chains):
                        yield claim
            except TheaterError as error:
                self._flaws.append(Flaw(actor, error.message))
            if witness.genesis is not None:
                is_whole = not _was_dropped(path)
                self._origins[actor] = Origin(witness.genesis, witness.began_ns, witness.ended_ns, is_whole)
                self._spawns[actor] = witness.spawns

    def _settle(self, batch: list[Claim]) -> None:
        """Finds the senders of some claims."""
        claims: dict[bytes, list[Claim]] = {}
        for claim in batch:
            claims.setdefault(claim.cause, []).append(claim)
        named = {claim.sender for claim in batch}
        ends = {actor: self._hear(actor, claims) for actor in self._chains if None in named or actor in named}
        for claim in (claim for left in claims.values() for claim in left):
            self._not_found(claim, ends)
        self._messages += len(batch) - sum(map(len, claims.values()))

    def _hear(self, actor: str, claims: dict[bytes, list[Claim]]) -> int:
        """Reads the chain of a sender; returns when it ends."""
        self._say(f"looking for what {actor} sent to others")
        hearing = Hearing(actor, claims, self._get)
        try:
            for record in _records(self._chains[actor]):
                self._flaws += hearing.note(record)
        except TheaterError as error:
            self._flaws.append(Flaw(actor, error.message))
        return hearing.ended_ns

    def _not_found(self, claim: Claim, ends: Mapping[str, int]) -> None:
        sender = claim.sender
        if sender is None or claim.time_ns >= ends[sender] or _was_dropped(self._chains[sender]):
            self._untold += 1
            return
        self._flaws.append(
            Flaw(
                claim.actor,
                f"entry {claim.entry}: {claim.way.value} came that {sender} is said to have sent with an entry of "
                f"digest {claim.cause.hex()}, and its chain has no such entry",
            )
        )


def _records(path: Path) -> Iterator[Record]:
    with ChainReader(path) as reader:
        while records := reader.records(_RECORDS):
            yield from records


def _was_dropped(path: Path) -> bool:
    with ChainReader(path) as reader:
        return reader.dropped is not None
