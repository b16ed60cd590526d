"""Keeping a home small: chains compressed and dropped by their retention, content deleted that nothing refers to.

It works on the files alone, beside a server or without one: whoever holds an actor's folder does it, and its worker
goes on appending. `theater chain gc` does it when a user wants it; a server has it done now and then by a process of
its own (theater/server/caretaker.py), `python -m theater.server.upkeep`. That one is told by one line of JSON on
standard input, {"home": path, "parent": process id, "actors": [id], "kept": retention or null}, says by one line for
each actor what was done, and dies with its parent. Being killed does no harm. The id `supervisor` is the server's own
chain; `kept` is how much of that is kept, since no manifest says it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theater.chainlog import keys
from theater.chainlog.references import collect_references
from theater.chainlog.shrinking import Order, Shrunk, shrink
from theater.chainlog.verify import Contents, verify_supervisor
from theater.config import Home
from theater.core.ids import is_id
from theater.core.manifest import Retention
from theater.core.signatures import Signs
from theater.core.verification import SUPERVISOR, Checkpoints
from theater.errors import ChainBroken, IntegrityError, NotFound, TheaterError
from theater.server.cast import Cast
from theater.server.kept_tree import kept_digests
from theater.store.content import Collected, ContentStore
from theater.store.labels import Labels
from theater.tether import die_with
from theater.walls import landlock, places, rooms_children
from theater.walls.rooms import enter

GRACE_S = 3600.0
"""Content that was put since is spared: whoever has put it may not have recorded yet what for."""

_GENTLE = 19


@dataclass(frozen=True, slots=True)
class Tended:
    """What became of one chain.

    Args:
        id: the actor, or `supervisor`.
        done: what was done; nothing of it if there is an error.
        error: why it was left as it was, or was not dropped.
    """

    id: str
    done: Shrunk
    error: TheaterError | None = None


class Upkeep:
    """What keeping one home small needs.

    Args:
        home: whose server may run.
        now_ns: wall time, ns since 1970.
        dry_run: only says what would be done.
        kept: how much of the supervisor's chain is kept; None for all of it.

    Raises:
        ChainBroken: the supervisor's chain is damaged, so that nobody knows how far chains must go.
        IntegrityError: the key is damaged.
    """

    def __init__(self, home: Home, now_ns: int, *, dry_run: bool = False, kept: Retention | None = None) -> None:
        self._home = home
        self._now_ns = now_ns
        self._dry_run = dry_run
        self._content = ContentStore(home.content)
        self._signer: Signs | None = keys.known_signer(home)
        self._key = self._signer.public if self._signer is not None else keys.public_key(home)
        self._kept = _retention(home) | ({SUPERVISOR: kept} if kept is not None else {})
        verdict, self._known, _ = verify_supervisor(home, Contents(self._content), None, self._key)
        if not verdict.ok:
            raise ChainBroken(f"the server's chain: {verdict.error}; nothing was compressed or dropped")
        self._until: dict[str, int] = {}

    def tend(self, actors: Collection[str] | None = None) -> Iterator[Tended]:
        """Compresses and drops, one chain after the other.

        Args:
            actors: ids; None for the server's own chain and those of all actors, also of those that were removed and of
                which the chain is left.
        """
        for actor in sorted(actors if actors is not None else {SUPERVISOR, *_with_chains(self._home)}):
            try:
                yield Tended(actor, self._shrink(actor), self._unsigned(actor))
            except TheaterError as error:
                yield Tended(actor, Shrunk(), error)

    def collect(self, grace_s: float = GRACE_S) -> Collected:
        """Deletes content that nothing refers to, after `tend`.

        Args:
            grace_s: content put more recently than this stays, seconds.

        Raises:
            TheaterError: something that refers to content cannot be read, so that nobody knows what is needed.
        """
        labels = Labels(self._home.labels, self._content)
        needed = labels.references() | needed_by_actors(self._home)
        needed |= collect_references(self._home, self._content.get, self._until if self._dry_run else {})
        now = self._now_ns / 1e9
        if self._dry_run:
            return _garbage(self._content, needed, now - grace_s)
        return self._content.gc(needed, grace_s, now)

    def _shrink(self, actor: str) -> Shrunk:
        order = Order(
            actor,
            self._kept.get(actor),
            self._known.get(actor, Checkpoints()),
            self._key,
            self._signer,
            self._now_ns,
            self._dry_run,
        )
        done = shrink(self._home.chain(actor), order, self._content)
        if done.until is not None:
            self._until[actor] = done.until
        return done

    def _unsigned(self, actor: str) -> TheaterError | None:
        if self._signer is not None or self._kept.get(actor) is None:
            return None
        return NotFound(f"there is no key {self._home.key} to sign with, so nothing was dropped; a server makes one")


def needed_by_actors(home: Home) -> set[str]:
    """The digests, in hex, of what the actors of a home and of its tree are made of.

    Raises:
        IntegrityError: an actor's row, or the tree, cannot be read, so that nobody knows what it needs.
    """
    cast = _cast(home)
    for row in home.actors.glob("*/actor"):
        if cast.get(row.parent.name) is None:
            raise IntegrityError(f"the row of an actor cannot be read: {row}")
    parts = (part for actor in cast for part in (actor.component, actor.program, actor.init_state))
    return {part for part in parts if part is not None} | kept_digests(home)


def _retention(home: Home) -> dict[str, Retention]:
    kept = ((actor.id, actor.manifest.chain.retention) for actor in _cast(home))
    return {actor: retention for actor, retention in kept if retention is not None}


def _cast(home: Home) -> Cast:
    cast = Cast(home)
    if home.actors.is_dir():
        cast.load()
    return cast


def _with_chains(home: Home) -> list[str]:
    return [chain.parent.name for chain in home.actors.glob("*/chain") if is_id(chain.parent.name)]


def _garbage(content: ContentStore, needed: Collection[str], oldest: float) -> Collected:
    """What a collector would delete."""
    sizes = []
    for digest in content:
        try:
            found = content.path(digest).stat()
        except FileNotFoundError:
            continue
        if digest not in needed and found.st_mtime <= oldest:
            sizes.append(found.st_size)
    return Collected(len(sizes), sum(sizes))


# ---- the server's process for this


def main() -> int:
    """Does what standard input says."""
    order = json.loads(sys.stdin.readline())
    die_with(order["parent"])
    with contextlib.suppress(OSError):  # A hardened service may forbid it.
        os.nice(_GENTLE)
    enter(rooms_children.upkeep(), {**places.code(), order["home"]: landlock.CHANGE})
    try:
        kept = Retention(**order["kept"]) if order["kept"] is not None else None
        upkeep = Upkeep(Home(Path(order["home"])), time.time_ns(), kept=kept)
        dropped = 0
        for tended in upkeep.tend(order["actors"]):
            dropped += tended.done.dropped_entries
            _say(**_plain(tended))
        if dropped:
            freed = upkeep.collect()
            _say(contents=freed.count, bytes=freed.size)
    except TheaterError as error:
        _say(error=error.message)
        return error.exit_code
    return 0


def _plain(tended: Tended) -> dict[str, Any]:
    done = tended.done
    facts = {"actor": tended.id, "compressed": done.compressed, "dropped": done.dropped_entries, "freed": done.freed}
    why = tended.error.message if tended.error is not None else done.note
    return facts | ({"error": why} if why is not None else {})


def _say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
