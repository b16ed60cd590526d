"""Whether a chain is what it was: the rules, fed with bytes, beside the file.

A chain alone proves that nothing in it was changed, but not that its tail is still there, nor that it was not
written anew as a whole. For that a verifier holds it against checkpoints: what somebody else (the supervisor's
chain, an operator) wrote down about it earlier. Every checkpoint counts, not only the newest: a chain that was
rewritten and then went on agrees with the newer ones.

Entries that were dropped are passed over by `skip` if a statement about them is signed by the key that is trusted.
Checkpoints inside of such a range cannot be compared; one about its end can.

What a chain refers to is not looked at here: `feed` returns the references, for the shell to look at the content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Damage,
    Genesis,
    Head,
    Lifecycle,
    Payload,
    Record,
    Scanner,
    Torn,
    refs,
)
from theater.core.codec import DIGEST_SIZE, Form, Ref
from theater.core.dropped import Dropped
from theater.core.outage import Loss
from theater.errors import ChainBroken

SUPERVISOR = "supervisor"
"""What stands in place of an actor id in verdicts about the supervisor's own chain."""

ANY_SIZE = -1
"""The size in a Ref to content that a chain names without its size."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying one chain found.

    Args:
        id: the actor, or `SUPERVISOR`.
        name: the name in its genesis; empty if that cannot be read.
        entries: how many entries are good, from the first. None at all is no error: so ends an actor that was killed
            before its genesis.
        head: digest of the last of them, hex.
        ok: whether all is as it was.
        error: if not, one sentence with the index of the entry, what was expected and what found.
        torn_bytes: bytes of an unfinished record at the end; no error, since it was never acknowledged.
        dropped: which of the entries are not kept any more, by a statement of the key that is trusted.
        lost: what the machine took when it died; no error, since the server has recorded it.
        begun: of a replay, number of the snapshot that it began at; what is before that was not executed.
    """

    id: str
    name: str
    entries: int
    head: str
    ok: bool
    error: str | None = None
    torn_bytes: int = 0
    dropped: Dropped | None = None
    lost: tuple[Loss, ...] = ()
    begun: int = 0


class Checkpoints:
    """The checkpoints of one actor, in 40 bytes each, since a long-lived server has many."""

    def __init__(self, heads: Iterable[tuple[int, bytes]] = ()) -> None:
        self._rows = bytearray()
        self.losses: list[Loss] = []
        self._newest = 0
        self._in_order = True
        for entries, digest in heads:
            self.add(entries, digest)

    def add(self, entries: int, digest: bytes) -> None:
        """After `entries` entries the chain had `digest`."""
        self._in_order = self._in_order and entries >= self._newest
        self._newest = entries
        self._rows += entries.to_bytes(8, "big") + digest

    def lose(self, loss: Loss) -> None:
        """What was noted behind a place is gone, by the word of who noted it; what is before it is there."""
        self.losses.append(loss)
        found = loss.found
        kept = [row for row in self.in_order() if row[0] <= found.entries]
        self._rows.clear()
        self._newest, self._in_order = 0, True
        for row in (*kept, (found.entries, found.digest)) if found.entries else kept:
            self.add(*row)

    def __len__(self) -> int:
        return len(self._rows) // _ROW

    def in_order(self) -> Iterator[tuple[int, bytes]]:
        """All of them by number of entries: as they were written, unless a chain became shorter meanwhile."""
        rows: Iterable[int] = range(0, len(self._rows), _ROW)
        if not self._in_order:
            rows = sorted(rows, key=lambda at: self._rows[at : at + 8])
        for at in rows:
            yield int.from_bytes(self._rows[at : at + 8], "big"), bytes(self._rows[at + 8 : at + _ROW])


_ROW = 8 + DIGEST_SIZE
_INCARNATION = INCARNATION.encode()


