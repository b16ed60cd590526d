"""Causes and effects of an entry, over chains that tests write: honest ones, and such as no worker would write."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st
from theater_cli.causes import CAUSES, EFFECTS, forward_tree, plain, tree

from theater.chainlog import ChainWriter
from theater.config import Home
from theater.core.chain import (
    INCARNATION,
    Call,
    Encoder,
    Genesis,
    Head,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    outcome_ok,
)
from theater.core.handlers import MESSAGE_SERVER_CLIENT, MESSAGE_SERVER_HOST, TIMERS
from theater.lookback.causes import MOST, Graph, Place, Why, find_causes
from theater.lookback.effects import find_effects
from theater.lookback.home import Chains

NOBODY = "00000000-0000-4000-8000-00000000dead"


def actor_id(number: int) -> str:
    return f"{number}0000000-0000-4000-8000-000000000000"


class Stage:
    """Chains of a home, written entry by entry."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.home.create()
        self._writers: dict[str, ChainWriter] = {}
        self._open = ExitStack()

    def actor(self, number: int, **facts: Any) -> str:
        """A new actor, named by its number: 1, 2, 3."""
        actor = actor_id(number)
        path = self.home.chain(actor)
        path.parent.mkdir(parents=True)
        self._writers[actor] = self._open.enter_context(ChainWriter.open(path, clock=lambda: 1))
        self._writers[actor].append(Kind.GENESIS, Genesis(actor, f"a{number}", None, None, None, {}, **facts))
        return actor

    def write(self, actor: str, kind: Kind, payload: Any) -> bytes:
        return self._writers[actor].append(kind, payload)

    def call(self, actor: str, cause: bytes | None = None, sender: str | None = None, request: Any = None) -> bytes:
        function = "handle-request" if request else "handle-send"
        args = (request, b"x") if request else (b"x",)
        return self.write(actor, Kind.CALL, Call(MESSAGE_SERVER_CLIENT, function, args, cause, sender, request))

    def send(self, actor: str, to: str, function: str = "send", body: bytes = b"x") -> bytes:
        return self.write(actor, Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, function, (to, body)))

    def told(self, actor: str, cause: bytes | None = None) -> bytes:
        return self.write(actor, Kind.HOST_RESULT, HostResult(b"answer", cause))

    def done(self, actor: str) -> bytes:
        return self.write(actor, Kind.OUTCOME, outcome_ok([], None, None))

    def causes(self, actor: str, number: int = -1, **options: Any) -> Graph:
        for writer in self._writers.values():
            writer.flush()
        with Chains(self.home) as chains:
            graph = find_causes(chains, actor, chains.place(actor, number), **options)
            assert_readable(graph, chains)
            return graph

    def effects(self, actor: str, number: int = -1, **options: Any) -> Graph:
        for writer in self._writers.values():
            writer.flush()
        with Chains(self.home) as chains:
            graph = find_effects(chains, actor, chains.place(actor, number), **options)
            assert_readable(graph, chains, forward_tree)
            return graph

    def close(self) -> None:
        self._open.close()


def assert_readable(graph: Graph, chains: Chains, lines: Callable[[Graph, Chains], Iterator[str]] = tree) -> None:
    """Every entry of the graph stands on a line, and on one only."""
    rows = [row.split() for row in lines(graph, chains)]
    shown = [row for row in rows if any(word.endswith("Z") and word[:4].isdigit() for word in row)]
    assert len(shown) == len(graph.entries)
    assert len(plain(graph, chains)["nodes"]) == len(graph.entries)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.close()


def sentences(graph: Graph) -> list[str]:
    return [end.sentence for end in graph.ends]


def test_a_digest_that_a_guest_wrote_into_a_message_is_no_entry(stage: Stage) -> None:
    one, two = stage.actor(1), stage.actor(2)
    stage.call(one)
    record, digest = Encoder(Head(7, b"d" * 32, 0)).entry(Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, "send", ()), 1)
    stage.send(one, two, body=digest + b"in the middle" + record + b"more")
    stage.send(one, two, body=record)
    stage.call(two, digest, one)
    assert sentences(stage.causes(two)) == [f"the chain of a1 has no entry of digest {digest.hex()[:8]}"]


