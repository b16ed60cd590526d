"""Compiles one component and dies: `python -m theater.wasm.compile --component FILE --cache DIRECTORY [--fuel]`.

A process that has compiled must not fork (its compiler threads are missing in the child) and keeps hundreds of
megabytes, so compiling has a process of its own. It is also where a component is looked at for the first time: what
is wrong with it is said here, in one sentence.

Standard output is JSON, one object a line:

    {"progress": "compiling", "elapsed": 3.1}        again and again; stages: reading waiting wrapping compiling writing
    {"artefact": "/path/of/the/artefact.cwasm"}      last line of a success, exit code 0
    {"error": "ComponentError", "message": "..."}    last line of a failure, exit code of the class: 3 the component is
                                                     at fault, 13 compiling failed, 10 the disk is full

Two processes that are given the same component compile it once: the second waits, and finds what the first has made.
Of a killed one nothing remains but files that the next one sweeps away.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import wasmtime
from wasmtime.component import Component

from theater.core.codec import content_digest
from theater.errors import BuildFailed, ComponentError, ContentDamaged, DiskFull, TheaterError
from theater.wasm import adapter
from theater.wasm.artefacts import Artefact, ArtefactCache, Meta, Mode
from theater.wasm.binary import COMPONENT_HEADER, CORE_HEADER
from theater.wasm.engine import engine, engine_identity
from theater.wasm.types import Interfaces, describe, to_plain

MAX_COMPONENT: Final = 256 << 20
"""Bytes of the largest component that is read. CPython with numpy has 40 MB."""
MAX_CPU_SECONDS: Final = 600
"""Processor time after which the kernel ends the compiler: a component can be made to be slow to compile."""
MAX_DATA: Final = 8 << 30
"""Bytes of private memory that the compiler may use; a CPython component takes 0.4 GB."""
_TICK_SECONDS: Final = 1.0
_NICENESS: Final = 10
_SUMMARY: Final = "Compiles a WebAssembly component into a cache of native code."
_NUMBERED: Final = re.compile(r"^\d+: ")  # wasmtime numbers the causes of an error if there are several


def main(arguments: list[str] | None = None) -> int:
    """Compiles as the command line says and reports on standard output; returns the exit code."""
    options = _parse(arguments)
    _limit_myself()
    report = _Report()
    try:
        artefact = compile_component(options.component, ArtefactCache(options.cache), options.fuel, report)
    except TheaterError as error:
        report.write({"error": type(error).__name__, "message": error.message, "details": error.details})
        return error.exit_code
    report.write({"artefact": str(artefact.path)})
    return 0


def compile_component(path: Path, cache: ArtefactCache, fuel: bool, report: _Report) -> Artefact:
    """The artefact of the component at `path`, compiled if it is not in the cache.

    Raises:
        ComponentError: the file is no component that can be used here.
        BuildFailed: the compiler failed.
        DiskFull: the artefact could not be written.
    """
    with report.stage("reading"):
        component = read_component(path)
        name = content_digest(component).hex()
        cache.sweep()
    key = cache.key(name, fuel)
    with cache.locked(key, lambda: report.say("waiting")):
        found = _find(cache, name, fuel)
        if found is not None:
            return found
        made = _make(component, fuel, report)
        with report.stage("writing"):
            return _publish(cache, key, name, fuel, made)


def read_component(path: Path) -> bytes:
    """The bytes of the component at `path`.

    Raises:
        ComponentError: it cannot be read, or is something else than a component.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_COMPONENT + 1)
    except OSError as error:
        raise ComponentError(f"cannot read the component {path}: {error.strerror}") from error
    reason = _not_a_component(content)
    if reason:
        raise ComponentError(f"{path} {reason}")
    return content


def _not_a_component(content: bytes) -> str:
    """Why these bytes cannot be a component; empty if they may be one."""
    if not content:
        return "is empty"
    if len(content) > MAX_COMPONENT:
        return f"is larger than the {MAX_COMPONENT >> 20} MiB that a component may have"
    if content.startswith(COMPONENT_HEADER):
        return ""
    if content.startswith(CORE_HEADER):
        return "is a core WebAssembly module, not a component; build it as a component (WASI preview 2)"
    if COMPONENT_HEADER.startswith(content[: len(COMPONENT_HEADER)]):
        return f"is cut off after {len(content)} bytes"
    if content.startswith(b"\0asm"):
        return f"is WebAssembly of a version that is not known here ({content[4:8].hex(' ')})"
    if _is_text(content):
        return "is text, not a compiled component; `theater build` makes components from source"
    return "is not WebAssembly"


def _is_text(content: bytes) -> bool:
    head = content[:4096]
    return b"\0" not in head and not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)


# ---- compiling


class _Made(NamedTuple):
    """A compiled component, and what `Meta` says of how it was made."""

    artefact: bytes
    mode: Mode
    reason: str
    wrapper: str
    wrapped: dict[str, list[str]]
    interfaces: Interfaces


