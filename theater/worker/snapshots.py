"""When an actor is written down, and how: state always, memory where it can be kept (core/snapshot.py).

Content is in the store before the entry that names it is made. A store that fails costs the snapshot and nothing else:
it is tried again later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from theater.core import memory_image
from theater.core.chain import OVERHEAD, Lifecycle, Put
from theater.core.life import Life
from theater.core.snapshot import Answered, Snapshot
from theater.errors import DiskFull
from theater.worker.warm import Player

_AGAIN: Final = 10
"""After a failure the next try comes in so small a part of the usual distance."""

_ROOM: Final = 4 << 20
"""Bytes that must be free when the entry is made: the chain may not meet a full disk because of a snapshot."""

NEVER: Final = 1 << 63
"""An offset that no chain reaches."""


class Snapshots:
    """Knows when the next is due.

    Args:
        every: entries and bytes of chain between two, whichever comes first; None for none at all.
        last: number and offset of the entry of the last one; zeros if there was none.
        now: number of entries and bytes of the chain now.

    Attributes:
        look_at: length of the chain at which `is_due` is worth a look, and not before.
    """

    def __init__(self, every: tuple[int, int] | None, last: tuple[int, int], now: tuple[int, int]) -> None:
        self._every = every
        self._due = (NEVER, NEVER)
        self.look_at = NEVER
        if every is not None:
            self._due = (last[0] + every[0], last[1] + every[1])
            self.look_at = self._next_look(*now)

    def is_due(self, entries: int, offset: int) -> bool:
        """Whether a chain of so many entries and bytes needs one."""
        if entries >= self._due[0] or offset >= self._due[1]:
            return True
        self.look_at = self._next_look(entries, offset)
        return False

    def taken(self, entries: int, offset: int) -> None:
        """One was made just now."""
        self._set(entries, offset, 1)

    def failed(self, entries: int, offset: int) -> None:
        """One could not be made just now."""
        self._set(entries, offset, _AGAIN)

    def _set(self, entries: int, offset: int, part: int) -> None:
        if self._every is not None:
            self._due = (entries + max(1, self._every[0] // part), offset + max(1, self._every[1] // part))
            self.look_at = self._next_look(entries, offset)

    def _next_look(self, entries: int, offset: int) -> int:
        """An entry is longer than `OVERHEAD`, so the chain has this length before it has the entries that are due."""
        return min(self._due[1], offset + OVERHEAD * max(0, self._due[0] - entries))


def snapshot_of(
    guest: Player,
    state: bytes | None,
    committed: bool,
    life: Life,
    loaded: Sequence[Answered],
    put: Put,
    why_not: str | None = None,
) -> Lifecycle:
    """The entry that says what the actor is now; all content that it names has been put.

    Args:
        why_not: why the memory must not be kept, if it must not.

    Raises:
        DiskFull, IntegrityError: the content could not be kept.
    """
    why = why_not or guest.unportable
    if why is not None:
        return Snapshot(state, committed, life.details(), None, None, why, ()).payload()
    image = guest.keep()
    memory = memory_image.store(image, put)
    return Snapshot(state, committed, life.details(), image.root, memory, None, loaded).payload()


def require_room(file: int, free: Callable[[int], int] | None = None) -> None:
    """Raises DiskFull unless the disk of an open file has room for more than the entry."""
    left = (free or _free)(file)
    if left < _ROOM:
        raise DiskFull(f"the disk has {left} bytes left, and a snapshot leaves {_ROOM} to the chain")


def _free(file: int) -> int:
    found = os.statvfs(file)
    return found.f_bavail * found.f_frsize
