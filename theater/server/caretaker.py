"""When chains are made smaller by themselves: those that have grown enough, by a process of its own.

The server's own chain is one of them. Of what a manifest says for an actor, how much is kept and how often a snapshot
is taken, the first is an option of the server, and the second follows from it.

The loop only compares numbers that it has anyway. What takes long, reading, compressing and signing, is done by
`theater/server/upkeep.py` in a child of low priority, one at a time, which ends with the server. A chain is read as a
whole each time, so it is looked at again only when it has grown by a quarter: then each entry is read a few times in
its life, however long the chain.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from theater.config import Home
from theater.core.chain import START, Head, Mark
from theater.core.manifest import Retention
from theater.core.verification import SUPERVISOR
from theater.log import Logger
from theater.server import helpers
from theater.server.cast import Cast
from theater.server.helpers import Helper
from theater.server.ledger import Ledger
from theater.server.loop import Loop
from theater.server.processes import Ended, Processes

EVERY_S = 30.0
"""How often it is looked whether something is due."""

COMPRESSED_AT = 64 << 20
"""Bytes by which a chain has grown before it is compressed."""

_GROWN_BY = 4
"""A chain is due again when it has grown by this part of what it was."""

_AGED_S = 3600.0
_AGED_PARTS = 40
"""How often a chain is looked at of which entries are kept by their age: each time that they have aged by such a part
of it, and at most so often."""

_AT_ONCE = 64

SNAPSHOT_EVERY_S = 86_400.0
"""How often there is a snapshot in the server's own chain, as long as it grows: so old entries can be dropped whenever
somebody wants that. With a retention there are more, for each part of what is kept."""

_ALWAYS = 4
"""Entries by which a snapshot makes a chain grow itself: its own, what was dropped by it, and a signature of each."""


class Caretaker:
    """Has chains made smaller.

    Args:
        home: whose chains.
        ledger: the server's own chain, told what was dropped.

    Attributes:
        kept: how much of the server's own chain is kept; None for all of it.
    """

    def __init__(self, home: Home, loop: Loop, processes: Processes, cast: Cast, ledger: Ledger, log: Logger) -> None:
        self._home = home
        self._loop = loop
        self._processes = processes
        self._cast = cast
        self._ledger = ledger
        self._log = log
        self.kept: Retention | None = None
        self._seen: dict[str, tuple[Head, float]] = {}
        self._snapshot: tuple[Head, float] | None = None
        self._job: Helper | None = None
        self._closed = False

    @property
    def is_at_work(self) -> bool:
        """Whether its process runs."""
        return self._job is not None

    def look(self) -> None:
        """Starts the process if something is due, and none runs."""
        if self._job is not None or self._closed:
            return
        self._take_snapshot()
        due = dict(islice(self._due(), _AT_ONCE))
        if not due:
            return
        now = self._loop.now()
        known = {SUPERVISOR, *(actor.id for actor in self._cast)}
        self._seen = {subject: seen for subject, seen in self._seen.items() if subject in known}
        self._seen.update((subject, (head, now)) for subject, head in due.items())
        try:
            self._job = self._start(list(due))
        except OSError as error:
            self._log.warning("chains cannot be made smaller", why=str(error))

    def close(self) -> None:
        """Ends the process, which leaves every chain whole."""
        self._closed = True
        if self._job is not None:
            self._processes.kill(self._job.pid)

    # ---- what is due

    def _due(self) -> Iterator[tuple[str, Head]]:
        """Whose chains are due, and how long they are."""
        now = self._loop.now()
        chains = [(SUPERVISOR, self._ledger.mark, self.kept)]
        chains += ((actor.id, actor.head, actor.manifest.chain.retention) for actor in self._cast)
        return ((name, mark.head) for name, mark, kept in chains if mark and self._is_due(name, mark, kept, now))

    def _is_due(self, subject: str, end: Mark, kept: Retention | None, now: float) -> bool:
        seen, at = self._seen.get(subject, (START, 0.0))
        entries, size = end.entries - seen.entries, end.offset - seen.offset
        if size >= max(COMPRESSED_AT, seen.offset // _GROWN_BY):
            return True
        if kept is None or end.snapshot_at is None or end.snapshot_at < seen.offset:
            # Without a new snapshot nothing more can be dropped, but for what has grown old.
            return kept is not None and end.snapshot_at is not None and _has_aged(kept, at, now)
        return (
            (kept.entries is not None and entries >= kept.entries // _GROWN_BY and end.entries > kept.entries)
            or (kept.bytes is not None and size >= kept.bytes // _GROWN_BY and end.offset > kept.bytes)
            or _has_aged(kept, at, now)
        )

    def _take_snapshot(self) -> None:
        """Has the server's own chain hold one that is new enough."""
        mark, now = self._ledger.mark, self._loop.now()
        if mark is None or (self._snapshot is not None and not self._is_snapshot_due(mark, *self._snapshot, now)):
            return
        self._ledger.snapshot(self._cast)
        self._snapshot = (mark.head, now)

    def _is_snapshot_due(self, end: Mark, last: Head, at: float, now: float) -> bool:
        entries, size, kept = end.entries - last.entries, end.offset - last.offset, self.kept or Retention()
        if entries <= _ALWAYS:
            return False
        return (
            now - at >= min(SNAPSHOT_EVERY_S, (kept.age or math.inf) / 1000 / _GROWN_BY)
            or (kept.entries is not None and entries >= kept.entries // _GROWN_BY)
            or (kept.bytes is not None and size >= kept.bytes // _GROWN_BY)
        )

    # ---- the process

    def _start(self, actors: list[str]) -> Helper:
        kept = asdict(self.kept) if self.kept is not None else None
        order = {"home": str(self._home.root), "parent": os.getpid(), "actors": actors, "kept": kept}
        command = [sys.executable, "-m", "theater.server.upkeep"]
        return helpers.start(
            self._loop,
            self._processes,
            command,
            lambda line: self._tell(json.loads(line)),
            self._on_end,
            order=json.dumps(order).encode() + b"\n",
        )

    def _tell(self, said: dict[str, object]) -> None:
        if "error" in said:
            self._log.warning("of a chain nothing was dropped", actor=said.get("actor"), why=said["error"])
        elif "contents" in said:
            self._log.info("content that nothing refers to was deleted", count=said["contents"], bytes=said["bytes"])
        elif said["compressed"] or said["dropped"]:
            self._log.info("a chain was made smaller", **said)
            if said["dropped"]:
                self._ledger.event("dropped", {"actor": said["actor"], "entries": said["dropped"]})

    def _on_end(self, ended: Ended) -> None:
        self._job = None
        if ended.signal is not None and not self._closed:
            self._log.warning("making chains smaller was ended", signal=ended.signal)


def _has_aged(kept: Retention, at: float, now: float) -> bool:
    return kept.age is not None and now - at >= max(_AGED_S, kept.age / 1000 / _AGED_PARTS)
