"""The actor's record: what its chain writer is told, and when it must be on the disk.

The cheapest order that keeps the promise (D3): the entry of a call is written before the guest runs, so that the
record shows what killed it; everything the guest does is staged; it is written when the call ends, or before an
effect that cannot wait. `release` is what every effect calls first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from theater.chainlog.footprint import on_disk
from theater.chainlog.writer import ChainWriter
from theater.core.chain import Call, HostCall, HostResult, Kind, Lifecycle, Outcome
from theater.core.pulse import Pulse
from theater.core.wire import Grown
from theater.errors import LimitExceeded
from theater.worker.signals import Signals

_STAGED_MAX = 256 * 1024


class Room:
    """How much an actor's record may become on the disk: its chain, and what this life has put beside that because it
    was too long for an entry. What upkeep has compressed or dropped makes room again.

    Args:
        folder: the actor's.
        limit: bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._look_at = limit
        self._beside = 0

    def counted(self, put: Callable[[bytes], str]) -> Callable[[bytes], str]:
        """`put` of a content store, counting what it is given."""

        def counting(data: bytes) -> str:
            self._beside += len(data)
            return put(data)

        return counting

    def require(self, offset: int) -> None:
        """Raises LimitExceeded if the chain, which has come to this offset, has become too long."""
        if offset + self._beside < self._look_at:
            return
        size = on_disk(self._folder) + self._beside
        if size >= self._limit:
            raise LimitExceeded(
                f"its chain has {size} bytes on the disk, and may have {self._limit} ([limits] chain): let more of it "
                "be dropped ([chain] retention), or raise the limit"
            )
        self._look_at = offset + self._beside + (self._limit - size)  # It cannot be too long before.


class Record:
    """Writes one actor's chain.

    Args:
        writer: the open chain.
        pulse: told how far the chain is after every write.
        limit: bytes that one call may write.
        durable: whether the machine's death must not lose what was released.
        room: of all of the chain.
    """

    def __init__(
        self, writer: ChainWriter, pulse: Pulse, signals: Signals, limit: int, durable: bool, room: Room | None = None
    ) -> None:
        self._writer = writer
        self._pulse = pulse
        self._signals = signals
        self._limit = limit
        self._durable = durable
        self._room = room
        self._call_began_at = writer.offset
        if writer.recovery.mark.entries and not durable:
            pulse.mark(writer.recovery.mark)  # Not what is staged: the disk may refuse it.

    @property
    def next_entry(self) -> int:
        """Sequence number of the entry that comes next."""
        return self._writer.head.entries

    def call(
        self, interface: str, function: str, args: Sequence[Any], cause: bytes | None, sender: str | None, request: Any
    ) -> bytes:
        """Records that a call begins; it is on its way to the disk when this returns."""
        offset = self._call_began_at = self._writer.offset
        if self._room is not None:
            self._room.require(offset)
        digest = self._writer.append(Kind.CALL, Call(interface, function, args, cause, sender, request))
        self.release()
        self._pulse.begin(time.monotonic_ns(), offset)
        return digest

    def host_call(self, interface: str, function: str, args: Sequence[Any]) -> bytes:
        digest = self._writer.append(Kind.HOST_CALL, HostCall(interface, function, args))
        self._pulse.step(self._writer.offset)
        self._check_limit()
        return digest

    def host_result(self, value: Any, cause: bytes | None) -> None:
        self._writer.append(Kind.HOST_RESULT, HostResult(value, cause))
        if self._writer.staged_bytes > _STAGED_MAX:
            self.write()

    def outcome(self, outcome: Outcome) -> bytes:
        """Records how the call ended. Whoever lets an effect of it out calls `release` first."""
        return self._writer.append(Kind.OUTCOME, outcome)

    def lifecycle(self, event: str, details: dict[str, Any]) -> bytes:
        return self._writer.append(Kind.LIFECYCLE, Lifecycle(event, details))

    def write(self) -> None:
        """Writes what is staged. Raises DiskFull if the disk does not take it."""
        if self._writer.flush() and not self._durable:
            self._tell_how_far()

    def release(self) -> None:
        """Makes sure that everything so far is recorded as safely as the manifest asks."""
        if not self._durable:
            self.write()
        elif not self._writer.is_committed:
            self._writer.commit()
            self._tell_how_far()

    def close(self) -> None:
        self.release()
        self._writer.close()

    def _tell_how_far(self) -> None:
        """Not before it is as safe as the manifest asks: what is in the pulse gets into checkpoints, and nobody may
        miss afterwards what a power cut took and nothing had come of."""
        self._pulse.mark(self._writer.mark)
        if self._pulse.watched:
            self._signals.tell(Grown(self._writer.mark.entries))

    def _check_limit(self) -> None:
        written = self._writer.offset - self._call_began_at
        if written > self._limit:
            self._call_began_at = self._writer.offset  # The words of the end must still fit.
            raise LimitExceeded(f"one call recorded more than {self._limit} bytes ([limits] record)")
        if self._room is not None:
            self._room.require(self._writer.offset)
