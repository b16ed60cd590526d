"""WASI preview 2 for actors: each interface from Python, deterministic but for what the host is asked and records.

wasmtime's own WASI would read clocks and randomness past the recorder, so nothing of it is linked. Here an answer that
carries information from outside (a clock, randomness, the environment) is computed in `WasiHost.answer`, which records
it, or gives the recorded one in a replay; all else is bookkeeping and follows from it. Nothing leads outside: standard
input is empty, there are no preopened directories, every socket operation answers `access-denied`, and a function that
cannot say no in its own words (it returns no error code, or is unknown here) ends the call.

What the guest may import is written beside each function as its WIT type. A component that imports a function with
another type gets the refusal instead, so that no value is ever read by a type it does not have.
Source: the packages wasi:io, clocks, random, cli, filesystem and sockets, 0.2.0 to 0.2.9 (github.com/WebAssembly).
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any, Final, Protocol, TypeAlias

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime import component as wc

from theater.core.values import Case, Err, Ok
from theater.errors import ComponentError
from theater.wasm import native
from theater.wasm.direct import HostFunction, UnsupportedType, bind_import
from theater.wasm.hatch import STREAMS
from theater.wasm.signals import cover_entry
from theater.wasm.types import Interface, Signature, Type, wit_signature

Answer: TypeAlias = "Callable[[str, str, tuple[Any, ...], Callable[[], Any]], Any]"

PREFIX: Final = "wasi:"
MAX_RANDOM: Final = 1 << 20
"""Bytes of randomness that one call may ask for."""
MAX_HANDLES: Final = 10_000
"""Resources that a guest may hold at once. CPython holds five."""
MAX_WRITE: Final = 1 << 16
"""Bytes that one write to a stream may have; `check-write` says so to the guest."""

_LAST_INSTANT: Final = (1 << 64) - 1
_NS: Final = 1_000_000_000


class WasiHost(Protocol):
    """What the world looks like to one guest."""

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """The answer to a question about the world: `compute()`, recorded; in a replay what was recorded.

        Args:
            interface: as the guest imports it, e.g. `wasi:clocks/wall-clock@0.2.9`.
            function: e.g. `now`.
            args: what the guest gave.
            compute: asks this machine.
        """

    def output(self, stream: str, data: bytes) -> None:
        """Takes what the guest wrote to `stdout` or `stderr`."""

    def sleep(self, ns: int) -> None:
        """Waits, at most as long as the call may still take; in a replay not at all."""


@dataclass(frozen=True, slots=True)
class Handles:
    """What a guest holds of the host, and which handles it will get: two guests that are equal in this go on alike.

    A component has one table of handles. The one that was given back last is given out first (wasmtime keeps the free
    ones in a list); if none is free, the table grows.

    Attributes:
        held: place and name of each held resource; no name for one that is not a standard stream, and may have a state.
        free: free places, the next to be used last.
        size: places that the table has, without free ones at its end that would be used in their order anyway.
    """

    held: tuple[tuple[int, str], ...]
    free: tuple[int, ...]
    size: int

    def opened_since(self, base: Handles) -> tuple[str, ...] | None:
        """The streams that a guest that holds `base` must open, in order, to hold this; None if that is impossible."""
        more = [entry for entry in self.held if entry not in base.held]
        if len(more) + len(base.held) != len(self.held) or not all(name for _, name in self.held):
            return None
        free, size, opened = list(base.free), base.size, []
        names = dict(more)
        for _ in more:
            place = free.pop() if free else size
            size = max(size, place + 1)
            opened.append(names.pop(place, ""))
        return tuple(opened) if not names and (tuple(free), size) == (self.free, self.size) else None


class Exit(BaseException):
    """The guest called `exit`. No program error: it passes through host code as SystemExit does."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the guest called exit({code})")
        self.code = code


class Refused(Exception):
    """The guest called what no actor has, or broke a rule of WASI; the sentence says which."""


