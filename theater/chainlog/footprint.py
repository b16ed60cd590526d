"""How much of the disk an actor's chain takes: what of its file is no hole, and its segments."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from theater.chainlog.chain_file import CHAIN

_BLOCK = 512
"""Bytes in which stat(2) counts, whatever the file system's own blocks are."""


def on_disk(folder: Path) -> int:
    """Bytes on the disk; what is gone, or may not be looked at, counts nothing.

    Args:
        folder: the actor's.
    """
    found = 0
    with contextlib.suppress(OSError):
        known = (folder / CHAIN).stat()
        found = min(known.st_size, known.st_blocks * _BLOCK)
    with contextlib.suppress(OSError):
        segments = folder / "segments"
        found += sum(os.stat(segments / name).st_size for name in os.listdir(segments))
    return found
