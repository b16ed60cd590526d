"""Verifying the chains of a home: files and content on one side, the rules of core/verification.py on the other.

Memory stays bounded: a chain is read in blocks, content is mapped, a checkpoint is 40 bytes. A server may run
meanwhile: the supervisor's chain is read first, so that no chain can be behind what it says.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from theater.chainlog.chain_file import ChainFile
from theater.config import Home
from theater.core.chain import (
    REMOVED,
    SIGNED,
    Kind,
    Lifecycle,
    Record,
    marks_in,
    read_payload,
    refs_in_value,
    resolve,
)
from theater.core.codec import Form, Ref
from theater.core.dropped import Dropped
from theater.core.ids import is_id
from theater.core.outage import LOST, Loss
from theater.core.signed_checkpoint import Seal, SignedCheckpoint
from theater.core.verification import ANY_SIZE, SUPERVISOR, Checkpoints, Verdict, Verifier, needed_content
from theater.errors import ChainBroken, ContentDamaged, TheaterError, UnknownActor

_BLOCK = 1 << 20
_WORTH_PROCESSES = 64 << 20
"""Bytes of chains from which on other processes are of help: they take some tenths of a second to begin."""
_REMEMBERED = 100_000
"""Contents that are remembered as good; beyond that they are checked again when they are met again."""


class Content(Protocol):
    """What verifying needs of a content store."""

    def check(self, digest: str) -> int:
        """Verifies one content; returns its size in bytes."""

    def get(self, digest: str) -> bytes:
        """One content."""


@dataclass(frozen=True, slots=True)
class HomeVerdict:
    """What verifying a home found.

    Args:
        supervisor: about the supervisor's chain.
        actors: about each actor's chain, in the order of their ids.
        signed: the last entry of the supervisor's chain that the trusted key has signed, with everything before it;
            None if there is none, or no key.
    """

    supervisor: Verdict
    actors: tuple[Verdict, ...]
    signed: SignedCheckpoint | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is as it was."""
        return self.supervisor.ok and all(verdict.ok for verdict in self.actors)


def verify_chain(
    path: Path | str,
    checkpoints: Checkpoints | None = None,
    *,
    actor: str | None = None,
    content: Content | None = None,
    key: bytes | None = None,
) -> Verdict:
    """Verifies one chain file: every digest, every checkpoint, everything that it refers to.

    Args:
        path: the file.
        checkpoints: what is known about it from elsewhere.
        actor: the id that its genesis must name; None for any.
        content: where what it refers to is; None to look at the chain alone.
        key: the public key that is trusted to have signed for what was dropped; None for none.
    """
    verifier = Verifier(actor, checkpoints)
    read_into(verifier, path, _look(Contents(content), verifier) if content is not None else _look_nowhere, key)
    return verifier.verdict()


def verify_home(
    home: Home,
    content: Content,
    actors: Collection[str] | None = None,
    on_verdict: Callable[[Verdict], None] | None = None,
    *,
    checkpoint: SignedCheckpoint | None = None,
    key: bytes | None = None,
    reopen: Callable[[], Content] | None = None,
) -> HomeVerdict:
    """Verifies the chains of a home, whether its server runs or not.

    Args:
        content: the home's content store.
        actors: ids of the actors to look at; None for all, also for those of which only a checkpoint is left.
        on_verdict: called with each verdict about an actor as it is found.
        checkpoint: one that was kept elsewhere; whose it is has been checked. All chains that it names must be there,
            also of actors that were removed since.
        key: the public key that is trusted to have signed the supervisor's chain, and for what was dropped of others.
        reopen: opens the content store in another process (picklable), so that all processors share the work where
            there is much; None to do it all in this one.

    Raises:
        UnknownActor: an id that was given is neither in the home nor in a checkpoint.
    """
    contents = Contents(content)
    supervisor, known, signed = verify_supervisor(home, contents, checkpoint, key)
    chosen = _chosen(home, known, actors)
    processes = min(os.cpu_count() or 1, len(chosen))
    if reopen is not None and processes > 1 and _size(home, chosen) >= _WORTH_PROCESSES:
        from theater.chainlog.abreast import Job, verify_abreast

        jobs = [Job(home.chain(actor), actor, known.get(actor)) for actor in chosen]
        found = verify_abreast(jobs, contents, reopen, key, processes)
    else:
        found = (verify_actor(home.chain(actor), actor, known.get(actor), contents, key) for actor in chosen)
    verdicts = []
    for verdict in found:
        verdicts.append(verdict)
        if on_verdict is not None:
            on_verdict(verdict)
    return HomeVerdict(supervisor, tuple(verdicts), signed)


def verify_actor(path: Path, actor: str, known: Checkpoints | None, contents: Contents, key: bytes | None) -> Verdict:
    """Verifies the chain of one actor of a home.

    Args:
        path: its file.
        actor: the id that its genesis must name.
        known: what is known about it from elsewhere.
        contents: of the home.
        key: the public key that is trusted to have signed for what was dropped; None for none.
    """
    verifier = Verifier(actor, known)
    read_into(verifier, path, _look(contents, verifier), key)
    return verifier.verdict()


