"""Direct calls between Python and a component: one generated function per WIT signature, in both directions.

`bind_export` makes a guest's function callable, `bind_import` makes a Python function a guest's import. Both convert
values as `theater.core.values` says. The code is generated once per signature and bound to addresses per instance; a
call then is some stores into a prepared frame, one C call, some loads.

What is bound in a template process works in every process forked from it: addresses stay the same, and no thread and no
lock is involved. Threads that each have a store of their own may call at the same time.

A host function may raise anything. Whatever it raises, KeyboardInterrupt and SystemExit included, ends the guest's call
and comes out of the export call as itself. The guest's instance is lost then, as after a trap.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from types import CodeType
from typing import Any

import wasmtime
from wasmtime import component as wc

from theater.core.values import Case, Err, Ok
from theater.errors import WasmtimeNotUnderstood
from theater.wasm import native
from theater.wasm.conform import conform, conform_arguments
from theater.wasm.decode import Decoder, Place, owns_memory
from theater.wasm.encode import REFUSED, Encoder, Frame, make_arena
from theater.wasm.installed import wasmtime_version
from theater.wasm.mode import Mode
from theater.wasm.native import CELL, CallFailed, not_understood
from theater.wasm.signals import cover_entry
from theater.wasm.source import Block, Source, UnsupportedType
from theater.wasm.types import BYTES, Signature, Type

__all__ = [
    "CallFailed",
    "HostFunction",
    "Mode",
    "UnsupportedType",
    "bind_export",
    "bind_import",
    "host_exceptions",
    "self_test",
]


def bind_export(
    store: wasmtime.Store, func: wc.Func, signature: Signature, mode: str, name: str = "call"
) -> Callable[..., Any]:
    """A guest's exported function as a Python function.

    Args:
        store: the instance's `wasmtime.Store`; kept alive by the result.
        func: the instance's `wasmtime.component.Func`.
        signature: the function's type in the guest's own WIT, also where the adapter has rewritten it. It must be true:
            wasmtime's memory is read by it.
        mode: "bytes" if the adapter has rewritten the function, else "plain".
        name: for messages and tracebacks.

    Raises:
        UnsupportedType: values of a type in the signature cannot cross.
        WasmtimeNotUnderstood: see `self_test`.

    The function returned takes the parameters in order. It raises TypeError or ValueError, naming the place, when an
    argument is no value of its type; the guest has not been entered then. It raises `CallFailed` when the guest
    trapped, and whatever a host function raised. It must not be called while it runs.
    """
    self_test()
    plan = _plan_export(signature, Mode(mode))
    arena = make_arena(plan.frame)
    result = bytearray(8 * CELL)
    cell = native.buffer_address(result)
    names = dict(plan.names)
    exec(plan.code, names)
    context = native.address(store._context())
    run: Any = names["bind"](arena.words, arena.address, ctypes.addressof(func._func), context, cell, cell >> 3)
    run.__name__ = run.__qualname__ = name
    run.owners = (store, func, arena, result)  # the addresses above are theirs
    return run  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A host function in a linker. Keep it as long as the linker and every instance made by it."""

    name: str
    callback: Any


def bind_import(
    linker_instance: wc.LinkerInstance, name: str, function: Callable[..., Any], signature: Signature, mode: str
) -> HostFunction:
    """Define `function` as the host function `name`.

    Args:
        linker_instance: the `wasmtime.component.LinkerInstance` of the interface, or the linker's root.
        name: the function's WIT name.
        function: called with the parameters in order; returns a value of the result type, or None if there is none.
        signature: the function's type in the guest's own WIT, also where the adapter has rewritten it. It must be true.
        mode: "bytes" if the adapter has rewritten the function, else "plain".

    A resource is the number the host gave it. `own<R>` as a result gives the guest resource number n of the host type
    whose number is R's in `Interface.resources`: define R with `ResourceType.host` of that number. A resource that
    arrives, owned or borrowed, arrives as its number.

    Raises:
        UnsupportedType: values of a type in the signature cannot cross.
        CallFailed: the linker refuses the definition.
        WasmtimeNotUnderstood: see `self_test`.
    """
    self_test()
    plan = _plan_import(signature, Mode(mode))
    names = dict(plan.names, host=function, pool=[], new_arena=partial(make_arena, plan.frame))
    exec(plan.code, names)
    body = names["callback"]
    body.__name__ = body.__qualname__ = name
    if not cover_entry(body):
        raise WasmtimeNotUnderstood("this Python keeps its exception tables otherwise than CPython 3.11 to 3.13 do")
    callback = native.Callback(body)
    native.define_function(linker_instance, name, callback)
    return HostFunction(name, callback)


