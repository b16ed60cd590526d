"""Reads the record after a run and holds it against what the clients have written down.

- Every chain verifies, and all of them tell one story.
- Each request was taken at most once, and each that was taken has exactly one end: an outcome, or the end of that life.
- Whoever was given an answer: the request is in the record, its outcome is good.
- Counts follow each other without gap and without repetition, and each that was answered is the one in the record.
- What the world outside has seen is in the record.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.journal import REPLY, TOKEN, Asked, Journals
from theater import config
from theater.chainlog.keys import public_key
from theater.chainlog.reader import ChainReader
from theater.chainlog.verify import verify_home
from theater.config import Home
from theater.core.chain import INCARNATION, Call, Kind, Lifecycle, Outcome, Record
from theater.replay.home import replay_home
from theater.replay.tree import prove_tree
from theater.store.content import ContentStore


@dataclass(slots=True)
class Taken:
    """A call in a chain; `ended` is its ending, empty while it has none, and "died" if its life ended first."""

    entry: int
    tokens: tuple[str, ...]
    sender: str | None
    ended: str = ""
    count: int | None = None


@dataclass(slots=True)
class Findings:
    """What was found: sentences about what is wrong, and figures."""

    wrong: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    without_end: int = 0
    unknown: int = 0
    entries: int = 0
    messages: int = 0
    replayed: int = 0


class Checker:
    """Checks a home whose server has ended.

    Args:
        home: its folder.
        journals: of the clients.
        ids: of the actors, by name.
        fetched: tokens that the world outside has seen.
    """

    def __init__(self, home: Path, journals: Journals, ids: Mapping[str, str], fetched: set[bytes]) -> None:
        self._home = Home(home)
        self._journals = journals
        self._ids = dict(ids)
        self._fetched = fetched
        self._content = ContentStore(self._home.content)
        self._calls: dict[str, dict[str, list[Taken]]] = {}
        self._host_calls: set[str] = set()
        self.found = Findings()

    def check(self, *, replay: bool) -> Findings:
        """Everything; `replay` also performs every chain again."""
        self._verify()
        for name, actor in self._ids.items():
            self._calls[name] = self._read(name, self._home.chain(actor))
        for asked in self._journals.asked.values():
            self._hold(asked)
        for token in self._fetched:
            if token.decode() not in self._host_calls:
                self._say(f"the world has seen {token.decode()}, and no chain has it")
        if replay and not self.found.wrong:
            self._replay()
        left = sorted(os.listdir(self._home.root / "run")) if (self._home.root / "run").exists() else []
        if left:
            self._say(f"left in run/: {left[:5]}")
        return self.found

    def _say(self, sentence: str) -> None:
        self.found.wrong.append(sentence)

    # ---- the chains by themselves

    def _verify(self) -> None:
        report = verify_home(self._home, self._content, key=public_key(self._home))
        for verdict in (report.supervisor, *report.actors):
            self.found.entries += verdict.entries
            if not verdict.ok:
                self._say(f"the chain of {verdict.name or verdict.id} does not verify: {verdict.error}")
        chains = {verdict.id: self._home.chain(verdict.id) for verdict in report.actors if verdict.ok}
        proof = prove_tree(chains, self._content.get)
        self.found.messages = proof.messages
        for flaw in proof.flaws:
            self._say(f"the chains tell two stories, in that of {flaw.actor}: {flaw.sentence}")

    def _replay(self) -> None:
        for verdict in replay_home(self._home, config.cache() / "artefacts"):
            self.found.replayed += verdict.entries
            if not verdict.ok:
                self._say(f"the replay of {verdict.name or verdict.id} is another: {verdict.error}")

    def _read(self, name: str, path: Path) -> dict[str, list[Taken]]:
        calls: dict[str, list[Taken]] = defaultdict(list)
        last: Taken | None = None
        count = 0
        for record in _records(path):
            number = record.kind_number
            if number == Kind.CALL:
                last = self._call(name, record, last, calls)
            elif number == Kind.HOST_CALL:
                self._host_calls.update(token.decode() for token in TOKEN.findall(record.body))
            elif number == Kind.OUTCOME and last is not None:
                count = self._outcome(name, record, last, count)
            elif number == Kind.LIFECYCLE and last is not None and not last.ended and _is_new_life(record):
                last.ended = "died"
        if last is not None and not last.ended:
            last.ended = "died"
        return calls

    def _call(self, name: str, record: Record, last: Taken | None, calls: dict[str, list[Taken]]) -> Taken:
        call = record.entry().read()
        assert isinstance(call, Call)
        tokens = tuple(sorted({token.decode() for token in TOKEN.findall(record.body)}))
        if last is not None and not last.ended:
            self.found.without_end += 1
            self._say(f"entry {last.entry} of {name}: a call without an end")
        taken = Taken(record.seq, tokens, call.sender)
        for token in tokens:
            calls[token].append(taken)
        return taken

    def _outcome(self, name: str, record: Record, last: Taken, count: int) -> int:
        outcome = record.entry().read()
        assert isinstance(outcome, Outcome)
        if last.ended:
            self._say(f"entry {record.seq} of {name}: a second outcome of entry {last.entry}")
        last.ended = outcome.ending
        state = _state_of(outcome)
        if outcome.ending != "ok" or state is None:
            return count
        new = _count_in(name, state)
        if new is None or new == count:
            return count
        if new != count + 1:
            self._say(f"entry {record.seq} of {name}: the count goes from {count} to {new}")
        last.count = new
        return new

    # ---- against the journals

    def _hold(self, asked: Asked) -> None:
        self.found.asked += 1
        self.found.ends[asked.ended or "client died"] += 1
        taken = self._calls.get(asked.actor, {}).get(asked.token, [])
        if len(taken) > 1:
            self.found.doubled += 1
            self._say(f"{asked.token} was taken {len(taken)} times by {asked.actor}: {[each.entry for each in taken]}")
        if asked.ended != REPLY:
            self.found.unknown += bool(taken)
            return
        self.found.acknowledged += 1
        if not taken:
            self.found.lost += 1
            self._say(f"{asked.token} ({asked.how} {asked.actor}) was acknowledged and is in no record")
            return
        if asked.how != "send" and taken[0].ended != "ok":
            self._say(f"{asked.token} ({asked.how} {asked.actor}) was answered, and its call ended {taken[0].ended}")
        self._hold_value(asked, taken[0])

    def _hold_value(self, asked: Asked, taken: Taken) -> None:
        if asked.how in ("count", "http", "websocket", "channel") and taken.count != asked.value:
            if asked.value is not None:
                self._say(f"{asked.token}: {asked.actor} answered {asked.value}, and its record has {taken.count}")
        elif asked.how == "ask" and isinstance(asked.value, list):
            other, number = asked.value
            theirs = self._calls[other].get(asked.token, [])
            if [each.count for each in theirs] != [number]:
                self.found.lost += not theirs
                self._say(f"{asked.token}: {other} answered {number} through {asked.actor}, its record has {theirs}")


def _records(path: Path) -> Iterator[Record]:
    with ChainReader(path) as reader:
        while batch := reader.records(500):
            yield from batch


def _is_new_life(record: Record) -> bool:
    payload = record.entry().read()
    return isinstance(payload, Lifecycle) and payload.event == INCARNATION


def _state_of(outcome: Outcome) -> bytes | None:
    state: Any = outcome.state[0] if outcome.state else None
    return state if isinstance(state, bytes) else None


def _count_in(name: str, state: bytes) -> int | None:
    if name.startswith("probe"):
        return int.from_bytes(state[:4], "little")
    if name.startswith(("counter", "clerk")):
        return int(json.loads(state)["count"])
    return None
