"""Which calls make the memory of a life: held against a model that has a memory, and executes as workers do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
)
from theater.core.codec import Form, Ref, pack
from theater.core.felt_limits import FeltLimits, felt_limits
from theater.core.life import Life
from theater.core.lineage import Descent, Lineage, retold
from theater.core.same_guest import other_guest
from theater.errors import IntegrityError

KINDS = {
    Genesis: Kind.GENESIS,
    Call: Kind.CALL,
    HostCall: Kind.HOST_CALL,
    HostResult: Kind.HOST_RESULT,
    Outcome: Kind.OUTCOME,
    Lifecycle: Kind.LIFECYCLE,
}
GENESIS = Genesis("a", "a", None, bytes(32), None, {})
MEMORY = Ref(bytes(32), 100, Form.VALUE)
ASKED = (HostCall("wasi", "loaded", []), HostResult(1))


def records(payloads: list[Payload]) -> list[Record]:
    encoder = Encoder()
    return Scanner().feed(b"".join(encoder.entry(KINDS[type(each)], each, 1)[0] for each in payloads))


def snapshot(memory: Ref | None) -> Lifecycle:
    return Lifecycle("snapshot", {"state": [b"s"], "committed": True, "life": {}, "root": None, "memory": memory})


class Model:
    """Writes a chain as workers do. Its memory is the list of what changed it: numbers of entries."""

    def __init__(self) -> None:
        self.chain: list[Payload] = [GENESIS, *ASKED]
        self.memory: list[int] = []
        self.begins, self.is_snapshot = 0, False
        self.kept: list[int] = []
        self.is_over = False

    def call(self, ending: str | None, host_calls: int, commits: bool) -> None:
        if self.is_over:
            return
        number = len(self.chain)
        self.chain.append(Call("i", "f", []))
        self.chain += [HostCall("h", "f", []), HostResult(1)] * host_calls
        if ending is None:
            self.is_over = True
            return
        self.chain.append(Outcome(ending, ["k", "m", []], None, (b"s",) if commits and ending == "ok" else ()))
        self.is_over = ending == "trap"
        if not self.is_over:
            self.memory.append(number)

    def snapshot(self, holds_memory: bool) -> None:
        if self.is_over:
            return
        if holds_memory:
            self.begins, self.is_snapshot, self.kept = len(self.chain), True, list(self.memory)
        self.chain.append(snapshot(MEMORY if holds_memory else None))

    def live(self, with_memory: bool) -> None:
        """Another life begins; with the memory, if there is one."""
        lost = not self.is_snapshot and not self.memory
        if with_memory and not lost:
            self.chain.append(Lifecycle("incarnation", {"incarnation": 2, "from": self.begins}))
        else:
            self.begins, self.is_snapshot, self.kept, self.memory = len(self.chain), False, [], []
            self.chain += [Lifecycle("incarnation", {"incarnation": 2}), *ASKED]
        self.is_over = False


CALL = st.tuples(st.just("call"), st.sampled_from(["ok", "ok", "err", "trap", None]), st.integers(0, 2), st.booleans())
STEP = st.one_of(CALL, CALL, st.tuples(st.sampled_from(["snapshot", "live"]), st.booleans()))


@given(st.lists(STEP, max_size=25))
def test_what_is_retold_makes_the_memory_that_the_lives_had(steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    for verb, *args in steps:
        getattr(model, verb)(*args)
    chain = records(model.chain)
    descent = Descent()
    for record in chain:
        descent.follow(record)
    lineage = descent.lineage
    if lineage is None:
        assert not model.memory
        assert not model.is_snapshot
        return
    told = list(retold(iter(chain[lineage.begins :]), lineage))
    calls = [record.seq for record in told if record.kind_number == Kind.CALL]
    assert lineage.begins == model.begins == told[0].seq
    assert model.kept + calls == model.memory
    assert lineage.calls == len(calls)
    assert all(type(each) is not Outcome or each.ending != "trap" for each in (one.entry().read() for one in told))
    first = calls[0] if calls else 1 << 60
    asked = [record.seq for record in told if record.kind_number == Kind.HOST_CALL and record.seq < first]
    assert asked == ([] if model.is_snapshot else [lineage.begins + 1])


@given(st.lists(STEP, max_size=25))
def test_it_is_the_same_from_the_newest_snapshot_with_the_memory_on(steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    for verb, *args in steps:
        getattr(model, verb)(*args)
    chain = records(model.chain)
    whole, part = Descent(), Descent()
    newest = max((at for at, each in enumerate(model.chain) if each == snapshot(MEMORY)), default=0)
    for descent, begin in ((whole, 0), (part, newest)):
        for record in chain[begin:]:
            descent.follow(record)
    assert part.lineage == whole.lineage
    assert not part.is_lost


def follow(*payloads: Payload, without: range = range(0)) -> Descent:
    descent = Descent()
    for record in records(list(payloads)):
        if record.seq not in without:
            descent.follow(record)
    return descent


def test_calls_that_are_missing_are_known_to_be() -> None:
    calls = [Call("i", "f", []), Outcome("ok", [], None, (b"s",))] * 3
    assert follow(GENESIS, *calls, snapshot(None), *calls, without=range(1, 7)).is_lost
    kept = follow(GENESIS, *calls, snapshot(MEMORY), *calls, without=range(1, 7))
    assert (kept.is_lost, kept.lineage) == (False, Lineage(7, 7, 3, ()))
    anew = Lifecycle("incarnation", {"incarnation": 2})
    begun = follow(GENESIS, *calls, snapshot(None), *calls, anew, *calls, without=range(1, 7))
    assert (begun.is_lost, begun.lineage) == (False, Lineage(14, 13, 3, ()))


def life(**facts: Any) -> Life:
    engine = {"name": "wasmtime", "version": "1", "fuel": False, "settings": {"a": 1}, "mode": "bytes"}
    given = {"component": "c", "program": "p", "wrapper": "w", "engine": engine, **facts}
    return Life(entry=0, incarnation=1, manifest=None, initial=None, policy="replay", resumed=False, **given)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"component": "d"}, "component"),
        ({"program": None}, "program"),
        ({"wrapper": "x"}, "wrapper"),
        ({"engine": {**life().engine, "version": "2"}}, "engine"),
        ({"engine": {**life().engine, "settings": {"a": 2}}}, "engine"),
        ({"engine": {**life().engine, "mode": "plain"}}, "wrapper"),
    ],
)
def test_a_guest_of_something_else_cannot_have_the_memory(changed: dict[str, Any], why: str) -> None:
    assert other_guest(life(), life()) is None
    assert why in (other_guest(life(), life(**changed)) or "")


def test_which_limits_a_guest_feels() -> None:
    limits = FeltLimits(1, None, 2, 3, True)
    said = {"memory": 1, "fuel": None, "state": 2, "message": 3}
    assert felt_limits(pack({"limits": said, "supervision": {"state": "replay"}})) == limits
    assert not felt_limits(pack({"limits": said, "supervision": {"state": "last"}})).keeps_memory
    assert limits.difference(FeltLimits(1, None, 9, 9, True)) is None
    assert "memory" in (limits.difference(FeltLimits(2, None, 2, 3, True)) or "")
    assert "fuel" in (limits.difference(FeltLimits(1, 7, 2, 3, True)) or "")
    texts = {"limits": {**said, "memory": "1"}, "supervision": {"state": "last"}}
    for wrong in (b"", pack({}), pack([]), pack(texts)):
        with pytest.raises(IntegrityError):
            felt_limits(wrong)
