"""Components written as text, compiled by the real compile child, and hosts to link them to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime

from theater.core.codec import content_digest
from theater.wasm.artefacts import Artefact, ArtefactCache, compile_command

ROOT = Path(__file__).parents[2]

LIBC = """
  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 4096))
    (func $cabi_realloc (export "cabi_realloc") (param $old i32) (param $osz i32) (param $al i32) (param $nsz i32)
        (result i32)
      (local $p i32) (local $end i32)
      (local.set $p (i32.and (i32.add (global.get $top) (i32.sub (local.get $al) (i32.const 1)))
                             (i32.sub (i32.const 0) (local.get $al))))
      (local.set $end (i32.add (local.get $p) (local.get $nsz)))
      (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
        (then (if (i32.eq (i32.const -1)
            (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $nsz) (i32.const 16)))))
          (then unreachable))))
      (global.set $top (local.get $end))
      (if (local.get $osz) (then (memory.copy (local.get $p) (local.get $old) (local.get $osz))))
      (local.get $p))
    (func (export "reset") (global.set $top (i32.const 4096))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $mem))
  (alias core export $libc "cabi_realloc" (core func $realloc))
"""
"""A memory of two pages, and an allocator that forgets everything on `reset`."""

API = "test:faults/api@1.0.0"
HOST = "test:faults/host@1.0.0"

_MAIN = """
  (core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "cabi_realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (import "libc" "reset" (func $reset))
    (import "host" "ask" (func $ask (param i32) (result i32)))
    (import "host" "give" (func $give (param i32 i32 i32)))
    (table $table 2 funcref)
    (elem (table $table) (i32.const 1) func $nothing)
    (type $wrong (func (param i64)))
    (global $count (mut i32) (i32.const 0))
    (func $nothing)
    (func $deeper (param i32) (result i32)
      (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
    (func (export "answer") (result i32) i32.const 7)
    (func (export "unreachable") (result i32) unreachable)
    (func (export "recurse") (result i32) (call $deeper (i32.const 0)))
    (func (export "out-of-bounds") (result i32) (i32.load (i32.const -8)))
    (func (export "divide") (result i32) (i32.div_u (i32.const 1) (i32.const 0)))
    (func (export "overflow") (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))
    (func (export "convert") (result i32) (i32.trunc_f32_s (f32.const nan)))
    (func (export "call-null") (result i32) (call_indirect (i32.const 0)) i32.const 0)
    (func (export "call-nothing") (result i32) (call_indirect (i32.const 9)) i32.const 0)
    (func (export "call-other") (result i32) (call_indirect (type $wrong) (i64.const 0) (i32.const 1)) i32.const 0)
    (func (export "loop") (result i32) (loop (br 0)) unreachable)
    (func (export "count") (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count))
    (func (export "ask-for-ever") (result i32) (loop (drop (call $ask (i32.const 1))) (br 0)) unreachable)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "allocate") (param i32) (result i32)
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get 0)))
    (func (export "ask") (param i32) (result i32) (call $ask (local.get 0)))
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) i32.const 16)
    (func (export "give") (param i32 i32) (result i32)
      (call $give (local.get 0) (local.get 1) (i32.const 16)) i32.const 16)
    (func (export "done") (param i32) (call $reset)))
"""
_ASKING = ("answer", "unreachable", "recurse", "out-of-bounds", "divide", "overflow", "convert", "call-null")
_ASKING += ("call-nothing", "call-other", "loop", "count", "ask-for-ever")
_OF_NUMBERS = ("grow", "allocate", "ask")
_OF_BYTES = ("echo", "give")


def faults() -> str:
    """A component that fails in every way on demand, counts, asks its host, and echoes."""
    functions = [
        *(f'(func ${name} (result u32) (canon lift (core func $main "{name}")))' for name in _ASKING),
        *(
            f'(func ${name} (param "number" u32) (result u32) (canon lift (core func $main "{name}")))'
            for name in _OF_NUMBERS
        ),
        *(
            f'(func ${name} (param "data" (list u8)) (result (list u8)) (canon lift (core func $main "{name}")'
            " (memory $mem) (realloc $realloc) (post-return (core func $done))))"
            for name in _OF_BYTES
        ),
    ]
    exports = " ".join(f'(export "{name}" (func ${name}))' for name in (*_ASKING, *_OF_NUMBERS, *_OF_BYTES))
    return f"""(component
      (import "{HOST}" (instance $host
        (export "ask" (func (param "number" u32) (result u32)))
        (export "give" (func (param "data" (list u8)) (result (list u8))))))
      {LIBC}
      (core func $ask (canon lower (func $host "ask")))
      (core func $give (canon lower (func $host "give") (memory $mem) (realloc $realloc)))
      {_MAIN}
      (core instance $main (instantiate $main
        (with "libc" (instance $libc))
        (with "host" (instance (export "ask" (func $ask)) (export "give" (func $give))))))
      (alias core export $main "done" (core func $done))
      {chr(10).join(functions)}
      (instance $api {exports})
      (export "{API}" (instance $api)))"""


def slow(functions: int = 2500) -> str:
    """A component that takes a second or two to compile."""
    body = " ".join(
        f"(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const {n})) (i32.const 77)))" for n in range(60)
    )
    core = "\n".join(f"(func (param i32) (result i32) {body} (local.get 0))" for _ in range(functions))
    return f"""(component {LIBC}
      (core module $m {core}
        (func (export "f") (param i32 i32) (result i32) i32.const 0))
      (core instance $i (instantiate $m))
      (func (export "f") (param "data" (list u8)) (result u32)
        (canon lift (core func $i "f") (memory $mem) (realloc $realloc))))"""


def write_component(directory: Path, text: str, name: str = "component.wasm") -> Path:
    path = directory / name
    path.write_bytes(bytes(wasmtime.wat2wasm(text)))
    return path


def compile_child(component: Path, cache: Path, fuel: bool = False) -> subprocess.CompletedProcess[str]:
    """The compile child, run to its end."""
    command = compile_command(component, cache, fuel)
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def compiled(directory: Path, text: str, fuel: bool = False) -> Artefact:
    """The artefact of a component given as text."""
    path = write_component(directory, text)
    child = compile_child(path, directory / "cache", fuel)
    assert child.returncode == 0, child.stdout + child.stderr
    found = ArtefactCache(directory / "cache").find(content_digest(path.read_bytes()).hex(), fuel)
    assert found is not None
    return found


class World:
    """The WASI side of a host that writes down what it was asked, or answers from such a record.

    Args:
        recorded: answers to give instead of computing them, in order.
    """

    def __init__(self, recorded: list[Any] | None = None) -> None:
        self.asked: list[tuple[str, str, tuple[Any, ...]]] = []
        self.answers: list[Any] = []
        self.written: list[tuple[str, bytes]] = []
        self.slept: list[int] = []
        self._recorded = recorded

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        self.asked.append((interface, function, args))
        value = compute() if self._recorded is None else self._recorded[len(self.answers)]
        self.answers.append(value)
        return value

    def output(self, stream: str, data: bytes) -> None:
        self.written.append((stream, data))

    def sleep(self, ns: int) -> None:
        self.slept.append(ns)


class Host:
    """Gives each import the function of that name, and notes with what it was called."""

    def __init__(self, world: World | None = None, **functions: Callable[..., Any]) -> None:
        self.wasi = world or World()
        self.functions = {"ask": lambda number: number + 1, "give": lambda data: data[::-1], **functions}

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any] | None:
        return self.functions.get(function.replace("-", "_"))
