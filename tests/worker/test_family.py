"""An actor with children, monitors and links: a real worker with the actor of tests/actors/parent.wat, and a supervisor
that the test plays. What otp.md 1.13 asks of bonds is the server's business; here is what a worker makes of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime
from exchange import Exchange
from one_life import EVERYTHING, Life

from theater.core.chain import Call, HostCall, HostResult, Outcome
from theater.core.handlers import LINKS, MONITOR_HANDLERS, MONITORS, SUPERVISOR, SUPERVISOR_HANDLERS
from theater.core.ids import child_id
from theater.core.values import Ok
from theater.core.wire import (
    Ask,
    ChildEnded,
    Demonitor,
    LinkExit,
    LinkTo,
    Missing,
    Monitor,
    MonitorDown,
    Named,
    OfChild,
    Send,
    Spawn,
    Stop,
    Told,
    TrapExits,
    Unlink,
    decode,
    encode,
)
from theater.errors import ActorDown, ActorFailed, Deadlock, NotFound, UnknownActor, from_wire

ACTORS = Path(__file__).parents[1] / "actors"
CHILD = "22222222-2222-4222-8222-222222222222"
TRAPPED = {"reason": "trap", "detail": "unreachable: oh\nframe", "signal": None, "status": None, "commanded": False}
LATE = {**TRAPPED, "reason": "deadline", "detail": "too slow"}
KILLED = {**TRAPPED, "reason": "killed", "detail": None, "signal": 9, "commanded": True}
CAUSE = bytes(32)

Live = Callable[..., Life]


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with parent.wasm and probe.wasm, and the cache of their compiled forms."""
    folder = tmp_path_factory.mktemp("components")
    for name in ("parent", "probe"):
        (folder / f"{name}.wasm").write_bytes(bytes(wasmtime.wat2wasm((ACTORS / f"{name}.wat").read_text())))
    return folder


@pytest.fixture
def live(exchange: Exchange, components: Path) -> Iterator[Live]:
    """Begins lives."""
    begun: list[Life] = []

    def live(name: str = "parent", **facts: object) -> Life:
        begun.append(Life(exchange, components / "cache", components / f"{name}.wasm", **facts))  # type: ignore[arg-type]
        return begun[-1].await_ready()

    yield live
    for life in begun:
        life.close()


@pytest.fixture
def parent(live: Live) -> Life:
    return live()


def failure(answer: object) -> str:
    assert isinstance(answer, ActorFailed), answer
    return answer.message


# ---- children


def test_a_child_is_spawned_under_an_id_that_follows_from_the_parents_chain(parent: Life) -> None:
    asked = parent.deliver(b"Sworker/manifest.toml")
    spawn = parent.heard(Spawn)
    assert (spawn.manifest, spawn.state, spawn.resume) == ("worker/manifest.toml", None, False)
    written = parent.entries()  # what leads to a child is on the disk before anybody hears of it
    call = written[-1].read()
    assert isinstance(call, HostCall)
    assert call.interface == SUPERVISOR
    assert spawn.child == child_id(written[-1].digest, written[-1].seq)
    parent.tell(Named(spawn.number, spawn.child))
    assert parent.answer(asked) == spawn.child.encode()
    results = parent.recorded(HostResult)
    assert results[-1].value == Ok(spawn.child)


def test_a_child_is_given_a_state_to_begin_or_to_go_on_with(parent: Life) -> None:
    for order, resume in ((b"I", False), (b"R", True)):
        asked = parent.deliver(order + struct.pack("<I", 3) + b"one" + b"m.toml")
        spawn = parent.heard(Spawn)
        assert (spawn.manifest, spawn.state, spawn.resume) == ("m.toml", b"one", resume)
        parent.tell(Named(spawn.number, spawn.child))
        assert parent.answer(asked) == spawn.child.encode()


def test_a_child_that_does_not_start_is_an_error_with_the_supervisors_sentence(parent: Life) -> None:
    asked = parent.deliver(b"Sm.toml")
    parent.tell(Missing(parent.heard(Spawn).number, NotFound("there is no m.toml").to_wire()))
    assert failure(parent.answer(asked)) == "there is no m.toml"


def test_every_question_about_a_child_is_answered_by_the_supervisor(parent: Life) -> None:
    events = [
        [b"h1", None, "genesis", b"a", 1, None],
        [b"h2", b"h1", "call", b"b", 2, "init"],
    ]
    for body, what, value, reply in (
        (b"L", "list", [CHILD, CHILD], f"{CHILD}\n{CHILD}\n".encode()),
        (b"T" + CHILD.encode(), "stop", None, b"T" + CHILD.encode()),
        (b"B" + CHILD.encode(), "restart", None, b"B" + CHILD.encode()),
        (b"G" + CHILD.encode(), "state", b"its state", b"\x01its state"),
        (b"G" + CHILD.encode(), "state", None, b"\x00"),
        (b"E" + CHILD.encode(), "events", events, b"genesis\ncall\n"),
    ):
        asked = parent.deliver(body)
        question = parent.heard(OfChild)
        assert (question.what, question.child) == (what, "" if what == "list" else CHILD)
        parent.tell(Told(question.number, value))
        assert parent.answer(asked) == reply
    results = [result.value for result in parent.recorded(HostResult)]
    event = {"hash": b"h2", "parent-hash": b"h1", "event-type": "call", "data": b"b", "timestamp": 2}
    assert results[-1].value[1] == {**event, "description": "init"}


