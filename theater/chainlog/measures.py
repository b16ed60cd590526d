"""How much a chain is: entries, bytes, what of it is compressed, dropped, or kept in the content store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from theater.chainlog.chain_file import ChainFile, Walk
from theater.chainlog.references import note_references
from theater.chainlog.shrinking import on_disk
from theater.core.chain import SNAPSHOT, Damage, Kind, Lifecycle, Record

_SNAPSHOT = SNAPSHOT.encode()


@dataclass(frozen=True, slots=True)
class Measures:
    """What a chain is made of.

    Args:
        entries: how many it has, with those that were dropped.
        size: bytes of it, likewise.
        on_disk: bytes of disk that it takes.
        compressed: bytes of it that are in segments; 0 for none.
        segments: how many there are.
        dropped: entries that are not kept any more.
        dropped_size: bytes that they were.
        snapshots: snapshots in what is kept.
        contents: contents that what is kept refers to.
        contents_size: their bytes.
    """

    entries: int
    size: int
    on_disk: int
    compressed: int
    segments: int
    dropped: int
    dropped_size: int
    snapshots: int
    contents: int
    contents_size: int


def measure(chain: Path, get: Callable[[str], bytes], size_of: Callable[[str], int]) -> Measures:
    """Reads a chain and counts.

    Args:
        chain: the file.
        get: content of a digest; asked for what itself refers to content.
        size_of: bytes of a content.

    Raises:
        FileNotFoundError: there is none.
        ChainBroken: it is damaged.
        UnknownContent, ContentDamaged: something that it refers to is not what it was.
    """
    found: set[str] = set()
    snapshots = 0
    with ChainFile.open(chain) as file:
        walk = Walk(file)
        for record in walk:
            snapshots += _is_snapshot(record)
            note_references(record, get, found)
        ending = walk.scanner.end()
        if isinstance(ending, Damage):
            raise ending.error(str(chain))
        gap = file.dropped
        segments = [segment for place in file.segments if (segment := file.segment(place)) is not None]
        return Measures(
            entries=walk.scanner.head.entries,
            size=walk.scanner.head.offset,
            on_disk=on_disk(chain),
            compressed=sum(segment.size for segment in segments),
            segments=len(segments),
            dropped=gap.entries if gap is not None else 0,
            dropped_size=gap.size if gap is not None else 0,
            snapshots=snapshots,
            contents=len(found),
            contents_size=sum(map(size_of, found)),
        )


def _is_snapshot(record: Record) -> bool:
    if record.kind_number != Kind.LIFECYCLE or _SNAPSHOT not in record.body:
        return False
    payload = record.entry().read()
    return isinstance(payload, Lifecycle) and payload.event == SNAPSHOT
