"""The records of a chain once more, from any entry on: for whoever executes again what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from theater.chainlog.chain_file import ChainFile
from theater.chainlog.reader import ChainReader
from theater.chainlog.recovery import record_at
from theater.core.chain import START, Head, Record

_AT_ONCE = 256


def records_from(chain: Path | str, begin: int, near: Head = START) -> Iterator[Record]:
    """The records from entry `begin` on, each verified, up to where the chain ends now.

    Args:
        near: the head behind which that entry comes, or an earlier one; what is between is not read.

    Raises:
        NotFound, ChainBroken: as `ChainReader`.
    """
    with ChainReader(chain, near if near.entries <= begin else START) as reader:
        if reader.head.entries != begin:
            reader.seek(begin)
        while records := reader.records(_AT_ONCE):
            yield from records


def first_record(chain: Path | str, head: Head = START) -> Record:
    """The record that comes behind a head, read by itself.

    Raises:
        ChainBroken: none begins there.
    """
    file = ChainFile.open(chain)
    try:
        return record_at(file, head.offset)
    finally:
        file.close()


def head_before(chain: Path | str, offset: int) -> Head:
    """The head in front of the record that begins at `offset`; that of the empty chain if none begins there."""
    file = ChainFile.open(chain)
    try:
        return file.head_at(offset) or START
    finally:
        file.close()
