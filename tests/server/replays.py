"""Replays of what actors of a house have recorded, and what is in their chains."""

from __future__ import annotations

from house import House

from theater import config
from theater.chainlog.reader import ChainReader
from theater.config import Home
from theater.core.chain import Entry, Outcome, Payload, resolve
from theater.core.chain import read_payload as read
from theater.core.verification import Verdict
from theater.replay.home import replay_home
from theater.store.content import ContentStore


def replayed(house: House, actor: str, patience: float = 30.0, begin: int | str | None = None) -> Verdict:
    """The verdict of a replay; what is recorded meanwhile is not in it."""
    (verdict,) = replay_home(Home(house.home), config.cache() / "artefacts", [actor], patience=patience, begin=begin)
    return verdict


def reproduced(house: House, actor: str) -> list[Payload]:
    """Asserts that a replay reproduces everything that was recorded until now; returns what that is."""
    entries = entries_of(house, actor)
    verdict = replayed(house, actor)
    assert verdict.ok, verdict.error
    assert verdict.entries >= len(entries)
    if verdict.entries == len(entries):
        assert verdict.head == entries[-1].digest.hex()
    get = ContentStore(house.home / "content").get
    return [read(entry.kind, resolve(entry.payload, get)) for entry in entries]


def entries_of(house: House, actor: str) -> list[Entry]:
    """The chain, from the file."""
    with ChainReader(house.home / "actors" / actor / "chain") as reader:
        return reader.read(1 << 20)


def endings(payloads: list[Payload]) -> list[str]:
    """How the calls ended: `ok`, `err`, or the kind of the trap."""
    return [
        found.value[0] if found.ending == "trap" else found.ending for found in payloads if isinstance(found, Outcome)
    ]
