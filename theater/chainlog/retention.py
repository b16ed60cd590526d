"""Up to where a chain may be dropped, and in which ranges its old part is compressed: rules, without a file.

Entries are dropped up to a snapshot, the newest behind which everything is left that is to be kept. What the snapshot
does not say must not be needed any more: no call before it is open, the last state is not older, and it holds the
linear memory, without which the calls behind it could not be performed again. The supervisor's says how far each chain
was that anything before it speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from theater.chainlog.segments import SEGMENT_MAX
from theater.core.chain import REMOVED, Head, Lifecycle, Mark, Payload, Record, marks_in
from theater.core.codec import Form, Ref
from theater.core.manifest import Retention
from theater.core.outage import LOST, Loss

HOT: Final = 4 << 20
"""Newest bytes of a chain that are not compressed, unless they are older than the newest snapshot."""

LEAST: Final = 1 << 18
"""Bytes that are worth a segment; fewer wait until there are more."""


class Candidate(NamedTuple):
    """A snapshot, before which everything could be dropped.

    Args:
        head: the head before it.
        digest: of its entry.
        time_ns: when it was written, ns since 1970.
        committed: whether it says that its state was committed.
    """

    head: Head
    digest: bytes
    time_ns: int
    committed: bool


def candidate(record: Record, payload: Lifecycle) -> Candidate | None:
    """The snapshot in an entry, if a chain can begin with it: if it holds all that it may."""
    said = payload.details
    if not isinstance(said, Mapping):
        return None
    memory, root, held, life = (said.get(name) for name in ("memory", "root", "state", "life"))
    is_whole = type(memory) is Ref and memory.form is Form.VALUE and type(root) is bytes
    if not is_whole or not isinstance(held, list) or len(held) != 1 or not isinstance(life, Mapping):
        return None
    return _candidate(record, committed=said.get("committed") is True)


def _candidate(record: Record, *, committed: bool) -> Candidate:
    head = Head(record.seq, record.previous, record.offset)
    return Candidate(head, record.digest, record.entry().time_ns, committed)


class Watched:
    """Follows a supervisor's chain: how far the other chains were of which it speaks, so that nothing of that is
    forgotten with its oldest part."""

    def __init__(self) -> None:
        self._entries: dict[str, int] = {}

    def note(self, payload: Payload) -> None:
        """Takes in the next entry."""
        for actor, mark in marks_in(payload).items():
            self._entries[actor] = max(mark.entries, self._entries.get(actor, 0))
        if not isinstance(payload, Lifecycle):
            return
        if payload.event == REMOVED:
            self._entries.pop(str(payload.details.get("actor")), None)
        elif payload.event == LOST:
            loss = Loss.read(payload.details)
            self._entries[loss.actor] = min(loss.found.entries, self._entries.get(loss.actor, 0))
            if not self._entries[loss.actor]:
                del self._entries[loss.actor]

    def candidate(self, record: Record, payload: Lifecycle) -> Candidate | str:
        """The snapshot in an entry that has not been noted yet; if the chain cannot begin with it, why."""
        said = marks_in(payload)
        behind = [
            actor for actor, entries in self._entries.items() if actor not in said or said[actor].entries < entries
        ]
        if behind:
            return f"the snapshot in entry {record.seq} does not say how far the chain of {min(behind)} was"
        return _candidate(record, committed=False)


def choose(candidates: Sequence[Candidate], end: Mark, kept: Retention, now_ns: int) -> Candidate | None:
    """The snapshot up to which to drop; None if nothing is to go.

    Args:
        candidates: all of the chain, oldest first.
        end: where the chain ends.
        kept: how much of it is kept.
        now_ns: wall time, ns since 1970.
    """
    for found in reversed(candidates):
        if found.head.entries > 1 and is_over(found, end, kept, now_ns) and not _is_needed_before(found, end):
            return found
    return None


def is_over(found: Candidate, end: Mark, kept: Retention, now_ns: int) -> bool:
    """Whether what is before the snapshot is more than one of the limits."""
    return (
        (kept.entries is not None and end.entries - found.head.entries >= kept.entries)
        or (kept.bytes is not None and end.offset - found.head.offset >= kept.bytes)
        or (kept.age is not None and now_ns - found.time_ns >= kept.age * 1_000_000)
    )


def _is_needed_before(found: Candidate, end: Mark) -> bool:
    at = found.head.offset
    return any(needed is not None and needed < at for needed in (end.call_at, end.state_at))


class Cuts:
    """Divides a chain that is walked through into ranges for segments.

    Args:
        begin: the head behind what is compressed already.
    """

    def __init__(self, begin: Head) -> None:
        self._heads = [begin]
        self._last = begin.offset

    def note(self, record: Record) -> None:
        """Takes in the next record."""
        if record.end - self._last > SEGMENT_MAX and record.offset > self._last:
            self._heads.append(Head(record.seq, record.previous, record.offset))
            self._last = record.offset

    def ranges(self, begin: Head, until: Head, least: int = LEAST) -> list[tuple[Head, Head]]:
        """The ranges between two heads, each at most SEGMENT_MAX bytes.

        Args:
            begin, until: heads of the chain that was walked through, `begin` not before where this began.
            least: a last range of fewer bytes is left out.
        """
        heads = [begin, *(head for head in self._heads if begin.offset < head.offset < until.offset), until]
        found = [(first, last) for first, last in pairwise(heads) if last.offset > first.offset]
        if found and found[-1][1].offset - found[-1][0].offset < least:
            found.pop()
        return found