class Wasi:
    """The WASI of one guest: its handles, and the functions that a linker gets.

    Args:
        engine: of the guest.
        host: gives the answers.
    """

    def __init__(self, engine: wasmtime.Engine, host: WasiHost) -> None:
        self._engine = engine
        self._host = host
        self._handles = _Table()
        self._kinds: dict[int, str] = {}

    def handles(self) -> Handles:
        """What the guest holds now."""
        return self._handles.holds()

    def link(self, root: wc.LinkerInstance, imports: Mapping[str, Interface]) -> list[object]:
        """Defines every wasi interface among `imports`; returns what must live as long as the instance.

        Raises:
            ComponentError: an interface has another version than 0.2, or holds something else than functions.
        """
        wanted = {name: interface for name, interface in imports.items() if name.startswith(PREFIX)}
        for interface in wanted.values():
            self._kinds.update({number: name for name, number in interface.resources.items()})
        return [kept for name, interface in wanted.items() for kept in self._link_interface(root, name, interface)]

    def _link_interface(self, root: wc.LinkerInstance, name: str, interface: Interface) -> list[object]:
        short = _short_name(name)
        if interface.others:
            raise ComponentError(f"the component imports {name} with {interface.others[0]}, which is no function")
        kept: list[object] = []
        with root.add_instance(name) as instance:
            for resource, number in interface.resources.items():
                kept.append(_define_resource(instance, resource, number, self._handles))
            for function, signature in interface.functions.items():
                late = _Late(self._engine, function, signature, partial(self._implementation, name, short))
                kept.append(late.define(instance))
        return kept

    def _implementation(self, name: str, short: str, function: str, signature: Signature) -> Callable[..., Any]:
        known = _FUNCTIONS.get((short, function))
        if known is None or known.type != self._text(signature):
            return _refusal(name, function, signature)
        method = known.method
        if not known.recorded:
            return lambda *args: method(self, name, *args)
        answer = self._host.answer
        return lambda *args: answer(name, function, args, lambda: method(self, name, *args))

    def _text(self, signature: Signature) -> str:
        """The type in WIT, resources by their names."""
        return re.sub(r"resource-(\d+)", lambda found: self._kinds.get(int(found[1]), "?"), wit_signature(signature))

    # ---- handles

    def _new(self, resource: _Resource) -> int:
        if len(self._handles) >= MAX_HANDLES:
            raise Refused(f"the guest holds more than {MAX_HANDLES} handles of WASI")
        return self._handles.add(resource)

    def _stream(self, handle: int) -> str:
        stream = self._handles[handle]
        if not isinstance(stream, _Stream):
            raise Refused("not an output stream")
        return stream.name

    def _pollable(self, handle: int) -> _Timer | _Ready:
        pollable = self._handles[handle]
        if isinstance(pollable, _Stream):
            raise Refused("not a pollable")
        return pollable

    # ---- time

    def _now(self, interface: str) -> int:
        return int(self._host.answer(interface, "now", (), time.monotonic_ns))

    def _wait_for_any(self, pollables: list[_Timer | _Ready]) -> list[int]:
        """Positions of the pollables that are ready, after the wait for the first of them.

        After waiting the clock is not asked again: that a wait of that length is over is known, so one recorded answer
        decides, and a replay comes to the same.
        """
        ready = [i for i, pollable in enumerate(pollables) if pollable.is_ready]
        if ready:
            return ready
        timers = [pollable for pollable in pollables if isinstance(pollable, _Timer)]
        now = self._now(timers[0].clock)
        first = min(timer.instant for timer in timers)
        if first > now:
            self._host.sleep(first - now)
        for timer in timers:
            timer.is_ready = timer.instant <= max(first, now)
        return [i for i, timer in enumerate(timers) if timer.is_ready]


@dataclass(slots=True)
class _Ready:
    """A pollable that never waits: streams here take everything, and end at once."""

    is_ready: bool = True


@dataclass(slots=True)
class _Timer:
    """A pollable that is ready from `instant` on, in nanoseconds of the monotonic clock named `clock`."""

    clock: str
    instant: int
    is_ready: bool = False


@dataclass(frozen=True, slots=True)
class _Stream:
    name: str


_Resource: TypeAlias = "_Ready | _Timer | _Stream"