def test_the_entry_is_found_although_its_digest_stands_in_later_bodies(stage: Stage) -> None:
    one, two = stage.actor(1), stage.actor(2)
    stage.call(one)
    sent = stage.send(one, two)
    for _ in range(3):
        stage.send(one, two, body=sent * 2)
    stage.call(two, sent, one)
    assert Place(one, 2) in stage.causes(two).entries


def test_the_record_of_another_actor_may_be_missing_or_damaged(stage: Stage) -> None:
    one, two = stage.actor(1), stage.actor(2)
    stage.call(one)
    stage.call(two, stage.send(one, two), one)
    stage.call(two, b"n" * 32, NOBODY)
    assert sentences(stage.causes(two)) == [f"the chain of {NOBODY} is not in this home"]
    stage.causes(two, 1)
    path = stage.home.chain(one)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"send")] ^= 1
    path.write_bytes(content)
    (sentence,) = sentences(stage.causes(two, 1))
    assert "expected an entry at byte" in sentence


def test_an_answer_is_looked_for_where_it_was_asked_and_then_everywhere(stage: Stage) -> None:
    one, two, three = stage.actor(1), stage.actor(2), stage.actor(3)
    for actor, name in ((two, "a2"), (three, "registered-otherwise")):
        stage.call(one)
        asked = stage.send(one, name, "request")
        stage.call(actor, asked, one, "request-1")
        stage.told(one, stage.done(actor))
        graph = stage.causes(one)
        replied = Place(actor, 2)
        assert [edge.cause for edge in graph.edges if edge.why is Why.REPLY] == [replied]
        stage.done(one)
    stage.call(one)
    stage.send(one, NOBODY, "request")
    stage.told(one, b"n" * 32)
    assert f"the chain of {NOBODY} is not in this home" in sentences(stage.causes(one))


def test_a_game_of_ping_pong_is_followed_as_far_as_depth_says(stage: Stage) -> None:
    players = stage.actor(1), stage.actor(2)
    sent, sender = None, None
    for number in range(300):
        player = players[number % 2]
        stage.call(player, sent, sender)
        sent, sender = stage.send(player, players[1 - number % 2]), player
        stage.done(player)
    graph = stage.causes(players[1], depth=20)
    assert [end.why for end in graph.ends] == ["bound"]
    assert sum(edge.why is Why.MESSAGE for edge in graph.edges) == 20
    assert [end.why for end in stage.causes(players[1], depth=400).ends] == ["outside"]


def test_a_call_that_was_told_very_much_does_not_make_the_graph_endless(stage: Stage) -> None:
    one, two = stage.actor(1), stage.actor(2)
    stage.call(one)
    for _ in range(500):
        asked = stage.send(one, two, "request")
        stage.call(two, asked, one, "request-1")
        stage.told(one, stage.done(two))
    stage.done(one)
    assert len(stage.causes(one).entries) < MOST


def test_a_child_whose_genesis_names_no_entry_says_so(stage: Stage) -> None:
    one = stage.actor(1)
    two = stage.actor(2, parent=one)
    three = stage.actor(3, parent=one, parent_head=b"n" * 32)
    assert sentences(stage.causes(two, 0)) == ["a1 spawned it; the genesis does not say in which entry"]
    assert sentences(stage.causes(three, 0)) == ["the chain of a1 has no entry of digest 6e6e6e6e"]


def test_what_a_record_names_is_looked_for_in_chains_of_actors_only(stage: Stage) -> None:
    one = stage.actor(1)
    elsewhere = stage.home.root / "actors" / "elsewhere" / "chain"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"nothing that anybody should read")
    for sender in ("../actors/elsewhere", "elsewhere", "", "supervisor", "/etc/passwd\x1b"):
        stage.call(one, b"n" * 32, sender)
        (end,) = stage.causes(one).ends
        assert end.why == "missing"


