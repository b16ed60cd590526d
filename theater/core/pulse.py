"""The page that a worker shares with the supervisor: how it does, and its last words.

One page of memory for each worker, made by the supervisor, written by the worker, and readable after the
worker's death. It answers without a message what the supervisor must know at any moment: since when a call has
been running (the deadline behind the epoch), how far the chain has been written (the head that goes into a
checkpoint, and from which a successor continues), how much mail waits. A dying worker leaves its exit reason
there, so no queue has to be drained before a death is judged.

    offset  type     field
    0       u64      generation: odd while the mark below is being changed, 0 before the first
    8       u64      entries: number of entries in the chain
    16      u64      offset: bytes of the chain
    24      u64      state_at: offset of the entry that holds the last state plus one; 0 if there is none
    32      u64      incarnation
    40      u64      call_at: offset of the entry of the call that has no outcome plus one; 0 if there is none
    48      32 bytes digest of the last entry
    88      u64      last_call: offset of the entry of the call that began last plus one; 0 if none did
    96      u64      call_since: monotonic ns at which the running call began, 0 between calls
    104     u64      mailbox: messages that wait
    112     u64      memory: bytes of the guest's linear memory
    120     u64      state_size: bytes of the state
    128     u8       watched: written by the supervisor: somebody wants `Grown` messages
    136     u64      steps: grows with every host call
    160     u64      snapshot_at, part of the mark: offset of the entry of the last snapshot plus one; 0 if none
    176     u64      delivery: number of a message from outside that was taken
    184     u64      delivery_at: offset at which its call was about to be written, plus one; 0 while it changes
    192, 200         another such pair: they are written in turns, so that one of them always holds
    1024    u32      length of the last words, then that many bytes of msgpack

Integers are as the machine has them. Nothing else is believed of a worker: values are about itself only.

The page is read when its writer has been killed, between any two instructions, and while it writes. So what is not
part of the mark, which has its generation, is written word by word, each with one store: `struct.pack_into` clears its
target first, and who died, or was read, at that moment would have said zero.
"""

from __future__ import annotations

import struct

from theater.core.chain import Mark
from theater.core.codec import pack, unpack
from theater.errors import WireError

SIZE = 4096
_WORDS_AT = 1024
_WORDS_MAX = SIZE - _WORDS_AT - 4
_WATCHED_AT = 128
_SNAPSHOT_AT = 160
_MARK_AT = 8
_MARK_BODY = struct.Struct("=QQQQQ32s")
_U64 = struct.Struct("=Q")
_U32 = struct.Struct("=I")

# Numbers of words.
_GENERATION = 0
_LAST_CALL = 11
_CALL_SINCE = 12
_MAILBOX, _MEMORY, _STATE_SIZE = 13, 14, 15
_STEPS = 17
_DELIVERIES = (22, 24)


class Pulse:
    """Both sides' view of the page.

    Args:
        page: a writable buffer of `SIZE` bytes, shared between the two processes.
    """

    def __init__(self, page: memoryview) -> None:
        self._page = page
        self._words = page.cast("Q")
        self._generation = 0
        self._slot, self._next_slot = _DELIVERIES

    # ---- the worker's side

    def mark(self, mark: Mark) -> None:
        """Says how far the chain has been written."""
        page, words, odd = self._page, self._words, self._generation + 1
        entries, digest, offset, state_at, incarnation, call_at, snapshot_at = mark
        state = 0 if state_at is None else state_at + 1
        call = 0 if call_at is None else call_at + 1
        words[_GENERATION] = odd
        _MARK_BODY.pack_into(page, _MARK_AT, entries, offset, state, incarnation, call, digest)
        _U64.pack_into(page, _SNAPSHOT_AT, 0 if snapshot_at is None else snapshot_at + 1)
        self._generation = odd + 1
        words[_GENERATION] = odd + 1

    def begin(self, now_ns: int, offset: int) -> None:
        """Says that a call has begun, and where its entry stands in the chain."""
        words = self._words
        words[_LAST_CALL] = offset + 1
        words[_CALL_SINCE] = now_ns

    def step(self, steps: int) -> None:
        """Says how far the running call is; any number that grows will do."""
        self._words[_STEPS] = steps

    def takes(self, delivery: int, offset: int) -> None:
        """Says that the call for a message from outside is about to be written, and where."""
        words, slot = self._words, self._slot
        self._slot, self._next_slot = self._next_slot, slot
        words[slot + 1] = 0
        words[slot] = delivery
        words[slot + 1] = offset + 1

    def end(self) -> None:
        """Says that no call is running."""
        self._words[_CALL_SINCE] = 0

    def gauges(self, mailbox: int, memory: int, state_size: int) -> None:
        words = self._words
        words[_MAILBOX] = mailbox
        words[_MEMORY] = memory
        words[_STATE_SIZE] = state_size

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

    def read_mark(self) -> Mark | None:
        """How far the chain is, or None if the worker died while it was saying so, or never did."""
        words = self._words
        for _ in range(100):
            before = words[_GENERATION]
            entries, offset, state, incarnation, call, digest = _MARK_BODY.unpack_from(self._page, _MARK_AT)
            (snapshot,) = _U64.unpack_from(self._page, _SNAPSHOT_AT)
            if before % 2 == 0 and words[_GENERATION] == before:
                if before == 0:
                    return None
                return Mark(entries, digest, offset, _at(state), incarnation, _at(call), _at(snapshot))
        return None

    def call_since(self) -> int | None:
        """Monotonic ns at which the running call began, if one is running."""
        return self._words[_CALL_SINCE] or None

    def last_call(self) -> int | None:
        """Offset of the entry of the call that began last."""
        return _at(self._words[_LAST_CALL])

    def progress(self) -> tuple[int, int]:
        """What changes with everything that the actor does: the call that began last, and the steps within it."""
        return self._words[_LAST_CALL], self._words[_STEPS]

    def last_delivery(self, length: int) -> int:
        """Number of the last message from outside whose call is in the chain.

        Args:
            length: bytes of the chain; a call that was to be written behind it never was.
        """
        words = self._words
        return max((words[slot] for slot in _DELIVERIES if 0 < words[slot + 1] <= length), default=0)

    def read_gauges(self) -> tuple[int, int, int]:
        """(waiting messages, bytes of linear memory, bytes of state)."""
        words = self._words
        return words[_MAILBOX], words[_MEMORY], words[_STATE_SIZE]

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

    def release(self) -> None:
        """Lets go of the page."""
        self._words.release()
        self._page.release()


def _at(plus_one: int) -> int | None:
    """An offset that is kept as one more, so that 0 is none."""
    return plus_one - 1 if plus_one else None
