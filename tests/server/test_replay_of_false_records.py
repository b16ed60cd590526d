"""Chains that were written anew with something changed, valid to the last digest: a replay stops at the very entry."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, asking, children, eventually, make_house, outcome
from replays import entries_of

from theater import config
from theater.build.compiled import ensure_compiled
from theater.chainlog.writer import ChainWriter
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
    Scanner,
    read_payload,
    resolve,
    state_digest,
)
from theater.core.codec import content_digest
from theater.core.replay import Script
from theater.core.values import Case, Err, Ok
from theater.errors import Diverged, IntegrityError, OtherEngine
from theater.replay.guard import End
from theater.replay.home import replay_chain, words
from theater.replay.performance import Performance
from theater.store.content import ContentStore
from theater.wasm.artefacts import ArtefactCache

Change = Callable[[list[Payload]], list[Payload]]


@dataclass(frozen=True)
class Recording:
    """What an actor has recorded, to be written anew."""

    house: House
    actor: str
    folder: Path

    @property
    def content(self) -> ContentStore:
        return ContentStore(self.house.home / "content")

    def payloads(self) -> list[Payload]:
        get = self.content.get
        return [read_payload(entry.kind, resolve(entry.payload, get)) for entry in entries_of(self.house, self.actor)]

    def written(self, payloads: list[Payload]) -> Path:
        """A chain of these payloads."""
        path = self.folder / "chain"
        path.unlink(missing_ok=True)
        with ChainWriter.open(path, put=self.content.put, clock=iter(range(1000, 10_000_000, 1000)).__next__) as writer:
            for payload in payloads:
                writer.append(KINDS[type(payload)], payload)
        return path

    def replayed(self, payloads: list[Payload], patience: float = 30.0) -> End:
        return replay_chain(self.written(payloads), self.content, CACHE.directory, patience=patience)

    def diverged(self, entry: int, change: Change) -> str:
        """Asserts that the chain with this change diverges at `entry`; returns what is said of it."""
        end = self.replayed(change(self.payloads()))
        assert end.error is not None, "it did not diverge"
        text = words(end.error)
        assert (type(end.error).__name__, end.entries) == ("Diverged", entry), text
        assert text.startswith(f"entry {entry}: recorded was ")
        return text


REFUSING = """(component
  (core module $m (func $start unreachable) (start $start))
  (core instance (instantiate $m)))"""
"""A component that traps while it is instantiated."""

CACHE = ArtefactCache(config.cache() / "artefacts")
KINDS = {
    Genesis: Kind.GENESIS,
    Call: Kind.CALL,
    HostCall: Kind.HOST_CALL,
    HostResult: Kind.HOST_RESULT,
    Outcome: Kind.OUTCOME,
    Lifecycle: Kind.LIFECYCLE,
}


@pytest.fixture(scope="module")
def recording(probe: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """A probe that has counted, asked another, logged, answered err, trapped, and gone on in a second life:

    0 genesis, 1-2 init, 3-4 c, 5-8 a (asks), 9-12 l (logs), 13-14 x (err), 15-16 u (traps), 17 ended, 18 incarnation,
    19-20 c, 21-22 e{"a": 1}
    """
    house = make_house(probe)
    try:
        house.open()
        row = house.start("one", supervision=RESTLESS, limits={"fuel": 1_000_000}, init_state=b"\x05\0\0\0")
        house.start("other")
        ask = house.client.request
        ask("one", b"c")
        ask("one", asking("other", b"c"))
        ask("one", b"lhello there")
        outcome(lambda: ask("one", b"xno"))
        outcome(lambda: ask("one", b"u"))
        house.await_incarnation("one", 2)
        ask("one", b"c")
        ask("one", b'e{"a": 1}')
        yield Recording(house, row.id, tmp_path_factory.mktemp("chains"))
    finally:
        house.close()


def replacing(number: int, **fields: Any) -> Change:
    """The change of some fields of one payload."""

    def change(payloads: list[Payload]) -> list[Payload]:
        payloads[number] = payloads[number]._replace(**fields)
        return payloads

    return change


def without(*numbers: int) -> Change:
    return lambda payloads: [payload for number, payload in enumerate(payloads) if number not in numbers]


def test_the_recording_is_what_the_tests_take_it_for(recording: Recording) -> None:
    kinds = [type(payload).__name__ for payload in recording.payloads()]
    asked = ["Call", "HostCall", "HostResult", "Outcome"]
    simple = ["Call", "Outcome"]
    assert kinds == ["Genesis", *simple * 2, *asked * 2, *simple * 2, "Lifecycle", "Lifecycle", *simple * 2]


def test_the_record_as_it_is_written_anew_is_reproduced(recording: Recording) -> None:
    end = recording.replayed(recording.payloads())
    assert end.error is None, words(end.error)
    assert end.entries == 23


# ---- what came from outside


def test_a_changed_argument_is_found_at_the_outcome_of_its_call(recording: Recording) -> None:
    said = recording.diverged(22, replacing(21, args=["request-21", b'e{"a": 2}']))
    assert '-      e{"a": 1}' in said.splitlines()
    assert '+      e{"a": 2}' in said.splitlines()


def test_a_changed_answer_of_the_host_is_found_at_what_the_guest_made_of_it(recording: Recording) -> None:
    said = recording.diverged(8, replacing(7, value=Ok(b"\x07\0\0\0")))
    assert "recorded was an outcome ok" in said
    assert "01 00 00 00" in said
    assert "07 00 00 00" in said


def test_a_refusal_in_place_of_an_answer(recording: Recording) -> None:
    said = recording.diverged(8, replacing(7, value=Err("not today")))
    assert 'it was an outcome err "not today"' in said.splitlines()[0]


def test_another_initial_state_is_found_at_init(recording: Recording) -> None:
    digest = bytes.fromhex(recording.content.put(b"other"))
    recording.diverged(2, replacing(0, initial=digest))


def test_a_life_that_begins_afresh_where_the_record_went_on(recording: Recording) -> None:
    def change(payloads: list[Payload]) -> list[Payload]:
        life = payloads[18]
        assert isinstance(life, Lifecycle)
        payloads[18] = life._replace(details={**life.details, "state": "fresh"})
        return payloads

    assert "its first call is init" in recording.diverged(19, change)


# ---- what the guest did


def test_a_changed_host_call_is_found_at_once(recording: Recording) -> None:
    said = recording.diverged(10, replacing(10, args=["hello then"]))
    first, *diff = said.splitlines()
    assert first == (
        'entry 10: recorded was the host call theater:simple/runtime log("hello then"); in the replay it was the host '
        'call theater:simple/runtime log("hello there")'
    )
    assert '-    [0]: "hello then"' in diff
    assert '+    [0]: "hello there"' in diff


def test_a_changed_state_is_found_at_once(recording: Recording) -> None:
    state = (100).to_bytes(4, "little")
    said = recording.diverged(4, replacing(4, state=[state], state_digest=state_digest(state)))
    assert "64 00 00 00" in said
    assert "06 00 00 00" in said


def test_a_changed_result_error_backtrace_or_fuel_is_found_at_once(recording: Recording) -> None:
    assert '"yes"' in recording.diverged(14, replacing(14, value="yes"))
    payloads = recording.payloads()
    trap, fuel = payloads[16], payloads[20]
    assert isinstance(trap, Outcome)
    assert isinstance(fuel, Outcome)
    assert isinstance(fuel.fuel, int)
    said = recording.diverged(16, replacing(16, value=[*trap.value[:2], trap.value[2][1:]]))
    assert "+    main!act at " in said, "the backtrace of the replay is shown"
    assert f"+  fuel: {fuel.fuel}" in recording.diverged(20, replacing(20, fuel=fuel.fuel + 1))


def test_another_ending_is_found_at_once(recording: Recording) -> None:
    state = recording.payloads()[14]
    assert isinstance(state, Outcome)
    for number in (8, 14, 20):
        recording.diverged(number, replacing(number, ending="trap", value=["unreachable", "x", []], state=[]))
    recording.diverged(16, replacing(16, ending="ok", value=[]))


def test_a_host_call_that_the_guest_did_not_make(recording: Recording) -> None:
    def change(payloads: list[Payload]) -> list[Payload]:
        return [*payloads[:4], *payloads[10:12], *payloads[4:]]

    said = recording.diverged(4, change)
    assert 'recorded was the host call theater:simple/runtime log("hello there"); in the replay it was an' in said


def test_a_host_call_that_is_missing(recording: Recording) -> None:
    said = recording.diverged(10, without(10, 11))
    assert 'in the replay it was the host call theater:simple/runtime log("hello there")' in said


# ---- damaged and exhausted records


def test_a_host_result_that_was_cut_off_is_no_reason_to_ask_anybody(recording: Recording) -> None:
    before = recording.house.row("other").entries
    assert "a host-result is missing" in recording.diverged(7, without(7))
    assert recording.house.row("other").entries == before


@pytest.mark.parametrize("length", [1, 2, 4, 6, 7, 8, 10, 16, 17, 19, 20])
def test_a_record_that_ends_anywhere_is_reproduced_up_to_there(recording: Recording, length: int) -> None:
    before = recording.house.row("other").entries
    end = recording.replayed(recording.payloads()[:length])
    assert end.error is None, words(end.error)
    assert end.entries == length
    assert recording.house.row("other").entries == before


def test_an_outcome_that_was_cut_off(recording: Recording) -> None:
    recording.diverged(4, without(4))
    recording.diverged(8, without(8))


def test_a_call_after_a_trap(recording: Recording) -> None:
    assert "the life is over" in recording.diverged(17, without(17, 18))
    assert "the life is over" in recording.diverged(18, without(18))


def test_two_outcomes_of_one_call(recording: Recording) -> None:
    recording.diverged(5, lambda payloads: [*payloads[:5], payloads[4], *payloads[5:]])


def test_an_answer_to_no_question(recording: Recording) -> None:
    recording.diverged(4, lambda payloads: [*payloads[:4], payloads[7], *payloads[4:]])


def test_a_first_call_that_is_no_init(recording: Recording) -> None:
    assert "its first call is init" in recording.diverged(1, without(1, 2))


def test_content_that_is_missing(recording: Recording) -> None:
    lost = content_digest(b"lost")
    for change in (replacing(0, manifest=lost), replacing(0, component=lost), replacing(0, initial=lost)):
        end = recording.replayed(change(recording.payloads()))
        assert end.entries == 0
        assert end.error is not None
        assert lost.hex() in end.error.message


# ---- other engines, other components


def test_another_wasmtime_is_said_in_a_sentence(recording: Recording) -> None:
    genesis = recording.payloads()[0]
    assert isinstance(genesis, Genesis)
    end = recording.replayed(replacing(0, engine={**genesis.engine, "version": "49.0.0"})(recording.payloads()))
    assert end.entries == 1
    assert end.error is not None
    here = genesis.engine["version"]
    assert end.error.message == (
        f"entry 0: this life ran on wasmtime 49.0.0, and wasmtime {here} is installed here; replay it with that version"
    )


def test_another_engine_in_a_later_life(recording: Recording) -> None:
    life = recording.payloads()[18]
    assert isinstance(life, Lifecycle)
    engine = {**life.details["engine"], "version": "49.0.0"}
    end = recording.replayed(replacing(18, details={**life.details, "engine": engine})(recording.payloads()))
    assert end.entries == 19, "what is before it is replayed"
    assert end.error is not None
    assert end.error.message.startswith("entry 18: this life ran on wasmtime 49.0.0")


def test_another_configuration_and_another_wrapper(recording: Recording) -> None:
    genesis = recording.payloads()[0]
    assert isinstance(genesis, Genesis)
    settings = {**genesis.engine["settings"], "cranelift_nan_canonicalization": False}
    for change, sentence in (
        ({"engine": {**genesis.engine, "settings": settings}}, "cranelift_nan_canonicalization = False"),
        ({"engine": {**genesis.engine, "fuel": False}}, "fuel = False"),
        ({"wrapper": b"w" * 32}, "in a wrapper"),
    ):
        end = recording.replayed(replacing(0, **change)(recording.payloads()))
        assert end.error is not None
        assert type(end.error).__name__ == "OtherEngine"
        assert sentence in end.error.message


def test_another_processor_is_no_hindrance(recording: Recording) -> None:
    genesis = recording.payloads()[0]
    assert isinstance(genesis, Genesis)
    engine = {**genesis.engine, "cpu": {"machine": "x86_64", "model": "another", "digest": "0" * 64}}
    end = recording.replayed(replacing(0, engine=engine)(recording.payloads()))
    assert end.error is None


def test_another_component_than_the_one_that_was_run(recording: Recording) -> None:
    genesis = recording.payloads()[0]
    assert isinstance(genesis, Genesis)
    text = (Path(__file__).parents[1] / "actors" / "clock.wat").read_text()
    other = recording.content.put(bytes(wasmtime.wat2wasm(text)))
    end = recording.replayed(replacing(0, component=bytes.fromhex(other))(recording.payloads()))
    assert isinstance(end.error, OtherEngine), "it has another wrapper"
    refusing = recording.content.put(bytes(wasmtime.wat2wasm(REFUSING)))
    made = ensure_compiled(CACHE.directory, recording.content.path(refusing)).meta
    facts = {"wrapper": bytes.fromhex(made.wrapper), "engine": {**genesis.engine, "mode": made.mode.value}}
    changed = replacing(0, component=bytes.fromhex(refusing), **facts)(recording.payloads())
    end = recording.replayed(changed)
    assert isinstance(end.error, Diverged)
    assert end.entries == 1
    assert "in the replay the component did not come to life: " in end.error.message


# ---- guests that do not come back


def test_a_guest_that_loops_where_its_record_says_that_it_returned(recording: Recording) -> None:
    end = recording.replayed(replacing(21, args=["request-21", b"b"])(recording.payloads()))
    assert end.entries == 22
    assert isinstance(end.error, Diverged)
    assert "trap (fuel: " in end.error.message


def test_without_fuel_the_guard_ends_it(closed_house: House, tmp_path: Path) -> None:
    closed_house.open()
    row = closed_house.start("a")
    closed_house.count("a")
    recording = Recording(closed_house, row.id, tmp_path)
    began = time.monotonic()
    end = recording.replayed(replacing(3, args=["request-3", b"b"])(recording.payloads()), patience=3.0)
    assert time.monotonic() - began < 20
    assert end.entries == 4
    assert end.error is not None
    assert end.error.message.startswith("entry 4: recorded was an outcome ok")
    assert "in the replay the guest did not come to an end within 3 s" in end.error.message
    assert not replays()


def test_a_replay_whose_process_dies_says_so(closed_house: House, tmp_path: Path) -> None:
    closed_house.open()
    row = closed_house.start("a")
    closed_house.count("a")
    recording = Recording(closed_house, row.id, tmp_path)
    payloads = replacing(3, args=["request-3", b"b"])(recording.payloads())
    ends: list[End] = []
    replaying = Thread(target=lambda: ends.append(recording.replayed(payloads)))
    replaying.start()

    os.kill(eventually(lambda: next(filter(is_busy, replays()), None), "the replay is in its loop"), signal.SIGKILL)
    replaying.join()
    (end,) = ends
    assert end.error is not None
    assert "the replay's process was ended by SIGKILL" in end.error.message


# ---- anything at all


VALUES: list[Any] = [
    *(None, True, 0, -1, 2**64 - 1, 1.5, "", "x", b"", b"bytes", b"y" * 5000, [], [1], [None, b"c"], {}, {"a": 1}),
    *(Ok(), Err("no"), Case("a", 1), frozenset({"a"}), "last", "fresh", "ok", "err", "trap", "incarnation", "ended"),
    *("00" * 32, bytes(32), ["timeout", "x", []], ["host", "x", []], ["limit", 1, None]),
]


def changed(value: Any, chance: Random) -> Any:
    """`value` with something in it replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.7:
        name = chance.choice(sorted(value))
        return {**value, name: changed(value[name], chance)}
    if isinstance(value, (list, tuple)) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [changed(part, chance) if at == place else part for at, part in enumerate(value)]
    return chance.choice(VALUES)


