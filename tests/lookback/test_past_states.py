"""The state after any entry of a chain."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st

from theater.chainlog import ChainReader, ChainWriter
from theater.config import Home
from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Call,
    Entry,
    Genesis,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    outcome_err,
    outcome_ok,
    outcome_trap,
    resolve,
    state_digest,
)
from theater.core.secrets import Secret, Veil
from theater.errors import ChainBroken, InvalidInput, NotFound, UnknownContent
from theater.lookback.home import Chains
from theater.store import ContentStore

ACTOR = "00000000-0000-8000-8000-000000000001"
LONG = bytes(range(256)) * 40
"""A state that is kept in the store."""

STATES = st.sampled_from([None, b"", b"one", b"two", b"three", LONG])


class Author:
    """Writes a chain as the worker does, by the word."""

    def __init__(self, home: Home, initial: bytes | None, resumed: bool) -> None:
        self.home = home
        self.store = ContentStore(home.content)
        self.state: bytes | None = initial
        self.life = 1
        home.chain(ACTOR).parent.mkdir(parents=True)
        self.writer = ChainWriter.open(home.chain(ACTOR), clock=lambda: self.writer.head.entries, put=self.store.put)
        self.append(
            Kind.GENESIS, Genesis(ACTOR, "a", None, None, None, {}, initial=self._put(initial), resumed=resumed)
        )

    def _put(self, state: bytes | None) -> bytes | None:
        return None if state is None else bytes.fromhex(self.store.put(state))

    def append(self, kind: Kind, payload: Payload) -> None:
        self.writer.append(kind, payload)

    def call(self, ending: str, state: bytes | None) -> None:
        before = state_digest(self.state)
        self.append(Kind.CALL, Call("i", "f", (b"x",)))
        self.append(Kind.HOST_CALL, HostCall("i", "g", ()))
        if ending == "killed":
            return
        self.append(Kind.HOST_RESULT, HostResult(None))
        if ending == "ok":
            self.append(Kind.OUTCOME, outcome_ok([], state, before))
            self.state = state
        elif ending == "err":
            self.append(Kind.OUTCOME, outcome_err("no", before))
        else:
            self.append(Kind.OUTCOME, outcome_trap("unreachable", "m", [], before))

    def restart(self, policy: str, initial: bytes | None) -> None:
        self.life += 1
        named = self._put(initial)
        details = {INCARNATION: self.life, "state": policy, "initial": named.hex() if named else None}
        self.append(Kind.LIFECYCLE, Lifecycle(INCARNATION, details))
        # The writer knows what is committed by its own mark, as a worker that takes the chain up does.
        with Chains(self.home) as chains:
            self.writer.flush()
            self.state = chains.state(ACTOR).state

    def snapshot(self, committed: bool) -> None:
        self.append(
            Kind.LIFECYCLE, Lifecycle(SNAPSHOT, {"state": [self.state], "committed": committed, "memory": None})
        )


def by_the_rules(entries: Iterable[Entry], store: ContentStore) -> list[tuple[bytes | None, int]]:
    """(state, life) after each entry, by going through the chain from its beginning as a replay does."""
    state: bytes | None = None
    committed: list[bytes | None] = []
    life = 0
    found = []

    def initial(named: Any) -> bytes | None:
        return None if named is None else store.get(named.hex() if isinstance(named, bytes) else named)

    for entry in entries:
        payload = entry._replace(payload=resolve(entry.payload, store.get)).read()
        match payload:
            case Genesis():
                state, life = initial(payload.initial), payload.incarnation
            case Outcome() if payload.state:
                (state,) = committed = list(payload.state)
            case Lifecycle(event=event, details=details) if event == INCARNATION:
                life = details[INCARNATION]
                goes_on = details["state"] != "fresh" and bool(committed)
                state = committed[0] if goes_on else initial(details["initial"])
            case Lifecycle(event=event, details=details) if event == SNAPSHOT:
                (state,) = details["state"]
                committed = [state] if details["committed"] else committed
        found.append((state, life))
    return found


DEEDS = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(["ok", "ok", "err", "trap", "killed"]), STATES),
    st.tuples(st.just("restart"), st.sampled_from(["last", "fresh", "replay"]), STATES),
    st.tuples(st.just("snapshot"), st.booleans()),
)


@settings(max_examples=effort(30, 200), deadline=None)
@given(initial=STATES, resumed=st.booleans(), deeds=st.lists(DEEDS, max_size=12))
def test_the_state_after_each_entry_is_the_one_that_the_rules_give(
    initial: bytes | None, resumed: bool, deeds: list[tuple[Any, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.create()
        author = Author(home, initial, resumed)
        for deed, *facts in deeds:
            getattr(author, deed)(*facts)
        author.writer.close()
        with ChainReader(home.chain(ACTOR)) as reader:
            entries = reader.read(1000)
        with Chains(home) as chains:
            found = [chains.state(ACTOR, entry.seq) for entry in entries]
        expected = by_the_rules(entries, author.store)
        assert [(past.state, past.incarnation) for past in found] == expected
        for past, entry in zip(found, entries, strict=True):
            assert (past.entry, past.head, past.time_ns) == (entry.seq, entry.digest, entry.time_ns)
            assert past.held_by <= past.entry
            assert past.digest == state_digest(past.state)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.create()
    return home


@pytest.fixture
def author(home: Home) -> Author:
    return Author(home, b"first", False)


def test_it_says_which_entry_holds_the_state_and_whether_it_was_committed(home: Home, author: Author) -> None:
    author.call("ok", b"one")  # 1 to 4
    author.call("err", None)  # 5 to 8
    author.writer.flush()
    with Chains(home) as chains:
        past = [chains.state(ACTOR, seq) for seq in (0, 3, 4, 8)]
    assert [(each.state, each.held_by, each.committed) for each in past] == [
        (b"first", 0, False),
        (b"first", 0, False),
        (b"one", 4, True),
        (b"one", 4, True),
    ]


def test_what_was_committed_before_a_fresh_life_comes_back_after_it(home: Home, author: Author) -> None:
    author.call("ok", b"one")
    author.restart("fresh", b"anew")
    author.restart("last", b"anew")
    author.writer.flush()
    with Chains(home) as chains:
        assert [chains.state(ACTOR, seq).state for seq in (4, 5, 6)] == [b"one", b"anew", b"one"]


def test_numbers_below_zero_count_from_the_end_and_others_must_exist(home: Home, author: Author) -> None:
    author.call("ok", b"one")
    author.writer.flush()
    with Chains(home) as chains:
        assert [chains.state(ACTOR, number).entry for number in (-1, -5)] == [4, 0]
        for number in (5, -6):
            with pytest.raises(NotFound, match=f"a has no entry {number}: its chain has 5, 0 to 4"):
                chains.state(ACTOR, number)


def test_what_cannot_be_had_is_one_sentence(home: Home, author: Author) -> None:
    author.call("ok", LONG)
    author.writer.flush()
    for path in [path for path in home.content.rglob("*") if path.is_file()]:
        path.unlink()
    with Chains(home) as chains:
        with pytest.raises(UnknownContent, match="entry 0 names an initial state that cannot be had"):
            chains.state(ACTOR, 0)
        with pytest.raises(UnknownContent):
            chains.state(ACTOR, 4)
        with pytest.raises(InvalidInput, match="the server's own chain holds no state"):
            chains.state("supervisor")
        with pytest.raises(NotFound):
            chains.state("00000000-0000-8000-8000-000000000009")


def test_a_state_with_a_secret_has_its_name_and_is_not_taken_for_a_damaged_one(home: Home) -> None:
    secret = Secret("api-key", 1, bytes(32), b"hunter2-hunter2")
    veil = Veil([secret])
    author = Author(home, b"first hunter2-hunter2", False)
    author.append(Kind.LIFECYCLE, veil.announcement())
    hidden = veil.hide(b"first hunter2-hunter2")
    author.append(Kind.CALL, Call("i", "f", (b"x",)))
    author.append(Kind.OUTCOME, outcome_err("no", state_digest(hidden)))
    author.append(Kind.CALL, Call("i", "f", (b"x",)))
    later = veil.hide(b"later hunter2-hunter2")
    author.append(Kind.OUTCOME, Outcome("ok", [], state_digest(later), (later,)))
    author.writer.flush()
    with Chains(home) as chains:
        assert chains.state(ACTOR, 3).state == b"first hunter2-hunter2"  # what the operator wrote, who knows it
        past = chains.state(ACTOR, 5)
    assert past.state is not None
    assert past.state.startswith(b"later ")
    assert b"hunter2" not in past.state
    assert past.digest == state_digest(later)


def test_an_entry_that_is_not_what_it_was_is_told(home: Home, author: Author) -> None:
    author.call("ok", b"one")
    author.writer.close()
    content = bytearray(home.chain(ACTOR).read_bytes())
    content[content.rindex(b"one")] ^= 1
    home.chain(ACTOR).write_bytes(content)
    with Chains(home) as chains:
        assert chains.state(ACTOR, 3).state == b"first"
        with pytest.raises(ChainBroken):
            chains.state(ACTOR, 4)
