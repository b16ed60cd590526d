"""What actors have done under a real server is done again by their chains alone, to the last digest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, asking, eventually, flooding, make_house, outcome, sending
from kin import Kin
from replays import endings, entries_of, replayed, reproduced

from theater import config
from theater.build import build
from theater.client import Row
from theater.core.chain import Call, HostCall, HostResult, Kind, Lifecycle, Outcome
from theater.core.manifest import parse
from theater.core.values import Err, Ok

Name = Callable[[], str]
ROOT = Path(__file__).parents[2]
ACTORS = ROOT / "tests" / "actors"
FRESH = {**RESTLESS, "state": "fresh"}


def wait_for_call(house: House, actor: str, minimum: int = 0) -> None:
    """Until the last call of the chain has no outcome, with at least so many entries after it."""

    def is_running() -> bool:
        entries = entries_of(house, actor)
        calls = [entry.seq for entry in entries if entry.kind is Kind.CALL]
        after = entries[calls[-1] + 1 :] if calls else []
        return bool(calls) and len(after) >= minimum and all(entry.kind is not Kind.OUTCOME for entry in after)

    eventually(is_running, "a call is running")


def send(house: House, actor: str, message: bytes) -> None:
    house.client.send(actor, message)


# ---- one life of a WAT actor


def test_calls_that_ended_normally(house: House, name: Name) -> None:
    row = house.start(name(), init_state=b"\x05\0\0\0")
    for message in (b"c", b"e!", b"g", b"lhello", b"c", b"", b"e" + bytes(range(256))):
        house.client.request(row.id, message)
    send(house, row.id, b"c")
    eventually(lambda: house.client.state(row.id).state == b"\x08\0\0\0")
    assert endings(reproduced(house, row.id)) == ["ok"] * 9


def test_what_is_too_long_for_a_record_comes_from_the_content_store(house: House, name: Name) -> None:
    row = house.start(name(), init_state=b"s" * 100_000)
    house.client.request(row.id, b"e" + b"x" * 70_000)
    house.client.request(row.id, b"l" + b"y" * 20_000)
    house.client.request(row.id, b"g")
    assert endings(reproduced(house, row.id)) == ["ok"] * 4


def test_calls_that_answered_with_an_error(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.request(row.id, b"c")
    assert outcome(lambda: house.client.request(row.id, b"xno")) == "ActorFailed"
    house.client.request(row.id, b"c")
    assert endings(reproduced(house, row.id)) == ["ok", "ok", "err", "ok"]


def test_states_and_replies_over_the_limits(house: House, name: Name) -> None:
    row = house.start(name(), limits={"state": 3, "message": 100})
    assert outcome(lambda: house.client.request(row.id, b"c")) == "ActorFailed"
    other = house.start(name(), limits={"message": 100}, init_state=b"x" * 200)
    assert outcome(lambda: house.client.request(other.id, b"g")) == "ActorFailed"
    assert endings(reproduced(house, row.id)) == ["ok", "err"]
    assert endings(reproduced(house, other.id)) == ["ok", "err"]


def test_requests_that_are_answered_later(house: House, name: Name) -> None:
    row = house.start(name())
    send(house, row.id, b"n")
    waiting = house.connect()
    waiting.call("message", {"actor": row.id, "body": b"n", "request": False})
    assert outcome(lambda: house.client.request(row.id, b"rnobody asked")) == "ActorFailed"
    reproduced(house, row.id)


def test_an_end_that_the_actor_asked_for(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"restart": "temporary"})
    house.client.request(row.id, b"qgood bye")
    house.await_row(row.id, lambda row: row.state != "running")
    assert isinstance(reproduced(house, row.id)[-1], Lifecycle)


def test_an_actor_that_was_stopped_and_removed(house: House, name: Name) -> None:
    row = house.start(name())
    house.count(row.id)
    house.client.stop(row.id, remove=True)
    assert endings(reproduced(house, row.id)) == ["ok", "ok"]


def test_an_actor_that_is_running_is_replayed_as_far_as_it_is(house: House, name: Name) -> None:
    row = house.start(name(), supervision={"shutdown": "brutal_kill"}, limits={"call_timeout": 100_000})
    house.count(row.id)
    send(house, row.id, b"b")
    wait_for_call(house, row.id)
    assert endings(reproduced(house, row.id)) == ["ok", "ok"]
    house.client.stop(row.id)


# ---- two actors


def test_requests_between_two_actors(house: House, name: Name) -> None:
    one, other = name(), name()
    asker, asked = house.start(one), house.start(other)
    for _ in range(3):
        house.client.request(one, asking(other, b"c"))
    assert outcome(lambda: house.client.request(one, asking("nobody", b"c"))) == "ActorFailed"
    assert outcome(lambda: house.client.request(one, asking(other, b"xno"))) == "ActorFailed"
    house.client.request(one, sending(other, b"c"))
    house.client.request(one, flooding(other, 50, b"c"))
    eventually(lambda: house.client.state(other).state == (54).to_bytes(4, "little"))
    payloads = reproduced(house, asker.id)
    answers = [found for found in payloads if isinstance(found, HostResult)]
    assert [type(found.value) for found in answers] == [Ok, Ok, Ok, Err, Err] + [Ok] * 51
    assert len(endings(reproduced(house, asked.id))) == 1 + 3 + 1 + 51


def test_a_replay_of_one_actor_does_nothing_to_another(house: House, name: Name) -> None:
    one, other = name(), name()
    asker, asked = house.start(one), house.start(other)
    house.client.request(one, asking(other, b"c"))
    before = house.row(asked.id).entries
    reproduced(house, asker.id)
    assert house.row(asked.id).entries == before


# ---- ends of lives


@pytest.mark.parametrize(
    ("message", "kind"),
    [(b"u", "unreachable"), (b"o", "stack-overflow"), (b"d", "divide-by-zero"), (b"m", "ok")],
)
def test_calls_that_ended_in_a_trap(house: House, name: Name, message: bytes, kind: str) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"memory": 4 << 20, "state": 1 << 20})
    house.count(row.id)
    outcome(lambda: house.client.request(row.id, message))
    house.await_row(row.id, lambda row: row.state == "running")
    house.count(row.id)
    assert endings(reproduced(house, row.id))[2] == kind


def test_a_life_that_did_not_begin(house: House, name: Name) -> None:
    for state, ending in ((b"fail", "err"), (b"trap", "unreachable")):
        before = set(os.listdir(house.home / "actors"))
        assert outcome(lambda state=state: house.start(name(), init_state=state)) == "StartFailed"
        (actor,) = set(os.listdir(house.home / "actors")) - before
        assert endings(reproduced(house, actor)) == [ending]


def test_a_deadline_in_a_loop_is_not_waited_for(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"call_timeout": 300})
    house.count(row.id)
    assert outcome(lambda: house.client.request(row.id, b"b")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    house.count(row.id)
    assert endings(reproduced(house, row.id)) == ["ok", "ok", "timeout", "ok"]


def test_a_deadline_among_host_calls(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"call_timeout": 100, "record": 64 << 20})
    assert outcome(lambda: house.client.request(row.id, b"Lx")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    payloads = reproduced(house, row.id)
    assert endings(payloads) == ["ok", "timeout", "ok"]
    assert sum(isinstance(found, HostCall) for found in payloads) > 10


def test_a_call_that_recorded_too_much(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"record": 1 << 16})
    assert outcome(lambda: house.client.request(row.id, b"Lx")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    assert endings(reproduced(house, row.id)) == ["ok", "limit", "ok"]


def test_fuel_that_was_measured_and_fuel_that_ran_out(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"fuel": 100_000})
    house.count(row.id)
    assert outcome(lambda: house.client.request(row.id, b"b")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    house.count(row.id)
    payloads = reproduced(house, row.id)
    assert endings(payloads) == ["ok", "ok", "fuel", "ok"]
    burnt = [found.fuel for found in payloads if isinstance(found, Outcome)]
    assert all(fuel is not None and 0 < fuel <= 100_000 for fuel in burnt)


def test_a_kill_in_the_middle_of_a_call_that_called_nobody(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"call_timeout": 100_000})
    house.count(row.id)
    send(house, row.id, b"b")
    wait_for_call(house, row.id)
    house.kill_worker(row.id)
    house.count(row.id)
    assert endings(reproduced(house, row.id)) == ["ok", "ok", "ok"]


def test_a_kill_in_the_middle_of_host_calls(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, limits={"call_timeout": 100_000, "record": 1 << 30})
    send(house, row.id, b"Lx")
    wait_for_call(house, row.id, 100)
    house.kill_worker(row.id)
    house.count(row.id)
    assert endings(reproduced(house, row.id)) == ["ok"] * 3, "nothing was committed, so there are two inits"


def test_a_kill_while_waiting_for_an_answer(house: House, name: Name) -> None:
    one, other = name(), name()
    asker = house.start(one, supervision=RESTLESS, limits={"request_timeout": 60_000, "call_timeout": 60_000})
    asked = house.start(other, supervision=RESTLESS, limits={"call_timeout": 60_000})
    send(house, one, asking(other, b"b"))
    wait_for_call(house, asker.id, 1)
    wait_for_call(house, asked.id)
    house.kill_worker(asker.id)
    house.kill_worker(asked.id)
    house.count(one)
    house.count(other)
    entries = [entry.kind for entry in entries_of(house, asker.id)]
    cut = entries.index(Kind.HOST_CALL)
    assert entries[cut + 1] is Kind.LIFECYCLE, "the host call has no result"
    assert endings(reproduced(house, asker.id)) == ["ok"] * 3
    assert endings(reproduced(house, asked.id)) == ["ok"] * 3


# ---- several lives


def test_lives_that_go_on_from_the_last_state(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS, init_state=b"\x05\0\0\0")
    house.kill_worker(row.id)  # Nothing is committed yet, so the second life begins with init as well.
    assert house.count(row.id) == 6
    house.kill_worker(row.id)
    assert house.count(row.id) == 7
    house.client.restart(row.id)
    assert house.count(row.id) == 8
    payloads = reproduced(house, row.id)
    assert endings(payloads) == ["ok"] * 5
    assert [found.event for found in payloads if isinstance(found, Lifecycle)] == ["incarnation"] * 2 + [
        "ended",
        "incarnation",
    ]


def test_lives_that_begin_afresh(house: House, name: Name) -> None:
    row = house.start(name(), supervision=FRESH, init_state=b"\x05\0\0\0")
    for _ in range(3):
        assert house.count(row.id) == 6
        assert house.count(row.id) == 7
        house.kill_worker(row.id)
    assert house.count(row.id) == 6
    assert endings(reproduced(house, row.id)) == ["ok"] * 11


def test_lives_in_which_nothing_happened(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    house.count(row.id)
    for _ in range(3):
        house.kill_worker(row.id)
    assert endings(reproduced(house, row.id)) == ["ok", "ok"]


def test_lives_under_two_servers(closed_house: House) -> None:
    row = closed_house.open().start("a", init_state=b"\x05\0\0\0")
    assert closed_house.count("a") == 6
    closed_house.send_signal(signal.SIGKILL)
    closed_house.await_end()
    closed_house.open()
    closed_house.await_incarnation("a", 2)
    assert closed_house.count("a") == 7
    closed_house.client.stop_server()
    closed_house.await_end()
    assert endings(reproduced(closed_house, row.id)) == ["ok"] * 3


# ---- what an actor asks of its host


def le(number: int, size: int = 4) -> bytes:
    return number.to_bytes(size, "little")


@pytest.fixture(scope="module")
def clocks() -> Iterator[House]:
    """A server whose actors are those of clock.wat."""
    shared = make_house(bytes(wasmtime.wat2wasm((ACTORS / "clock.wat").read_text())))
    try:
        yield shared.open()
    finally:
        shared.close()


def test_timers_names_and_identity(clocks: House, name: Name) -> None:
    handlers = ("message-server", "registry", "timers")
    one, other = name(), name()
    row = clocks.start(one, handlers=handlers, supervision=RESTLESS)
    clocks.start(other, handlers=handlers)
    ask = clocks.client.request
    ask(one, b"t" + le(1) + b"c")
    ask(one, b"t" + le(20) + b"c")
    tick = ask(one, b"i" + le(5) + b"c")
    eventually(lambda: (clocks.client.state(one).state or b"")[:4] >= le(5))
    ask(one, b"k" + tick)
    ask(one, b"Ralias" + one.encode())
    assert outcome(lambda: ask(one, b"R" + other.encode())) == "ActorFailed"
    for message in (b"m", b"d", b"s", b"w" + other.encode(), b"wnobody", b"Ualias" + one.encode()):
        ask(one, message)
    ask(one, b"x" + other.ljust(8).encode() + le(5000) + b"c")
    clocks.kill_worker(one)
    ask(one, b"m")
    payloads = reproduced(clocks, row.id)
    assert {"send-after", "send-interval", "cancel", "register", "unregister", "whereis", "self", "sender"} <= {
        found.function for found in payloads if isinstance(found, HostCall)
    }


PYTHON = """
import random, time, uuid
import theater

