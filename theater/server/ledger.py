"""The supervisor's own chain: what a dead worker cannot write, and where every chain was.

Started, spawned, ready, exited, gave up, stopped, removed: each is an entry, written before anybody is told. A
checkpoint holds the heads of chains, so that one that was shortened or rewritten is caught (D3). When the disk is
full the server goes on and says so; what could not be written is kept in memory, in order, and written as soon as
the disk takes it. What was written and not yet synced is kept as well: a sync that fails may have lost it, so the file
is closed, opened anew, verified, and what is not there is written once more.

From time to time an entry "signed" signs all that is before it, and so the checkpoints that are there; that costs one
signature however many there are, and none on the way of a death. A server that starts takes what it has signed last for
verified, and reads what follows: it starts as fast with a record of years. A snapshot says how far all chains are, so
that what is before it need not be kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from theater.chainlog import actor_log
from theater.chainlog.reader import ChainReader
from theater.chainlog.signed import signed_marks
from theater.chainlog.writer import ChainWriter, Durability
from theater.config import Home
from theater.core.chain import MARKS, REMOVED, SIGNED, SNAPSHOT, Checkpoint, Genesis, Kind, Lifecycle, Mark
from theater.core.codec import content_digest
from theater.core.signed_checkpoint import Position, SignedCheckpoint, Signer
from theater.core.verification import SUPERVISOR
from theater.errors import DiskFull, IntegrityError, TheaterError
from theater.log import Logger
from theater.server.cast import Actor

_KEPT = 10_000
_IN_A_SNAPSHOT = 100_000
"""Chains of which one entry can speak: it takes some 100 bytes for each, and an entry has at most 16 MiB."""

SIGN_EVERY_S = 10.0
"""How often what is new in the supervisor's chain is signed."""