def test_an_actor_that_is_not_a_descendant_is_an_error(parent: Life) -> None:
    asked = parent.deliver(b"T" + CHILD.encode())
    parent.tell(Missing(parent.heard(OfChild).number, UnknownActor("that is no child of this actor").to_wire()))
    assert failure(parent.answer(asked)) == "that is no child of this actor"


def test_a_wait_for_a_child_ends_when_the_actor_is_told_to_stop(parent: Life) -> None:
    asked = parent.deliver(b"Sm.toml")
    parent.heard(Spawn)
    parent.tell(Stop())
    assert failure(parent.answer(asked)) == "this actor is being stopped"
    assert parent.last_words() == {**TRAPPED, "reason": "shutdown", "detail": None}


def test_a_wait_for_a_child_lasts_no_longer_than_the_call(live: Live) -> None:
    parent = live(call_timeout=0.5)
    parent.deliver(b"Sm.toml")
    parent.heard(Spawn)
    words = parent.last_words()
    assert words is not None
    assert words["reason"] == "deadline"


def test_a_child_that_asks_its_waiting_parent_is_refused(parent: Life, exchange: Exchange) -> None:
    """It could only be answered when it is up, and will not be up before it is answered."""
    parent.deliver(b"Sm.toml")
    spawn = parent.heard(Spawn)
    other = exchange.stranger(parent.name, spawn.child)
    other.send(encode(Ask(1, CAUSE, b"e", 1 << 62, [spawn.child])))
    frame = other.receive_within(10.0)
    assert frame is not None
    refused = decode(frame)
    assert isinstance(from_wire(refused.error), Deadlock)  # type: ignore[union-attr, arg-type]


# ---- callbacks


def test_ends_of_children_are_calls_like_any_other(parent: Life) -> None:
    parent.tell(
        ChildEnded(CHILD, 1, "error", None, TRAPPED, False),
        ChildEnded(CHILD, 2, "error", None, LATE, False),
        ChildEnded(CHILD, 3, "exit", b"done", {**TRAPPED, "reason": "normal", "detail": None}, False),
        ChildEnded(CHILD, 4, "exit", None, {**TRAPPED, "reason": "shutdown", "detail": None}, False),
        ChildEnded(CHILD, 5, "external-stop", None, KILLED, False),
    )
    error = '{"reason":"%s","detail":"%s","signal":null,"status":null,"commanded":false}'
    assert parent.notes() == [
        f"child-error {CHILD} internal " + error % ("trap", "unreachable: oh\\nframe"),
        f"child-error {CHILD} operation-timeout " + error % ("deadline", "too slow"),
        f"child-exit {CHILD} done",
        f"child-exit {CHILD} -",
        f"child-stopped {CHILD}",
    ]
    calls = parent.recorded(Call)
    heard = [call for call in calls if call.interface == SUPERVISOR_HANDLERS]
    assert [call.function for call in heard] == [
        "handle-child-error",
        "handle-child-error",
        "handle-child-exit",
        "handle-child-exit",
        "handle-child-external-stop",
    ]
    assert {call.cause for call in heard} == {call.sender for call in heard} == {None}


def test_news_and_messages_are_handled_in_the_order_of_their_arrival(parent: Life) -> None:
    one = parent.deliver(b"nbefore")
    parent.tell(MonitorDown(3, CHILD, 1, KILLED, False))
    two = parent.deliver(b"nbetween")
    parent.tell(LinkExit(CHILD, 1, TRAPPED, False))
    three = parent.deliver(b"nafter")
    for asked in (one, two, three):
        parent.answer(asked)
    assert parent.notes() == [
        "note before",
        f"down 3 {CHILD} killed 9 1 -",
        "note between",
        f"exit {CHILD} trap - 0 unreachable: oh",
        "note after",
    ]
    calls = parent.recorded(Call)
    assert [call.function for call in calls if call.interface == MONITOR_HANDLERS] == ["handle-down", "handle-exit"]


def test_an_error_that_a_callback_answers_leaves_the_state_and_goes_to_the_log(parent: Life) -> None:
    parent.request(b"nkept")
    parent.request(b"X")
    parent.tell(ChildEnded(CHILD, 1, "error", None, TRAPPED, False), MonitorDown(1, CHILD, 1, KILLED, False))
    assert parent.notes() == ["note kept"]
    assert parent.log().count("a handler answered with an error: as I was told") == 2
    outcomes = parent.recorded(Outcome)
    assert [outcome.value for outcome in outcomes if outcome.ending == "err"] == ["as I was told"] * 2