class _Table(dict[int, "_Resource"]):
    """The resources that a guest holds, by a number that no two ever share; and where it has them in its own table."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0
        self._places: dict[int, int] = {}
        self._free: list[int] = []
        self._size = 0

    def add(self, resource: _Resource) -> int:
        """Takes a resource that the guest is about to get; returns its number."""
        self._last += 1
        self[self._last] = resource
        self._places[self._last] = self._free.pop() if self._free else self._size
        self._size = max(self._size, self._places[self._last] + 1)
        return self._last

    def drop(self, number: int) -> None:
        """Forgets a resource that the guest has given back."""
        if self.pop(number, None) is not None:
            self._free.append(self._places.pop(number))

    def holds(self) -> Handles:
        """What the guest holds."""
        held = {place: self[number] for number, place in self._places.items()}
        free, size = list(self._free), self._size
        while free and free[0] == size - 1:
            del free[0]
            size -= 1
        names = ((place, _name_of(resource)) for place, resource in sorted(held.items()))
        return Handles(tuple(names), tuple(free), size)


def _name_of(resource: _Resource) -> str:
    return resource.name if isinstance(resource, _Stream) and resource.name in STREAMS else ""


# ---- the functions


@dataclass(frozen=True, slots=True)
class _Function:
    """One function of WASI.

    Attributes:
        method: called with the Wasi, the interface's name and the arguments.
        type: its WIT type, as `Wasi._text` writes it.
        recorded: whether the answer is the host's.
    """

    method: Callable[..., Any]
    type: str
    recorded: bool


_FUNCTIONS: dict[tuple[str, str], _Function] = {}
_Method: TypeAlias = "Callable[..., Any]"


def _computed(interface: str, function: str, type: str) -> Callable[[_Method], _Method]:
    """Registers a function that follows from what the guest did."""
    return _register(interface, function, type, recorded=False)


def _recorded(interface: str, function: str, type: str) -> Callable[[_Method], _Method]:
    """Registers a function whose answer comes from outside, and is the host's to record."""
    return _register(interface, function, type, recorded=True)


def _register(interface: str, function: str, type: str, *, recorded: bool) -> Callable[[_Method], _Method]:
    def register(method: _Method) -> _Method:
        _FUNCTIONS[interface, function] = _Function(method, type, recorded)
        return method

    return register


# wasi:clocks


_DATETIME: Final = "record { seconds: u64, nanoseconds: u32 }"


@_recorded("clocks/wall-clock", "now", f"func() -> {_DATETIME}")
def _wall_clock_now(wasi: Wasi, interface: str) -> dict[str, int]:
    seconds, nanoseconds = divmod(time.time_ns(), _NS)
    return {"seconds": seconds, "nanoseconds": nanoseconds}


@_computed("clocks/wall-clock", "resolution", f"func() -> {_DATETIME}")
def _wall_clock_resolution(wasi: Wasi, interface: str) -> dict[str, int]:
    return {"seconds": 0, "nanoseconds": 1}


@_recorded("clocks/monotonic-clock", "now", "func() -> u64")
def _monotonic_now(wasi: Wasi, interface: str) -> int:
    return time.monotonic_ns()


@_computed("clocks/monotonic-clock", "resolution", "func() -> u64")
def _monotonic_resolution(wasi: Wasi, interface: str) -> int:
    return 1


@_computed("clocks/monotonic-clock", "subscribe-instant", "func(when: u64) -> own<pollable>")
def _subscribe_instant(wasi: Wasi, interface: str, when: int) -> int:
    return wasi._new(_Timer(interface, when))


@_computed("clocks/monotonic-clock", "subscribe-duration", "func(when: u64) -> own<pollable>")
def _subscribe_duration(wasi: Wasi, interface: str, when: int) -> int:
    return wasi._new(_Timer(interface, min(wasi._now(interface) + when, _LAST_INSTANT)))


# wasi:random


@_computed("random/random", "get-random-bytes", "func(len: u64) -> list<u8>")
def _random_bytes(wasi: Wasi, interface: str, count: int) -> Any:
    return _some_random_bytes(wasi, interface, "get-random-bytes", count)


