"""Everything is in the record: a component that is given only what its chain says does again what its chain says.

This shares nothing with `theater replay`. The component itself, without what Theater wraps around it, runs under the
stock bindings of wasmtime's component model, and behind each of its imports is the next recorded answer and nothing
else: no host, no clock, no other actor. If anything had come to it that is not in the chain, it would do otherwise.

Actors in WebAssembly text and in C are run here. One in Python is not: its component imports WASI with resources, whose
numbers the stock bindings hand out themselves instead of taking those of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from house import RESTLESS, House, asking, eventually, make_house, outcome, sending
from replays import entries_of
from wasmtime import component as stock
from wasmtime.component import _types as types

from theater.build import build
from theater.core.chain import Call, Genesis, HostCall, HostResult, Lifecycle, Outcome, Payload, read_payload, resolve
from theater.core.manifest import parse
from theater.core.values import Case, Err, Ok
from theater.store.content import ContentStore

ACTORS = Path(__file__).parents[1] / "actors"
Name = Callable[[], str]

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


# ---- values, as the stock bindings have them


def lowered(ty: Any, value: Any) -> Any:
    """A recorded value in the form that the stock bindings take for a type."""
    if isinstance(ty, types.ResultType):
        inner = ty.ok if isinstance(value, Ok) else ty.err
        payload = None if inner is None else lowered(inner, value.value)
        return stock.Variant("ok" if isinstance(value, Ok) else "err", payload) if ty._tagged() else payload
    if isinstance(ty, types.OptionType):
        payload = None if value is None else lowered(ty.payload, value)
        return stock.Variant("none" if value is None else "some", payload) if ty._tagged() else payload
    if isinstance(ty, types.RecordType):
        record = stock.Record()
        for name, field in ty.fields:
            setattr(record, name, lowered(field, value[name]))
        return record
    if isinstance(ty, types.TupleType):
        return tuple(lowered(part, each) for part, each in zip(ty.elements, value, strict=True))
    if isinstance(ty, types.ListType) and not isinstance(value, bytes):
        return [lowered(ty.element, each) for each in value]
    if isinstance(value, Case):
        cases = dict(ty.cases)
        return stock.Variant(value.name, lowered(cases[value.name], value.payload))
    return value


def lifted(ty: Any, value: Any) -> Any:
    """What the stock bindings give for a type, in the form in which it is recorded."""
    if isinstance(ty, types.ResultType):
        is_ok, payload = _case(ty, value, "ok", ty.ok)
        inner = ty.ok if is_ok else ty.err
        return (Ok if is_ok else Err)(None if inner is None else lifted(inner, payload))
    if isinstance(ty, types.OptionType):
        is_some, payload = _case(ty, value, "some", ty.payload)
        return lifted(ty.payload, payload) if is_some else None
    if isinstance(ty, types.RecordType):
        return {name: lifted(field, getattr(value, name)) for name, field in ty.fields}
    if isinstance(ty, types.TupleType):
        return [lifted(part, each) for part, each in zip(ty.elements, value, strict=True)]
    if isinstance(ty, types.ListType) and not isinstance(value, bytes):
        return [lifted(ty.element, each) for each in value]
    return value


def _case(ty: Any, value: Any, name: str, payload: Any) -> tuple[bool, Any]:
    """Whether a value is the named one of two cases, and its payload."""
    if ty._tagged():
        return value.tag == name, value.payload
    if payload is None:
        return value is None, value
    kinds: set[type] = set()
    payload.add_classes(kinds)
    return isinstance(value, tuple(kinds)), value


# ---- the component, and the record in place of its host


class Departure(AssertionError):
    """The component did something else than its chain says."""


class Record:
    """What stands in a chain, taken from the front."""

    def __init__(self, payloads: Iterator[Payload]) -> None:
        self._payloads = payloads
        self.answered = 0

    def next(self, kind: type[Any]) -> Any:
        found = next(self._payloads, None)
        if not isinstance(found, kind):
            raise Departure(f"recorded is {found}, not a {kind.__name__}")
        return found

    def answer(self, interface: str, function: str, ty: Any, args: list[Any]) -> Any:
        """The recorded answer to a call, which must be the recorded one."""
        asked = self.next(HostCall)
        if (asked.interface, asked.function, list(asked.args)) != (interface, function, args):
            raise Departure(f"it calls {interface} {function} {args}; recorded is {asked}")
        said = self.next(HostResult).value
        self.answered += 1
        return None if ty.result is None else lowered(ty.result, said)


class Bare:
    """A component under the stock bindings."""

    def __init__(self, wasm: bytes, record: Record) -> None:
        config = wasmtime.Config()
        config.cranelift_nan_canonicalization = True
        self._store = wasmtime.Store(wasmtime.Engine(config))
        component = stock.Component(self._store.engine, wasm)
        linker = stock.Linker(self._store.engine)
        with linker.root() as root:
            for interface, imported in component.type.imports(self._store.engine).items():
                with root.add_instance(interface) as instance:
                    for function, export in imported.ty.exports(self._store.engine).items():
                        if isinstance(ty := export.ty, stock.FuncType):
                            instance.add_func(function, self._import(record, interface, function, ty))
        self._instance = linker.instantiate(self._store, component)

    @staticmethod
    def _import(record: Record, interface: str, function: str, ty: Any) -> Callable[..., Any]:
        def call(_: object, *args: Any) -> Any:
            plain = [lifted(kind, arg) for (_, kind), arg in zip(ty.params, args, strict=True)]
            return record.answer(interface, function, ty, plain)

        return call

    def call(self, interface: str, function: str, state: bytes | None, args: list[Any]) -> Any:
        index = self._instance.get_export_index(self._store, interface)
        found = self._instance.get_func(self._store, self._instance.get_export_index(self._store, function, index))
        ty = found.type(self._store)
        given = [lowered(kind, value) for (_, kind), value in zip(ty.params, (state, args), strict=True)]
        result = lifted(ty.result, found(self._store, *given))
        found.post_return(self._store)
        return result


def perform(wasm: bytes, payloads: list[Payload]) -> int:
    """Does all that a chain says again; returns how many answers that took.

    Raises:
        Departure: it did something else.
    """
    stream = iter(payloads)
    record = Record(stream)
    actor: Bare | None = None
    state: bytes | None = None
    for payload in stream:
        if isinstance(payload, Genesis) or (isinstance(payload, Lifecycle) and payload.event == "incarnation"):
            actor = Bare(wasm, record)
        elif isinstance(payload, Call):
            assert actor is not None
            state = _perform(actor, payload, state, record)
        else:
            assert isinstance(payload, Lifecycle), payload
    return record.answered


def _perform(actor: Bare, call: Call, state: bytes | None, record: Record) -> bytes | None:
    try:
        result = actor.call(call.interface, call.function, state, list(call.args))
    except wasmtime.WasmtimeError as error:
        if "wasm trap" not in str(error):
            raise
        found = record.next(Outcome)
        if found.ending != "trap":
            raise Departure(f"it trapped; recorded is {found}") from None
        return state
    found = record.next(Outcome)
    if isinstance(result, Err):
        done: tuple[Any, ...] = ("err", result.value, state)
    else:
        after, *more = result.value
        done = ("ok", list(more[0]) if more else [], after)
    said = found.ending, found.value, found.state[0] if found.state else state
    if done != said:
        raise Departure(f"it did {done}; recorded is {said}")
    return done[2]  # type: ignore[no-any-return]


def recorded(house: House, actor: str) -> list[Payload]:
    get = ContentStore(house.home / "content").get
    return [read_payload(entry.kind, resolve(entry.payload, get)) for entry in entries_of(house, actor)]


def le(number: int) -> bytes:
    return number.to_bytes(4, "little")


@pytest.fixture(scope="module")
def clocks() -> Iterator[House]:
    """A server whose actors are those of clock.wat."""
    shared = make_house(bytes(wasmtime.wat2wasm((ACTORS / "clock.wat").read_text())))
    try:
        yield shared.open()
    finally:
        shared.close()


# ---- actors of each kind


def test_an_actor_that_talks_to_others_fails_and_lives_again(house: House, name: Name, probe: bytes) -> None:
    one, other = name(), name()
    row = house.start(one, supervision=RESTLESS)
    house.start(other)
    ask = house.client.request
    for message in (b"c", b"e" + bytes(9000), b"lhello", b"g", asking(other, b"c"), sending(other, b"c"), b"c"):
        ask(one, message)
    assert outcome(lambda: ask(one, b"xsorry")) == "ActorFailed"
    assert outcome(lambda: ask(one, asking("nobody", b"c"))) == "ActorFailed"
    for message in (b"u", b"d", b"o"):
        assert outcome(lambda message=message: ask(one, message)) == "ActorDown"
        ask(one, b"c")
    payloads = recorded(house, row.id)
    assert perform(probe, payloads) >= 4
    assert {found.ending for found in payloads if isinstance(found, Outcome)} == {"ok", "err", "trap"}


def test_an_actor_with_timers_names_and_an_identity(clocks: House, name: Name) -> None:
    one, other = name(), name()
    handlers = ("message-server", "registry", "timers")
    row = clocks.start(one, handlers=handlers, supervision=RESTLESS)
    clocks.start(other, handlers=handlers)
    ask = clocks.client.request
    ask(one, b"t" + le(1) + b"c")
    tick = ask(one, b"i" + le(5) + b"c")
    eventually(lambda: (clocks.client.state(one).state or b"")[:4] >= le(3))
    ask(one, b"k" + tick)
    for message in (b"Ralias" + one.encode(), b"m", b"d", b"s", b"w" + other.encode(), b"wnobody"):
        ask(one, message)
    ask(one, b"x" + other.ljust(8).encode() + le(5000) + b"c")
    clocks.kill_worker(one)
    ask(one, b"m")
    wasm = bytes(wasmtime.wat2wasm((ACTORS / "clock.wat").read_text()))
    assert perform(wasm, recorded(clocks, row.id)) >= 8


def test_an_actor_in_c(house: House, name: Name) -> None:
    pytest.importorskip("ziglang", reason="building C needs the package ziglang")
    folder = house.folder / "complete"
    folder.mkdir()
    (folder / "actor.c").write_text(C)
    text = 'name = "inc"\n[build]\nlanguage = "c"\nsource = "actor.c"\n[[handler]]\ntype = "message-server"\n'
    built = build(folder, parse(text, "manifest.toml"))
    row = house.start(name(), component=str(built), supervision=RESTLESS)
    house.client.request(row.id, b"some state")
    house.client.request(row.id, b"more")
    assert outcome(lambda: house.client.request(row.id, b"x")) == "ActorDown"
    house.client.request(row.id, b"again")
    assert perform(built.read_bytes(), recorded(house, row.id)) >= 6


def test_another_answer_makes_another_record(house: House, name: Name, probe: bytes) -> None:
    """What a component does depends on nothing but its answers, and on them it does."""
    one, other = name(), name()
    row = house.start(one)
    house.start(other)
    house.client.request(one, asking(other, b"c"))
    payloads = recorded(house, row.id)
    perform(probe, payloads)
    (at,) = (number for number, found in enumerate(payloads) if isinstance(found, HostResult))
    payloads[at] = HostResult(Ok(b"another"))
    with pytest.raises(Departure):
        perform(probe, payloads)
