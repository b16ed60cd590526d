"""Lives that go on with the memory that their calls gave them; snapshots that spare them most of it; state roots."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, count, eventually, make_house, outcome
from replays import endings, entries_of, replayed, reproduced

from theater import config
from theater.build import build
from theater.build.compiled import ensure_compiled
from theater.chainlog.writer import ChainWriter
from theater.client import Row
from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Call,
    Genesis,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    read_payload,
    resolve,
)
from theater.core.codec import Ref
from theater.core.manifest import parse
from theater.core.snapshot import is_snapshot, resolve_all_but_memory
from theater.errors import Diverged, IntegrityError
from theater.replay.home import replay_chain, words
from theater.store.content import ContentStore

Name = Callable[[], str]
MEMORY = Path(__file__).parents[1] / "actors" / "memory.wat"
WITH_MEMORY = {**RESTLESS, "state": "replay"}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server whose actors are those of memory.wat."""
    shared = make_house(bytes(wasmtime.wat2wasm(MEMORY.read_text())))
    try:
        yield shared.open()
    finally:
        shared.close()


def start(house: House, name: str, chain: str = "", **facts: Any) -> Row:
    """An actor with the memory of its lives before; `chain` is the content of the manifest's [chain]."""
    facts.setdefault("supervision", WITH_MEMORY)
    path = house.write(name, **facts)
    path.write_text(path.read_text() + f"[chain]\n{chain}\n")
    return house.client.start(path)


def ask(house: House, actor: str, message: bytes = b"c") -> int:
    return count(house.client.request(actor, message))


def lives(payloads: list[Payload]) -> list[Mapping[str, Any]]:
    """What the lives after the first say of themselves."""
    return [each.details for each in payloads if isinstance(each, Lifecycle) and each.event == INCARNATION]