@contextmanager
def host_exceptions() -> Iterator[None]:
    """Around wasmtime-py's own calls into a guest (instantiation): errors come out as from a bound export.

    Raises:
        CallFailed: instead of wasmtime.WasmtimeError.
        BaseException: what a host function raised, as itself.
    """
    try:
        yield
    except wasmtime.WasmtimeError as error:
        message = str(error)
        raise (native.parked(message) or CallFailed(message)) from None


# ---- generated code, once per signature


@dataclass(frozen=True, slots=True)
class _Plan:
    """Code for one signature, the names it sees, and the frame it writes to."""

    code: CodeType
    names: dict[str, Any]
    frame: Frame


@lru_cache(maxsize=512)
def _plan_export(signature: Signature, mode: Mode) -> _Plan:
    source = Source(
        func_call=native.func_call, val_delete=native.val_delete, raise_error=native.raise_error, REFUSED=REFUSED
    )
    source.names["settle"] = partial(_settle_arguments, signature)
    arguments = [f"arg{i}_" + re.sub(r"\W", "_", name, flags=re.ASCII) for i, (name, _) in enumerate(signature.params)]
    types = [t for _, t in signature.params]
    encoder, decoder = Encoder(source, mode, resources=False), Decoder(source, mode, resources=False)
    frame = Frame()
    with source.function("def bind(q, a, func, ctx, res, x):") as block:
        with block.under(f"def run({', '.join(arguments)}):"):
            _write_values(block, encoder, frame, types, arguments)
            if signature.result is not None:
                block("W[x] = 0")
            block(f"error = func_call(func, ctx, a, {len(types)}, res, {int(signature.result is not None)})")
            block("if error: raise_error(error)")
            if signature.result is not None:
                _write_result(block, decoder, signature.result)
        block("return run")
    return _Plan(source.compile("export"), source.names, frame)


def _write_values(block: Block, encoder: Encoder, frame: Frame, types: list[Type], variables: list[str]) -> None:
    """Store each variable in a cell of the frame; what is refused is settled once, then stored again."""
    first = frame.take(CELL * len(types))
    if not types:
        return
    block("keep = []; final = False")
    with block.under("while True:"):
        with block.under("try:"):
            for i, (t, variable) in enumerate(zip(types, variables, strict=True)):
                encoder.put(block, frame, first + CELL * i, t, variable)
            block("break")
        with block.under("except REFUSED as refusal:"):
            block(f"[{', '.join(variables)}] = settle(refusal, final, {', '.join(variables)}); final = True")


def _write_result(block: Block, decoder: Decoder, t: Type) -> None:
    """Read the result and give its memory back.

    The call drops what it finds in the result's cell. So the cell is emptied after it was given back, in case a call
    comes in between another and its result; and before each call, for an interrupt may have come in between these two.
    """
    if not owns_memory(t):
        block(f"return {decoder.get(block, Place('x'), t)}")
        return
    with block.under("try:"):
        block(f"return {decoder.get(block, Place('x'), t)}")
    block("finally: val_delete(res); W[x] = 0")


@lru_cache(maxsize=512)
def _plan_import(signature: Signature, mode: Mode) -> _Plan:
    source = Source(val_clone=native.val_clone, park=native.park, REFUSED=REFUSED)
    source.names["settle"] = partial(_settle_result, signature.result)
    encoder, decoder = Encoder(source, mode, resources=True), Decoder(source, mode, resources=True)
    frame = Frame()
    with source.function("def callback(data, ctx, type, args, nargs, results, nresults):") as block:
        # No closure, and `try` first: see `cover_entry`. The outer `try` is for a signal in the inner one's handler.
        with block.under("try:"):
            with block.under("try:"):
                block(
                    f"if nargs != {len(signature.params)}: raise AssertionError('not the signature of this function')"
                )
                block("x = args >> 3")
                values = [decoder.get(block, Place("x", CELL * i), t) for i, (_, t) in enumerate(signature.params)]
                block(f"result = host({', '.join(values)})")
                _write_return(block, encoder, frame, signature.result)
                block("return 0")
            block("except BaseException as error: return park(error)")
        block("except BaseException as error: return park(error)")
    return _Plan(source.compile("import"), source.names, frame)