def test_news_for_an_actor_without_a_handler_is_dropped_with_a_line_in_its_log(live: Live) -> None:
    probe = live("probe")
    probe.tell(ChildEnded(CHILD, 1, "exit", None, TRAPPED, False), MonitorDown(1, CHILD, 1, KILLED, False))
    assert probe.request(b"e") == b"e"
    for what, interface in (("handle-child-exit", SUPERVISOR_HANDLERS), ("handle-down", MONITOR_HANDLERS)):
        assert f"{CHILD} came for {what}; the component does not export {interface}" in probe.log()


def test_a_callback_may_call_the_supervisor(parent: Life) -> None:
    parent.request(b"A")
    parent.tell(ChildEnded(CHILD, 1, "error", None, TRAPPED, False))
    question = parent.heard(OfChild)
    assert (question.what, question.child) == ("restart", CHILD)
    parent.tell(Told(question.number, None))
    assert len(parent.notes()) == 1


def test_last_messages_are_handled_before_the_news(parent: Life, exchange: Exchange) -> None:
    other = exchange.stranger(parent.name, CHILD, 7)
    for number in range(1, 51):
        other.send(encode(Send(number, [[CAUSE, b"n%d" % number]])))
    other.close(linger_ms=10_000)
    parent.tell(ChildEnded(CHILD, 7, "error", None, TRAPPED, True))
    while not (notes := parent.notes()) or not notes[-1].startswith("child-error"):
        pass
    assert notes[:-1] == [f"note {number}" for number in range(1, 51)]


# ---- monitors and links


def test_monitors_are_numbered_and_asked_for(parent: Life) -> None:
    for ref in (1, 2):
        asked = parent.deliver(b"mcounter")
        question = parent.heard(Monitor)
        assert question[1:] == ("counter", ref)
        parent.tell(Named(question.number, CHILD))
        assert parent.answer(asked) == ref.to_bytes(8, "little")
    asked = parent.deliver(b"m")
    parent.tell(Missing(parent.heard(Monitor).number, UnknownActor("that is no name").to_wire()))
    assert failure(parent.answer(asked)) == "that is no name"
    calls = parent.recorded(HostCall)
    assert [call.function for call in calls if call.interface == MONITORS] == ["monitor"] * 3


def test_after_demonitor_no_news_comes_even_if_it_waited_already(parent: Life) -> None:
    asked = parent.deliver(b"mcounter")
    parent.tell(Named(parent.heard(Monitor).number, CHILD))
    parent.answer(asked)
    asked = parent.deliver(b"d" + (1).to_bytes(8, "little"))
    question = parent.heard(Demonitor)
    assert question.ref == 1
    parent.tell(MonitorDown(1, CHILD, 1, KILLED, False), Told(question.number, False))
    assert parent.answer(asked) == b"\x01"  # it had not been delivered
    assert parent.notes() == []


def test_a_monitor_that_was_never_made_is_not_asked_after(parent: Life) -> None:
    for ref in (0, 1, 2**64 - 1):
        assert parent.request(b"d" + ref.to_bytes(8, "little")) == b"\x00"


def test_links_are_made_undone_and_trapped(parent: Life) -> None:
    for body, kind in ((b"lcounter", LinkTo), (b"kcounter", Unlink)):
        asked = parent.deliver(body)
        question = parent.heard(kind)
        assert question.words == "counter"
        if kind is Unlink:
            parent.tell(LinkExit(CHILD, 1, KILLED, False))
        parent.tell(Named(question.number, CHILD))
        assert parent.answer(asked) == body
    assert parent.notes() == []  # unlink has taken the news back
    parent.request(b"t1")
    assert parent.heard(TrapExits) == TrapExits(True)
    parent.request(b"t0")
    assert parent.heard(TrapExits) == TrapExits(False)
    calls = parent.recorded(HostCall)
    assert [call.function for call in calls if call.interface == LINKS] == [
        "link",
        "unlink",
        "trap-exits",
        "trap-exits",
    ]


def test_what_the_manifest_does_not_grant_is_refused_with_the_handler_it_needs(live: Live) -> None:
    parent = live(handlers=tuple(name for name in EVERYTHING if name not in ("monitors", "supervisor")))
    assert failure(parent.request(b"mcounter")).endswith('add [[handler]] type = "monitors"')
    assert failure(parent.request(b"Sm.toml")).endswith('add [[handler]] type = "supervisor"')


def test_what_comes_of_a_wait_that_was_given_up_answers_nothing_else(parent: Life) -> None:
    """An answer that arrives too late is that of its own question, not of the next one."""
    asked = parent.deliver(b"mone")
    question = parent.heard(Monitor)
    parent.tell(Named(question.number + 1000, CHILD), Told(question.number + 1000, True))
    parent.tell(Missing(question.number, ActorDown("gone").to_wire()))
    assert failure(parent.answer(asked)) == "gone"