class Verifier:
    """Verifies one chain, from its first byte.

    Args:
        actor: whose it must be; None for any.
        checkpoints: what is known about it.
        label: the id that its verdict bears, if not `actor`.
    """

    def __init__(self, actor: str | None = None, checkpoints: Checkpoints | None = None, label: str = "") -> None:
        self._actor = actor
        self._label = label or actor or ""
        self._scanner = Scanner()
        known = checkpoints if checkpoints is not None else Checkpoints()
        self._losses = known.losses
        self._awaited = known.in_order()
        self._next = next(self._awaited, None)
        self._name = ""
        self._genesis: Head | None = None
        self._dropped: Dropped | None = None
        self._snapshot: bytes | None = None
        self._error: str | None = None

    @property
    def head(self) -> Head:
        return self._scanner.head

    @property
    def failed(self) -> bool:
        """Whether an error is certain, so that reading on is useless."""
        return self._error is not None or self._scanner.damage is not None

    def feed(self, data: bytes) -> list[Record]:
        """Takes the next bytes; returns the good records that they complete."""
        records = self._scanner.feed(data)
        if records and records[0].seq == 0:
            self._read_genesis(records[0])
        if records and self._snapshot is not None:
            self._require_snapshot(records[0])
        if self._next is not None:
            self._compare(records)
        return records

    def skip(self, stated: Dropped, key: bytes | None) -> None:
        """Passes over a range that was dropped. It may begin before what has been read, if it was dropped meanwhile.

        Args:
            stated: the statement about it.
            key: the public key that is trusted to have signed it; None for none.
        """
        head, ending = self._scanner.head, self._scanner.end()
        if head.entries <= 1 and (ending is not None or head != stated.start):
            self.fail(
                f"entry {head.entries}: expected {stated.start.offset} bytes before the dropped range, found {head}"
            )
        elif self._genesis != stated.start:
            self.fail("entry 0: it is not the one that the statement about dropped entries names")
        if stated.actor != self._label:
            self.fail(f"entry 1: expected a statement about {self._label}, found one about {stated.actor}")
        try:
            stated.require_key(key)
        except ChainBroken as error:
            self.fail(f"entry 1: it was dropped, but {error}")
        while self._next is not None and self._next[0] <= stated.until.entries:
            if self._next[0] == stated.until.entries and self._next[1] != stated.until.digest:
                self.fail(
                    f"entry {stated.until.entries - 1}: expected digest {self._next[1].hex()} by a checkpoint, found "
                    f"{stated.until.digest.hex()} in the statement about dropped entries"
                )
            self._next = next(self._awaited, None)
        if not self.failed:
            self._scanner = Scanner(stated.until)
            self._dropped, self._snapshot = stated, stated.snapshot

    def fail(self, sentence: str) -> None:
        """Notes what the shell found wrong; the first error counts."""
        self._error = self._error or sentence

    def verdict(self) -> Verdict:
        """The verdict, once all bytes have been fed."""
        ending = self._scanner.end()
        head = self._scanner.head
        if isinstance(ending, Damage):
            self.fail(str(ending))
        elif self._snapshot is not None:
            self.fail(
                f"entry {head.entries}: expected the snapshot behind the dropped entries, found the end of the chain"
            )
        elif self._next is not None:
            entries, digest = self._next
            self.fail(
                f"entry {entries - 1}: expected digest {digest.hex()} by a checkpoint, "
                f"found the end of the chain after {head.entries} entries"
            )
        torn = ending.size if isinstance(ending, Torn) else 0
        facts = self._label, self._name, head.entries, head.digest.hex()
        return Verdict(*facts, not self._error, self._error, torn, self._dropped, tuple(self._losses))

    def _require_snapshot(self, record: Record) -> None:
        try:
            payload = record.entry().read()
        except ChainBroken as error:
            self.fail(f"entry {record.seq}: expected a snapshot behind the dropped entries, found: {error}")
            return
        if record.digest != self._snapshot or not isinstance(payload, Lifecycle) or payload.event != SNAPSHOT:
            self.fail(f"entry {record.seq}: expected the snapshot that the statement names, found another entry")
        self._snapshot = None

    def _read_genesis(self, record: Record) -> None:
        self._genesis = Head(1, record.digest, record.end)
        try:
            genesis = record.entry().read()
        except ChainBroken as error:
            self.fail(f"entry 0: expected a genesis, found: {error}")
            return
        if not isinstance(genesis, Genesis):
            self.fail(f"entry 0: expected a genesis, found {record.entry().kind.label}")
            return
        self._name = genesis.name
        self._label = self._label or genesis.actor
        if self._actor is not None and genesis.actor != self._actor:
            self.fail(f"entry 0: expected the chain of {self._actor}, found that of {genesis.actor}")

    def _compare(self, records: list[Record]) -> None:
        for record in records:
            while self._next is not None and self._next[0] <= record.seq + 1:
                entries, digest = self._next
                if entries == record.seq + 1 and digest != record.digest:
                    self.fail(
                        f"entry {record.seq}: expected digest {digest.hex()} by a checkpoint, "
                        f"found {record.digest.hex()}"
                    )
                self._next = next(self._awaited, None)
            if self._next is None:
                return


def needed_content(record: Record) -> list[Ref]:
    """What must be in the content store for `record` to be complete: its Refs, and what a life was made of.

    Raises:
        ChainBroken: the record is no entry of this version.
    """
    begins_life = record.seq == 0 or _INCARNATION in record.body
    if not begins_life and not record.has_refs:
        return []
    entry = record.entry()
    return refs(entry.payload) + (_made_of(entry.read()) if begins_life else [])


def _made_of(payload: Payload) -> list[Ref]:
    named: list[object] = []
    if isinstance(payload, Genesis):
        named = [payload.manifest, payload.component, payload.engine.get("program"), payload.initial]
    elif isinstance(payload, Lifecycle) and isinstance(payload.details, Mapping):
        # What a snapshot says of its life may be all that is left of it.
        life = payload.details.get("life") if payload.event == SNAPSHOT else payload.details
        if isinstance(life, Mapping):
            named = [life.get(name) for name in ("manifest", "component", "program", "initial")]
    return [Ref(digest, ANY_SIZE, Form.BYTES) for digest in map(_digest, named) if digest is not None]


def _digest(named: object) -> bytes | None:
    """A digest as bytes or as hex; None for anything else."""
    if isinstance(named, str):
        try:
            named = bytes.fromhex(named)
        except ValueError:
            return None
    return named if isinstance(named, bytes) and len(named) == DIGEST_SIZE else None
