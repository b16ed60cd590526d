"""The page that a worker shares with the supervisor: how it does, and its last words.

One page of memory for each worker, made by the supervisor, written by the worker, and readable after the
worker's death. It answers without a message what the supervisor must know at any moment: since when a call has
been running (the deadline behind the epoch), how far the chain has been written (the head that goes into a
checkpoint, and from which a successor continues), how much mail waits. A dying worker leaves its exit reason
there, so no queue has to be drained before a death is judged.

    offset  type     field
    0       u64      generation: odd while the head below is being changed
    8       u64      entries: number of entries in the chain
    16      u64      offset: bytes of the chain
    24      u64      state_at: offset of the entry that holds the last state plus one; 0 if there is none
    32      32 bytes digest of the last entry
    64      u64      call_since: monotonic ns at which the running call began, 0 between calls
    72      u64      call_entry: sequence number of the entry of the running, or last, call
    80      u64      mailbox: messages that wait
    88      u64      memory: bytes of the guest's linear memory
    96      u64      state_size: bytes of the state
    128     u8       watched: written by the supervisor: somebody wants `Grown` messages
    1024    u32      length of the last words, then that many bytes of msgpack

All integers are little-endian. Nothing else is believed of a worker: values are about itself only.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from theater.core.codec import pack, unpack
from theater.errors import WireError

SIZE = 4096
_WORDS_AT = 1024
_WORDS_MAX = SIZE - _WORDS_AT - 4
_WATCHED_AT = 128
_HEAD = struct.Struct("<QQQQ32s")
_HEAD_BODY = struct.Struct("<QQQ32s")
_U64 = struct.Struct("<Q")
_CALL = struct.Struct("<QQ")
_GAUGES = struct.Struct("<QQQ")
_U32 = struct.Struct("<I")


class PulseHead(NamedTuple):
    """How far a chain has been written: entries, bytes, where the last state stands (None if nowhere), digest."""

    entries: int
    offset: int
    state_at: int | None
    digest: bytes


class Pulse:
    """Both sides' view of the page.

    Args:
        page: a writable buffer of `SIZE` bytes, shared between the two processes.
    """

    def __init__(self, page: memoryview) -> None:
        self._page = page
        self._generation = 0

    # ---- the worker's side

    def head(self, entries: int, offset: int, state_at: int | None, digest: bytes) -> None:
        """Says how far the chain has been written."""
        page, odd = self._page, self._generation + 1
        _U64.pack_into(page, 0, odd)
        _HEAD_BODY.pack_into(page, 8, entries, offset, 0 if state_at is None else state_at + 1, digest)
        self._generation = odd + 1
        _U64.pack_into(page, 0, odd + 1)

    def begin(self, now_ns: int, entry: int) -> None:
        """Says that a call has begun."""
        _CALL.pack_into(self._page, 64, now_ns, entry)

    def end(self) -> None:
        """Says that no call is running."""
        _U64.pack_into(self._page, 64, 0)

    def gauges(self, mailbox: int, memory: int, state_size: int) -> None:
        _GAUGES.pack_into(self._page, 80, mailbox, memory, state_size)

    def last_words(self, reason: dict[str, object]) -> None:
        """Leaves the exit reason; what does not fit loses its `detail`'s end."""
        words = pack(reason)
        if len(words) > _WORDS_MAX:
            detail = str(reason.get("detail"))
            words = pack({**reason, "detail": detail.encode()[: _WORDS_MAX // 2].decode(errors="ignore") + " …"})
        self._page[_WORDS_AT + 4 : _WORDS_AT + 4 + len(words)] = words
        _U32.pack_into(self._page, _WORDS_AT, len(words))

    @property
    def watched(self) -> bool:
        return self._page[_WATCHED_AT] != 0

    # ---- the supervisor's side

    def watch(self, wanted: bool) -> None:
        """Asks for, or ends, `Grown` messages."""
        self._page[_WATCHED_AT] = int(wanted)

    def read_head(self) -> PulseHead | None:
        """The head, or None if the worker died while it was changing it, or never wrote one."""
        for _ in range(100):
            before, entries, offset, state_at, digest = _HEAD.unpack_from(self._page, 0)
            if before % 2 == 0 and _U64.unpack_from(self._page, 0)[0] == before:
                return PulseHead(entries, offset, state_at - 1 if state_at else None, digest) if before else None
        return None

    def running_call(self) -> tuple[int, int] | None:
        """(monotonic ns since when, sequence number of its entry) of the running call, if one is."""
        since, entry = _CALL.unpack_from(self._page, 64)
        return (since, entry) if since else None

    def read_gauges(self) -> tuple[int, int, int]:
        """(waiting messages, bytes of linear memory, bytes of state)."""
        mailbox, memory, state_size = _GAUGES.unpack_from(self._page, 80)
        return mailbox, memory, state_size

    def read_last_words(self) -> dict[str, object] | None:
        """What the worker left, or None if it left nothing that can be read."""
        (length,) = _U32.unpack_from(self._page, _WORDS_AT)
        if not 0 < length <= _WORDS_MAX:
            return None
        try:
            words = unpack(bytes(self._page[_WORDS_AT + 4 : _WORDS_AT + 4 + length]), max_len=_WORDS_MAX)
        except WireError:
            return None
        return words if isinstance(words, dict) else None
