"""When chains are made smaller by themselves: those that have grown enough, by a process of its own.

The loop only compares numbers that it has anyway. What takes long, reading, compressing and signing, is done by
`theater/server/upkeep.py` in a child of low priority, one at a time, which ends with the server. A chain is read as a
whole each time, so it is looked at again only when it has grown by a quarter: then each entry is read a few times in
its life, however long the chain.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

from theater.config import Home
from theater.core.chain import START, Head
from theater.log import Logger
from theater.server import helpers
from theater.server.cast import Actor, Cast
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
"""How often a chain is looked at of which entries are kept by their age."""

_AT_ONCE = 64


class Caretaker:
    """Has chains made smaller.

    Args:
        home: whose chains.
        ledger: told what was dropped.
    """

    def __init__(self, home: Home, loop: Loop, processes: Processes, cast: Cast, ledger: Ledger, log: Logger) -> None:
        self._home = home
        self._loop = loop
        self._processes = processes
        self._cast = cast
        self._ledger = ledger
        self._log = log
        self._seen: dict[str, tuple[Head, float]] = {}
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
        due = [actor for _, actor in zip(range(_AT_ONCE), self._due(), strict=False)]
        if not due:
            return
        now = self._loop.now()
        self._seen = {actor: seen for actor, seen in self._seen.items() if self._cast.get(actor) is not None}
        self._seen.update((actor.id, (actor.head.head, now)) for actor in due if actor.head is not None)
        try:
            self._job = self._start([actor.id for actor in due])
        except OSError as error:
            self._log.warning("chains cannot be made smaller", why=str(error))

    def close(self) -> None:
        """Ends the process, which leaves every chain whole."""
        self._closed = True
        if self._job is not None:
            self._processes.kill(self._job.pid)

    # ---- what is due

    def _due(self) -> Iterator[Actor]:
        now = self._loop.now()
        return (actor for actor in self._cast if self._is_due(actor, now))

    def _is_due(self, actor: Actor, now: float) -> bool:
        if actor.head is None:
            return False
        seen, at = self._seen.get(actor.id, (START, 0.0))
        entries, size = actor.head.entries - seen.entries, actor.head.offset - seen.offset
        if size >= max(COMPRESSED_AT, seen.offset // _GROWN_BY):
            return True
        kept = actor.manifest.chain.retention
        if kept is None or actor.head.snapshot_at is None or actor.head.snapshot_at < seen.offset:
            # Without a new snapshot nothing more can be dropped, but for what has grown old.
            return kept is not None and kept.age is not None and actor.head.snapshot_at is not None and _aged(at, now)
        return (
            (kept.entries is not None and entries >= kept.entries // _GROWN_BY and actor.head.entries > kept.entries)
            or (kept.bytes is not None and size >= kept.bytes // _GROWN_BY and actor.head.offset > kept.bytes)
            or (kept.age is not None and _aged(at, now))
        )

    # ---- the process

    def _start(self, actors: list[str]) -> Helper:
        order = {"home": str(self._home.root), "parent": os.getpid(), "actors": actors}
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


def _aged(at: float, now: float) -> bool:
    return now - at >= _AGED_S
