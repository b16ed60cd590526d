"""Compiles one component into the cache: `python -m theater.wasm.compile --component FILE --cache DIRECTORY [--fuel]`.

A process that has compiled must not fork (its compiler threads are missing in the child) and keeps hundreds of
megabytes, so compiling has processes of its own, which are thrown away. This one looks at the component, waits for its
turn, and keeps the cache in order; `theater.wasm.compiler`, its child, lets wasmtime loose on the bytes and may die of
them. So there is always a last word, and a component whose wrapper the compiler does not survive is compiled plain.

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
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from theater.core.codec import content_digest
from theater.errors import BuildFailed, ComponentError, ContentDamaged, TheaterError, from_wire
from theater.walls import landlock, places, rooms_children
from theater.walls.landlock import Right
from theater.walls.rooms import enter
from theater.wasm.artefacts import Artefact, ArtefactCache, Meta, not_written
from theater.wasm.binary import COMPONENT_HEADER, CORE_HEADER
from theater.wasm.engine import engine_identity
from theater.wasm.mode import Mode

MAX_COMPONENT: Final = 256 << 20
"""Bytes of the largest component that is read. CPython with numpy has 40 MB."""
_TICK_SECONDS: Final = 1.0
_NICENESS: Final = 10
_TEXT_CONTROLS: Final = frozenset(b"\t\n\r\f")


def main(arguments: list[str] | None = None) -> int:
    """Compiles as the command line says and reports on standard output; returns the exit code."""
    options = _parse(arguments)
    with contextlib.suppress(OSError):  # A hardened service may forbid it.
        os.nice(_NICENESS)  # actors go first
    _seal(options.component, options.cache)
    report = Report()
    with report.ticking():
        try:
            last, code = _compile(options, report)
        except TheaterError as error:
            last, code = error.to_wire(), error.exit_code
    report.write(last)
    return code


def _seal(component: Path, cache: Path) -> None:
    """Leaves this process, and the compiler, the component and the cache, and nobody to speak with."""
    with contextlib.suppress(TheaterError, OSError):
        ArtefactCache(cache)  # Made while it may be; what is wrong with it is said in its turn.
    own = {str(component): Right.READ_FILE, str(cache): landlock.CHANGE}
    enter(rooms_children.COMPILE, {**places.code(executable=True), **own})


def _compile(options: argparse.Namespace, report: Report) -> tuple[dict[str, Any], int]:
    try:
        artefact = compile_component(options.component, ArtefactCache(options.cache), options.fuel, report)
        return {"artefact": str(artefact.path)}, 0
    except OSError as error:
        raise not_written(error, options.cache) from error


def compile_component(path: Path, cache: ArtefactCache, fuel: bool, report: Report) -> Artefact:
    """The artefact of the component at `path`, compiled if it is not in the cache.

    Raises:
        ComponentError: the file is no component that can be used here.
        BuildFailed: the compiler failed.
        OSError: the artefact could not be written.
    """
    report.stage("reading")
    component = read_component(path)
    name = content_digest(component).hex()
    cache.sweep()
    key = cache.key(name, fuel)
    with cache.locked(key, lambda: report.stage("waiting")):
        found = _find(cache, name, fuel)
        return found or _make(path, cache, key, name, fuel, report)


def _find(cache: ArtefactCache, component: str, fuel: bool) -> Artefact | None:
    with contextlib.suppress(ContentDamaged):
        return cache.find(component, fuel)
    return None


# ---- the component's bytes


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
    if COMPONENT_HEADER.startswith(content):
        return f"is cut off after {len(content)} bytes"
    if content.startswith(COMPONENT_HEADER[:4]):
        return f"is WebAssembly of a version that is not known here ({content[4:8].hex(' ')})"
    if _is_text(content):
        return "is text, not a compiled component; `theater build` makes components from source"
    return "is not WebAssembly"


def _is_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in _TEXT_CONTROLS for byte in content[:4096])


# ---- the compiler


def _make(path: Path, cache: ArtefactCache, key: str, component: str, fuel: bool, report: Report) -> Artefact:
    """Has the component compiled; once more without its wrapper, if the compiler did not survive that."""
    output = cache.temporary(key)
    try:
        made = _run_compilers(path, output, fuel, report)
        if made["component"] != component:
            raise BuildFailed(f"{path} was changed while it was being compiled")
        facts = {**made, "mode": Mode(made["mode"])}
        return cache.publish(key, output, Meta(fuel=fuel, engine=engine_identity(fuel), **facts))
    finally:
        output.unlink(missing_ok=True)


class _CompilerDied(Exception):
    """The compiler's process ended without a word."""


def _run_compilers(path: Path, output: Path, fuel: bool, report: Report) -> dict[str, Any]:
    try:
        return _run_compiler(path, output, fuel, report, plain=None)
    except _CompilerDied as died:
        reason = f"while the wrapped component was compiled, {died}"
    try:
        return _run_compiler(path, output, fuel, report, plain=reason)
    except _CompilerDied as died:
        raise BuildFailed(f"the component could not be compiled: {died}") from died


def _run_compiler(path: Path, output: Path, fuel: bool, report: Report, *, plain: str | None) -> dict[str, Any]:
    """What the compiler says that it made.

    Args:
        plain: None to wrap the component, else why it is not to be wrapped.

    Raises:
        TheaterError: what the compiler says is wrong.
    """
    command = [sys.executable, "-m", "theater.wasm.compiler", "--component", str(path), "--output", str(output)]
    command += ["--parent", str(os.getpid())]
    command += ["--fuel"] if fuel else []
    command += [] if plain is None else ["--plain", plain]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as compiler:
        assert compiler.stdout is not None
        said = [_heard(line, report) for line in compiler.stdout]
    last = said[-1] if said else {}
    if "made" in last:
        made: dict[str, Any] = last["made"]
        return made
    if "error" in last:
        raise from_wire(last)
    raise _CompilerDied(f"the compiler was ended by {_cause(compiler.returncode)}")


def _heard(line: str, report: Report) -> dict[str, Any]:
    """One line of the compiler's: stages are reported on."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    if "stage" in said:
        report.stage(str(said["stage"]))
    return said


def _cause(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


# ---- reporting


class Report:
    """Writes JSON lines to standard output; says every second that the work goes on.

    If nobody reads any more the work has lost its purpose, and the process ends.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._stage = "reading"
        self._lock = threading.Lock()

    def stage(self, name: str) -> None:
        """Reports that a stage begins."""
        self._stage = name
        self._progress()

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Repeats the current stage every second meanwhile."""
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(done,), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()

    def write(self, line: dict[str, Any]) -> None:
        """Writes one object."""
        try:
            with self._lock:
                print(json.dumps(line), flush=True)
        except OSError:
            os._exit(BuildFailed.exit_code)

    def _progress(self) -> None:
        self.write({"progress": self._stage, "elapsed": round(time.monotonic() - self._began, 2)})

    def _tick(self, done: threading.Event) -> None:
        while not done.wait(_TICK_SECONDS):
            self._progress()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m theater.wasm.compile", description="Compiles a WebAssembly component into a cache."
    )
    parser.add_argument("--component", type=Path, required=True, metavar="FILE", help="the component's binary")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIRECTORY", help="where compiled components are")
    parser.add_argument("--fuel", action="store_true", help="count instructions")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