def test_a_chain_that_begins_with_anything_is_read_to_an_end(stage: Stage) -> None:
    called = Call(MESSAGE_SERVER_CLIENT, "handle-send", [b"x"], b"n" * 32, None)
    beginnings = (
        (Kind.CALL, called),
        (Kind.CALL, Call("theater:otp/monitor-handlers@0.1.0", "handle-down", [1, NOBODY])),
        (Kind.HOST_RESULT, HostResult(None, b"n" * 32)),
        (Kind.OUTCOME, outcome_ok([], None, None)),
        (Kind.LIFECYCLE, Lifecycle(INCARNATION, {INCARNATION: 2})),
        (Kind.LIFECYCLE, Lifecycle("ended", {"reason": "normal"})),
    )
    for number, (kind, payload) in enumerate(beginnings):
        actor = actor_id(number + 1)
        path = stage.home.chain(actor)
        path.parent.mkdir(parents=True)
        record, _ = Encoder().entry(kind, payload, 1)
        path.write_bytes(record)
        assert stage.causes(actor, 0).ends or stage.causes(actor, 0).edges
        stage.effects(actor, 0)


def test_the_end_of_an_actor_of_which_nothing_is_recorded_is_told(stage: Stage) -> None:
    one = stage.actor(1)
    stage.write(one, Kind.LIFECYCLE, Lifecycle(INCARNATION, {INCARNATION: 2}))
    with ChainWriter.open(stage.home.supervisor_chain) as writer:
        writer.append(Kind.GENESIS, Genesis("supervisor", "supervisor", None, None, None, {}))
        for actor in (NOBODY, one, "nonsense"):
            details = {"actor": actor, INCARNATION: 1, "reason": "signal", "signal": 9}
            writer.append(Kind.LIFECYCLE, Lifecycle("exited", details))
    path = stage.home.chain(NOBODY)
    path.parent.mkdir()
    path.touch()
    assert sentences(stage.causes("supervisor", 1)) == [f"{NOBODY} ended before anything was recorded of it"]
    assert [edge.why for edge in stage.causes(one).edges] == [Why.DEATH, Why.LAST]
    assert sentences(stage.causes("supervisor", 3)) == ["the server does not say whose end that was"]


def test_a_later_life_begins_where_the_server_began_it(stage: Stage) -> None:
    one = stage.actor(1)
    stage.write(one, Kind.LIFECYCLE, Lifecycle(INCARNATION, {INCARNATION: 2, "state": "last"}))
    stage.write(one, Kind.HOST_CALL, HostCall("wasi:random/random", "get-random-bytes", (8,)))
    graph = stage.causes(one)
    assert [(edge.cause.seq, edge.why) for edge in graph.edges] == [(1, Why.LIFE)]
    assert sentences(graph) == ["the server began life 2 of a1 here"]


def test_every_reason_has_words_and_the_page_has_all_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "looking-back.md").read_text()
    table = {why: words for words, why in re.findall(r"^\| ([a-z ]+) \| `([a-z]+)` \|", page, re.MULTILINE)}
    assert table == CAUSES
    assert set(CAUSES) == {str(why) for why in Why}
    assert set(EFFECTS) <= set(CAUSES)


# ---- forward


def test_the_effects_of_a_call_are_what_it_sent_and_what_came_of_that(stage: Stage) -> None:
    one, two = stage.actor(1), stage.actor(2)
    call = Place(one, 1)
    stage.call(one)
    stage.write(one, Kind.HOST_CALL, HostCall("theater:simple/runtime", "log", ("said",)))
    asked = stage.send(one, two, "request")
    stage.call(two, asked, one, "request-1")
    stage.told(one, stage.done(two))
    stage.call(two, stage.send(one, two), one)
    stage.done(one)
    graph = stage.effects(*call)
    found = {(edge.cause.seq, str(edge.why), edge.effect) for edge in graph.edges if edge.cause.actor == one}
    assert found == {
        (1, "call", Place(one, 3)),
        (1, "call", Place(one, 5)),
        (1, "call", Place(one, 6)),
        (3, "message", Place(two, 1)),
        (4, "heard", Place(one, 5)),
        (4, "heard", Place(one, 6)),
        (5, "message", Place(two, 3)),
    }
    assert Place(one, 2) not in graph.entries


