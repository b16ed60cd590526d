"""Looking back at what real actors did: chains that a server has recorded."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ready_commands
import wasmtime
from house import RESTLESS, House, asking, eventually, sending
from kin import Kin

from theater.chainlog import ChainReader
from theater.config import Home
from theater.core.chain import INCARNATION, SNAPSHOT, Entry, Genesis, Kind, Lifecycle, Outcome
from theater.errors import ActorFailed
from theater.lookback.causes import Graph, Place, Why, find_causes
from theater.lookback.home import Chains

ACTORS = Path(__file__).parents[1] / "actors"
Name = Callable[[], str]


def numbers(house: House, actor: str, kind: Kind) -> list[int]:
    with ChainReader(Home(house.home).chain(actor)) as chain:
        return [entry.seq for entry in chain.read(10_000) if entry.kind is kind]


def lifecycle(house: House, actor: str) -> list[tuple[int, str]]:
    with ChainReader(Home(house.home).chain(actor)) as chain:
        payloads = [(entry.seq, entry.read()) for entry in chain.read(10_000)]
    return [(seq, payload.event) for seq, payload in payloads if isinstance(payload, Lifecycle)]


def causes(house: House, actor: str, seq: int, **options: Any) -> Graph:
    with Chains(Home(house.home)) as chains:
        return find_causes(chains, actor, seq, **options)


def path(graph: Graph, *reasons: Why) -> list[Place]:
    """Where the edges of these reasons lead, one after the other, from the root on."""
    found = [graph.root]
    for why in reasons:
        (cause,) = (edge.cause for edge in graph.edges if edge.effect == found[-1] and edge.why is why)
        found.append(cause)
    return found


def theater(house: House, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THEATER_")}
    done = ready_commands.run(["--home", str(house.home), *arguments], text=True, timeout=60, env=environment)
    assert done.returncode == 0, done
    return str(done.stdout)


def test_a_message_leads_back_over_two_chains_to_the_outside(house: House, name: Name) -> None:
    first, second, third = name(), name(), name()
    rows = [house.start(each) for each in (first, second, third)]
    house.client.send(first, sending(second, sending(third, b"c")))
    eventually(lambda: numbers(house, rows[2].id, Kind.OUTCOME)[1:], "the last has counted")
    outcome = numbers(house, rows[2].id, Kind.OUTCOME)[-1]
    graph = causes(house, rows[2].id, outcome)
    found = path(graph, Why.CALL, Why.MESSAGE, Why.CALL, Why.MESSAGE, Why.CALL)
    assert [place.actor for place in found] == [rows[n].id for n in (2, 2, 1, 1, 0, 0)]
    (end,) = graph.ends
    assert (end.at, end.why) == (found[-1], "outside")
    assert graph.entries[found[2]].kind is Kind.HOST_CALL

    text = theater(house, "events", third, "--causes", str(outcome))
    assert [row.split()[0] for row in text.splitlines()] == [third, "in", "sent", "in", "sent", "in", "the"]
    plain = json.loads(theater(house, "events", third, "--causes", "-1", "--json"))
    assert [edge["why"] for edge in plain["edges"]] == ["call", "message", "call", "message", "call"]
    assert [node["name"] for node in plain["nodes"]] == [third, third, second, second, first, first]
    assert plain["ends"][0]["message"] == "the message came from outside"


def test_a_reply_leads_to_the_call_that_gave_it_and_that_to_the_request(house: House, name: Name) -> None:
    asker, asked = name(), name()
    rows = [house.start(each) for each in (asker, asked)]
    assert house.client.request(asker, asking(asked, b"ehello")) == b"ehello"
    outcome = numbers(house, rows[0].id, Kind.OUTCOME)[-1]
    graph = causes(house, rows[0].id, outcome)
    _, result, replied, call, request, own = path(graph, Why.HEARD, Why.REPLY, Why.CALL, Why.MESSAGE, Why.CALL)
    assert (result.actor, replied.actor, call.actor, request.actor) == (rows[0].id, rows[1].id, rows[1].id, rows[0].id)
    assert graph.entries[replied].kind is Kind.OUTCOME
    assert request.seq == result.seq - 1
    assert own == path(graph, Why.CALL)[1]
    # Asked for the answer itself, it leads both to who gave it and to the call in which it came.
    direct = causes(house, rows[0].id, result.seq)
    assert path(direct, Why.REPLY)[1] == replied
    assert path(direct, Why.CALL)[1] == own
    text = theater(house, "events", asker, "--causes", str(outcome))
    assert "  told before" in text
    assert "    answer of" in text


def test_an_answer_that_was_given_later_leads_to_its_request(house: House, name: Name) -> None:
    late = name()
    row = house.start(late)
    other = house.connect()
    waiting = threading.Thread(target=lambda: other.request(late, b"n", timeout=20.0))
    waiting.start()
    eventually(lambda: len(numbers(house, row.id, Kind.OUTCOME)) > 1, "the request has been taken")
    asked = numbers(house, row.id, Kind.CALL)[-1]
    house.client.request(late, b"rnow")
    waiting.join(20)
    respond = numbers(house, row.id, Kind.HOST_CALL)[-1]
    graph = causes(house, row.id, respond)
    assert path(graph, Why.REQUEST)[1] == Place(row.id, asked)
    assert {end.why for end in graph.ends} == {"outside"}


def test_a_timer_and_the_init_of_a_life_are_causes(house: House, name: Name) -> None:
    (house.folder / "clock.wasm").write_bytes(bytes(wasmtime.wat2wasm((ACTORS / "clock.wat").read_text())))
    clock = name()
    row = house.start(clock, component="clock.wasm", handlers=("message-server", "timers", "registry"))
    house.client.request(clock, b"t" + (1).to_bytes(4, "little") + b"c")
    eventually(lambda: len(numbers(house, row.id, Kind.OUTCOME)) > 2, "the timer has fired")
    graph = causes(house, row.id, numbers(house, row.id, Kind.OUTCOME)[-1])
    found = path(graph, Why.CALL, Why.TIMER, Why.CALL)
    assert graph.entries[found[2]].kind is Kind.HOST_CALL
    init = causes(house, row.id, numbers(house, row.id, Kind.OUTCOME)[0])
    assert path(init, Why.CALL, Why.LIFE)[-1] == Place(row.id, 0)
    assert [end.why for end in init.ends] == ["outside"]


def test_a_child_leads_to_the_call_in_which_it_was_spawned(house: House, name: Name) -> None:
    kin = Kin(house, name)
    parent = kin.parent({"strategy": "one_for_one"})
    child = kin.spawn(parent.id, kin.write())
    genesis = causes(house, child, 0)
    with ChainReader(Home(house.home).chain(child)) as chain:
        begun = chain.read(1)[0].read()
    assert isinstance(begun, Genesis)
    assert begun.parent == parent.id
    found = path(genesis, Why.SPAWN, Why.CALL)
    assert [place.actor for place in found] == [child, parent.id, parent.id]
    assert genesis.entries[found[1]].digest == begun.parent_head


def test_a_life_leads_back_to_the_message_that_ended_the_one_before(house: House, name: Name) -> None:
    sender, victim = name(), name()
    first = house.start(sender)
    second = house.start(victim, supervision=RESTLESS)
    house.client.send(sender, sending(victim, b"u"))
    house.await_incarnation(victim, 2)
    lives = [seq for seq, event in lifecycle(house, second.id) if event == INCARNATION]
    graph = causes(house, second.id, lives[0])
    found = path(graph, Why.DEATH, Why.LAST, Why.CALL, Why.MESSAGE, Why.CALL)
    assert [place.actor for place in found] == [second.id, "supervisor", second.id, second.id, first.id, first.id]
    assert [end.why for end in graph.ends] == ["outside"]
    (ended,) = (seq for seq, event in lifecycle(house, second.id) if event == "ended")
    assert path(causes(house, second.id, ended), Why.LAST)[1] == found[2]
    # One that is killed while it waits was not ended by what it did last.
    house.kill_worker(victim)
    lives = [seq for seq, event in lifecycle(house, second.id) if event == INCARNATION]
    graph = causes(house, second.id, lives[-1])
    assert [edge.why for edge in graph.edges] == [Why.DEATH]
    assert [end.sentence for end in graph.ends] == [f"{victim} was not in a call when its life 2 ended: signal 9"]


def by_the_rules(entries: list[Entry], get: Callable[[str], bytes]) -> list[tuple[bytes | None, int]]:
    """(state, life) after each entry, going through them from the first, as core/replay.py does."""
    found: list[tuple[bytes | None, int]] = []
    state: bytes | None = None
    committed: list[bytes | None] = []
    life = 0
    for entry in entries:
        payload = entry.read()
        match payload:
            case Genesis(initial=initial):
                state, life = get(initial.hex()) if initial else None, payload.incarnation
            case Outcome(state=[new]):
                state, committed = new, [new]
            case Lifecycle(event=event, details=details) if event == INCARNATION:
                life = details[INCARNATION]
                goes_on = details["state"] != "fresh" and committed
                state = committed[0] if goes_on else get(details["initial"]) if details["initial"] else None
            case Lifecycle(event=event, details=details) if event == SNAPSHOT:
                assert details["state"] == [state]
        found.append((state, life))
    return found


@pytest.mark.parametrize("policy", ["last", "fresh", "replay"])
def test_the_state_is_right_at_each_entry_of_an_actor_that_was_killed_and_trapped(
    own_house: House, policy: str
) -> None:
    house = own_house
    path = house.write("a", supervision={**RESTLESS, "state": policy})
    path.write_text(path.read_text() + "[chain]\nsnapshot = { entries = 10 }\n")
    row = house.client.start(path, init_state=(40).to_bytes(4, "little"))
    for _ in range(6):
        house.count("a")
    house.kill_worker("a")
    house.count("a")
    house.client.send("a", b"u")  # a trap
    house.await_incarnation("a", 3)
    with pytest.raises(ActorFailed, match="no"):
        house.client.request("a", b"xno")
    last = house.count("a")
    assert last == (41 if policy == "fresh" else 48)
    house.send_signal(signal.SIGTERM)
    house.await_end()

    home = Home(house.home)
    with ChainReader(home.chain(row.id)) as reader:
        entries = reader.read(10_000)
    assert any(isinstance(payload := entry.read(), Lifecycle) and payload.event == SNAPSHOT for entry in entries)
    with Chains(home) as chains:
        past = [chains.state(row.id, entry.seq) for entry in entries]
        assert [(each.state, each.incarnation) for each in past] == by_the_rules(entries, chains.get)
    assert theater(house, "state", "a@-1").encode() == last.to_bytes(4, "little")