EARLY = random.Random()


class Everything(theater.Actor):
    initial = {"n": 0}

    def wake(self):
        self.born = time.time()

    def handle_request(self, message):
        return getattr(self, message[0])(*message[1:])

    def handle_send(self, message):
        self.state["n"] += 1

    def add(self, number):
        self.state["n"] += number
        return self.state["n"]

    def chance(self):
        return [random.random(), EARLY.random(), str(uuid.uuid4()), sorted({"a", "b", "c"}, key=hash)]

    def clock(self):
        begin = time.monotonic()
        time.sleep(0.05)
        return [self.born, time.time(), begin, time.monotonic()]

    def speak(self):
        print("hello")
        print("x" * 100_000)

    def refuse(self):
        raise theater.Error("not today")

    def keep(self, text):
        store = theater.Store()
        content = store.put_at("it", text.encode())
        return [store.get(content).decode(), store.find("it"), store.size()]

    def later(self):
        theater.send_after(0.001, "tick")

    def sleep(self, seconds):
        time.sleep(seconds)

    def loop(self):
        while True:
            pass
"""


def python_actor(house: House, name: str, limits: str = "") -> Row:
    """Starts an actor of the source above."""
    folder = house.folder / name
    folder.mkdir()
    (folder / "actor.py").write_text(PYTHON)
    (folder / "manifest.toml").write_text(
        f'name = "{name}"\n[build]\nlanguage = "python"\nsource = "actor.py"\n'
        + "".join(f'[[handler]]\ntype = "{kind}"\n' for kind in ("message-server", "store", "timers"))
        + f"[actor]\nregister = true\n[supervision]\nintensity = 100000\nperiod = 1\n[limits]\n{limits}\n"
    )
    return house.client.start(folder / "manifest.toml")


def tell(house: House, actor: str, *message: Any) -> Any:
    return json.loads(house.client.request(actor, json.dumps(message).encode()) or b"null")


def test_a_python_actor_that_uses_everything(house: House, name: Name) -> None:
    row = python_actor(house, name())
    assert tell(house, row.id, "add", 3) == 3
    for word in ("chance", "clock", "speak", "later", "chance"):
        tell(house, row.id, word)
    tell(house, row.id, "keep", "a text")
    assert outcome(lambda: tell(house, row.id, "refuse")) == "ActorFailed"
    eventually(lambda: b'"n":4' in (house.client.state(row.id).state or b""))
    payloads = reproduced(house, row.id)
    asked = {found.interface.split("@")[0] for found in payloads if isinstance(found, HostCall)}
    assert {"wasi:random/random", "wasi:clocks/wall-clock", "wasi:io/poll", "theater:simple/store"} <= asked
    assert set(endings(payloads)) == {"ok", "err"}


def test_a_python_actor_over_several_lives(house: House, name: Name) -> None:
    row = python_actor(house, name(), "call_timeout = 400")
    assert tell(house, row.id, "add", 3) == 3
    assert outcome(lambda: tell(house, row.id, "crash")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    assert tell(house, row.id, "add", 4) == 7
    assert outcome(lambda: tell(house, row.id, "loop")) == "ActorDown"
    house.await_incarnation(row.id, 3)
    tell(house, row.id, "chance")
    send(house, row.id, b'"x"')
    send(house, row.id, json.dumps("y").encode())
    house.kill_worker(row.id)
    assert tell(house, row.id, "add", 0) >= 7
    found = endings(reproduced(house, row.id))
    assert {"unreachable", "timeout", "ok"} <= set(found) or {"exit", "timeout", "ok"} <= set(found), found


def test_a_python_actor_that_waited_is_replayed_without_waiting(house: House, name: Name) -> None:
    row = python_actor(house, name())
    for _ in range(3):
        tell(house, row.id, "sleep", 1.5)
    asker = house.connect()
    waiting = Thread(target=lambda: outcome(lambda: asker.request(row.id, b'["sleep", 600]')))
    waiting.start()
    wait_for_call(house, row.id)
    house.kill_worker(row.id)
    waiting.join()
    tell(house, row.id, "add", 1)
    began = time.monotonic()
    assert len(endings(reproduced(house, row.id))) == 5
    assert time.monotonic() - began < 4.5


C = """
#include "theater.h"

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    theater_logf("got %zu bytes", body.size);
    if (body.size == 1) __builtin_trap();
    theater_identity me = theater_self();
    theater_bytes said = theater_format("%s %zu", theater_string(me.name), state.some ? state.value.size : 0);
    return theater_reply((theater_option){true, body}, said);
}
"""


def test_a_c_actor(house: House, name: Name) -> None:
    pytest.importorskip("ziglang", reason="building C needs the package ziglang")
    folder = house.folder / "c"
    folder.mkdir()
    (folder / "actor.c").write_text(C)
    text = 'name = "inc"\n[build]\nlanguage = "c"\nsource = "actor.c"\n[[handler]]\ntype = "message-server"\n'
    built = build(folder, parse(text, "manifest.toml"))
    row = house.start(name(), component=str(built), supervision=RESTLESS)
    house.client.request(row.id, b"some state")
    assert house.client.request(row.id, b"more").endswith(b" 10")
    assert outcome(lambda: house.client.request(row.id, b"x")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    house.client.request(row.id, b"again")
    assert endings(reproduced(house, row.id)) == ["ok", "ok", "ok", "unreachable", "ok"]


def test_a_parent_that_hears_of_its_children_and_of_others(house: House, name: Name) -> None:
    kin = Kin(house, name)
    parent = kin.parent({"intensity": 1000, "period": 1})
    ask = kin.ask
    child = kin.spawn(parent.id, kin.write())
    other = kin.spawn_with(parent.id, kin.write(), b"\x05\0\0\0")
    third = kin.resume(parent.id, kin.write(), b"\x07\0\0\0")
    ask(parent.id, b"t1")
    for order in (b"m" + child.encode(), b"l" + other.encode(), b"L", b"G" + other.encode(), b"E" + other.encode()):
        ask(parent.id, order)
    house.count(third)
    house.kill_worker(child)
    house.kill_worker(other)
    kin.stop(parent.id, third)
    eventually(lambda: {b"down", b"exit", b"child-error"} <= {row.split(b" ")[0] for row in notes(kin, parent.id)})
    payloads = reproduced(house, parent.id)
    called = {found.function for found in payloads if isinstance(found, Call)}
    assert {"handle-down", "handle-exit", "handle-child-error"} <= called
    for actor in (child, other, third):
        reproduced(house, actor)


def notes(kin: Kin, parent: str) -> list[bytes]:
    return kin.ask(parent, b"g").split(b"\n")


# ---- the process of a replay


SEALED = """
import json, os, sys
from theater.replay import child
import theater.wasm.guest

