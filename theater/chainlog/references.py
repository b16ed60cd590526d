"""What the chains of a home still need of its content: what a collector must not delete.

The other half is `Labels.references`, and whatever the server holds for actors that it has not started yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from theater.chainlog.reader import ChainReader
from theater.config import Home
from theater.core.chain import Record, refs_in_value
from theater.core.codec import Form
from theater.core.verification import needed_content
from theater.errors import NotFound

_AT_ONCE = 4096
_NONE: Mapping[str, int] = {}


def collect_references(home: Home, get: Callable[[str], bytes], dropped: Mapping[str, int] = _NONE) -> set[str]:
    """The digests, in hex, of everything that a chain of the home refers to.

    Args:
        get: content of a digest; asked for what itself refers to content.
        dropped: of chains of these actors the first so many entries do not count, but for the genesis.

    Raises:
        ChainBroken: a chain is damaged, so that nobody can say what it needed.
        UnknownContent, ContentDamaged: the same is true of content.
    """
    found: set[str] = set()
    for path in _chains(home):
        first = dropped.get(path.parent.name, 0)  # Of actors: the server's own chain refers to no content.
        for record in _records(path):
            if record.seq == 0 or record.seq >= first:
                note_references(record, get, found)
    return found


def _chains(home: Home) -> list[Path]:
    return [home.supervisor_chain, *sorted(home.actors.glob("*/chain"))]


def _records(path: Path) -> Iterator[Record]:
    try:
        reader = ChainReader(path)
    except NotFound:
        return
    with reader:
        while records := reader.records(_AT_ONCE):
            yield from records


def note_references(record: Record, get: Callable[[str], bytes], found: set[str]) -> None:
    """Adds to `found` what one entry refers to, and what that refers to itself.

    Raises: as `collect_references`.
    """
    for ref in needed_content(record):
        digest = ref.digest.hex()
        if ref.form is Form.VALUE and digest not in found:
            found.update(inner.digest.hex() for inner in refs_in_value(get(digest)))
        found.add(digest)