def _make(component: bytes, fuel: bool, report: _Report) -> _Made:
    """Compiles the component, in its wrapper if it can be wrapped."""
    compiler = engine(fuel, parallel=True)
    with report.stage("wrapping"):
        wrapped, reason = _wrap(component)
    with report.stage("compiling"):
        if wrapped is not None:
            try:
                return _in_wrapper(wrapped, compiler)
            except wasmtime.WasmtimeError as error:
                reason = f"the wrapped component does not compile: {_sentence(error)}"
        return _bare(component, compiler, reason)


def _wrap(component: bytes) -> tuple[adapter.Wrapped | None, str]:
    """The component in its wrapper, or None and why not. Whatever fails here, the plain mode remains."""
    try:
        return adapter.wrap(component), ""
    except Exception as error:
        return None, _sentence(error)


def _in_wrapper(wrapped: adapter.Wrapped, compiler: wasmtime.Engine) -> _Made:
    artefact = bytes(Component(compiler, wrapped.binary).serialize())
    wrapper = content_digest(wrapped.binary).hex()
    plan = wrapped.plan
    return _Made(artefact, Mode.BYTES, "", wrapper, plan.wrapped(), plan.interfaces)


def _bare(component: bytes, compiler: wasmtime.Engine, reason: str) -> _Made:
    """Compiles the component as it is. What fails here is the component's own fault, or the compiler's."""
    try:
        compiled = Component(compiler, component)
    except wasmtime.WasmtimeError as error:
        raise _blame(error) from error
    return _Made(bytes(compiled.serialize()), Mode.PLAIN, reason, "", {}, describe(compiled.type, compiler))


def _blame(error: wasmtime.WasmtimeError) -> TheaterError:
    """Whose fault it is that a component does not compile."""
    text = str(error)
    sentence = _sentence(error)
    if "component model async feature" in text:
        return ComponentError(f"the component has async functions, but actors are synchronous: {sentence}")
    if "end-of-file" in text or "out of bounds (bound =" in text:
        return ComponentError(f"the component is cut off: {sentence}")
    if "failed to parse" in text or "Invalid input WebAssembly" in text:
        return ComponentError(f"the component is not valid here: {sentence}")
    return BuildFailed(f"the component could not be compiled: {sentence}")


def _sentence(error: Exception) -> str:
    """The root cause, which wasmtime writes last, on one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _NUMBERED.sub("", lines[-1].strip())[:500]


# ---- the cache


def _find(cache: ArtefactCache, component: str, fuel: bool) -> Artefact | None:
    with contextlib.suppress(ContentDamaged):
        return cache.find(component, fuel)
    return None


def _publish(cache: ArtefactCache, key: str, component: str, fuel: bool, made: _Made) -> Artefact:
    meta = Meta(
        component=component,
        fuel=fuel,
        mode=made.mode,
        reason=made.reason,
        wrapper=made.wrapper,
        wrapped=made.wrapped,
        engine=engine_identity(fuel),
        interfaces=to_plain(made.interfaces),
        artefact=content_digest(made.artefact).hex(),
        size=len(made.artefact),
    )
    try:
        return cache.publish(key, made.artefact, meta)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room for the compiled component in {cache.directory}: {error.strerror}") from error
        raise BuildFailed(f"the compiled component could not be written to {cache.directory}: {error}") from error


# ---- the process


class _Report:
    """Writes JSON lines to standard output; says every second that the work goes on.

    If nobody reads any more, the work has lost its purpose, and the process ends.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Reports the stage `name` when it begins, and again every second until it ends."""
        done = threading.Event()
        self.say(name)
        ticker = threading.Thread(target=self._repeat, args=(name, done), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()

    def say(self, stage: str) -> None:
        self.write({"progress": stage, "elapsed": round(time.monotonic() - self._began, 2)})

    def write(self, line: dict[str, object]) -> None:
        try:
            with self._lock:
                print(json.dumps(line), flush=True)
        except OSError:
            os._exit(BuildFailed.exit_code)

    def _repeat(self, name: str, done: threading.Event) -> None:
        while not done.wait(_TICK_SECONDS):
            self.say(name)


def _limit_myself() -> None:
    """A component that was made to be hard to compile ends this process, not the machine; actors go first."""
    os.nice(_NICENESS)
    _lower(resource.RLIMIT_CPU, MAX_CPU_SECONDS)
    _lower(resource.RLIMIT_DATA, MAX_DATA)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(limit: int, value: int) -> None:
    soft, hard = resource.getrlimit(limit)
    wanted = value if soft == resource.RLIM_INFINITY else min(value, soft)
    resource.setrlimit(limit, (wanted, hard))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m theater.wasm.compile", description=_SUMMARY)
    parser.add_argument("--component", type=Path, required=True, metavar="FILE", help="the component's binary")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIRECTORY", help="where compiled components are")
    parser.add_argument("--fuel", action="store_true", help="count instructions")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
