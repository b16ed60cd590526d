"""Looking back at a chain of which a part was compressed or dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains import ACTOR, Living
from long_chains import compress, drop, live

from theater.chainlog import ChainReader
from theater.core.chain import SNAPSHOT, Lifecycle
from theater.errors import NotFound
from theater.lookback.causes import find_causes
from theater.lookback.home import Chains
from theater.lookback.states import PastState


@pytest.fixture
def home(tmp_path: Path) -> Living:
    home = Living.at(tmp_path / "home")
    home.checkpoint(actor1=live(home.chain(ACTOR), home.store, calls=70))
    return home


def states(home: Living) -> list[PastState]:
    """The state after each entry that is kept."""
    with ChainReader(home.chain(ACTOR)) as reader:
        numbers = [record.seq for record in reader.records(10_000)]
    with Chains(home) as chains:
        return [chains.state(ACTOR, number) for number in numbers]


def test_a_compressed_chain_is_looked_back_at_as_before(home: Living) -> None:
    before = states(home)
    compress(home)
    assert states(home) == before
    with Chains(home) as chains:
        chain = chains.chain(ACTOR)
        assert [chain.find(past.head) for past in before] == [past.entry for past in before]


def test_what_is_kept_of_a_chain_has_the_states_that_it_had(home: Living) -> None:
    before = {past.entry: past for past in states(home)}
    drop(home)
    after = states(home)
    assert after[1].entry > 1
    # The snapshot holds the state now; the outcome that did is not there any more.
    assert [(past.state, past.incarnation, past.committed) for past in after] == [
        (before[past.entry].state, before[past.entry].incarnation, before[past.entry].committed) for past in after
    ]
    with ChainReader(home.chain(ACTOR)) as reader:
        snapshot = reader.read(2)[1]
    payload = snapshot.read()
    assert isinstance(payload, Lifecycle)
    assert (payload.event, after[1].held_by) == (SNAPSHOT, snapshot.seq)


def test_an_entry_that_was_dropped_is_told_with_a_sentence(home: Living) -> None:
    dropped = drop(home)
    assert dropped
    with Chains(home) as chains:
        first = chains.chain(ACTOR).first_kept
        for number in (1, first - 1, first - len(chains.chain(ACTOR)) - 1):
            with pytest.raises(
                NotFound, match=r"has no entry \d+ any more: entries 1 to [\d,]+ were dropped by retention"
            ):
                chains.state(ACTOR, number)
        assert [entry.seq for entry in chains.around(ACTOR, first, 2)] == [first, first + 1, first + 2]
        assert chains.place(ACTOR, -1) == len(chains.chain(ACTOR)) - 1


def test_entries_are_found_by_their_digests_on_both_sides_of_what_was_dropped(home: Living) -> None:
    drop(home)
    with ChainReader(home.chain(ACTOR)) as reader:
        records = reader.records(10_000)
    with Chains(home) as chains:
        assert [chains.chain(ACTOR).find(record.digest) for record in records] == [record.seq for record in records]


def test_causes_end_where_the_record_was_dropped(home: Living) -> None:
    drop(home)
    with Chains(home) as chains:
        graph = find_causes(chains, ACTOR, chains.chain(ACTOR).first_kept)
    (end,) = graph.ends
    assert end.why == "missing"
    assert end.sentence.startswith("what was before is not kept: entries 1 to ")