@_computed("random/insecure", "get-insecure-random-bytes", "func(len: u64) -> list<u8>")
def _insecure_random_bytes(wasi: Wasi, interface: str, count: int) -> Any:
    return _some_random_bytes(wasi, interface, "get-insecure-random-bytes", count)


def _some_random_bytes(wasi: Wasi, interface: str, function: str, count: int) -> Any:
    """Asks the host, after the size was checked: a refusal is no answer, and is not recorded."""
    if count > MAX_RANDOM:
        raise Refused(f"{count} random bytes were asked for in one call, {MAX_RANDOM} are allowed")
    return wasi._host.answer(interface, function, (count,), lambda: os.urandom(count))


@_recorded("random/random", "get-random-u64", "func() -> u64")
@_recorded("random/insecure", "get-insecure-random-u64", "func() -> u64")
def _random_u64(wasi: Wasi, interface: str) -> int:
    return int.from_bytes(os.urandom(8), "little")


@_recorded("random/insecure-seed", "insecure-seed", "func() -> tuple<u64, u64>")
def _insecure_seed(wasi: Wasi, interface: str) -> tuple[int, int]:
    return _random_u64(wasi, interface), _random_u64(wasi, interface)


# wasi:cli. A host that wants to give an environment does so in `answer`.


@_recorded("cli/environment", "get-environment", "func() -> list<tuple<string, string>>")
def _environment(wasi: Wasi, interface: str) -> list[tuple[str, str]]:
    return []


@_recorded("cli/environment", "get-arguments", "func() -> list<string>")
def _arguments(wasi: Wasi, interface: str) -> list[str]:
    return []


@_recorded("cli/environment", "initial-cwd", "func() -> option<string>")
def _initial_cwd(wasi: Wasi, interface: str) -> None:
    return None


@_computed("cli/exit", "exit", "func(status: result)")
def _exit(wasi: Wasi, interface: str, status: Ok | Err) -> None:
    raise Exit(0 if isinstance(status, Ok) else 1)


@_computed("cli/exit", "exit-with-code", "func(status-code: u8)")
def _exit_with_code(wasi: Wasi, interface: str, code: int) -> None:
    raise Exit(code)


@_computed("cli/stdin", "get-stdin", "func() -> own<input-stream>")
def _stdin(wasi: Wasi, interface: str) -> int:
    return wasi._new(_Stream("stdin"))


@_computed("cli/stdout", "get-stdout", "func() -> own<output-stream>")
def _stdout(wasi: Wasi, interface: str) -> int:
    return wasi._new(_Stream("stdout"))


@_computed("cli/stderr", "get-stderr", "func() -> own<output-stream>")
def _stderr(wasi: Wasi, interface: str) -> int:
    return wasi._new(_Stream("stderr"))


@_computed("cli/terminal-stdin", "get-terminal-stdin", "func() -> option<own<terminal-input>>")
@_computed("cli/terminal-stdout", "get-terminal-stdout", "func() -> option<own<terminal-output>>")
@_computed("cli/terminal-stderr", "get-terminal-stderr", "func() -> option<own<terminal-output>>")
def _no_terminal(wasi: Wasi, interface: str) -> None:
    return None


# wasi:io


@_computed("io/poll", "[method]pollable.ready", "func(self: borrow<pollable>) -> bool")
def _ready(wasi: Wasi, interface: str, handle: int) -> bool:
    pollable = wasi._pollable(handle)
    if isinstance(pollable, _Timer) and not pollable.is_ready:
        pollable.is_ready = pollable.instant <= wasi._now(pollable.clock)
    return pollable.is_ready


@_computed("io/poll", "[method]pollable.block", "func(self: borrow<pollable>)")
def _block(wasi: Wasi, interface: str, handle: int) -> None:
    wasi._wait_for_any([wasi._pollable(handle)])


@_computed("io/poll", "poll", "func(in: list<borrow<pollable>>) -> list<u32>")
def _poll(wasi: Wasi, interface: str, handles: list[int]) -> list[int]:
    if not handles:
        raise Refused("poll was called with nothing to wait for")
    return wasi._wait_for_any([wasi._pollable(handle) for handle in handles])