def snapshots(house: House, actor: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Number and details of each."""
    found = [(entry.seq, entry.read()) for entry in entries_of(house, actor)]
    return [(seq, each.details) for seq, each in found if isinstance(each, Lifecycle) and each.event == SNAPSHOT]


# ---- recovery


@pytest.fixture(scope="module")
def stateless() -> Iterator[House]:
    """A server whose actors have nothing but their memory: no call ever returns a state."""
    text = MEMORY.read_text().replace(
        "(call $ok (i32.const 1) (i32.const 16) (i32.const 4))", "(call $ok (i32.const 0) (i32.const 0) (i32.const 0))"
    )
    shared = make_house(bytes(wasmtime.wat2wasm(text)))
    try:
        yield shared.open()
    finally:
        shared.close()


def test_an_actor_that_has_nothing_but_its_memory_goes_on_with_it(stateless: House, name: Name) -> None:
    actor = start(stateless, name(), chain="snapshot = { entries = 10 }").id
    assert [ask(stateless, actor) for _ in range(5)] == [1, 2, 3, 4, 5]
    for expected in (6, 7):
        stateless.kill_worker(actor)
        assert ask(stateless, actor) == expected
    assert stateless.client.state(actor).state is None
    found = [each for each in reproduced(stateless, actor) if isinstance(each, Call) and each.function == "init"]
    assert len(found) == 1


def test_the_memory_is_there_again_after_a_kill_a_trap_and_a_restart(house: House, name: Name) -> None:
    row = start(house, name())
    assert [ask(house, row.id) for _ in range(3)] == [1, 2, 3]
    house.kill_worker(row.id)
    assert ask(house, row.id) == 4
    assert outcome(lambda: ask(house, row.id, b"x")) == "ActorFailed"
    assert outcome(lambda: ask(house, row.id, b"u")) == "ActorDown"
    house.await_incarnation(row.id, 3)
    assert ask(house, row.id, b"l") == 6, "what the error counted is there, what the trap counted is not"
    house.client.restart(row.id)
    house.await_incarnation(row.id, 4)
    assert ask(house, row.id, b"s") == 7
    house.client.stop(row.id)
    house.client.restart(row.id)
    assert ask(house, row.id, b"g") == 8
    payloads = reproduced(house, row.id)
    trapped = next(at for at, each in enumerate(payloads) if isinstance(each, Outcome) and each.ending == "trap") - 1
    assert [(each["state"], each["from"], each["left_out"]) for each in lives(payloads)] == [
        ("replay", 0, []),
        ("replay", 0, [trapped]),
        ("replay", 0, [trapped]),
        ("replay", 0, [trapped]),
    ]


def test_a_call_that_was_cut_by_a_kill_is_left_out(house: House, name: Name) -> None:
    row = start(house, name(), limits={"call_timeout": 100_000, "record": 1 << 30})
    ask(house, row.id)
    for message in (b"b", b"L"):
        before = house.row(row.id).entries
        house.client.send(row.id, message)
        eventually(lambda before=before: house.row(row.id).entries > before, "the call has begun")
        house.kill_worker(row.id)
    assert ask(house, row.id) == 2
    payloads = reproduced(house, row.id)
    assert [len(each["left_out"]) for each in lives(payloads)] == [1, 2]
    assert endings(payloads) == ["ok"] * 3


def test_nothing_is_left_out_where_nothing_was_begun_and_a_life_that_committed_nothing_begins_anew(
    house: House, name: Name
) -> None:
    row = start(house, name())
    house.kill_worker(row.id)
    house.client.restart(row.id)
    assert ask(house, row.id) == 1
    (first, second) = lives(reproduced(house, row.id))
    assert first["from"] == second["from"] == 0, "init is a call that committed a state"


def test_memory_that_has_grown_and_growth_that_the_limit_stopped(house: House, name: Name) -> None:
    row = start(house, name(), limits={"memory": 3 << 20, "state": 1 << 20})
    for _ in range(4):
        ask(house, row.id, b"m")
    house.kill_worker(row.id)
    assert ask(house, row.id) == 5
    reproduced(house, row.id)


def test_the_whole_server_comes_back_with_the_memory_of_its_actors() -> None:
    own = make_house(bytes(wasmtime.wat2wasm(MEMORY.read_text())))
    try:
        row = start(own.open(), "a", "snapshot = { entries = 10 }")
        assert [ask(own, row.id) for _ in range(3)] == [1, 2, 3]
        own.send_signal(signal.SIGKILL)
        own.await_end()
        own.open()
        own.await_incarnation("a", 2)
        assert [ask(own, row.id) for _ in range(5)] == [4, 5, 6, 7, 8]
        own.client.stop_server()
        own.await_end()
        own.open()
        own.await_incarnation("a", 3)
        assert ask(own, row.id) == 9
        first, second = lives(reproduced(own, row.id))
        assert first["from"] == 0
        assert second["from"] in [seq for seq, _ in snapshots(own, row.id)]
    finally:
        own.close()


PYTHON = """
import random, time
import theater

seen = []


class Collector(theater.Actor):
    initial = 0

    def handle_request(self, message):
        seen.append((message, random.random(), time.time()))
        if message == "fail":
            raise theater.Error("not today")
        if message == "crash":
            raise MemoryError
        print(message)
        return [len(seen), [number for _, number, _ in seen]]
"""


@pytest.mark.parametrize("chain", ["", "snapshot = { entries = 40 }"])
def test_a_python_actor_keeps_what_is_in_its_variables(house: House, name: Name, chain: str) -> None:
    folder = house.folder / name()
    folder.mkdir()
    (folder / "actor.py").write_text(PYTHON)
    (folder / "manifest.toml").write_text(
        f'name = "{folder.name}"\n[build]\nlanguage = "python"\nsource = "actor.py"\n'
        '[[handler]]\ntype = "message-server"\n'
        f'[supervision]\nstate = "replay"\nintensity = 100000\nperiod = 1\n[chain]\nstate_root = 5\n{chain}\n'
    )
    row = house.client.start(folder / "manifest.toml")

    def tell(message: str) -> Any:
        return json.loads(house.client.request(row.id, json.dumps(message).encode()))

    for number in range(1, 8):
        assert tell("a")[0] == number
    _, numbers = tell("a")
    assert outcome(lambda: tell("fail")) == "ActorFailed"
    house.kill_worker(row.id)
    count, again = tell("b")
    assert count == 10
    assert again[:8] == numbers
    assert outcome(lambda: tell("crash")) == "ActorDown"
    house.await_incarnation(row.id, 3)
    assert tell("c")[0] == 11
    house.client.stop(row.id)
    begun = lives(reproduced(house, row.id))
    assert [each["state"] for each in begun] == ["replay", "replay"]
    assert (begun[-1]["from"] > 0) == bool(chain)
    for seq, _ in snapshots(house, row.id):
        assert replayed(house, row.id, begin=seq).ok


C = """
#include "theater.h"

static unsigned seen;

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    seen++;
    if (body.size && body.data[0] == 'u') __builtin_trap();
    return theater_reply((theater_option){true, body}, theater_format("%u", seen));
}
"""


def test_a_c_actor_keeps_its_static_variables(house: House, name: Name) -> None:
    pytest.importorskip("ziglang", reason="building C needs the package ziglang")
    folder = house.folder / name()
    folder.mkdir()
    (folder / "actor.c").write_text(C)
    text = 'name = "inc"\n[build]\nlanguage = "c"\nsource = "actor.c"\n[[handler]]\ntype = "message-server"\n'
    built = build(folder, parse(text, "manifest.toml"))
    row = start(house, name(), "snapshot = { entries = 10 }", component=str(built))
    assert [house.client.request(row.id, b"a") for _ in range(8)][-1] == b"8"
    assert outcome(lambda: house.client.request(row.id, b"u")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    assert house.client.request(row.id, b"a") == b"9"
    house.kill_worker(row.id)
    assert house.client.request(row.id, b"a") == b"10"
    assert all(each["from"] > 0 for each in lives(reproduced(house, row.id)))


# ---- snapshots


def test_snapshots_come_by_themselves_and_a_life_begins_with_the_newest(house: House, name: Name) -> None:
    row = start(house, name(), "snapshot = { entries = 10 }", limits={"call_timeout": 100_000})
    for number in range(1, 13):
        assert ask(house, row.id, b"l" if number % 3 else b"s") == number
    eventually(lambda: len(snapshots(house, row.id)) >= 3)
    found = snapshots(house, row.id)
    assert all(isinstance(details["memory"], Ref) and details["root"] and details["committed"] for _, details in found)
    assert outcome(lambda: ask(house, row.id, b"u")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    assert ask(house, row.id) == 13
    house.kill_worker(row.id)
    assert ask(house, row.id) == 14
    payloads = reproduced(house, row.id)
    first, second = lives(payloads)
    assert first["from"] == found[-1][0]
    assert len(first["left_out"]) == 1
    assert second["from"] in {seq for seq, _ in snapshots(house, row.id)}
    house.verify()
    house.client.events(row.id)


def test_a_chain_is_replayed_from_any_snapshot(house: House, name: Name) -> None:
    row = start(house, name(), "snapshot = { entries = 10 }")
    for _ in range(12):
        ask(house, row.id)
    house.kill_worker(row.id)
    ask(house, row.id)
    house.client.stop(row.id)
    head = entries_of(house, row.id)[-1].digest.hex()
    for seq, _ in snapshots(house, row.id):
        verdict = replayed(house, row.id, begin=seq)
        assert (verdict.ok, verdict.error) == (True, None)
        assert verdict.head == head
    assert "no snapshot" in (replayed(house, row.id, begin=3).error or "")


def test_an_actor_without_the_memory_of_its_lives_has_snapshots_too(house: House, name: Name) -> None:
    row = start(house, name(), "snapshot = { entries = 10 }", supervision=RESTLESS)
    for _ in range(12):
        ask(house, row.id, b"s")
    house.kill_worker(row.id)
    assert ask(house, row.id) == 1
    assert house.client.state(row.id).state == (12).to_bytes(4, "little")
    reproduced(house, row.id)


# ---- state roots


def test_outcomes_have_a_state_root_as_the_manifest_wants(house: House, name: Name) -> None:
    each = start(house, name(), 'state_root = "call"')
    third = start(house, name(), "state_root = 3")
    for row in (each, third):
        for message in (b"c", b"x", b"c", b"u"):
            outcome(lambda row=row, message=message: ask(house, row.id, message))
        house.await_incarnation(row.id, 2)
        ask(house, row.id)
    assert rooted(reproduced(house, each.id)) == [True, True, True, True, False, True]
    assert rooted(reproduced(house, third.id)) == [False, False, True, False, False, False]


def rooted(payloads: list[Payload]) -> list[bool]:
    return [each.root is not None for each in payloads if isinstance(each, Outcome)]


# ---- what does not come out


def written(house: House, actor: str, folder: Path, change: Callable[[int, Payload], Payload]) -> Path:
    """The chain once more, with something changed, valid to the last digest."""
    get, put = ContentStore(house.home / "content").get, ContentStore(house.home / "content").put
    path = folder / "chain"
    with ChainWriter.open(path, put=put) as writer:
        for entry in entries_of(house, actor):
            is_large = entry.kind is Kind.LIFECYCLE and is_snapshot(entry.payload)
            payload = resolve_all_but_memory(entry.payload, get) if is_large else resolve(entry.payload, get)
            writer.append(entry.kind, change(entry.seq, read_payload(entry.kind, payload)))
    return path


def diverged(house: House, path: Path, entry: int) -> str:
    end = replay_chain(path, ContentStore(house.home / "content"), config.cache() / "artefacts")
    assert isinstance(end.error, Diverged), end
    assert end.entries == entry
    return words(end.error)


def test_memory_that_comes_out_otherwise_is_found_at_the_very_call(house: House, name: Name, tmp_path: Path) -> None:
    """The other build answers the same, commits the same, and leaves something else in its memory from `c` on."""
    text = MEMORY.read_text()
    assert text.count("(i32.const 40) (i32.const 7)") == 1
    other = bytes(wasmtime.wat2wasm(text.replace("(i32.const 40) (i32.const 7)", "(i32.const 40) (i32.const 8)")))
    content = ContentStore(house.home / "content")
    digest = content.put(other)
    made = ensure_compiled(config.cache() / "artefacts", content.path(digest)).meta
    rooted = start(house, name(), 'state_root = "call"')
    plain = start(house, name())

    def change(seq: int, payload: Payload) -> Payload:
        if not isinstance(payload, Genesis):
            return payload
        engine = {**payload.engine, "mode": made.mode.value}
        wrapper = bytes.fromhex(made.wrapper) if made.wrapper else None
        return payload._replace(component=bytes.fromhex(digest), wrapper=wrapper, engine=engine)

    for row in (rooted, plain):
        house.client.request(row.id, b"")
        ask(house, row.id)
        house.client.stop(row.id)
    said = diverged(house, written(house, rooted.id, tmp_path, change), 6)
    assert "root" in said
    (tmp_path / "chain").unlink()
    path = written(house, plain.id, tmp_path, change)
    assert replay_chain(path, content, config.cache() / "artefacts").error is None, "nobody can tell without the roots"


def test_false_snapshots_and_false_lineages(house: House, name: Name, tmp_path: Path) -> None:
    row = start(house, name(), "snapshot = { entries = 10 }")
    for _ in range(12):
        ask(house, row.id, b"s")
    house.kill_worker(row.id)
    ask(house, row.id)
    house.client.stop(row.id)
    (first, true), (other, another), *_ = snapshots(house, row.id)
    begun = next(each.seq for each in entries_of(house, row.id) if is_life(each.read()))
    false = {
        first: [
            {"state": [b"none"]},
            {"committed": False},
            {"root": bytes(32)},
            {"memory": another["memory"]},
            {"loaded": b"\x91\x90"},
        ],
        begun: [{"from": first}, {"from": None, "state": "replay"}, {"left_out": [1]}],
    }
    for entry, changes in false.items():
        for each in changes:

            def change(seq: int, payload: Payload, each: Any = each, entry: int = entry) -> Payload:
                if seq != entry:
                    return payload
                assert isinstance(payload, Lifecycle)
                return Lifecycle(payload.event, {**payload.details, **each})

            path = written(house, row.id, tmp_path, change)
            end = replay_chain(path, ContentStore(house.home / "content"), config.cache() / "artefacts")
            assert isinstance(end.error, IntegrityError), each
            assert end.entries == entry, (each, end)
            path.unlink()
    assert true["memory"] != another["memory"]
    assert other > first


def is_life(payload: Payload) -> bool:
    return isinstance(payload, Lifecycle) and payload.event == INCARNATION
