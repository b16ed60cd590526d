"""Timers of one actor. They outlive its incarnations: the table is a file beside the chain, replaced atomically.

A timer that was due while the actor was down fires when it is back; how often, if it repeats, the catch-up policy says
(theater/core/overdue.py). Times are wall time in milliseconds, since a machine's monotonic clock starts anew with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from theater.core.codec import pack, unpack
from theater.core.overdue import CatchUp, following, resumed
from theater.core.secrets import Veil
from theater.durable import replace, sync_folder
from theater.errors import IntegrityError, LimitExceeded, WireError

MOST = 1000
"""Timers that one actor may have at a time."""

_LARGEST_TABLE = 64 << 20


class Timer(NamedTuple):
    """A message to oneself: `msg` at `due_ms`, and every `period_ms` after it unless that is 0. `cause` is the
    digest of the entry that set it."""

    due_ms: int
    number: int
    period_ms: int
    msg: bytes
    cause: bytes


class Timers:
    """The table.

    Args:
        path: the file; read if it exists.
        now_ms: the wall clock.
        origin: digest of the entry that is setting a timer.
        veil: hides the secrets of the actor in the file.
        durable: whether a timer that was set outlives the machine.
        catch_up: see `CatchUp`.
        up_until_ms: the last moment that the life before this one is known to have been up. It is asked only if a timer
            repeats: what the file says of that may be out of date, since nothing is written when it fires.
    """

    def __init__(
        self,
        path: Path,
        now_ms: Callable[[], int],
        origin: Callable[[], bytes],
        veil: Veil | None = None,
        *,
        durable: bool = False,
        catch_up: CatchUp = CatchUp.ONE,
        up_until_ms: Callable[[], int] | None = None,
    ) -> None:
        self._path = path
        self._veil = veil
        self._durable = durable
        self._now_ms = now_ms
        self._origin = origin
        self._catch_up = catch_up
        self._back_since = now_ms()
        self._heap = self._read()
        if any(timer.period_ms for timer in self._heap):
            self._catch_up_from(up_until_ms() if up_until_ms is not None else self._back_since)
        self._last = max((timer.number for timer in self._heap), default=0)

    def start(self, delay_ms: int, period_ms: int, msg: bytes) -> int:
        if len(self._heap) >= MOST:
            raise LimitExceeded(f"an actor may have {MOST} timers at a time; cancel some")
        self._last += 1
        heapq.heappush(self._heap, Timer(self._now_ms() + delay_ms, self._last, period_ms, msg, self._origin()))
        self._write()
        return self._last

    def cancel(self, timer: int) -> bool:
        kept = [other for other in self._heap if other.number != timer]
        if len(kept) == len(self._heap):
            return False
        heapq.heapify(kept)
        self._heap = kept
        self._write()
        return True

    def clear(self) -> None:
        """Forgets all timers."""
        if self._heap:
            self._heap = []
            self._write()

    def next_due(self) -> float | None:
        """Seconds until the next timer; None if there is none."""
        return max(0.0, (self._heap[0].due_ms - self._now_ms()) / 1000) if self._heap else None

    def take_due(self) -> Timer | None:
        """A timer that is due. A repeating one is set for its next moment that has not passed, or is to be caught up
        with."""
        if not self._heap or self._heap[0].due_ms > self._now_ms():
            return None
        timer = heapq.heappop(self._heap)
        if timer.period_ms:
            due = following(timer.due_ms, timer.period_ms, self._back_since, self._now_ms(), self._catch_up)
            heapq.heappush(self._heap, timer._replace(due_ms=due))
        else:
            self._write()
        return timer

    def _catch_up_from(self, up_until: int) -> None:
        self._heap = [
            timer._replace(due_ms=resumed(timer.due_ms, timer.period_ms, up_until, self._back_since, self._catch_up))
            for timer in self._heap
        ]
        heapq.heapify(self._heap)

    def _read(self) -> list[Timer]:
        try:
            rows = unpack(self._path.read_bytes(), max_len=_LARGEST_TABLE, references=self._veil is not None)
            rows = rows if self._veil is None else self._veil.show(rows)
            heap = [Timer(*row) for row in rows]
        except (FileNotFoundError, WireError, TypeError, IntegrityError):
            return []  # None were set; or it is not what we wrote, and better forgotten than the end of every life.
        heapq.heapify(heap)
        return heap

    def _write(self) -> None:
        if not self._heap:
            self._path.unlink(missing_ok=True)
            if self._durable:
                sync_folder(self._path.parent)
            return
        rows = [list(timer) for timer in self._heap]
        replace(self._path, pack(rows if self._veil is None else self._veil.hide(rows)), durable=self._durable)
