"""The process in which wasmtime compiles one component. Started by `theater.wasm.compile`, which speaks for it.

It is given a file that may have been written to break it. If the compiler aborts, or is ended for the processor time
or the memory that it took, only this process goes; what it wrote so far is never used.

Standard output is JSON, one object a line: `{"stage": "compiling"}` when a stage begins, and at the end
`{"made": {...}}` with what `artefacts.Meta` says of the artefact, or `{"error": class, "message": text}`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

import wasmtime
from wasmtime.component import Component

from theater.core.codec import content_digest
from theater.errors import BuildFailed, ComponentError, TheaterError
from theater.walls import places, rooms_children
from theater.walls.landlock import Right
from theater.walls.rooms import enter
from theater.wasm import adapter
from theater.wasm.artefacts import not_written, write_durably
from theater.wasm.engine import engine
from theater.wasm.hatch import Hatch, cut_hatch, with_adapters, without_hatch
from theater.wasm.mode import Mode
from theater.wasm.types import Interfaces, describe, to_plain

MAX_CPU_SECONDS: Final = 600
"""Processor time after which the kernel ends the compiler: a component can be made to be slow to compile."""
MAX_DATA: Final = 8 << 30
"""Bytes of private memory that the compiler may use; a CPython component takes 0.4 GB."""
_PR_SET_PDEATHSIG: Final = 1
_AS_IT_IS: Final = "it had to be compiled as it is"
_NUMBERED: Final = re.compile(r"^\d+: ")  # wasmtime numbers the causes of an error if there are several


def main(arguments: list[str] | None = None) -> int:
    """Compiles as the command line says; returns the exit code."""
    options = _parse(arguments)
    _die_with(options.parent)
    _limit_myself()
    _seal(options.component, options.output)
    component = options.component.read_bytes()
    try:
        made = compile_component(component, options.output, options.fuel, wrap=options.plain is None)
        reason = made["reason"] or options.plain or ""
        _say({"made": {**made, "component": content_digest(component).hex(), "reason": reason}})
        return 0
    except TheaterError as error:
        _say(error.to_wire())
        return error.exit_code


def compile_component(component: bytes, output: Path, fuel: bool, *, wrap: bool) -> dict[str, Any]:
    """Compiles a component into a file, in its wrapper if it can be wrapped.

    Args:
        output: the file to write; its content is on the disk when this returns.
        wrap: False to compile the component as it is.

    Returns:
        What `artefacts.Meta` says of the artefact: `mode` `reason` `wrapper` `wrapped` `interfaces` `hatch` `artefact`
        `size`.

    Raises:
        ComponentError: the component is not valid here.
        BuildFailed: the compiler failed, or the file could not be written.
        DiskFull: there was no room for the file.
    """
    compiler = engine(fuel, parallel=True)
    hatched, hatch = cut_hatch(component) if wrap else (component, Hatch(unportable=_AS_IT_IS))
    wrapped, reason = _wrap(hatched) if wrap else (None, "")
    _say({"stage": "compiling"})
    if wrapped is not None:
        plan = wrapped.plan
        try:
            compiled = Component(compiler, wrapped.binary)
            # Calls believe the plan with this process' memory, so it must be what was compiled.
            plan.verify(describe(compiled.type, compiler))
        except wasmtime.WasmtimeError as error:
            reason = f"the wrapped component does not compile: {_sentence(error)}"
        except adapter.CannotWrap as error:
            reason = f"the wrapper is not what it was meant to be: {_sentence(error)}"
        else:
            wrapper = content_digest(wrapped.binary).hex()
            hatch = with_adapters(hatch, plan.hatches)
            return _write(output, compiled, plan.interfaces, Mode.BYTES, hatch, wrapper=wrapper, wrapped=plan.wrapped())
    if hatched is not component:
        try:
            compiled = Component(compiler, hatched)
        except wasmtime.WasmtimeError as error:
            hatch = Hatch(unportable=f"with its hatch the component does not compile: {_sentence(error)}")
        else:
            wrapper = content_digest(hatched).hex()
            interfaces = describe(compiled.type, compiler)
            return _write(output, compiled, interfaces, Mode.PLAIN, hatch, wrapper=wrapper, reason=reason)
    compiled = _compile_plain(component, compiler)
    return _write(output, compiled, describe(compiled.type, compiler), Mode.PLAIN, hatch, reason=reason)


def _wrap(component: bytes) -> tuple[adapter.Wrapped | None, str]:
    """The component in its wrapper, or None and why not. Whatever fails here, the plain mode remains."""
    _say({"stage": "wrapping"})
    try:
        return adapter.wrap(component), ""
    except Exception as error:
        return None, _sentence(error)


def _compile_plain(component: bytes, compiler: wasmtime.Engine) -> Component:
    """What fails here is the component's own fault, or the compiler's."""
    try:
        return Component(compiler, component)
    except wasmtime.WasmtimeError as error:
        raise _blame(error) from error


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


def _write(
    output: Path,
    compiled: Component,
    interfaces: Interfaces,
    mode: Mode,
    hatch: Hatch,
    *,
    reason: str = "",
    wrapper: str = "",
    wrapped: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    _say({"stage": "writing"})
    artefact = compiled.serialize()
    try:
        write_durably(output, artefact)
    except OSError as error:
        raise not_written(error, output.parent) from error
    return {
        "mode": mode,
        "reason": reason,
        "wrapper": wrapper,
        "wrapped": wrapped or {},
        "interfaces": to_plain(interfaces if hatch.unportable else without_hatch(interfaces)),
        "hatch": hatch.to_plain(),
        "artefact": content_digest(bytes(artefact)).hex(),
        "size": len(artefact),
    }


# ---- the process


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _die_with(parent: int) -> None:
    """Without the process that speaks for it the work has no purpose (prctl(2)); it may be gone already."""
    ctypes.CDLL(None).prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _limit_myself() -> None:
    _lower(resource.RLIMIT_CPU, MAX_CPU_SECONDS)
    _lower(resource.RLIMIT_DATA, MAX_DATA)
    _lower(resource.RLIMIT_CORE, 0)


def _seal(component: Path, output: Path) -> None:
    """Leaves this process one file to read and one to write, before it looks at what may be there to break it."""
    write_durably(output, b"")
    own = {str(component): Right.READ_FILE, str(output): Right.WRITE_FILE | Right.TRUNCATE}
    enter(rooms_children.compiler(), {**places.code(), **own})


def _lower(limit: int, value: int) -> None:
    soft, hard = resource.getrlimit(limit)
    wanted = value if soft == resource.RLIM_INFINITY else min(value, soft)
    resource.setrlimit(limit, (wanted, hard))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m theater.wasm.compiler")
    parser.add_argument("--component", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the process that waits")
    parser.add_argument("--fuel", action="store_true")
    parser.add_argument("--plain", metavar="REASON", help="do not wrap, and say why")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
