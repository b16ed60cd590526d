"""What a chain can prove beyond its entries: memory as a value, chains of a million entries, many chains.

The memory is that of the example counter, written in Python, after a call; a guest is loaded as a template does it. A
root is taken after each of many calls. A snapshot is kept in a content store that has none of its pages, and restored
into a guest that was loaded anew, both with everything on the way: pages, their digests, the value that names them.

The chain of a million entries is of calls as they are, each with a host call, its result, and a state.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import chain
from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, rate, timed, times
from benchmarks.theater_rows.commands import theater
from theater import config
from theater.build.compiled import ensure_compiled
from theater.build.runner import runner
from theater.chainlog.verify import verify_home
from theater.client.deploy import prepare
from theater.config import Home
from theater.core import memory_image
from theater.core.handlers import ACTOR, MESSAGE_SERVER_CLIENT
from theater.core.quantities import MIB
from theater.host.base import Seam
from theater.host.wasi import GuestHost
from theater.store.content import ContentStore
from theater.store.programs import is_program
from theater.wasm.artefacts import Artefact
from theater.wasm.guest import Guest
from theater.worker import program

COUNTER = Path(__file__).parents[2] / "examples" / "counter"
MILLION = 1_000_000
CHAINS, ENTRIES = 8, 100_000
_ENTRIES_OF_A_CALL = 4


def measure(effort: Effort) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if effort.wants("state-root", "snapshot", "restore"):
            yield from _memory(root, effort)
        if effort.wants("million-verify", "million-state"):
            yield from _million(root / "million", effort)
        if effort.wants("verify-home"):
            yield _home(root / "many", effort)


# ---- memory


class _Counter:
    """The counter, loaded as in a template."""

    def __init__(self, artefact: Artefact, content: bytes) -> None:
        self.guest = Guest(artefact, GuestHost(Seam()))
        program.load(self.guest, content)
        self.guest.keep_image()
        self._state: Any = None

    def begin(self) -> None:
        (self._state,) = self.guest.call(ACTOR, "init", (None, ("an actor",))).value

    def count(self) -> None:
        params = ("request", b'{"add": 1}')
        self._state = self.guest.call(MESSAGE_SERVER_CLIENT, "handle-request", (self._state, params)).value[0]


def _memory(folder: Path, effort: Effort) -> Iterator[Figure]:
    artefact = ensure_compiled(config.cache() / "artefacts", runner(config.cache()))
    content = _built(folder / "counter")
    one = _Counter(artefact, content)
    one.begin()
    size = f"{one.guest.memory_bytes() / MIB:.1f} MiB of linear memory"
    roots = [_root_after_a_call(one) for _ in range(effort.of(200, 10))]
    yield of_samples("state-root", roots, size)
    kept, restored, note = [], [], ""
    for number in range(effort.of(10)):
        one.count()
        store = ContentStore(folder / f"content{number}")
        begun = time.perf_counter()
        image = one.guest.keep()
        ref = memory_image.store(image, store.put)
        kept.append(time.perf_counter() - begun)
        note = f"{len(image.blocks)} blocks differ, {sum(map(len, image.blocks.values())) / MIB:.1f} MiB"
        other = _Counter(artefact, content)
        begun = time.perf_counter()
        other.guest.restore(memory_image.load(ref, store.get))
        restored.append(time.perf_counter() - begun)
        other.guest.close()
    yield of_samples("snapshot", kept, note)
    yield of_samples("restore", restored, note)
    one.guest.close()


def _built(project: Path) -> bytes:
    """The example as a program, built in a copy."""
    shutil.copytree(COUNTER, project, ignore=shutil.ignore_patterns("build", "__pycache__"))
    files = prepare(project, lambda said: None).contents.values()
    return next(file for file in files if is_program(file)).read_bytes()


def _root_after_a_call(one: _Counter) -> float:
    one.count()
    return timed(one.guest.state_root)


# ---- long chains, and many


def _million(folder: Path, effort: Effort) -> Iterator[Figure]:
    home = Home(folder)
    home.create()
    calls = effort.of(MILLION // _ENTRIES_OF_A_CALL, 1000)
    path = home.chain(chain.GENESIS.actor)
    path.parent.mkdir(parents=True)
    chain.write_calls(path, calls)
    entries = 1 + _ENTRIES_OF_A_CALL * calls
    yield Figure("million-verify", timed(lambda: chain.verify(path)), samples=entries)
    middle = f"{chain.GENESIS.actor}@{entries // 2}"
    here = {**os.environ, "THEATER_HOME": str(home.root)}

    def look_back() -> None:
        subprocess.run([*theater(), "state", middle], env=here, stdout=subprocess.DEVNULL, check=True)

    yield of_samples("million-state", times(look_back, effort.of(5)), f"after entry {entries // 2:,}")


def _home(folder: Path, effort: Effort) -> Figure:
    home = Home(folder)
    home.create()
    count = effort.of(ENTRIES, 10 * chain.GROUP)
    total = 0
    for number in range(CHAINS):
        actor = f"00000000-0000-8000-8000-{number:012}"
        path = home.chain(actor)
        path.parent.mkdir(parents=True)
        total += chain.write_small(path, entries=count, actor=actor).entries
    content = ContentStore(home.content)

    def verify() -> None:
        if not (found := verify_home(home, content, reopen=partial(ContentStore, home.content))).ok:
            raise RuntimeError(str(found))

    return Figure("verify-home", rate(total, verify), samples=total, note=f"{CHAINS} chains")