class Ledger:
    """Writes the supervisor's chain.

    Args:
        signer: who signs it.

    Raises:
        ChainBroken: the chain of this home is damaged; `theater verify` says where.
    """

    def __init__(self, home: Home, log: Logger, version: str, signer: Signer) -> None:
        self._home = home
        self._log = log
        self._signer = signer
        self._first: bytes | None = None
        self._signed = 0
        self._noted: dict[str, bytes] = {}
        self._unwritten: deque[tuple[Kind, Any]] = deque(maxlen=_KEPT)
        self._unsynced: deque[tuple[Kind, Any]] = deque()
        self._synced: Mark | None = None
        self._writer: ChainWriter | None = self._open()
        self.on_change: Callable[[str], None] = lambda subject: None
        if self._writer is not None and self._writer.mark.entries == 0:
            self._append(Kind.GENESIS, Genesis(SUPERVISOR, SUPERVISOR, None, None, None, {"theater": version}))
        self.event("server-started", {"version": version, "key": self.key})

    @property
    def key(self) -> str:
        """The public key of who signs, hex."""
        return self._signer.public.hex()

    def event(self, event: str, details: dict[str, Any]) -> None:
        """Records something that happened to an actor or to the server."""
        self._append(Kind.LIFECYCLE, Lifecycle(event, details))
        if event == REMOVED:
            self._noted.pop(details["actor"], None)

    def checkpoint(self, actors: Iterable[Actor]) -> None:
        """Records how far the chains of these actors are. Of one that was killed before its first entry there is
        nothing to be said."""
        heads = {actor.id: actor.head for actor in actors if actor.head is not None and actor.head.entries}
        if heads:
            self._append(Kind.CHECKPOINT, Checkpoint({actor: list(head) for actor, head in heads.items()}))
            self._noted.update((actor, head.digest) for actor, head in heads.items())

    def snapshot(self, actors: Iterable[Actor]) -> None:
        """Records how far all chains are, those of all `actors` of the home, so that the chain can begin with it."""
        heads = {actor.id: list(actor.head) for actor in actors if actor.head is not None and actor.head.entries}
        if len(heads) > _IN_A_SNAPSHOT:
            self._log.warning("the server has too many chains for a snapshot of its own", chains=len(heads))
            return
        self.event(SNAPSHOT, {MARKS: heads})

    def sign(self) -> None:
        """Signs all that was written since the last time, if there is anything; not while the disk refuses."""
        if self._writer is None or self.is_behind or self._writer.head.entries == self._signed:
            return
        if not self.commit():
            return  # What was written and not synced may have to be written anew, and would not be what was signed.
        try:
            home = self._home_digest()
        except TheaterError as error:
            self._log.error("the supervisor's chain cannot be read", why=str(error))
            return
        text = self._signer.sign(home, {SUPERVISOR: self._position()}, time.time_ns()).text
        self.event(SIGNED, {"checkpoint": text.decode(), SNAPSHOT: self._writer.mark.snapshot_at})
        self.commit()
        self._signed = self._writer.head.entries if self._writer is not None else 0

    def give_checkpoint(self, actors: Iterable[Actor]) -> SignedCheckpoint:
        """A signed checkpoint of the supervisor's chain and of those of `actors`, for somebody to keep elsewhere. The
        chain says that it was given.

        Raises:
            DiskFull: the disk has not taken all that was to be recorded.
        """
        heads = {actor: actor.head for actor in actors if actor.head is not None and actor.head.entries}
        self.checkpoint(actor for actor, head in heads.items() if self._noted.get(actor.id) != head.digest)
        self.commit()
        self._require_disk()
        positions: dict[str, Position] = {actor.id: (head.entries, head.digest) for actor, head in heads.items()}
        positions[SUPERVISOR] = self._position()
        given = self._signer.sign(self._home_digest(), positions, time.time_ns())
        self.event("checkpoint-given", {"digest": content_digest(given.text).hex(), "chains": len(positions)})
        self.sign()
        self._require_disk()
        return given

    def commit(self) -> bool:
        """Makes all that was recorded outlive the machine; returns whether that is so."""
        try:
            self._sync()
        except (DiskFull, IntegrityError, OSError) as error:
            self._give_up_writer(error)
        return self._writer is not None and not self.is_behind

    def system_line(self, actor: str, incarnation: int, text: str) -> None:
        """Puts a line of the server's into an actor's log."""
        try:
            actor_log.append(self._home.log(actor), time.time_ns(), incarnation, "system", text)
        except OSError:
            return  # The log is for people; what counts is in the chain.
        self.on_change(actor)

    @property
    def mark(self) -> Mark | None:
        """Where the chain ends, and its last snapshot if that is not long ago; None while the disk refuses."""
        return self._writer.mark if self._writer is not None and not self.is_behind else None

    @property
    def is_behind(self) -> bool:
        """Whether the disk has not taken everything."""
        return bool(self._unwritten)

    @property
    def waiting(self) -> int:
        """How many entries the disk has not taken."""
        return len(self._unwritten)

    def close(self) -> None:
        self.sign()
        self.commit()
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> ChainWriter:
        """Opens the chain; what was written and is not there any more is to be written again."""
        known = self._synced or next(iter(signed_marks(self._home.supervisor_chain, self._signer.public, 1)), None)
        writer = ChainWriter.open(
            self._home.supervisor_chain, clock=time.time_ns, known=known, durability=Durability.HOST
        )
        writer.commit()  # What a reader sees may be in memory only.
        if self._synced is not None:
            for _ in range(min(writer.written.entries - self._synced.entries, len(self._unsynced))):
                self._unsynced.popleft()
            self._unwritten.extendleft(reversed(self._unsynced))
        self._unsynced.clear()
        self._synced = writer.mark
        return writer

    def _sync(self) -> None:
        if self._writer is None:
            self._writer = self._open()
        self._write_all()
        self._writer.commit()
        self._unsynced.clear()
        self._synced = self._writer.mark

    def _give_up_writer(self, error: Exception) -> None:
        self._writer = None
        self._log.error("the supervisor's chain cannot be written", why=str(error), waiting=len(self._unwritten))

    def _require_disk(self) -> None:
        if self._writer is None or self.is_behind:
            raise DiskFull("no checkpoint is given now: the disk does not take the supervisor's chain")

    def _position(self) -> Position:
        assert self._writer is not None
        return self._writer.written.entries, self._writer.written.digest

    def _home_digest(self) -> bytes:
        """Digest of the chain's first entry: which home this is."""
        if self._first is None:
            with ChainReader(self._home.supervisor_chain) as reader:
                self._first = reader.records(1)[0].digest
        return self._first

    def _append(self, kind: Kind, payload: Any) -> None:
        self._unwritten.append((kind, payload))
        try:
            if self._writer is None:
                self._writer = self._open()
            self._write_all()
        except (DiskFull, IntegrityError, OSError) as error:
            self._give_up_writer(error)
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
                self._unsynced.append(self._unwritten.popleft())
