"""What a record says of who waits for what, and the circles of waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from theater.core import why
from theater.core.chain import Call, Entry, HostCall, HostResult, Kind, Lifecycle, Outcome
from theater.core.handlers import HTTP_CLIENT, MESSAGE_SERVER_CLIENT, MESSAGE_SERVER_HOST, REQUESTS, SUPERVISOR, TIMING
from theater.core.ids import child_id
from theater.core.waiting import Activity, Asking, Circle, Doing, Fate, Running, Wait, WaitKind, Waits, doing, fate_of
from theater.core.why import Absence, Case, Mailbox

S = 1_000_000_000
KINDS = {Call: Kind.CALL, HostCall: Kind.HOST_CALL, HostResult: Kind.HOST_RESULT, Outcome: Kind.OUTCOME}


def record(*payloads: Any, first: int = 5) -> list[Entry]:
    """Entries of these payloads, one a second."""
    found = []
    for seq, payload in enumerate(payloads, first):
        kind = KINDS.get(type(payload), Kind.LIFECYCLE)
        found.append(
            Entry(
                seq,
                kind,
                seq * S,
                [list(field) if type(field) is tuple else field for field in payload],
                bytes([seq]) * 32,
                bytes(32),
                seq * 100,
            )
        )
    return found


def call(sender: str | None = None) -> Call:
    return Call(MESSAGE_SERVER_CLIENT, "handle-request", [b"x"], None, sender)


def ask(interface: str, function: str, *args: Any) -> HostCall:
    return HostCall(interface, function, list(args))


DONE = Outcome("ok", [], None)
TOLD = HostResult(None)


def asking(*payloads: Any) -> Asking:
    found = doing(record(call(), *payloads), None).asks
    assert found is not None
    return found


# ---- what a record says


def test_a_call_with_an_outcome_is_over() -> None:
    assert doing(record(call(), DONE), None) == Doing()
    assert doing([], None).activity is Activity.IDLE


def test_a_host_call_with_a_result_is_over_and_the_guest_goes_on() -> None:
    found = doing(record(call("b"), ask(TIMING, "now"), TOLD), None)
    assert found.activity is Activity.COMPUTING
    assert found.call == Running(MESSAGE_SERVER_CLIENT, "handle-request", 5, 5 * S, "b")


def test_a_call_that_began_long_ago_is_known_by_its_own_entry() -> None:
    (began,) = record(call(), first=1)
    found = doing(record(ask(TIMING, "now"), TOLD, first=200), began)
    assert (found.activity, found.call.entry if found.call else None) == (Activity.COMPUTING, 1)


def test_an_outcome_written_meanwhile_ends_a_call_that_was_looked_for_before() -> None:
    (began,) = record(call(), first=1)
    assert doing(record(DONE, first=2), began) == Doing()


def test_a_new_life_has_nothing_to_do_with_the_call_of_the_last() -> None:
    assert doing(record(call(), ask(TIMING, "now"), Lifecycle("incarnation", {"incarnation": 2})), None) == Doing()


def test_a_request_is_for_the_actor_that_it_names_and_as_long_as_it_says() -> None:
    found = asking(ask(REQUESTS, "request-timeout", "b", b"x", 1500))
    assert (found.kind, found.on, found.within_ns) == (WaitKind.REPLY, "b", 1500 * 1_000_000)
    assert asking(ask(MESSAGE_SERVER_HOST, "request", "b", b"x")).within_ns is None


def test_a_spawn_is_for_the_child_whose_id_follows_from_its_entry() -> None:
    found = asking(ask(SUPERVISOR, "spawn", "m.toml", None))
    assert (found.kind, found.on) == (WaitKind.CHILD, child_id(found.digest, found.entry))


def test_a_sleep_says_until_when() -> None:
    assert asking(ask(TIMING, "sleep", 2500)).until_ns == 6 * S + 2500 * 1_000_000
    assert asking(ask(TIMING, "deadline", 77_000)).until_ns == 77 * S


def test_an_http_request_is_told_without_what_may_be_a_key() -> None:
    found = asking(ask(HTTP_CLIENT, "send-http", {"method": "GET", "uri": "https://example.com/a?key=s3cret"}))
    assert (found.kind, found.words) == (WaitKind.SERVICE, "the answer to GET https://example.com/a")


def test_arguments_of_any_shape_are_told_somehow() -> None:
    """A guest chooses them, and so may a version to come."""
    for interface in (MESSAGE_SERVER_HOST, REQUESTS, SUPERVISOR, TIMING, HTTP_CLIENT, "my:own/thing"):
        for function in ("request", "sleep", "spawn", "stop-child", "send-http", "request-timeout", "what"):
            for args in ((), (7,), (b"", None), ({"method": 1},), ("a" * 9999, b"", "x")):
                assert 0 < len(asking(ask(interface, function, *args)).words) < 300


def question(digest: bytes) -> Call:
    return Call(MESSAGE_SERVER_CLIENT, "handle-request", [b"x"], digest, "b", "request-4")


def test_what_became_of_a_request_is_known_by_the_other_record() -> None:
    mine, other = b"m" * 32, b"o" * 32
    replied, promised = Outcome("ok", [b"reply"], None), Outcome("ok", [None], None)
    assert fate_of(record(question(mine), replied), mine) is Fate.ANSWERED
    assert fate_of(record(question(mine), Outcome("err", "no", None), call(), promised), mine) is Fate.ANSWERED
    assert fate_of(record(question(mine), ask(TIMING, "now"), TOLD), mine) is Fate.AT_WORK
    assert fate_of(record(question(mine), promised, call(), replied), mine) is Fate.PROMISED
    assert fate_of(record(question(other), replied), mine) is Fate.NOT_TAKEN
    assert fate_of([], mine) is Fate.NOT_TAKEN


# ---- the graph

ACTORS = [f"{number:02}" for number in range(12)]
GRAPHS = st.dictionaries(st.sampled_from(ACTORS), st.sampled_from([*ACTORS, None]))


def waits(edges: dict[str, str | None], until: Sequence[int] = ()) -> list[Wait]:
    return [
        Wait(who, WaitKind.REPLY, f"the reply of {on}", on, 1, 0, until[at] if at < len(until) else None)
        for at, (who, on) in enumerate(edges.items())
    ]


def test_three_that_ask_each_other_are_one_circle_whoever_is_asked_about() -> None:
    graph = Waits(waits({"b": "c", "c": "a", "a": "b", "d": "a"}, until=[30, 20, 25, 5]))
    (circle,) = graph.circles()
    assert [wait.who for wait in circle.members] == ["a", "b", "c"]
    assert (circle.until_ns, circle.breaker.who if circle.breaker else None) == (20, "c")
    assert all(graph.circle(who) == circle for who in "abcd"), "who waits for a member is held up, too"
    assert graph.held_up("a") == 3
    assert [wait.who for wait in graph.waiters("a")] == ["c", "d"]


def test_a_line_of_waits_ends_with_the_one_that_all_depend_on() -> None:
    graph = Waits(waits({"a": "b", "b": "c", "c": "d"}))
    assert [wait.on for wait in graph.path("a")] == ["b", "c", "d"]
    assert graph.circle("a") is None
    assert graph.circles() == []
    assert graph.held_up("d") == 3


@given(GRAPHS)
def test_circles_are_exactly_the_ways_back_to_oneself(edges: dict[str, str | None]) -> None:
    def comes_back(who: str) -> bool:
        at: str | None = who
        for _ in ACTORS:
            at = edges.get(at) if at is not None else None
            if at == who:
                return True
        return False

    circles = Waits(waits(edges)).circles()
    members = [wait.who for circle in circles for wait in circle.members]
    assert sorted(members) == sorted(who for who in edges if comes_back(who))
    for circle in circles:
        ring = [wait.who for wait in circle.members]
        assert [edges[who] for who in ring] == [*ring[1:], ring[0]]
        assert ring[0] == min(ring)


@given(GRAPHS)
def test_whoever_holds_others_up_is_on_their_paths(edges: dict[str, str | None]) -> None:
    graph = Waits(waits(edges))
    for actor in ACTORS:
        behind = {who for who in edges if who != actor and actor in [wait.on for wait in graph.path(who)]}
        assert graph.held_up(actor) == len(behind)


# ---- in sentences

NAMES = {"a": "ann", "b": "bob", "c": "cid"}


def told(case: Case, now_ns: int = 10 * S) -> str:
    return "; ".join(why.sentences(case, now_ns, lambda who: NAMES.get(who, who)))


def test_a_deadlock_is_named_with_its_members_and_its_end() -> None:
    ring = Waits(waits({"a": "b", "b": "c", "c": "a"}, until=[40 * S, 13 * S, 50 * S]))
    case = Case("a", "ann", Doing(Running("t:s/m", "f", 3, 8 * S)), wait=ring.of("a"), circle=ring.circle("a"))
    assert told(case).startswith(
        "deadlock: ann waits for bob, bob waits for cid, cid waits for ann; none of them goes on until the first "
        "timeout, that of bob in 3.0 s (at 00:00:13Z)"
    )
    assert "`theater restart bob`" in why.advice(case, lambda who: NAMES[who])[0]
    assert why.is_suspicious(case, 10 * S)


def test_a_circle_that_no_timeout_ends_is_said_to_have_none() -> None:
    ring = Waits(waits({"a": "b", "b": "a"}))
    assert "and no timeout ends it" in told(Case("a", "ann", circle=ring.circle("a")))


def test_whoever_sleeps_as_it_wants_is_not_suspicious_unless_somebody_waits_for_it() -> None:
    sleep = Wait("a", WaitKind.SLEEP, "a time to pass", None, 4, 0, 99 * S)
    call = Doing(Running("t:s/m", "f", 3, 0))
    assert not why.is_suspicious(Case("a", "ann", call, wait=sleep), 50 * S)
    waiter = Wait("b", WaitKind.REPLY, "the reply of a", "a", 1, 0, 60 * S)
    assert why.is_suspicious(Case("a", "ann", call, wait=sleep, waiters=[waiter]), 50 * S)


def test_an_actor_that_is_down_is_told_with_its_reason_and_the_next_attempt() -> None:
    absence = Absence("restarting", "trapped (unreachable)", until_ns=14 * S, recent=2, intensity=3, period=5)
    words = told(Case("a", "ann", since_ns=9 * S, absence=absence))
    assert "ann is not up: it has been restarting for 1.0 s" in words
    assert "its last life trapped (unreachable)" in words
    assert "the next attempt to start it is made in 4.0 s" in words
    assert "2 of 3 restarts in 5 s are used up" in words


def test_whoever_somebody_stopped_is_not_suspicious() -> None:
    stopped = Absence("stopped", "was shut down", wanted=True)
    assert not why.is_suspicious(Case("a", "ann", absence=stopped), 0)
    assert why.is_suspicious(Case("a", "ann", absence=Absence("failed", "trapped (x)")), 0)


def test_a_full_mailbox_is_said_and_what_to_do() -> None:
    case = Case("a", "ann", mailbox=Mailbox(7, 7))
    assert "7 messages wait for it, of 7" in told(case)
    assert why.is_suspicious(case, 0)
    assert "[limits] mailbox" in " ".join(why.advice(case, str))


def test_a_circle_without_members_with_a_timeout_has_no_breaker() -> None:
    assert Circle(()).breaker is None
    assert Circle(()).until_ns is None