_STREAM_ERROR: Final = "variant { last-operation-failed(own<error>), closed }"
_DONE: Final = f"result<_, {_STREAM_ERROR}>"
_OUT: Final = "self: borrow<output-stream>"
_IN: Final = "self: borrow<input-stream>"
_CLOSED: Final = Err(Case("closed"))


@_computed("io/streams", "[method]output-stream.check-write", f"func({_OUT}) -> result<u64, {_STREAM_ERROR}>")
def _check_write(wasi: Wasi, interface: str, handle: int) -> Ok:
    return Ok(MAX_WRITE)


@_computed("io/streams", "[method]output-stream.write", f"func({_OUT}, contents: list<u8>) -> {_DONE}")
@_computed(
    "io/streams", "[method]output-stream.blocking-write-and-flush", f"func({_OUT}, contents: list<u8>) -> {_DONE}"
)
def _write(wasi: Wasi, interface: str, handle: int, contents: bytes) -> Ok:
    if len(contents) > MAX_WRITE:
        raise Refused(f"{len(contents)} bytes were written to a stream at once, {MAX_WRITE} are allowed")
    wasi._host.output(wasi._stream(handle), contents)
    return Ok()


@_computed("io/streams", "[method]output-stream.write-zeroes", f"func({_OUT}, len: u64) -> {_DONE}")
@_computed("io/streams", "[method]output-stream.blocking-write-zeroes-and-flush", f"func({_OUT}, len: u64) -> {_DONE}")
def _write_zeroes(wasi: Wasi, interface: str, handle: int, count: int) -> Any:
    return _write(wasi, interface, handle, bytes(min(count, MAX_WRITE + 1)))


@_computed("io/streams", "[method]output-stream.flush", f"func({_OUT}) -> {_DONE}")
@_computed("io/streams", "[method]output-stream.blocking-flush", f"func({_OUT}) -> {_DONE}")
def _flush(wasi: Wasi, interface: str, handle: int) -> Ok:
    return Ok()


_SPLICE: Final = f"func({_OUT}, src: borrow<input-stream>, len: u64) -> result<u64, {_STREAM_ERROR}>"


@_computed("io/streams", "[method]output-stream.splice", _SPLICE)
@_computed("io/streams", "[method]output-stream.blocking-splice", _SPLICE)
def _splice(wasi: Wasi, interface: str, handle: int, source: int, count: int) -> Err:
    return _CLOSED


@_computed("io/streams", "[method]input-stream.read", f"func({_IN}, len: u64) -> result<list<u8>, {_STREAM_ERROR}>")
@_computed(
    "io/streams", "[method]input-stream.blocking-read", f"func({_IN}, len: u64) -> result<list<u8>, {_STREAM_ERROR}>"
)
@_computed("io/streams", "[method]input-stream.skip", f"func({_IN}, len: u64) -> result<u64, {_STREAM_ERROR}>")
@_computed("io/streams", "[method]input-stream.blocking-skip", f"func({_IN}, len: u64) -> result<u64, {_STREAM_ERROR}>")
def _end_of_input(wasi: Wasi, interface: str, handle: int, count: int) -> Err:
    return _CLOSED


@_computed("io/streams", "[method]output-stream.subscribe", f"func({_OUT}) -> own<pollable>")
@_computed("io/streams", "[method]input-stream.subscribe", f"func({_IN}) -> own<pollable>")
def _subscribe_stream(wasi: Wasi, interface: str, handle: int) -> int:
    return wasi._new(_Ready())


# wasi:filesystem and wasi:sockets: to ask is allowed, and the answer is that there is nothing


@_computed("filesystem/preopens", "get-directories", "func() -> list<tuple<own<descriptor>, string>>")
def _no_directories(wasi: Wasi, interface: str) -> list[tuple[int, str]]:
    return []


@_computed("sockets/instance-network", "instance-network", "func() -> own<network>")
def _network(wasi: Wasi, interface: str) -> int:
    return wasi._new(_Stream("network"))


_DENIALS: Final = ("access-denied", "HTTP-request-denied", "access", "not-permitted", "closed")
"""Cases of error codes that say no, the clearest first: of wasi:sockets, http, filesystem, io/streams."""


