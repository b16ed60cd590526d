"""The page by which the process of a replay tells its guard how far it is, for a guest that loops says nothing else.

offset  type      field
0       u64       entries that have been reproduced
8       u64       how long the next took when it was recorded, ns
16      u8        1 once it has begun
17      32 bytes  digest of the last
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from typing import NamedTuple

from theater.core.chain import START, Head

SIZE = 4096
_FIELDS = struct.Struct("<QQB32s")


class Progress(NamedTuple):
    """What the page says."""

    entries: int
    took_ns: int
    has_begun: int
    head: bytes


def writer(page: mmap.mmap) -> Callable[[Head, int], None]:
    """Says that the replay has begun; returns what is to be told how it goes on (`theater.core.replay.Watch`)."""
    write = _FIELDS.pack_into
    write(page, 0, 0, 0, 1, START.digest)
    return lambda head, took_ns: write(page, 0, head[0], took_ns, 1, head[1])


def read(page: mmap.mmap) -> Progress:
    """How far it is."""
    return Progress(*_FIELDS.unpack_from(page, 0))
