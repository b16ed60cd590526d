"""The state root: one digest of all that an instance carries from call to call.

    root    = digest(pack([memories, globals]), "theater state root 1")      (pack, digest: core/codec.py)
    memory  = [size in bytes, blake3 of the digests of its pages, one after the other]
    page    = blake3 of 64 KiB

The linear memories stand in the order in which the instance made them, those that have no page left out; the globals
are the values of the mutable globals, 4, 8 or 16 bytes each, little-endian.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

from theater.core.codec import content_digest, digest, pack
from theater.wasm.memories import PAGE, Memory

_TAG: Final = b"theater state root 1"


def page_digests(memory: Memory) -> list[bytes]:
    """The digest of each page."""
    size = memory.size()
    view = content(memory, size)
    return [content_digest(view[at : at + PAGE]) for at in range(0, size, PAGE)]


def root_of(memories: Sequence[tuple[int, Sequence[bytes]]], values: Sequence[bytes]) -> bytes:
    """The root of memories, each given by its size in bytes and the digests of its pages, and of globals."""
    found = [[size, content_digest(b"".join(pages))] for size, pages in memories]
    return digest(pack([found, list(values)]), _TAG)


def content(memory: Memory, size: int) -> memoryview:
    """The bytes of a memory, to read and to write, as long as the instance lives."""
    return memoryview((ctypes.c_char * size).from_address(memory.base)).cast("B")