seen = []

def hook(event, args):
    if event == "open" and args[2] & os.O_PATH:
        return  # What walls are about is named, not read.
    if event == "open" or event.startswith("socket.") or event in ("os.fork", "subprocess.Popen", "os.exec"):
        seen.append([event, str(args[0])])

sys.addaudithook(hook)
status = child.main()
print(json.dumps(seen))
"""


def test_a_replay_opens_its_sources_and_nothing_else(house: House, name: Name) -> None:
    row = python_actor(house, name())
    for word in ("chance", "clock", "speak", "later"):
        tell(house, row.id, word)
    tell(house, row.id, "keep", "a text")
    eventually(lambda: b'"n":1' in (house.client.state(row.id).state or b""))
    replayed(house, row.id)
    page = os.memfd_create("page")
    os.ftruncate(page, 4096)
    cache = config.cache() / "artefacts"
    paths = {"chain": house.home / "actors" / row.id / "chain", "content": house.home / "content", "cache": cache}
    order = {**{kind: str(path) for kind, path in paths.items()}, "page": page, "parent": os.getpid()}
    done = subprocess.run(
        [sys.executable, "-c", SEALED], input=json.dumps(order) + "\n", capture_output=True, text=True, pass_fds=[page]
    )
    os.close(page)
    said, seen = done.stdout.splitlines()
    assert json.loads(said)["ok"] is True
    beside = [paths["chain"].with_name(name) for name in ("segments", "dropped")]
    allowed = (*order.values(), *beside, "/proc/self/maps", "/proc/cpuinfo", sys.prefix, sys.base_prefix, str(ROOT))
    others = [
        [event, path]
        for event, path in json.loads(seen)
        if event != "open" or not path.startswith(tuple(str(each) for each in allowed))
    ]
    assert not others
