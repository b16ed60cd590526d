"""The engine: one configuration, its name, and deadlines that strike while wasm runs."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import math
import os
import resource
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest
import wasmtime
from compiled import ROOT
from wasmtime.component import Component, Linker

from theater.wasm.deadline import Deadline, _SigEvent
from theater.wasm.engine import MAX_WASM_STACK, SETTINGS, engine, engine_identity


def in_new_process(source: str) -> Any:
    """What a fresh Python prints as JSON."""
    command = [sys.executable, "-c", textwrap.dedent(source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def function_of(
    core: str, signature: str, fuel: int | None = None, compiler: wasmtime.Engine | None = None
) -> Callable[..., Any]:
    """The function `f` of a component whose core module is given as text."""
    compiler = compiler or engine(fuel is not None)
    text = f"""(component (core module $m {core}) (core instance $i (instantiate $m))
      (func (export "f") {signature} (canon lift (core func $i "f"))))"""
    component = Component(compiler, bytes(wasmtime.wat2wasm(text)))
    store = wasmtime.Store(compiler)
    store.set_epoch_deadline(1)
    if fuel is not None:
        store.set_fuel(fuel)
    function = Linker(compiler).instantiate(store, component).get_func(store, "f")
    assert function is not None
    return lambda *arguments: function(store, *arguments)


LOOP = '(func (export "f") (loop (br 0)))'

# ---- identity


def test_the_identity_is_told_without_loading_wasmtime() -> None:
    loaded = in_new_process("""
        import json, sys
        from theater.wasm.engine import engine_identity
        identity = engine_identity(False)
        print(json.dumps(["wasmtime" in sys.modules, identity]))
    """)
    assert loaded == [False, engine_identity(False)]


def test_a_spawner_imports_no_readers_of_mail_and_archives() -> None:
    """Each takes longer than most of what a worker needs; the version of wasmtime is known without them."""
    loaded = in_new_process("""
        import json, sys
        import theater.server.spawner
        from theater.wasm.engine import engine_identity
        engine_identity(False)
        print(json.dumps(sorted({"email", "zipfile", "difflib", "importlib.metadata"} & {*sys.modules})))
    """)
    assert loaded == []


def test_the_identity_names_version_settings_and_processor() -> None:
    identity = engine_identity(True)
    assert identity["version"] == importlib.metadata.version("wasmtime")
    assert identity["fuel"] is True
    assert identity["settings"] == SETTINGS
    cpu = identity["cpu"]
    assert isinstance(cpu, dict)
    assert cpu["machine"] == os.uname().machine
    assert len(bytes.fromhex(cpu["digest"])) == 32


def test_code_with_fuel_has_another_identity() -> None:
    assert engine_identity(True) != engine_identity(False)


# ---- what guests may do


@pytest.mark.parametrize(
    "core",
    [
        "(memory 1 1 shared)",
        "(memory i64 1)",
        "(type (struct))",
        "(tag (param i32))",
        "(func (param externref))",
        "(func $f return_call $f)",
    ],
    ids=["threads", "memory64", "gc", "exceptions", "externref", "tail calls"],
)
def test_what_no_supported_language_needs_is_refused(core: str) -> None:
    component = bytes(wasmtime.wat2wasm(f"(component (core module {core}))"))
    with pytest.raises(wasmtime.WasmtimeError):
        Component(engine(False), component)


def test_async_functions_are_refused() -> None:
    component = bytes(wasmtime.wat2wasm('(component (import "f" (func async)))'))
    with pytest.raises(wasmtime.WasmtimeError, match="async"):
        Component(engine(False), component)


def test_every_nan_is_the_canonical_one() -> None:
    core = """(func (export "f") (param i32) (result i32)
      (i32.reinterpret_f32 (f32.add (f32.reinterpret_i32 (local.get 0)) (f32.const 1))))"""
    bits = function_of(core, '(param "bits" u32) (result u32)')
    assert math.isnan(struct.unpack("f", struct.pack("I", 0xFFC12345))[0])
    assert bits(0xFFC12345) == 0x7FC00000


def test_a_loop_without_end_runs_out_of_fuel() -> None:
    with pytest.raises(wasmtime.WasmtimeError, match="all fuel consumed"):
        function_of(LOOP, "", fuel=10_000)()


def test_a_stack_that_wasm_would_overrun_is_refused() -> None:
    sentence = in_new_process(f"""
        import json, resource
        resource.setrlimit(resource.RLIMIT_STACK, ({2 * MAX_WASM_STACK - 4096}, resource.RLIM_INFINITY))
        from theater.errors import LimitExceeded
        from theater.wasm.engine import engine
        try:
            engine(False)
            print(json.dumps("accepted"))
        except LimitExceeded as refused:
            print(json.dumps(str(refused)))
    """)
    assert "stack limit" in sentence
    assert resource.getrlimit(resource.RLIMIT_STACK)[0] != 2 * MAX_WASM_STACK - 4096


# ---- deadlines


def loop_until(seconds: float) -> float:
    """How long a busy loop ran that a deadline stopped."""
    compiler = engine(False)
    loop = function_of(LOOP, "", compiler=compiler)
    deadline = Deadline(compiler)
    began = time.monotonic()
    deadline.arm(seconds)
    with pytest.raises(wasmtime.WasmtimeError, match="wasm trap: interrupt"):
        loop()
    ran = time.monotonic() - began
    assert deadline.disarm()
    deadline.close()
    return ran


def test_a_deadline_stops_a_loop_that_does_nothing() -> None:
    assert 0.05 <= loop_until(0.05) < 2


def test_a_deadline_of_no_time_strikes_at_once() -> None:
    assert loop_until(0) < 2


def test_a_disarmed_deadline_has_not_passed_and_does_not_strike() -> None:
    compiler = engine(False)
    deadline = Deadline(compiler)
    deadline.arm(3600)
    remaining = deadline.remaining()
    assert remaining is not None
    assert 3590 < remaining <= 3600
    assert not deadline.disarm()
    assert deadline.remaining() is None
    deadline.close()


def test_what_was_never_armed_has_no_deadline() -> None:
    assert Deadline(engine(False)).remaining() is None


def test_arming_again_replaces_the_deadline() -> None:
    deadline = Deadline(engine(False))
    deadline.arm(0.001)
    deadline.arm(3600)
    assert not deadline.disarm()
    deadline.close()


def test_a_process_without_timers_hears_it() -> None:
    sentence = in_new_process("""
        import json, resource
        from theater.errors import LimitExceeded
        from theater.wasm.deadline import Deadline, _SigEvent
        from theater.wasm.engine import engine
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
        try:
            Deadline(engine(False)).arm(1)
            print(json.dumps("armed"))
        except LimitExceeded as refused:
            print(json.dumps(str(refused)))
    """)
    assert "timer" in sentence


def test_arming_and_disarming_cost_microseconds() -> None:
    deadline = Deadline(engine(False))
    deadline.arm(30)
    best = min(_time_of_a_pair(deadline) for _ in range(20))
    deadline.close()
    assert best < 30e-6


def _time_of_a_pair(deadline: Deadline) -> float:
    began = time.perf_counter()
    for _ in range(100):
        deadline.arm(30)
        deadline.disarm()
    return (time.perf_counter() - began) / 100


def test_ctypes_agrees_with_the_kernel_on_the_size_of_a_sigevent() -> None:
    assert ctypes.sizeof(_SigEvent) == 64
