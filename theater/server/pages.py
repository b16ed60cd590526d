"""Pages of a chain for clients: bounded in entries and in bytes, and read without starting from the beginning.

A reader that follows a chain comes back again and again for what lies behind its last page. Where that is, in bytes,
is remembered, so that a page costs what is on it however long the chain has become.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from theater.chainlog.reader import ChainReader
from theater.core.chain import Entry, Get, Head, Kind, resolve
from theater.core.codec import Ref, Veiled
from theater.core.secrets import redacted
from theater.core.snapshot import is_snapshot, resolve_all_but_memory
from theater.core.values import Case, Err, Ok, Some
from theater.errors import ChainBroken, NotFound

_BATCH = 256
_BYTES_MAX = 16 << 20
"""Bytes of one page, give or take an entry: far below what fits into a frame."""

_PLACES_MAX = 4096

Page = tuple[list[dict[str, Any]], int]
"""Events, and the sequence number to go on with."""


class Pages:
    """Reads chains, whole or in part.

    Args:
        get: content that entries refer to.
    """

    def __init__(self, get: Get) -> None:
        self._get = get
        self._places: OrderedDict[tuple[Path, int], Head] = OrderedDict()

    def read(self, path: Path, since: int, limit: int, kinds: frozenset[Kind], whole: bool) -> Page:
        """Events from `since` on.

        Args:
            since: a sequence number; -N for the last N entries.
            limit: most events.
            kinds: only these; empty for all.
            whole: gives content instead of references to it.
        """
        events: list[dict[str, Any]] = []
        size = 0

        def get(digest: str) -> bytes:
            nonlocal size
            content = self._get(digest)
            size += len(content)
            return content

        with contextlib.closing(self._entries(path, since)) as entries:
            for entry, head in entries:
                since = entry.seq + 1
                if kinds and entry.kind not in kinds:
                    continue
                events.append(event_of(entry, get if whole else None))
                if head is not None:
                    size += head.offset - entry.offset
                if len(events) >= limit or size >= _BYTES_MAX:
                    self._remember(path, head)
                    break
        return events, since

    def _entries(self, path: Path, since: int) -> Generator[tuple[Entry, Head | None], None, None]:
        """The entries of a chain from `since` on, each with the head behind it where that is known; none if there
        is no such entry yet."""
        try:
            reader = self._reader(path, since)
        except NotFound:
            return
        with reader:
            if since < 0:
                yield from _with_heads(reader.tail(-since), None)
                return
            try:
                reader.seek(since)
            except NotFound:
                return
            while batch := reader.read(_BATCH):
                yield from _with_heads(batch, reader.head)
            self._remember(path, reader.head)

    def _reader(self, path: Path, since: int) -> ChainReader:
        place = self._places.get((path, since))
        if place is not None:
            try:
                return ChainReader(path, place)
            except ChainBroken:
                del self._places[path, since]  # Cut off behind a dead writer, and written anew.
        return ChainReader(path)

    def _remember(self, path: Path, head: Head | None) -> None:
        if head is None:
            return
        self._places[path, head.entries] = head
        self._places.move_to_end((path, head.entries))
        if len(self._places) > _PLACES_MAX:
            self._places.popitem(last=False)


def _with_heads(entries: list[Entry], last: Head | None) -> Iterator[tuple[Entry, Head | None]]:
    heads = (Head(following.seq, entry.digest, following.offset) for entry, following in pairwise(entries))
    return zip(entries, chain(heads, [last]), strict=True)


def event_of(entry: Entry, get: Callable[[str], bytes] | None = None) -> dict[str, Any]:
    """An entry as clients see it.

    Args:
        get: content, to stand in place of the references to it; None to leave these.
    """
    payload = entry.payload
    if get is not None:
        is_large = entry.kind is Kind.LIFECYCLE and is_snapshot(payload)
        payload = resolve_all_but_memory(payload, get) if is_large else resolve(payload, get)
    return {
        "seq": entry.seq,
        "type": entry.kind.label,
        "time_ns": entry.time_ns,
        "digest": entry.digest.hex(),
        "previous": entry.previous.hex(),
        "data": _plain(entry._replace(payload=payload).read()._asdict()),
    }


def _plain(value: Any) -> Any:
    """A payload's value in what every client can show: WIT values become maps with one telling key."""
    if isinstance(value, Veiled):
        return redacted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Ref):
        return {"content": value.digest.hex(), "size": value.size}
    if isinstance(value, Ok):
        return {"ok": _plain(value.value)}
    if isinstance(value, Err):
        return {"err": _plain(value.value)}
    if isinstance(value, Some):
        return {"some": _plain(value.value)}
    if isinstance(value, Case):
        return {value.name: _plain(value.payload)}
    return value