def test_whatever_stands_in_a_chain_is_reproduced_or_an_error_of_integrity(recording: Recording) -> None:
    chance = Random(4)
    whole = [(KINDS[type(payload)], list(payload)) for payload in recording.payloads()]
    ends = Counter[str]()
    said: list[str] = []
    for _ in range(400):
        chain = list(whole)
        at = chance.randrange(len(chain))
        kind, payload = chain[at]
        match chance.randrange(8):
            case 0:
                del chain[at]
            case 1:
                chain.insert(at, chance.choice(chain))
            case 2:
                chain[at] = chance.choice(list(Kind)), payload
            case _:
                chain[at] = kind, changed(payload, chance)
        encoder = Encoder(put=recording.content.put)
        data = b"".join(encoder.entry(kind, payload, 1)[0] for kind, payload in chain)
        try:
            get = recording.content.get
            records = Scanner().feed(data)
            Performance(Script(iter(records), get), get, CACHE, lambda begin, read=records: iter(read[begin:])).run()
            ends["reproduced"] += 1
        except IntegrityError as error:
            said.append(words(error))
            ends[type(error).__name__] += 1
    assert all(said)
    assert ends["Diverged"] > 50
    assert ends["reproduced"] < 100


def replays() -> list[int]:
    """The processes of replays that this one has started."""
    found = (child.pid for child in children(os.getpid()))
    return [pid for pid in found if b"theater.replay.child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def is_busy(pid: int) -> bool:
    """Whether it has used more than a second of processor time, which is more than loading takes."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) > os.sysconf("SC_CLK_TCK")
