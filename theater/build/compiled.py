"""A component compiled for this machine, so that its first start need not wait."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path

from theater.build.progress import Progress, silent
from theater.core.codec import content_digest
from theater.errors import BuildFailed, ContentDamaged, TheaterError
from theater.wasm import artefacts
from theater.wasm.artefacts import Artefact, ArtefactCache, compile_command, parse_report


def ensure_compiled(cache: Path, component: Path, progress: Progress = silent, *, fuel: bool = False) -> Artefact:
    """The compiled form of a component, made in a process of its own if the cache has none.

    Args:
        cache: the directory of compiled components, `artefacts` in the machine's cache.
        component: the component's file.
        progress: told every second that the compiler works.
        fuel: whether the code counts instructions.

    Raises:
        ComponentError: the file is no component that can be used here.
        BuildFailed: the compiler failed.
        DiskFull: there is no room for the result.
    """
    known = ArtefactCache(cache)
    found = _find(known, component, fuel)
    if found is None:
        _compile(compile_command(component, cache, fuel), component.name, progress)
        found = _find(known, component, fuel)
    if found is None:
        raise BuildFailed(f"{component} was compiled, and then changed or vanished")
    return found


def _find(cache: ArtefactCache, component: Path, fuel: bool) -> Artefact | None:
    try:
        return cache.find(content_digest(component.read_bytes()).hex(), fuel)
    except (OSError, ContentDamaged):
        # The compiler says what is wrong with the file, and replaces what is damaged.
        return None


def _compile(command: list[str], name: str, progress: Progress) -> None:
    """Runs the compiler to its end."""
    last: artefacts.Progress | Path | TheaterError | None = None
    with (
        tempfile.TemporaryFile() as noise,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=noise, text=True, errors="replace"
        ) as compiler,
    ):
        try:
            assert compiler.stdout is not None
            for line in compiler.stdout:
                last = parse_report(line)
                if isinstance(last, artefacts.Progress):
                    progress(f"{last.stage} {name} ({last.elapsed:.0f} s)")
        except BaseException:
            compiler.kill()
            raise
        status = compiler.wait()
        if isinstance(last, Path) and status == 0:
            return
        if isinstance(last, TheaterError):
            raise last
        noise.seek(0)
        raise BuildFailed(f"the compiler {_end(status)}: {_said(noise.read())}")


def _end(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _said(printed: bytes) -> str:
    """The first lines on standard error, where a panic says why, and the last, where a traceback does."""
    lines = printed.decode(errors="replace").strip().splitlines()
    return "\n".join([*lines[:2], *lines[2:][-1:]]) or "it said nothing"