def _refusal(interface: str, function: str, signature: Signature) -> Callable[..., Any]:
    """What a function does that no actor has: it says no in its own words, or else ends the call."""
    denial = _denial(signature.result)
    if denial is not None:
        return lambda *args: denial

    def refuse(*args: Any) -> Any:
        raise Refused(f"{interface} {function} is not available to actors")

    return refuse


def _denial(result: Type | None) -> Err | None:
    """The `err` that means "you may not" in a result of this type, if it has one."""
    if result is None or result[0] != "result" or not isinstance(result[2], tuple):
        return None
    kind, cases = result[2][0], result[2][1]
    for name in _DENIALS:
        if kind == "enum" and name in cases:
            return Err(name)
        if kind == "variant" and (name, None) in cases:
            return Err(Case(name))
    return None


# ---- binding when called


class _Late:
    """A function that is bound when it is first called.

    CPython imports ninety functions of WASI and calls ten of them: to generate the code for all would be half of what
    its loading costs. The real binding is made in a linker of its own, which costs nothing that counts.
    """

    def __init__(
        self,
        engine: wasmtime.Engine,
        function: str,
        signature: Signature,
        implementation: Callable[[str, Signature], Callable[..., Any]],
    ) -> None:
        self._engine = engine
        self._function = function
        self._signature = signature
        self._implementation = implementation
        self._bound: tuple[HostFunction, wc.Linker] | None = None

    def define(self, instance: wc.LinkerInstance) -> object:
        """Defines the function in a linker; returns what must live as long as the instance."""
        callback = native.Callback(_native_function(_call_late, late=self))
        native.define_function(instance, self._function, callback)
        return callback

    def callback(self) -> Any:
        """The C function that does it."""
        if self._bound is None:
            self._bound = self._bind()
        return self._bound[0].callback

    def _bind(self) -> tuple[HostFunction, wc.Linker]:
        function = self._implementation(self._function, self._signature)
        linker = wc.Linker(self._engine)
        with linker.root() as root:
            try:
                return bind_import(root, "late", function, self._signature, "plain"), linker
            except UnsupportedType as error:
                raise Refused(f"{self._function} cannot be called: {error}") from error


def _native_function(template: Any, **names: Any) -> FunctionType:
    """A copy of a function of this module with its own globals, safe to be called by wasmtime.

    For `cover_entry` it has no closure and begins with `try`.
    """
    made = FunctionType(template.__code__, {"park": native.park, **names})
    if not cover_entry(made):
        raise native.not_understood(f"{template.__name__} cannot be covered")
    return made


def _call_late(data: int, context: int, kind: int, arguments: int, count: int, results: int, results_count: int) -> Any:
    try:
        return late.callback()(data, context, kind, arguments, count, results, results_count)
    except BaseException as error:
        return park(error)


def _drop(data: int, context: int, handle: int) -> int:
    try:
        handles.drop(handle)
        return 0
    except BaseException as error:
        return park(error)


# What the copies of the two functions above have as globals of their own.
late: Any = None
handles = _Table()
park = native.park


# ---- names and resources


def _short_name(name: str) -> str:
    """`clocks/wall-clock` of `wasi:clocks/wall-clock@0.2.9`."""
    short, _, version = name.removeprefix(PREFIX).partition("@")
    if version and not version.startswith("0.2."):
        raise ComponentError(f"the component imports {name}, but only WASI 0.2 is known here")
    return short


def _define_resource(instance: wc.LinkerInstance, name: str, number: int, handles: _Table) -> object:
    """Defines a resource type whose values are our handles; a dropped one is forgotten."""
    callback = ffi.wasmtime_component_resource_destructor_t(_native_function(_drop, handles=handles))
    encoded = name.encode()
    with wc.ResourceType.host(number) as resource:
        error = ffi.wasmtime_component_linker_instance_add_resource(
            instance.ptr(),
            ctypes.create_string_buffer(encoded),
            len(encoded),
            resource.ptr(),
            callback,
            None,
            _NO_FINALIZER,
        )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    return callback


_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