def _write_return(block: Block, encoder: Encoder, frame: Frame, t: Type | None) -> None:
    """Give the value of the variable `result` to wasmtime, as a copy that it owns."""
    if t is None:
        block("if result is not None: settle(None, False, result)")
        return
    block("arena = pool.pop() if pool else new_arena()", "q = arena.words; a = arena.address")
    _write_values(block, encoder, frame, [t], ["result"])
    block("val_clone(a, results)", "pool.append(arena)")


def _settle_arguments(signature: Signature, refusal: Exception, final: bool, *arguments: Any) -> tuple[Any, ...]:
    """The arguments in canonical form, after the encoder refused them as they were."""
    if final:
        raise refusal
    return conform_arguments(signature, arguments)


def _settle_result(t: Type | None, refusal: Exception | None, final: bool, result: Any) -> tuple[Any]:
    """A host function's result in canonical form, after the encoder refused it as it was."""
    if final and refusal is not None:
        raise refusal
    if t is None:
        raise TypeError(f"the function has no result, but returned {type(result).__name__}")
    return (conform(t, result, "result"),)


# ---- the installed wasmtime


@cache
def self_test() -> None:
    """Prove on the installed wasmtime what the generated code takes for granted. Cheap; done once per process.

    Neither an engine nor a store is made, so a process may fork afterwards.

    Raises:
        WasmtimeNotUnderstood: the version is not the one this was written for, or values do not come back as they went.
    """
    native.check_version(wasmtime_version())
    native.check_layout()
    for value in (_TEST_OK, _TEST_ERR):
        try:
            returned = _clone_and_read(value)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise not_understood(f"a value could not be read back: {error!r}") from error
        if returned != value:
            raise not_understood(f"{value!r} came back as {returned!r}")


_TEST_TYPE: Type = (
    "result",
    (
        "record",
        (
            ("numbers", ("list", ("tuple", ("s16", "u64", "f32", "f64", "bool", "char")))),
            ("content", BYTES),
            ("none", ("option", ("option", "u8"))),
            ("kind", ("variant", (("empty", None), ("full", ("option", "string"))))),
            ("colour", ("enum", ("red", "green"))),
            ("walls", ("flags", ("north", "south", "east"))),
        ),
    ),
    "string",
)
_TEST_OK = Ok(
    {
        "numbers": [(-2, 2**64 - 1, 0.5, -1e300, True, "\U0001d11e"), (2, 3, -0.0, 4.0, False, "a")],
        "content": b"\0bytes",
        "none": None,
        "kind": Case("full", "\u2603"),
        "colour": "green",
        "walls": frozenset(("north", "east")),
    }
)
_TEST_ERR = Err("no")


@cache
def _clone_code() -> tuple[dict[str, Any], Frame]:
    """Functions that write a value of the test's type and have wasmtime copy it, and that read one."""
    source = Source(val_clone=native.val_clone)
    encoder, decoder = Encoder(source, Mode.PLAIN, resources=False), Decoder(source, Mode.PLAIN, resources=False)
    frame = Frame()
    with source.function("def copy(q, a, value, keep, to):") as block:
        encoder.put(block, frame, frame.take(CELL), _TEST_TYPE, "value")
        block("val_clone(a, to)")
    with source.function("def read(x):") as block:
        block(f"return {decoder.get(block, Place('x'), _TEST_TYPE)}")
    exec(source.compile("self_test"), source.names)
    return source.names, frame


def _clone_and_read(value: Any) -> Any:
    """Write a value, let wasmtime copy it cell by cell, and read the copy."""
    names, frame = _clone_code()
    arena, cell = make_arena(frame), bytearray(8 * CELL)
    at = native.buffer_address(cell)
    names["copy"](arena.words, arena.address, value, [], at)
    try:
        return names["read"](at >> 3)
    finally:
        native.val_delete(at)
