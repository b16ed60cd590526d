"""Where a chain stands: what a new life must know before it may go on, found by reading as little as possible.

A known mark (core/chain.py) says what is verified already. It is believed only if the file still has its digest at
its place; then everything after it is verified, entry by entry, and what it says about the state is looked up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from theater.core.chain import (
    HEADER_SIZE,
    OVERHEAD,
    START,
    Call,
    Damage,
    Entry,
    Get,
    Head,
    Kind,
    Mark,
    Outcome,
    Record,
    Scanner,
    Torn,
    Tracker,
    read_header,
    resolve,
    state_digest,
)
from theater.core.codec import DIGEST_SIZE
from theater.errors import ChainBroken, ContentDamaged, disk_error

BLOCK = 1 << 18
"""How much is read at once, bytes."""

_FOLLOWED = frozenset({Kind.GENESIS, Kind.CALL, Kind.OUTCOME, Kind.LIFECYCLE})


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found.

    Args:
        mark: where the chain goes on.
        state: the last committed state; None if it is "no state", and before the first commit.
        state_digest: its digest; None for no state.
        open_call: the call after which the record ends without an outcome: what was running when the last life ended.
        torn_bytes: bytes behind the last whole entry, which no entry was acknowledged for.
    """

    mark: Mark
    state: bytes | None
    state_digest: bytes | None
    open_call: Entry | None
    torn_bytes: int


def recover(fd: int, where: str, known: Mark | Head | None, get: Get | None) -> Recovery:
    """Reads and verifies a chain from a known mark to its end.

    Args:
        fd: the file, open for reading.
        where: its path, for messages.
        known: a mark, to begin there; a head, to verify everything and find the head on the way; None to verify
            everything.
        get: content that the chain refers to; None if it has everything in line.

    Raises:
        ChainBroken: damage, or the chain does not have what is known. `details["reason"]` is `damaged`, `shortened`
            or `rewritten`.
        UnknownContent, ContentDamaged: the last state cannot be had.
    """
    begin = known if isinstance(known, Mark) else None
    if begin is not None:
        require_head(fd, where, begin.head)
    scanner = Scanner(begin.head if begin else START)
    tracker = Tracker(begin)
    for record in _records(fd, scanner):
        if record.kind_number in _FOLLOWED:
            tracker.note(record.entry().read(), record.offset)
    ending = scanner.end()
    if isinstance(ending, Damage):
        raise ending.error(where)
    if isinstance(known, Head):
        _require_reached(fd, where, known, scanner.head)
    torn = ending.size if isinstance(ending, Torn) else 0
    mark = tracker.mark(scanner.head)
    state, digest = _last_state(fd, where, mark, get)
    open_call = _entry_at(fd, where, mark.call_at, Call) if mark.call_at is not None else None
    return Recovery(mark, state, digest, open_call, torn)


def _records(fd: int, scanner: Scanner) -> Iterator[Record]:
    offset = scanner.head.offset
    while scanner.damage is None:
        data = read_at(fd, BLOCK, offset)
        if not data:
            return
        offset += len(data)
        yield from scanner.feed(data)


def require_head(fd: int, where: str, head: Head) -> None:
    """Raises ChainBroken unless the bytes before `head.offset` end with its digest."""
    if head.entries == 0:
        return
    size = os.fstat(fd).st_size
    if size < head.offset:
        raise _shortened(where, head, f"a file of {size} bytes")
    found = read_at(fd, DIGEST_SIZE, head.offset - DIGEST_SIZE) if head.offset >= OVERHEAD else b""
    if found != head.digest:
        raise _rewritten(where, head, found)


def _require_reached(fd: int, where: str, known: Head, found: Head) -> None:
    if found.entries < known.entries or found.offset < known.offset:
        raise _shortened(where, known, f"the end after {found.entries} entries")
    require_head(fd, where, known)


def _shortened(where: str, head: Head, found: str) -> ChainBroken:
    expected = f"digest {head.digest.hex()} at byte {head.offset}"
    return ChainBroken(
        f"{where}: entry {head.entries - 1}: expected {expected}, found {found}",
        reason="shortened", index=head.entries - 1, expected=expected, found=found,
    )  # fmt: skip


def _rewritten(where: str, head: Head, found: bytes) -> ChainBroken:
    expected = f"digest {head.digest.hex()} at byte {head.offset}"
    return ChainBroken(
        f"{where}: entry {head.entries - 1}: expected {expected}, found {found.hex() or 'no entry'}",
        reason="rewritten", index=head.entries - 1, expected=expected, found=found.hex(),
    )  # fmt: skip


def _last_state(fd: int, where: str, mark: Mark, get: Get | None) -> tuple[bytes | None, bytes | None]:
    if mark.state_at is None:
        return None, None
    outcome = _entry_at(fd, where, mark.state_at, Outcome).read()
    if not isinstance(outcome, Outcome) or not outcome.state:
        raise ChainBroken(f"{where}: the entry at byte {mark.state_at} holds no state", reason="damaged")
    (state,) = resolve(outcome.state[:1], get or _no_content)
    if state is not None and type(state) is not bytes:
        raise ChainBroken(f"{where}: the state at byte {mark.state_at} is no bytes", reason="damaged")
    digest = state_digest(state)
    if digest != outcome.state_digest:
        raise ChainBroken(f"{where}: the state at byte {mark.state_at} does not have its digest", reason="damaged")
    return state, digest


def _entry_at(fd: int, where: str, offset: int, cls: type[Call] | type[Outcome]) -> Entry:
    """The entry whose record begins at `offset`, checked against the digest before it."""
    record = record_at(fd, where, offset)
    entry = record.entry()
    if not isinstance(entry.read(), cls):
        raise ChainBroken(f"{where}: expected {cls.__name__} at byte {offset}, found {entry.kind.label}")
    return entry


def record_at(fd: int, where: str, offset: int) -> Record:
    """The one record that begins at `offset`, which must be right: it fits to the digest that stands before it.

    Raises:
        ChainBroken: no record begins there.
    """
    head = head_at(fd, offset)
    if head is None:
        raise ChainBroken(f"{where}: expected an entry at byte {offset}, found none", reason="damaged")
    length, _ = read_header(read_at(fd, HEADER_SIZE, offset)) or (0, 0)
    scanner = Scanner(head)
    records = scanner.feed(read_at(fd, OVERHEAD + length, offset))
    if len(records) != 1:
        raise ChainBroken(f"{where}: expected an entry at byte {offset}, found {scanner.end()}", reason="damaged")
    return records[0]


def head_at(fd: int, offset: int) -> Head | None:
    """The head in front of the record that begins at `offset`; None if no record header is there."""
    if not 0 <= offset < os.fstat(fd).st_size:
        return None
    header = read_header(read_at(fd, HEADER_SIZE, offset))
    if header is None or 0 < offset < OVERHEAD:
        return None
    return Head(header[1], read_at(fd, DIGEST_SIZE, offset - DIGEST_SIZE) if offset else START.digest, offset)


def read_at(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on; fewer only at the end of the file.

    Raises:
        IntegrityError: the disk does not give them.
    """
    try:
        data = os.pread(fd, size, offset)
        while 0 < len(data) < size:
            more = os.pread(fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
    except OSError as error:
        raise disk_error(error, "reading a chain") from error
    return data


def _no_content(digest: str) -> bytes:
    raise ContentDamaged(f"the chain refers to content {digest}, and no content store was given")