def read_into(verifier: Verifier, path: Path | str, look: Callable[[Record], None], key: bytes | None) -> None:
    """Has a verifier read a chain file, with what was compressed of it or dropped.

    Args:
        look: called with each record that is good; what it raises fails the chain.
        key: the public key that is trusted to have signed for what was dropped; None for none.
    """
    try:
        with ChainFile.open(path) as file:
            for piece in file.pieces(0, _BLOCK):
                if isinstance(piece, Dropped):
                    verifier.skip(piece, key)
                    if verifier.failed:
                        return
                    continue
                for record in verifier.feed(piece):
                    look(record)
    except FileNotFoundError:
        pass  # An empty chain, which is an error if a checkpoint knows better.
    except TheaterError as error:
        index = error.details.get("index", verifier.head.entries)
        verifier.fail(f"entry {index}: {error}" if isinstance(error, ChainBroken) else str(error))


# ---- content


class Contents:
    """A content store in which each content is looked at once."""

    def __init__(self, content: Content) -> None:
        self.get = content.get
        self._check = content.check
        self._good: dict[tuple[bytes, bool], int] = {}

    def require(self, verifier: Verifier, record: Record) -> None:
        """Fails the chain if something that the record refers to is missing, damaged, or of another size."""
        try:
            self.check(record)
        except TheaterError as error:
            verifier.fail(f"entry {record.seq}: expected the content that it refers to, found: {error}")

    def check(self, record: Record) -> None:
        """Looks at everything that the record refers to.

        Raises:
            UnknownContent, ContentDamaged: something is missing, damaged, or of another size.
        """
        for ref in needed_content(record):
            self._require(ref)

    def _require(self, ref: Ref) -> None:
        key = ref.digest, ref.form is Form.VALUE
        size = self._good.get(key)
        if size is None:
            size = self._look_at(ref)
            if len(self._good) >= _REMEMBERED:
                self._good.clear()
            self._good[key] = size
        if ref.size not in (size, ANY_SIZE):
            raise ContentDamaged(f"content {ref.digest.hex()} has {size} bytes, the chain says {ref.size}")

    def _look_at(self, ref: Ref) -> int:
        size = self._check(ref.digest.hex())
        if ref.form is Form.VALUE:
            for inner in refs_in_value(self.get(ref.digest.hex())):
                self._require(inner)
        return size


def _look(contents: Contents, verifier: Verifier) -> Callable[[Record], None]:
    return lambda record: contents.require(verifier, record)


def _look_nowhere(record: Record) -> None:
    pass


# ---- the supervisor's chain


def verify_supervisor(
    home: Home, contents: Contents, checkpoint: SignedCheckpoint | None, key: bytes | None
) -> tuple[Verdict, dict[str, Checkpoints], SignedCheckpoint | None]:
    """The verdict about the supervisor's chain, what is known about others, and how far it is signed."""
    kept = checkpoint.positions if checkpoint is not None else {}
    own = [(1, checkpoint.home), kept[SUPERVISOR]] if checkpoint is not None else []
    of_itself = Checkpoints(own)
    verifier = Verifier(checkpoints=of_itself, label=SUPERVISOR)
    known: defaultdict[str, Checkpoints] = defaultdict(Checkpoints)
    seal = Seal(key)

    def look(record: Record) -> None:
        contents.require(verifier, record)
        try:
            _take_in(record, contents, known, seal)
        except TheaterError as error:
            verifier.fail(f"entry {record.seq}: expected a checkpoint, found: {error}")

    read_into(verifier, home.supervisor_chain, look, key)
    try:
        signed = seal.open()
    except TheaterError as error:
        signed = None
        verifier.fail(f"entry {seal.seq}: expected a signature of all before it, found: {error}")
    for actor, position in kept.items():
        if actor != SUPERVISOR:
            known[actor].add(*position)
    of_itself.losses.extend(known.pop(SUPERVISOR, Checkpoints()).losses)
    return verifier.verdict(), dict(known), signed


def _take_in(record: Record, contents: Contents, known: defaultdict[str, Checkpoints], seal: Seal) -> None:
    number = record.kind_number
    if number not in (Kind.CHECKPOINT, Kind.LIFECYCLE):
        return
    entry = record.entry()
    payload = read_payload(entry.kind, resolve(entry.payload, contents.get) if record.has_refs else entry.payload)
    for actor, mark in marks_in(payload).items():
        known[actor].add(mark.entries, mark.digest)
    if isinstance(payload, Lifecycle) and payload.event == REMOVED:
        known.pop(str(payload.details.get("actor")), None)
    elif isinstance(payload, Lifecycle) and payload.event == LOST:
        loss = Loss.read(payload.details)
        known[loss.actor].lose(loss)
    elif isinstance(payload, Lifecycle) and payload.event == SIGNED:
        seal.note(record.seq, record.previous, payload.details)


def _size(home: Home, actors: Collection[str]) -> int:
    """Bytes of their chains."""
    paths = map(home.chain, actors)
    return sum(path.stat().st_size for path in paths if path.exists())


def _chosen(home: Home, known: Collection[str], actors: Collection[str] | None) -> list[str]:
    there = set(known) | {folder.name for folder in home.actors.glob("*") if is_id(folder.name)}
    if actors is None:
        return sorted(there)
    for actor in actors:
        if actor not in there:
            raise UnknownActor(f"no actor {actor!r} in {home.root}", actor=actor)
    return sorted(set(actors))
