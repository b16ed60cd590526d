"""Where a chain stands: what a new life must know before it may go on, found by reading as little as possible.

A known mark (core/chain.py) says what is verified already. It is believed only if the chain still has its digest at
its place; then everything after it is verified, entry by entry, and what it says about the state is looked up. A mark
among entries that were dropped since says nothing any more, and all that is left is verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from theater.chainlog.chain_file import ChainFile, Walk
from theater.core.chain import (
    HEADER_SIZE,
    OVERHEAD,
    SNAPSHOT,
    START,
    Call,
    Damage,
    Entry,
    Get,
    Head,
    Kind,
    Lifecycle,
    Mark,
    Outcome,
    Payload,
    Record,
    Scanner,
    Torn,
    Tracker,
    read_header,
    resolve,
    state_digest,
)
from theater.core.codec import Veiled
from theater.errors import ChainBroken, ContentDamaged

FOLLOWED = frozenset({Kind.GENESIS, Kind.CALL, Kind.OUTCOME, Kind.LIFECYCLE})
"""Kinds of entries that a `Tracker` has to see."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found.

    Args:
        mark: where the chain goes on.
        state: the last committed state, as the record has it; None if it is "no state", and before the first commit.
        state_digest: its digest; None for no state.
        open_call: the call after which the record ends without an outcome: what was running when the last life ended.
        torn_bytes: bytes behind the last whole entry, which no entry was acknowledged for.
    """

    mark: Mark
    state: bytes | Veiled | None
    state_digest: bytes | None
    open_call: Entry | None
    torn_bytes: int


def recover(file: ChainFile, known: Mark | Head | None, get: Get | None) -> Recovery:
    """Reads and verifies a chain from a known mark to its end.

    Args:
        file: the chain.
        known: a mark, to begin there; a head, to verify everything and find the head on the way; None to verify
            everything.
        get: content that the chain refers to; None if it has everything in line.

    Raises:
        ChainBroken: damage, or the chain does not have what is known. `details["reason"]` is `damaged`, `shortened`
            or `rewritten`.
        UnknownContent, ContentDamaged: the last state cannot be had.
    """
    begin = known if isinstance(known, Mark) and not file.has_dropped(known.head) else None
    if begin is not None:
        require_head(file, begin.head)
    walk = Walk(file, begin.head if begin else START)
    tracker = Tracker(begin)
    for record in walk:
        if record.kind_number in FOLLOWED:
            tracker.note(record.entry().read(), record.offset)
    ending = walk.scanner.end()
    if isinstance(ending, Damage):
        raise ending.error(file.path)
    if known is not None and begin is None:
        _require_reached(file, Head(known.entries, known.digest, known.offset), walk.scanner.head)
    torn = ending.size if isinstance(ending, Torn) else 0
    mark = tracker.mark(walk.scanner.head)
    state, digest = _last_state(file, mark, get)
    open_call = _call_at(file, mark.call_at) if mark.call_at is not None else None
    return Recovery(mark, state, digest, open_call, torn)


def require_head(file: ChainFile, head: Head) -> None:
    """Raises ChainBroken unless the bytes before `head.offset` end with its digest. Of what was dropped nobody can say
    that, and nothing is required."""
    if head.entries == 0 or file.has_dropped(head):
        return
    size = file.size
    if size < head.offset:
        raise _shortened(file, head, f"a file of {size} bytes")
    found = file.digest_before(head.offset) if head.offset >= OVERHEAD else b""
    if found != head.digest:
        raise _rewritten(file, head, found)


def _require_reached(file: ChainFile, known: Head, found: Head) -> None:
    if found.entries < known.entries or found.offset < known.offset:
        raise _shortened(file, known, f"the end after {found.entries} entries")
    require_head(file, known)


def _shortened(file: ChainFile, head: Head, found: str) -> ChainBroken:
    expected = f"digest {head.digest.hex()} at byte {head.offset}"
    return ChainBroken(
        f"{file.path}: entry {head.entries - 1}: expected {expected}, found {found}",
        reason="shortened", index=head.entries - 1, expected=expected, found=found,
    )  # fmt: skip


def _rewritten(file: ChainFile, head: Head, found: bytes) -> ChainBroken:
    expected = f"digest {head.digest.hex()} at byte {head.offset}"
    return ChainBroken(
        f"{file.path}: entry {head.entries - 1}: expected {expected}, found {found.hex() or 'no entry'}",
        reason="rewritten", index=head.entries - 1, expected=expected, found=found.hex(),
    )  # fmt: skip


def _last_state(file: ChainFile, mark: Mark, get: Get | None) -> tuple[bytes | Veiled | None, bytes | None]:
    if mark.state_at is None:
        return None, None
    payload = record_at(file, mark.state_at).entry().read()
    held = state_in(payload)
    if not held:
        raise ChainBroken(f"{file.path}: the entry at byte {mark.state_at} holds no state", reason="damaged")
    (state,) = resolve(held[:1], get or _no_content)
    if state is not None and type(state) not in (bytes, Veiled):
        raise ChainBroken(f"{file.path}: the state at byte {mark.state_at} is no bytes", reason="damaged")
    digest = state_digest(state)
    if isinstance(payload, Outcome) and digest != payload.state_digest:
        raise ChainBroken(f"{file.path}: the state at byte {mark.state_at} does not have its digest", reason="damaged")
    return state, digest


def state_in(payload: Payload) -> Sequence[Any]:
    """The state that an outcome or a snapshot holds, as an array of one; an empty one if it holds none."""
    held: Any = ()
    if isinstance(payload, Outcome):
        held = payload.state
    elif isinstance(payload, Lifecycle) and payload.event == SNAPSHOT and isinstance(payload.details, Mapping):
        held = payload.details.get("state")
    return held if isinstance(held, list) else ()


def _call_at(file: ChainFile, offset: int) -> Entry:
    """The call whose record begins at `offset`, checked against the digest before it."""
    entry = record_at(file, offset).entry()
    if not isinstance(entry.read(), Call):
        raise ChainBroken(f"{file.path}: expected a call at byte {offset}, found {entry.kind.label}")
    return entry


def record_at(file: ChainFile, offset: int) -> Record:
    """The one record that begins at `offset`, which must be right: it fits to the digest that stands before it.

    Raises:
        ChainBroken: no record begins there.
    """
    head = file.head_at(offset)
    if head is None:
        raise ChainBroken(f"{file.path}: expected an entry at byte {offset}, found none", reason="damaged")
    length, _ = read_header(file.read(HEADER_SIZE, offset)) or (0, 0)
    scanner = Scanner(head)
    records = scanner.feed(file.read(OVERHEAD + length, offset))
    if len(records) != 1:
        raise ChainBroken(f"{file.path}: expected an entry at byte {offset}, found {scanner.end()}", reason="damaged")
    return records[0]


def _no_content(digest: str) -> bytes:
    raise ContentDamaged(f"the chain refers to content {digest}, and no content store was given")
