"""The supervisor's own chain: what a dead worker cannot write, and where every chain was.

Started, spawned, ready, exited, gave up, stopped, removed: each is an entry, written before anybody is told. A
checkpoint holds the heads of chains, so that one that was shortened or rewritten is caught (D3). When the disk is
full the server goes on and says so; what could not be written is kept in memory, in order, and written as soon as
the disk takes it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from theater.chainlog import actor_log
from theater.chainlog.writer import ChainWriter
from theater.config import Home
from theater.core.chain import Checkpoint, Genesis, Kind, Lifecycle
from theater.errors import DiskFull, IntegrityError
from theater.log import Logger
from theater.server.cast import Actor

SUPERVISOR = "supervisor"
_KEPT = 10_000


class Ledger:
    """Writes the supervisor's chain.

    Raises:
        ChainBroken: the chain of this home is damaged; `theater verify` says where.
    """

    def __init__(self, home: Home, log: Logger, version: str) -> None:
        self._home = home
        self._log = log
        self._unwritten: deque[tuple[Kind, Any]] = deque(maxlen=_KEPT)
        self._writer: ChainWriter | None = self._open()
        self.on_change: Callable[[str], None] = lambda subject: None
        if self._writer is not None and self._writer.mark.entries == 0:
            self._append(Kind.GENESIS, Genesis(SUPERVISOR, SUPERVISOR, None, None, None, {"theater": version}))
        self.event("server-started", {"version": version})

    def event(self, event: str, details: dict[str, Any]) -> None:
        """Records something that happened to an actor or to the server."""
        self._append(Kind.LIFECYCLE, Lifecycle(event, details))

    def checkpoint(self, actors: Iterable[Actor]) -> None:
        """Records how far the chains of these actors are. Of one that was killed before its first entry there is
        nothing to be said."""
        marks = {actor.id: list(actor.head) for actor in actors if actor.head is not None and actor.head.entries}
        if marks:
            self._append(Kind.CHECKPOINT, Checkpoint(marks))

    def system_line(self, actor: str, incarnation: int, text: str) -> None:
        """Puts a line of the server's into an actor's log."""
        try:
            actor_log.append(self._home.log(actor), time.time_ns(), incarnation, "system", text)
        except OSError:
            return  # The log is for people; what counts is in the chain.
        self.on_change(actor)

    @property
    def is_behind(self) -> bool:
        """Whether the disk has not taken everything."""
        return bool(self._unwritten)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> ChainWriter | None:
        return ChainWriter.open(self._home.supervisor_chain, clock=time.time_ns)

    def _append(self, kind: Kind, payload: Any) -> None:
        self._unwritten.append((kind, payload))
        try:
            if self._writer is None:
                self._writer = self._open()
            self._write_all()
        except (DiskFull, IntegrityError, OSError) as error:
            self._writer = None
            self._log.error("the supervisor's chain cannot be written", why=str(error), waiting=len(self._unwritten))
            return
        self.on_change(SUPERVISOR)

    def _write_all(self) -> None:
        assert self._writer is not None
        writer, before = self._writer, self._writer.written.entries
        try:
            for kind, payload in self._unwritten:
                writer.append(kind, payload)
            writer.flush()
        finally:
            # A write that failed may have taken some of them, whole: those must not be written twice.
            for _ in range(writer.written.entries - before):
                self._unwritten.popleft()
