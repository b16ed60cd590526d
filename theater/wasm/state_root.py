"""The state root: one digest of all that a guest carries from call to call.

    root    = digest(pack([memories, globals]), "theater state root 1")      (pack and digest: core/codec.py)
    memory  = [size in bytes, blake3(digest of its first leaf, digest of its second leaf, ...)]
    leaf    = blake3 of 16 KiB

The memories are the linear memories of all core instances that have a page, in the order in which the component's
instantiation makes them: the wrapper's for imports, if there is one, the guest's own, the wrapper's for exports. The
globals are those that the code of the guest's core modules sets once it is instantiated, in the order of the core
instances that define them, and in each of the modules' own order: the value's 4, 8 or 16 bytes, little-endian. A guest
whose globals are out of reach (`Guest.unportable` says why) has none here.

So a root says nothing of how it was computed, and is the same in every process and on every machine. A guest with one
memory, of 64 KiB that are zero, and one global, an i32 of 65536, has the root

    6f38e0d5d91edc61d6665f4f28a36f943595124da23c14bb2b07fa4e53d6244d

What it costs is asking the kernel what was written (`written`), and hashing that. Leaves of 4 KiB would be twice as
dear when all must be hashed, and their digests a hundred KiB more of every actor's own; leaves of 64 KiB are twice as
dear for a Python program, whose writes are small and everywhere.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from typing import Final

from theater.core.codec import DIGEST_SIZE, content_digest, digest, pack
from theater.core.memory_image import BLOCK
from theater.wasm.memories import Memory
from theater.wasm.written import Ranges, WriteProtection, copied_pages

LEAF: Final = BLOCK
"""Bytes that are hashed as one."""
_TAG: Final = b"theater state root 1"


def root_of(memories: Iterable[tuple[int, bytes | bytearray]], values: Sequence[bytes]) -> bytes:
    """The root of memories, each given by its size in bytes and the digests of its leaves, and of globals."""
    found = [[size, content_digest(memoryview(leaves))] for size, leaves in memories]
    return digest(pack([found, list(values)]), _TAG)


def content(memory: Memory, size: int) -> memoryview:
    """The bytes of a memory, to read and to write, as long as the instance lives."""
    return memoryview((ctypes.c_char * size).from_address(memory.base)).cast("B")


class Leaves:
    """The digests of the leaves of some memories, kept up to date.

    Nobody need say what was written, but who has called the guest: see `enter`.

    Args:
        memories: in the order of the root.
    """

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._memories = memories
        self._digests = [bytearray() for _ in memories]
        self._watch: WriteProtection | None = None
        self._watched_by = 0
        self._known_to = 0
        self._used_by = 0

    def remember(self) -> list[bytes]:
        """Hashes everything; returns the digests. Forks from now on share what is known, until the guest is entered."""
        self._forget()
        self._update([[(0, memory.size())] for memory in self._memories])
        self._known_to, self._used_by = os.getpid(), 0
        return [bytes(digests) for digests in self._digests]

    def enter(self) -> None:
        """Says that this process is the first that enters the guest, or writes to its memory, since `remember`."""
        self._used_by = os.getpid()

    def current(self) -> list[tuple[int, bytearray]]:
        """Of each memory the size in bytes, and the digests of its leaves now."""
        if self._watch is None or self._watched_by != os.getpid():
            self._begin()
        else:
            try:
                self._update(self._written(self._watch))
            except OSError:
                self.close()
                self._begin()
        return [(len(digests) // DIGEST_SIZE * LEAF, digests) for digests in self._digests]

    def prepare(self) -> None:
        """Opens now what the first look of this process would open."""
        if self._watch is None or self._watched_by != os.getpid():
            self._begin()

    def close(self) -> None:
        """Gives back what this process has opened."""
        if self._watch is not None:
            self._watch.close()
        self._forget()

    def _forget(self) -> None:
        self._watch = None

    def _begin(self) -> None:
        """The first look of this process: the watch first, so that nothing is missed."""
        try:
            self._watch = WriteProtection(self._memories)
            self._watched_by = os.getpid()
            self._written(self._watch)
        except OSError:
            self.close()
        self._update(self._changed_since_fork())

    def _written(self, watch: WriteProtection) -> list[Ranges]:
        return [watch.written(memory, memory.size()) for memory in self._memories]

    def _changed_since_fork(self) -> list[Ranges]:
        """What may differ from what is known: in a fork from who knew it, that is what this process has copied."""
        sizes = [(memory, memory.size()) for memory in self._memories]
        here = os.getpid()
        if self._known_to and self._used_by == 0:
            return [[] for _ in sizes]
        copied = copied_pages(sizes) if self._known_to not in (0, here) and self._used_by == here else None
        return copied if copied is not None else [[(0, size)] for _, size in sizes]

    def _update(self, changed: Sequence[Ranges]) -> None:
        for memory, digests, ranges in zip(self._memories, self._digests, changed, strict=True):
            known, size = len(digests) // DIGEST_SIZE * LEAF, memory.size()
            if known < size:  # it has grown; its end was not known
                ranges = sorted([*ranges, (known, size)])
                digests.extend(bytes((size - known) // LEAF * DIGEST_SIZE))
            view = content(memory, size)
            last = -1
            for start, end in ranges:
                for leaf in range(max(start // LEAF, last + 1), -(-end // LEAF)):
                    at = leaf * LEAF
                    digests[leaf * DIGEST_SIZE : (leaf + 1) * DIGEST_SIZE] = content_digest(view[at : at + LEAF])
                    last = leaf
