"""What may follow what in a chain, and which words of a guest are taken from the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from theater.core.chain import (
    Call,
    Encoder,
    Genesis,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    Record,
    Scanner,
    outcome_err,
    outcome_ok,
    outcome_trap,
)
from theater.core.codec import content_digest
from theater.core.life import Life, lives
from theater.core.replay import Script
from theater.core.replay_steps import Cue, Cut, Failed
from theater.core.same_guest import check_engine, check_wrapper
from theater.errors import ChainBroken, Diverged, IntegrityError, OtherEngine, UnknownContent

ACTOR = "10000000-0000-4000-8000-000000000001"
COMPONENT, MANIFEST = b"c" * 32, b"m" * 32
ENGINE = {"name": "wasmtime", "version": "50.0.1", "fuel": False, "settings": {"a": True}, "cpu": {"model": "x"}}
GENESIS = Genesis(ACTOR, "name", MANIFEST, COMPONENT, None, {**ENGINE, "mode": "plain", "program": None})
INIT = Call("theater:simple/actor", "init", [ACTOR])
CALL = Call("client", "handle", ["a message"])
NOW = HostCall("clock", "now", [])
SAY = HostCall("runtime", "log", ["hello"])
KINDS = {
    Genesis: Kind.GENESIS,
    Call: Kind.CALL,
    HostCall: Kind.HOST_CALL,
    HostResult: Kind.HOST_RESULT,
    Outcome: Kind.OUTCOME,
    Lifecycle: Kind.LIFECYCLE,
}
BEGUN = (GENESIS, INIT, outcome_ok([], b"s", None))
"""A life whose state is b"s"."""
STATE = content_digest(b"s")


class Store(dict[str, bytes]):
    """Content in memory."""

    def put(self, content: bytes) -> str:
        digest = content_digest(content).hex()
        self[digest] = content
        return digest

    def fetch(self, digest: str) -> bytes:
        if digest not in self:
            raise UnknownContent(f"no content {digest}")
        return self[digest]


def records(*payloads: Payload, put: Callable[[bytes], str] | None = None) -> Iterator[Record]:
    """A chain, a second for each entry."""
    encoder = Encoder(put=put)
    made = [encoder.entry(KINDS[type(each)], each, 10**9 * number)[0] for number, each in enumerate(payloads)]
    return iter(Scanner().feed(b"".join(made)))


def script(*payloads: Payload, store: Store | None = None, **options: Any) -> Script:
    store = Store() if store is None else store
    return Script(records(*payloads, put=store.put), store.fetch, **options)


def incarnation(number: int = 2, **details: Any) -> Lifecycle:
    made_of = {"component": COMPONENT.hex(), "program": None, "manifest": MANIFEST, "state": "last"}
    return Lifecycle("incarnation", {"incarnation": number, **made_of, **details})


def begun(*more: Payload, **options: Any) -> Script:
    """A script that has come behind `BEGUN`, at whose next step `more` follows."""
    found = script(*BEGUN, *more, **options)
    assert isinstance(found.next(), Life)
    assert isinstance(found.next(), Cue)
    found.conclude(outcome_ok([], b"s", None))
    return found


def calling(*more: Payload, **options: Any) -> Script:
    """A script in the middle of a call."""
    found = begun(CALL, *more, **options)
    assert isinstance(found.next(), Cue)
    return found


# ---- steps


def test_a_chain_is_played_step_by_step_to_its_head() -> None:
    played = script(*BEGUN, CALL, NOW, HostResult(7), outcome_ok([b"x"], b"t", STATE))
    life = played.next()
    assert isinstance(life, Life)
    assert (life.incarnation, life.component, life.manifest) == (1, COMPONENT.hex(), MANIFEST.hex())
    assert played.next() == Cue("theater:simple/actor", "init", (ACTOR,), is_cut=False)
    played.conclude(outcome_ok([], b"s", None))
    assert played.state == b"s"
    assert played.next() == Cue("client", "handle", ("a message",), is_cut=False)
    assert played.ask("clock", "now", ()) == 7
    played.conclude(outcome_ok([b"x"], b"t", played.state_digest))
    assert played.next() is None
    last = list(records(*BEGUN, CALL, NOW, HostResult(7), outcome_ok([b"x"], b"t", STATE)))[-1]
    assert (played.head.entries, played.head.digest, played.head.offset) == (7, last.digest, last.end)


def test_what_was_asked_while_the_guest_was_loaded_is_answered() -> None:
    played = script(GENESIS, NOW, HostResult(7), SAY, HostResult(None), INIT, outcome_ok([], None, None))
    played.next()
    assert not played.life_is_empty
    assert played.ask("clock", "now", ()) == 7
    assert played.ask("runtime", "log", ("hello",)) is None
    assert isinstance(played.next(), Cue)


def test_what_was_not_asked_while_the_guest_was_loaded_diverges() -> None:
    played = script(GENESIS, NOW, HostResult(7), INIT)
    played.next()
    with pytest.raises(Diverged, match=r"entry 1: recorded was the host call clock now"):
        played.next()


def test_the_watch_hears_how_far_it_is_and_how_long_the_next_entry_took() -> None:
    heard: list[tuple[int, int]] = []
    played = begun(CALL, watch=lambda head, took: heard.append((head.entries, took)))
    played.next()
    assert heard == [(1, 10**9), (2, 10**9), (3, 10**9), (4, 0)]


def test_long_contents_come_from_the_store_and_make_the_same_digests() -> None:
    store = Store()
    long = b"x" * 10_000
    played = begun(CALL._replace(args=[long]), NOW._replace(args=[long]), HostResult(long * 10), store=store)
    step = played.next()
    assert isinstance(step, Cue)
    assert step.args == (long,)
    with pytest.raises(Cut):
        played.ask("clock", "now", (long,))
    assert played.head.entries == 6


def test_a_chain_that_has_everything_in_line_is_reproduced_too() -> None:
    long = b"x" * 10_000
    chain = (GENESIS, INIT, NOW._replace(args=[long]), HostResult(1), outcome_ok([], long, None))
    played = Script(records(*chain), Store().fetch)
    played.next()
    played.next()
    played.ask("clock", "now", (long,))
    played.conclude(outcome_ok([], long, None))
    assert played.head.entries == 5


# ---- states


def test_a_later_life_goes_on_from_the_last_state() -> None:
    played = begun(incarnation(), CALL)
    assert isinstance(played.next(), Life)
    assert played.state == b"s"
    assert isinstance(played.next(), Cue)


@pytest.mark.parametrize("policy", ["last", "fresh"])
def test_a_life_without_a_committed_state_begins_with_init(policy: str) -> None:
    store = Store()
    initial = store.put(b"initial")
    life = incarnation(state=policy, initial=initial)
    before = (GENESIS, INIT, outcome_ok([], None, None)) if policy == "last" else BEGUN
    played = script(*before, life, INIT, CALL, store=store)
    played.next()
    played.next()
    played.conclude(outcome_ok([], b"s" if policy == "fresh" else None, None))
    played.next()
    assert played.state == b"initial"
    assert isinstance(played.next(), Cue)


def test_a_life_that_goes_on_calls_no_init_and_one_that_begins_calls_it_first() -> None:
    played = begun(incarnation(), INIT)
    played.next()
    with pytest.raises(Diverged, match=r"entry 4: .* only a call may follow, and no init"):
        played.next()
    played = begun(incarnation(state="fresh"), CALL)
    played.next()
    with pytest.raises(Diverged, match=r"entry 4: .* its first call is init"):
        played.next()


def test_a_resumed_actor_calls_no_init() -> None:
    store = Store()
    genesis = GENESIS._replace(initial=bytes.fromhex(store.put(b"given")), resumed=True)
    played = script(genesis, CALL, store=store)
    played.next()
    assert played.state == b"given"
    assert isinstance(played.next(), Cue)


def test_an_error_and_a_trap_leave_the_state_as_it_was() -> None:
    played = calling(outcome_err("no", STATE), CALL, outcome_trap("unreachable", "x", [], STATE))
    played.conclude(outcome_err("no", played.state_digest))
    assert played.state == b"s"
    played.next()
    played.conclude(outcome_trap("unreachable", "x", [], played.state_digest))
    assert played.state == b"s"


# ---- divergences


@pytest.mark.parametrize(
    "happened", [outcome_ok([], b"t", STATE), outcome_err("no", STATE), outcome_ok([1], b"s", STATE)]
)
def test_another_outcome_diverges(happened: Outcome) -> None:
    played = calling(outcome_ok([], b"s", STATE))
    with pytest.raises(Diverged, match=r"entry 4: recorded was an outcome ok"):
        played.conclude(happened)
    assert played.head.entries == 4


@pytest.mark.parametrize(
    "asked", [("clock", "now", (1,)), ("clock", "then", ()), ("other", "now", ()), ("clock", "now", (None,))]
)
def test_another_host_call_diverges(asked: tuple[str, str, tuple[Any, ...]]) -> None:
    with pytest.raises(Diverged, match=r"entry 4: recorded was the host call clock now"):
        calling(NOW, HostResult(1)).ask(*asked)


def test_a_host_call_where_the_record_has_an_outcome_diverges() -> None:
    with pytest.raises(Diverged, match=r"entry 4: recorded was an outcome ok"):
        calling(outcome_ok([], b"s", STATE)).ask("clock", "now", ())


def test_an_outcome_where_the_record_has_a_host_call_diverges() -> None:
    with pytest.raises(Diverged, match=r"entry 4: recorded was the host call clock now"):
        calling(NOW).conclude(outcome_ok([], b"s", STATE))


def test_arguments_that_have_no_place_in_a_record_are_the_guests_to_hear_of() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        calling(outcome_trap("host", "Refused: no place", [], STATE)).ask("clock", "now", (1 << 64,))


@pytest.mark.parametrize(
    ("more", "entry"),
    [
        ((GENESIS,), 3),
        ((NOW,), 3),
        ((HostResult(1),), 3),
        ((outcome_ok([], b"s", STATE),), 3),
        ((Lifecycle("ended", {}), CALL), 4),
        ((Lifecycle("ended", {}), Lifecycle("ended", {})), 4),
    ],
)
def test_what_cannot_follow_diverges(more: tuple[Payload, ...], entry: int) -> None:
    played = begun(*more)
    with pytest.raises(Diverged, match=f"entry {entry}: "):
        played.next()


def test_a_chain_begins_with_its_genesis() -> None:
    for first in (INIT, incarnation(), Lifecycle("ended", {})):
        with pytest.raises(Diverged, match=r"entry 0: .* a chain begins with its genesis"):
            script(first).next()


def test_nothing_but_its_end_follows_a_trap() -> None:
    trap = outcome_trap("unreachable", "x", [], STATE)
    played = calling(trap, Lifecycle("ended", {}), incarnation())
    played.conclude(trap)
    assert isinstance(played.next(), Life)
    played = calling(trap, CALL)
    played.conclude(trap)
    with pytest.raises(Diverged, match=r"entry 5: .* the life is over"):
        played.next()


# ---- calls that were cut


@pytest.mark.parametrize(
    "after", [(), (incarnation(),), (Lifecycle("ended", {}),), (outcome_trap("timeout", "late", ["f"], STATE, 9),)]
)
def test_a_cut_call_is_played_up_to_its_last_host_call(after: tuple[Payload, ...]) -> None:
    played = calling(NOW, HostResult(1), NOW, HostResult(2), *after)
    assert played.ask("clock", "now", ()) == 1
    with pytest.raises(Cut):
        played.ask("clock", "now", ())
    played.abandon()
    played.next()
    assert played.head.entries == 8 + len(after)


@pytest.mark.parametrize("after", [(), (incarnation(),), (outcome_trap("timeout", "late", [], STATE),)])
def test_a_cut_call_without_host_calls_is_not_entered(after: tuple[Payload, ...]) -> None:
    played = begun(CALL, *after)
    assert played.next() == Cue("client", "handle", ("a message",), is_cut=True)
    played.abandon()
    played.next()
    assert played.head.entries == 4 + len(after)


def test_a_host_call_that_was_cut_has_no_answer() -> None:
    for after in ((), (incarnation(),)):
        with pytest.raises(Cut):
            calling(NOW, *after).ask("clock", "now", ())


def test_a_deadline_leaves_the_state_as_it_was() -> None:
    for outcome in (
        outcome_trap("timeout", "late", [], b"t" * 32),
        outcome_trap("timeout", "late", [], STATE)._replace(state=[b"t"]),
    ):
        played = begun(CALL, outcome)
        played.next()
        with pytest.raises(Diverged, match=r"entry 4"):
            played.abandon()


def test_a_life_that_ended_while_it_was_loaded() -> None:
    for after in ((), (incarnation(),)):
        played = script(GENESIS, NOW, HostResult(1), *after)
        played.next()
        with pytest.raises(Cut):
            played.ask("clock", "now", ())
        played.abandon()
        assert (played.next() is None) == (not after)


def test_a_life_in_which_nothing_happened_need_not_be_loaded() -> None:
    played = script(GENESIS, incarnation(), incarnation(3))
    for _ in range(3):
        assert isinstance(played.next(), Life)
        assert played.life_is_empty
    assert played.next() is None


# ---- host calls that failed, and damage


@pytest.mark.parametrize("kind", ["host", "limit"])
def test_a_host_call_that_ended_the_guest_ends_it_again(kind: str) -> None:
    recorded = outcome_trap(kind, "Refused: no", [], STATE)
    played = calling(SAY, recorded)
    with pytest.raises(Failed) as failed:
        played.ask("runtime", "log", ("hello",))
    assert failed.value.outcome == recorded._replace(value=list(recorded.value), state=[])


@pytest.mark.parametrize("after", [outcome_ok([], b"s", STATE), outcome_trap("unreachable", "x", [], STATE), SAY, CALL])
def test_a_host_result_that_was_cut_off_diverges(after: Payload) -> None:
    played = calling(NOW, after)
    with pytest.raises(Diverged, match=r"entry 5: recorded was .*; in the replay a host-result is missing"):
        played.ask("clock", "now", ())


def test_content_that_is_missing_is_named_with_its_entry() -> None:
    store = Store()
    made = list(records(*BEGUN, CALL._replace(args=[b"x" * 10_000]), put=store.put))
    digest = content_digest(b"x" * 10_000).hex()
    del store[digest]
    played = Script(iter(made), store.fetch)
    played.next()
    played.next()
    played.conclude(outcome_ok([], b"s", None))
    with pytest.raises(IntegrityError, match=f"entry 3: .*{digest}"):
        played.next()


# ---- lives


def test_lives_say_what_they_were_made_of_and_the_genesis_what_they_leave_out() -> None:
    engine = {**ENGINE, "version": "51.0.0"}
    first, second, third = lives(
        records(*BEGUN, incarnation(), CALL, incarnation(3, engine=engine, wrapper="ab" * 32, initial="cd" * 32))
    )
    assert (first.entry, first.policy, first.wrapper, first.initial) == (0, "fresh", None, None)
    assert (second.entry, second.policy, second.engine) == (3, "last", GENESIS.engine)
    assert (third.incarnation, third.engine, third.wrapper, third.initial) == (3, engine, "ab" * 32, "cd" * 32)


def test_a_deadline_is_known_for_one_whose_words_are_kept_elsewhere() -> None:
    played = begun(CALL, outcome_trap("timeout", "late", ["a frame"] * 10_000, STATE))
    assert played.next() == Cue("client", "handle", ("a message",), is_cut=True)
    played.abandon()
    assert played.next() is None


def test_an_entry_of_another_shape_is_named() -> None:
    encoder = Encoder()
    data = encoder.entry(Kind.GENESIS, GENESIS, 0)[0] + encoder.entry(Kind.CALL, [1, 2, 3], 0)[0]
    played = Script(iter(Scanner().feed(data)), Store().fetch)
    played.next()
    with pytest.raises(IntegrityError, match=r"^entry 1: "):
        played.next()


def test_a_life_must_say_its_component() -> None:
    with pytest.raises(ChainBroken, match=r"entry 0"):
        script(GENESIS._replace(component=None)).next()


def test_an_engine_is_the_same_but_for_the_processor() -> None:
    (life,) = lives(records(GENESIS))
    check_engine(life, {**ENGINE, "cpu": {"model": "y"}})
    for other in ({"version": "49"}, {"fuel": True}, {"settings": {"a": False}}, {"settings": {"a": True, "b": 1}}):
        with pytest.raises(OtherEngine, match=r"^entry 0: this life ran "):
            check_engine(life, {**ENGINE, **other})


def test_a_wrapper_is_the_same() -> None:
    (life,) = lives(records(GENESIS))
    check_wrapper(life, "", "plain")
    for wrapper, mode in (("ab" * 32, "plain"), ("", "bytes")):
        with pytest.raises(OtherEngine, match="wrapper"):
            check_wrapper(life, wrapper, mode)
