"""What a user can do with an actor: start, name, ask, look, stop, restart, remove."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from house import House, eventually, is_running, outcome

from theater.client import deploy
from theater.core.ids import is_id
from theater.errors import (
    ActorDown,
    ActorFailed,
    AmbiguousActor,
    ComponentError,
    InvalidInput,
    ManifestError,
    NameTaken,
    StartFailed,
    UnknownActor,
    UnknownContent,
    WrongState,
)

Name = Callable[[], str]


# ---- starting


def test_a_start_answers_with_the_row_of_a_running_actor(house: House, name: Name) -> None:
    actor = name()
    row = house.start(actor)
    assert (row.name, row.state, row.incarnation, row.restarts) == (actor, "running", 1, 0)
    assert (row.parent, row.supervisor, row.last_exit, row.mailbox) == (None, "root", None, 0)
    assert is_id(row.id)
    assert row.pid is not None
    assert is_running(row.pid)


def test_a_start_ends_when_init_is_in_the_record(house: House, name: Name) -> None:
    row = house.start(name())
    assert [event.type for event in house.client.read_events(row.id)] == ["genesis", "call", "outcome"]
    assert row.entries == 3
    assert len(bytes.fromhex(row.head)) == 32


def test_one_manifest_can_be_started_twice(house: House, name: Name) -> None:
    path = house.write(name(), register=False)
    one, other = house.client.start(path), house.client.start(path)
    assert one.id != other.id
    assert one.pid != other.pid
    assert house.client.request(one.id, b"c") == house.client.request(other.id, b"c")


def test_the_initial_state_is_what_init_gets(house: House, name: Name) -> None:
    row = house.start(name(), init_state=b"\x05\0\0\0")
    assert house.count(row.id) == 6


def test_the_initial_state_may_stand_in_the_manifest(house: House, name: Name) -> None:
    row = house.start(name(), more='init_state_inline = "hello"')
    assert house.client.request(row.id, b"g") == b"hello"


def test_a_start_may_give_another_name(house: House, name: Name) -> None:
    path, other = house.write(name()), name()
    row = house.client.start(path, name=other)
    assert row.name == other
    assert house.client.request(other, b"e!") == b"e!"


def test_the_component_may_be_content_that_the_store_has(house: House, name: Name, probe: bytes) -> None:
    digest = house.client.put(probe)
    row = house.start(name(), component=f"store:{digest}")
    assert house.client.inspect(row.id).facts["component_digest"] == digest


# ---- starts that fail leave nothing


def nothing_is_left(house: House, actor: str) -> None:
    """No row, no name, no process, no zombie of an actor that did not start."""
    assert actor not in {row.name for row in house.client.list()}
    with pytest.raises(UnknownActor):
        house.client.inspect(actor)
    known = {house.spawner(), *house.templates(), *house.spares(), *(row.pid for row in house.client.list())}
    eventually(lambda: set(house.processes()) <= known | {house.pid, *house.spares()}, "no process is left")
    assert not house.zombies()


def test_a_start_whose_init_answers_err_says_what_it_said(house: House, name: Name) -> None:
    """(1.3.1) The cause of a failed start reaches who asked for it."""
    actor = name()
    with pytest.raises(StartFailed, match="init answered with an error: fail") as failed:
        house.start(actor, init_state=b"fail")
    assert failed.value.details["reason"] == "error"
    nothing_is_left(house, actor)


def test_a_start_whose_init_traps_says_how(house: House, name: Name) -> None:
    """(1.3.1) So does a trap, with its frames."""
    actor = name()
    with pytest.raises(StartFailed, match="trapped \\(unreachable") as failed:
        house.start(actor, init_state=b"trap")
    assert failed.value.details["reason"] == "trap"
    nothing_is_left(house, actor)


def test_the_name_of_a_start_that_failed_is_free(house: House, name: Name) -> None:
    """(1.3.6) A start that failed leaves nothing behind."""
    actor = name()
    assert outcome(lambda: house.start(actor, init_state=b"fail")) == "StartFailed"
    assert house.start(actor).state == "running"


def test_a_start_whose_component_file_is_missing_names_it(house: House, name: Name) -> None:
    actor = name()
    with pytest.raises(ComponentError, match=r"nothing\.wasm"):
        house.start(actor, component="nothing.wasm")
    nothing_is_left(house, actor)


def test_a_start_whose_content_the_store_lacks_is_refused(house: House, name: Name) -> None:
    actor = name()
    with pytest.raises(UnknownContent, match="0" * 64):
        house.start(actor, component=f"store:{'0' * 64}")
    nothing_is_left(house, actor)


def test_a_start_under_a_name_that_is_taken_says_by_whom(house: House, name: Name) -> None:
    """(1.3.7, 1.16) The one who comes later leaves nothing behind."""
    actor = name()
    first = house.start(actor)
    with pytest.raises(NameTaken, match=first.id):
        house.client.start(house.write(actor))
    assert [row.id for row in house.client.list() if row.name == actor] == [first.id]


def test_a_manifest_that_is_wrong_is_refused_by_the_server_too(house: House, name: Name, probe: bytes) -> None:
    digest = house.client.put(probe)
    ready = deploy.Deployment('name = "x"\nwrong = 1\ncomponent = "probe.wasm"\n', "here.toml", digest)
    with pytest.raises(ManifestError, match=r"here\.toml:2"):
        house.client.start_prepared(ready)


def test_an_actor_whose_memory_is_too_small_from_the_start_is_refused(house: House, name: Name) -> None:
    actor = name()
    with pytest.raises(StartFailed, match=r"\[limits\] memory"):
        house.start(actor, limits={"memory": "64KiB", "message": "1KiB", "state": "1KiB"})
    nothing_is_left(house, actor)


# ---- naming


def test_an_actor_is_found_by_id_prefix_and_name(house: House, name: Name) -> None:
    actor = name()
    row = house.start(actor)
    others = [other.id for other in house.client.list() if other.id != row.id]
    length = next(n for n in range(4, 37) if not any(other.startswith(row.id[:n]) for other in others))
    for words in (row.id, row.id[:length], row.id[:length].upper(), actor):
        assert house.row(words).id == row.id


def test_a_name_that_two_actors_share_is_ambiguous_and_says_their_ids(house: House, name: Name) -> None:
    path = house.write(actor := name(), register=False)
    ids = {house.client.start(path).id for _ in range(2)}
    with pytest.raises(AmbiguousActor) as ambiguous:
        house.client.request(actor, b"c")
    assert set(ambiguous.value.details["found"]) == ids
    assert all(id in ambiguous.value.message for id in ids)


def test_an_actor_that_nobody_knows_is_an_error(house: House) -> None:
    for words in ("nobody", "ffffffff-ffff-4fff-bfff-ffffffffffff", "\0", "é" * 1000):
        with pytest.raises(UnknownActor):
            house.client.request(words, b"e")
    with pytest.raises(InvalidInput):
        house.client.request("", b"e")


# ---- talking


def test_a_request_is_answered(house: House, name: Name) -> None:
    row = house.start(name())
    assert house.client.request(row.id, b"e hello") == b"e hello"
    assert house.client.request(row.id, b"") == b""


def test_a_send_is_acknowledged_when_it_is_recorded(house: House, name: Name) -> None:
    row = house.start(name())
    assert house.client.send(row.id, b"c") == row.id
    calls = [event for event in house.client.read_events(row.id, types=["call"]) if event.data["args"] == [b"c"]]
    assert len(calls) == 1
    assert calls[0].data["function"] == "handle-send"
    assert house.count(row.id) == 2


def test_an_err_goes_to_the_caller_and_leaves_the_state(house: House, name: Name) -> None:
    row = house.start(name())
    assert house.count(row.id) == 1
    with pytest.raises(ActorFailed, match="not today"):
        house.client.request(row.id, b"xnot today")
    assert house.count(row.id) == 2
    assert house.row(row.id).incarnation == 1


# ---- looking


def test_a_listing_is_in_the_order_of_starting(house: House, name: Name) -> None:
    names = [name() for _ in range(4)]
    for actor in reversed(names):
        house.start(actor)
    assert [row.name for row in house.client.list() if row.name in names] == names[::-1]


def test_an_inspection_tells_all_that_the_documents_promise(house: House, name: Name) -> None:
    actor = name()
    row = house.start(actor, handlers=("message-server", "store"))
    house.count(actor)
    found = house.client.inspect(actor)
    assert found.row.id == row.id
    facts = found.facts
    assert facts["registered"] == [actor]
    assert facts["handlers"] == ["identity", "message-server", "runtime", "store"]
    assert facts["manifest"]["name"] == actor
    assert facts["mode"] in ("bytes", "plain")
    assert facts["program_digest"] is None
    assert facts["supervision"]["restart"] == "permanent"
    assert facts["call"] is None
    assert facts["dead_letters"] == 0
    assert facts["started_ms"] > 1_500_000_000_000
    assert house.client.inspect(actor).facts["memory"] >= 2 * 65536
    eventually(lambda: house.client.inspect(actor).facts["state_size"] == 4)


def test_the_state_is_what_the_last_call_left(house: House, name: Name) -> None:
    row = house.start(name())
    assert house.client.call("state", {"actor": row.id})["state"] is None
    house.count(row.id)
    house.count(row.id)
    state = house.client.state(row.id)
    assert state.state == b"\x02\0\0\0"
    event = next(event for event in house.client.read_events(row.id) if event.seq == state.seq)
    assert event.type == "outcome"


def test_a_large_state_and_a_large_message_are_shown_whole(house: House, name: Name) -> None:
    big = bytes(range(256)) * 1024
    row = house.start(name(), init_state=big)
    assert house.client.state(row.id).state is None or house.client.state(row.id).state == big
    assert house.client.request(row.id, b"e" + big) == b"e" + big
    last = list(house.client.read_events(row.id))[-1]
    assert last.data["value"] == [b"e" + big]
    house.verify()


def test_logs_tell_stream_incarnation_and_text(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.request(row.id, "lüber\nzwei".encode())
    lines = [(line.stream, line.incarnation, line.text) for line in house.client.read_logs(row.id)]
    assert lines == [("log", 1, "über"), ("log", 1, "zwei")]


def test_the_last_lines_of_a_log_can_be_asked_for(house: House, name: Name) -> None:
    row = house.start(name())
    for number in range(10):
        house.client.request(row.id, b"l%d" % number)
    page = house.client.logs(row.id, since=-3)
    assert [line.text for line in page.lines] == ["7", "8", "9"]
    house.client.request(row.id, b"lnext")
    assert [line.text for line in house.client.logs(row.id, since=page.next).lines] == ["next"]


# ---- events


def test_events_can_be_paged_and_filtered(house: House, name: Name) -> None:
    row = house.start(name())
    for _ in range(5):
        house.count(row.id)
    everything = list(house.client.read_events(row.id))
    assert [event.seq for event in everything] == list(range(13))
    assert all(before.digest == after.previous for before, after in pairwise(everything))
    assert everything[-1].digest == house.row(row.id).head
    page = house.client.events(row.id, since=4, limit=3)
    assert [event.seq for event in page.events] == [4, 5, 6]
    assert page.next == 7
    assert [event.seq for event in house.client.events(row.id, since=-2).events] == [11, 12]
    calls = house.client.events(row.id, types=["call"]).events
    assert [event.type for event in calls] == ["call"] * 6


def test_a_type_of_event_that_does_not_exist_is_refused_with_those_that_do(house: House, name: Name) -> None:
    row = house.start(name())
    with pytest.raises(InvalidInput, match=r"'cal' is no type of event; allowed: .*host-call"):
        house.client.events(row.id, types=["cal"])


def test_a_page_without_a_match_goes_on_where_it_stopped(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    page = house.client.events(row.id, types=["checkpoint"])
    assert (page.events, page.next) == ((), 5)


def test_events_of_large_messages_come_in_pages_that_fit_a_frame(house: House, name: Name) -> None:
    row = house.start(name())
    body = b"n" + bytes(1_000_000)
    for number in range(60):
        house.client.send(row.id, body + number.to_bytes(4, "big"))
    house.client.request(row.id, b"e")
    seen = [event for event in house.client.read_events(row.id, types=["call"]) if len(event.data["args"][0]) > 1e6]
    assert [event.data["args"][0][-4:] for event in seen] == [number.to_bytes(4, "big") for number in range(60)]


def test_a_long_poll_answers_when_the_chain_grows(house: House, name: Name) -> None:
    row = house.start(name())
    watching = house.connect()
    number = watching._link.submit("events", {"actor": row.id, "since": 3, "wait_ms": 30_000}, 30.0)
    house.count(row.id)
    found = watching._link.outcome({number}).value
    assert [event["seq"] for event in found["events"]] == [3, 4][: len(found["events"])]
    assert found["events"]


def test_a_long_poll_without_news_answers_when_its_time_is_over(house: House, name: Name) -> None:
    row = house.start(name())
    page = house.client.events(row.id, since=3, wait=0.05)
    assert (page.events, page.next) == ((), 3)


def test_the_servers_own_chain_can_be_followed(house: House, name: Name) -> None:
    end = list(house.client.read_events("supervisor"))[-1].seq + 1
    row = house.start(name())
    events = [e.data for e in house.client.read_events("supervisor", end, types=["lifecycle"])]
    of_actor = [e["event"] for e in events if e["details"].get("actor") == row.id]
    assert of_actor == ["started", "spawned", "ready"]


# ---- stopping, restarting, removing


def test_a_stopped_actor_stays_known_and_down(house: House, name: Name) -> None:
    actor = name()
    row = house.start(actor)
    stopped = house.client.stop(actor)
    assert (stopped.id, stopped.state, stopped.pid) == (row.id, "stopped", None)
    assert stopped.last_exit is not None
    assert (stopped.last_exit.reason, stopped.last_exit.commanded) == ("shutdown", True)
    assert not is_running(row.pid or 0)
    with pytest.raises(ActorDown, match="stopped"):
        house.client.request(row.id, b"e")


def test_stopping_twice_is_no_error(house: House, name: Name) -> None:
    row = house.start(name())
    assert house.client.stop(row.id).state == "stopped"
    assert house.client.stop(row.id).state == "stopped"


def test_the_end_of_a_stopped_actor_is_in_its_own_chain(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.stop(row.id)
    last = list(house.client.read_events(row.id))[-1]
    assert (last.type, last.data["event"]) == ("lifecycle", "ended")
    assert last.data["details"]["reason"] == "shutdown"


def test_a_restart_begins_the_next_incarnation_with_the_last_state(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    again = house.client.restart(row.id)
    assert (again.id, again.state, again.incarnation) == (row.id, "running", 2)
    assert again.pid != row.pid
    assert house.count(row.id) == 2


def test_a_stopped_actor_can_be_restarted_under_its_name(house: House, name: Name) -> None:
    actor = name()
    house.start(actor)
    house.count(actor)
    house.client.stop(actor)
    assert house.client.restart(actor).state == "running"
    assert house.count(actor) == 2


def test_a_restart_whose_name_has_been_taken_meanwhile_is_refused(house: House, name: Name) -> None:
    actor = name()
    first = house.start(actor)
    house.client.stop(first.id)
    second = house.client.start(house.write(actor))
    with pytest.raises(NameTaken):
        house.client.restart(first.id)
    assert house.row(first.id).state == "stopped"
    assert house.row(second.id).state == "running"


def test_a_removed_actor_is_forgotten_and_its_chain_is_kept(house: House, name: Name) -> None:
    actor = name()
    row = house.start(actor)
    house.client.stop(row.id, remove=True)
    with pytest.raises(UnknownActor):
        house.client.inspect(row.id)
    assert (house.home / "actors" / row.id / "chain").exists()
    assert house.start(actor).id != row.id


def test_a_stopped_actor_can_be_removed(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.stop(row.id)
    house.client.stop(row.id, remove=True)
    with pytest.raises(UnknownActor):
        house.row(row.id)


def test_whoever_waits_for_an_actor_that_is_stopped_is_told(house: House, name: Name) -> None:
    row = house.start(name())
    asking = house.connect()
    number = asking._link.submit("message", {"actor": row.id, "body": b"n", "request": True, "timeout_ms": 30_000}, 30)
    eventually(lambda: list(house.client.read_events(row.id, types=["call"]))[-1].data["args"][-1] == b"n")
    house.client.stop(row.id)
    error = asking._link.outcome({number}).error
    assert isinstance(error, ActorDown)


def test_operations_that_meet_never_harm_the_server(house: House, name: Name) -> None:
    """Stops, removals and restarts of one actor, all at the same moment and in any order: each is answered."""
    ops = (
        ("stop", {"remove": True}),
        ("restart", {}),
        ("stop", {"remove": False}),
        ("inspect", {}),
        ("message", {"body": b"c", "request": True, "timeout_ms": 5000}),
    )
    for shift in range(len(ops)):
        row = house.start(name())
        link = house.connect()._link
        numbers = {link.submit(op, {"actor": row.id, **more}, 20.0) for op, more in (ops[shift:] + ops[:shift]) * 3}
        for _ in range(len(numbers)):
            numbers.discard(link.outcome(numbers).number)
        assert house.client.hello().pid == house.pid
        if row.id in {other.id for other in house.client.list()}:
            eventually(lambda row=row: house.row(row.id).state in ("running", "stopped"))


def test_a_removal_of_a_running_actor_is_refused_only_if_it_could_not_be_stopped(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"shutdown": "brutal_kill"})
    assert house.client.stop(row.id, remove=True).last_exit.reason in ("killed", "signal")
    assert WrongState.exit_code == 12