def test_a_chain_that_cannot_be_read_does_not_hide_the_effects_in_others(stage: Stage) -> None:
    one, two, three = stage.actor(1), stage.actor(2), stage.actor(3)
    stage.call(one)
    stage.call(two, stage.send(one, two), one)
    stage.effects(one, 1)
    path = stage.home.chain(three)
    path.write_bytes(b"x" * 100)
    graph = stage.effects(one, 1)
    assert Place(two, 1) in graph.entries
    assert [end.sentence.split(":")[0] for end in graph.ends] == [f"the chain of {three} cannot be read"]


MOVES = st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 3)), max_size=12)


@settings(max_examples=effort(10, 80))
@given(moves=MOVES)
def test_what_is_an_effect_of_an_entry_has_it_among_its_causes(moves: list[tuple[int, bool, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        actors = [stage.actor(number) for number in (1, 2, 3)]
        _play(stage, actors, list(moves), actors[0], None, None)
        for actor in actors:
            stage.effects(actor, 0)
        with Chains(stage.home) as chains:
            for actor in actors:
                for seq in range(len(chains.chain(actor))):
                    root = Place(actor, seq)
                    for effect in find_effects(chains, *root).entries:
                        assert root in find_causes(chains, *effect).entries
        stage.close()


def _play(
    stage: Stage,
    actors: list[str],
    moves: list[tuple[int, bool, int]],
    me: str,
    cause: bytes | None,
    sender: str | None,
) -> bytes:
    """A call of `me`, which makes moves: it sends or asks, and whoever gets that is called at once. No actor is called
    that is in a call."""
    stage.call(me, cause, sender, "request-1" if sender else None)
    others = [actor for actor in actors if actor != me]
    while moves:
        whom, asks, more = moves.pop()
        if not others:
            break
        other = others[whom % len(others)]
        sent = stage.send(me, other, "request" if asks else "send")
        answer = _play(stage, others, [moves.pop() for _ in range(min(more, len(moves)))], other, sent, me)
        stage.told(me, answer if asks else None)
    return stage.done(me)


# ---- whatever a record says, it is read to an end

DIGEST_OF = st.integers(0, 60)
STEPS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ccsstdrrqi"), DIGEST_OF, st.integers(0, 4)), max_size=40)


@settings(max_examples=effort(25, 200))
@given(steps=STEPS)
def test_whatever_the_records_say_each_entry_is_visited_once_and_an_end_is_found(
    steps: list[tuple[int, str, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        actors = [stage.actor(number) for number in (1, 2, 3)]
        digests = [b"n" * 32]
        everyone = [*actors, NOBODY, None]
        for number, what, which, whose in steps:
            digests.append(_step(stage, actors[number - 1], what, digests[which % len(digests)], everyone[whose]))
        for actor in actors:
            graph = stage.causes(actor, depth=5)
            assert len(graph.edges) + len(graph.ends) >= len(graph.entries) - 1
            reached = {graph.root, *(edge.cause for edge in graph.edges)}
            assert reached == set(graph.entries)
            forward = stage.effects(actor, 0, depth=5)
            assert {forward.root, *(edge.effect for edge in forward.edges)} == set(forward.entries)
        stage.close()


def _step(stage: Stage, actor: str, what: str, cause: bytes, other: str | None) -> bytes:
    deeds: dict[str, Callable[[], bytes]] = {
        "c": lambda: stage.call(actor, cause, other, "request-1"),
        "s": lambda: stage.send(actor, other or "a1"),
        "t": lambda: stage.write(actor, Kind.HOST_CALL, HostCall(TIMERS, "send-after", (1, cause))),
        "d": lambda: stage.done(actor),
        "r": lambda: stage.told(actor, cause),
        "q": lambda: stage.write(
            actor, Kind.HOST_CALL, HostCall(MESSAGE_SERVER_HOST, "respond-to-request", ("request-1", cause))
        ),
        "i": lambda: stage.write(actor, Kind.LIFECYCLE, Lifecycle(INCARNATION, {INCARNATION: 2})),
    }
    return deeds[what]()
