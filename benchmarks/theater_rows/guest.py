"""One call into a guest, in process: conversion, wrapper, and a guest that answers what it got. Nothing is recorded.

Bodies are random bytes, the slower case for the wrapper: text crosses faster.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, times
from benchmarks.theater_rows.server import PROBE
from theater import config
from theater.core.codec import content_digest
from theater.core.handlers import MESSAGE_SERVER_CLIENT
from theater.wasm.artefacts import Artefact, ArtefactCache, compile_command
from theater.wasm.assemble import assemble
from theater.wasm.guest import Guest
from theater.wasm.mode import Mode

SIZES = (("guest-16", 16, 5000), ("guest-1k", 1 << 10, 5000), ("guest-64k", 64 << 10, 500), ("guest-1m", 1 << 20, 40))


class _Alone:
    """A host of which nothing is asked."""

    wasi: Any = None

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any]:
        return lambda *_: None


def compiled_probe() -> Guest:
    """A probe, loaded."""
    with tempfile.TemporaryDirectory() as folder:
        return Guest(_compiled(Path(folder) / "probe.wasm"), _Alone())


def echo_of(guest: Guest, size: int) -> Callable[[], Any]:
    """A call that has so many random bytes answered."""
    return _echo(guest, (None, ("request", b"e" + os.urandom(size - 1))))


def measure(effort: Effort) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        artefact = _compiled(Path(folder) / "probe.wasm")
    guest = Guest(artefact, _Alone())
    for row, size, count in SIZES:
        if effort.wants(row):
            arguments = (None, ("request", b"e" + os.urandom(size - 1)))
            call = _echo(guest, arguments)
            times(call, effort.of(count // 10))
            yield of_samples(row, times(call, effort.of(count, 10)), _note(artefact))
    guest.close()


def _echo(guest: Guest, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: guest.call(MESSAGE_SERVER_CLIENT, "handle-request", arguments)


def _note(artefact: Artefact) -> str:
    return "" if artefact.meta.mode is Mode.BYTES else f"plain, without the wrapper: {artefact.meta.reason}"


def _compiled(path: Path) -> Artefact:
    path.write_bytes(assemble(PROBE.read_text(), PROBE.name))
    cache = config.cache() / "artefacts"
    subprocess.run(compile_command(path, cache, False), check=True, capture_output=True)
    found = ArtefactCache(cache).find(content_digest(path.read_bytes()).hex(), False)
    if found is None:
        raise RuntimeError("the compile child said that it has compiled, and nothing is in the cache")
    return found
