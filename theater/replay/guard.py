"""The guard of a replay: starts its process, tells how far it is, and ends it when it does not get on.

A guest may do anything where it should do what its record says: loop for ever, end the engine. So the process is killed
when it has been at one entry for much longer than that took when it was recorded.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog.reader import ChainReader
from theater.core.chain import START
from theater.core.divergence import Nothing, diverged
from theater.errors import IntegrityError, TheaterError, from_wire
from theater.replay.page import SIZE, read

PATIENCE_S = 30.0
"""How long the replay of one entry may take beyond what follows from its record."""

_TIMES = 20
"""How many times slower than when it was recorded."""

_LONGEST_S = 3600.0
"""More than that is not waited for, whatever the record says."""

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the secrets of a chain are.

    Args:
        folder: of those that its home has kept; it need not exist.
        given: names, and files of kept secrets.
    """

    folder: Path
    given: tuple[tuple[str, Path], ...] = ()

    def to_plain(self) -> dict[str, object]:
        """As JSON values."""
        return {"secrets": str(self.folder), "given": [[name, str(path)] for name, path in self.given]}


NO_SECRETS = Secrets(Path("/nonexistent"))


@dataclass(frozen=True, slots=True)
class End:
    """How a replay ended: what was reproduced, and what was wrong, if anything was.

    Args:
        entries: number of entries.
        head: digest of the last, hex.
        error: why it did not go on.
        begun: number of the snapshot that it began at; 0 if it began with the chain.
        passed_over: number of entries of which nothing was executed, since the memory before them cannot be had.
    """

    entries: int
    head: str
    error: TheaterError | None
    begun: int = 0
    passed_over: int = 0


def perform(
    chain: Path,
    content: Path,
    cache: Path,
    on_progress: Callable[[int], None],
    patience: float = PATIENCE_S,
    secrets: Secrets = NO_SECRETS,
    begin: int | None = None,
) -> End:
    """Performs a chain in a process of its own, and waits for its end.

    Args:
        chain: the file.
        content: the folder of the content store.
        cache: the folder of compiled components.
        on_progress: told now and then how many entries have been reproduced.
        patience: see `PATIENCE_S`.
        secrets: where those are that the chain was recorded with.
        begin: number of the snapshot to begin at; None for the beginning of the chain.
    """
    descriptor = os.memfd_create("replay")
    try:
        os.ftruncate(descriptor, SIZE)
        order = {
            "chain": str(chain),
            "content": str(content),
            "cache": str(cache),
            "page": descriptor,
            "from": begin,
            **secrets.to_plain(),
        }
        with mmap.mmap(descriptor, SIZE) as page, _child(descriptor) as child:
            guard = _Guard(page, on_progress, patience)
            try:
                said, noise = guard.attend(child, json.dumps({**order, "parent": os.getpid()}))
            finally:
                child.kill()
    finally:
        os.close(descriptor)
    error = _stuck(chain, guard.entries, guard.waited_s) if guard.is_stuck else _error(said, noise, child.returncode)
    passed_over = json.loads(said)["passed_over"] if error is None else 0
    return End(guard.entries, guard.head.hex(), error, begin or 0, passed_over)


class _Guard:
    """Looks at the page while the process works.

    Attributes:
        entries, head: what had been reproduced when the guard looked last.
        is_stuck: it was killed, since it did not get on for `waited_s` seconds.
    """

    def __init__(self, page: mmap.mmap, on_progress: Callable[[int], None], patience: float) -> None:
        self.entries, self.head = 0, START.digest
        self.is_stuck = False
        self.waited_s = 0.0
        self._page = page
        self._on_progress = on_progress
        self._patience = patience
        self._since = time.monotonic()

    def attend(self, child: subprocess.Popen[str], order: str) -> tuple[str, str]:
        """Lets it work to its end; returns what it wrote on both streams."""
        told: str | None = order + "\n"
        while True:
            try:
                said = child.communicate(told, timeout=_LOOK_EVERY_S)
                found = read(self._page)
                self.entries, self.head = found.entries, found.head
                return said
            except subprocess.TimeoutExpired:
                told = None
                self._look(child)

    def _look(self, child: subprocess.Popen[str]) -> None:
        entries, took_ns, has_begun, self.head = read(self._page)
        now = time.monotonic()
        if entries != self.entries:
            self.entries, self._since = entries, now
            self._on_progress(entries)
            return
        self.waited_s = now - self._since
        patience = self._patience + min(_TIMES * took_ns / 1e9, _LONGEST_S) if has_begun else PATIENCE_S
        if self.waited_s > patience:
            self.is_stuck = True
            child.kill()


def _child(descriptor: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "theater.replay.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=(descriptor,),
    )


def _error(said: str, noise: str, status: int) -> TheaterError | None:
    """What the process says was wrong, or what became of it if it says nothing."""
    try:
        words: dict[str, object] = json.loads(said)
        return from_wire(words) if "error" in words else None
    except (ValueError, TypeError):
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        last = noise.strip().splitlines()[-1:] or ["it said nothing"]
        return IntegrityError(f"the replay's process was ended {how}: {last[0]}")


def _stuck(chain: Path, entries: int, waited_s: float) -> TheaterError:
    """Where it was killed. What was recorded is shown as it stands in the chain."""
    happened = Nothing(f"the guest did not come to an end within {waited_s:.0f} s")
    try:
        with ChainReader(chain) as reader:
            reader.seek(entries)
            (entry,) = reader.read(1)
            return diverged(entries, entry.read(), happened)
    except (TheaterError, ValueError):
        return diverged(entries, Nothing("nothing"), happened)
