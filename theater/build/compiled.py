"""A component compiled for this machine, so that its first start need not wait."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from theater.build.progress import Progress, silent
from theater.core.codec import content_digest
from theater.errors import BuildFailed, ContentDamaged, from_wire
from theater.wasm.artefacts import ArtefactCache


def ensure_compiled(cache: Path, component: Path, progress: Progress = silent, *, fuel: bool = False) -> Path:
    """The compiled form of a component, made in a process of its own if the cache has none.

    Args:
        cache: the directory of compiled components.
        component: the component's file.
        progress: told every second that the compiler works.
        fuel: whether the code counts instructions.

    Raises:
        ComponentError: the file is no component that can be used here.
        BuildFailed: the compiler failed.
        DiskFull: there is no room for the result.
    """
    found = _find(ArtefactCache(cache), component, fuel)
    return found if found is not None else _compile(cache, component, progress, fuel)


def _find(cache: ArtefactCache, component: Path, fuel: bool) -> Path | None:
    try:
        found = cache.find(content_digest(component.read_bytes()).hex(), fuel)
    except (OSError, ContentDamaged):
        # The compiler says what is wrong with the file, and replaces what is damaged.
        return None
    return None if found is None else found.path


def _compile(cache: Path, component: Path, progress: Progress, fuel: bool) -> Path:
    command = [sys.executable, "-m", "theater.wasm.compile", "--component", str(component), "--cache", str(cache)]
    with subprocess.Popen(
        [*command, "--fuel"] if fuel else command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as compiler:
        last: dict[str, Any] = {}
        try:
            assert compiler.stdout is not None
            for line in compiler.stdout:
                last = json.loads(line)
                if "progress" in last:
                    progress(f"{last['progress']} {component.name} ({last['elapsed']:.0f} s)")
        except BaseException:
            compiler.kill()
            raise
    if "artefact" in last:
        return Path(last["artefact"])
    if "error" in last:
        raise from_wire(last)
    raise BuildFailed(f"the compiler ended with status {compiler.returncode} and said nothing")
