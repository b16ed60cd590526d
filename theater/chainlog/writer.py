"""The one writer of a chain file: the record comes first, in as few system calls as that allows.

`append` only stages; `flush` writes all that is staged with one `write`. What has been flushed outlives this process
whatever happens to it, and `commit` makes it outlive the machine, if that is what the chain promises. A caller lets
nothing out before one of them has returned.

A write that fails ends the writer: whole entries that reached the file stay, half an entry is cut off if that is
possible, the file is closed. There is no second try, since after a failed write or fsync nobody knows what is on the
disk: open it again, which reads and verifies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Self

from theater.chainlog.chain_file import ChainFile
from theater.chainlog.recovery import Recovery, recover
from theater.core.chain import Encoder, Get, Head, Kind, Mark, Payload, Put, Tracker
from theater.core.codec import DIGEST_SIZE
from theater.durable import forget_cached, sync_folder
from theater.errors import WrongState, disk_error

SYNC_INTERVAL_NS = 2_000_000
"""How long a group of commits is gathered at most, when the caller is willing to wait (ns)."""

STAGED_MAX = 1 << 20
"""Staged bytes at which `append` writes by itself, so that a talkative call does not fill the memory."""


class Durability(StrEnum):
    """Whose death the record survives: of any process, or of the machine."""

    PROCESS = "process"
    HOST = "host"


class ChainWriter:
    """Appends to one chain file; made by `open`.

    Attributes:
        recovery: what `open` found: where the chain stood, its last state, what was cut.
        path: the file, for messages.
    """

    def __init__(
        self,
        fd: int,
        path: str,
        recovery: Recovery,
        clock: Callable[[], int],
        put: Put | None,
        durability: Durability,
        monotonic: Callable[[], int],
    ) -> None:
        self.path = path
        self.recovery = recovery
        self._fd = fd
        self._clock = clock
        self._monotonic = monotonic
        self._host = durability is Durability.HOST
        self._encoder = Encoder(recovery.mark.head, put)
        self._tracker = Tracker(recovery.mark)
        self._staged: list[bytes] = []
        self._staged_bytes = 0
        self._written = recovery.mark.head
        self._unsynced = self._host  # whoever wrote before may have promised less
        self._synced_at = -SYNC_INTERVAL_NS
        self._ended: str | None = None

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        clock: Callable[[], int] = time.time_ns,
        known: Mark | Head | None = None,
        put: Put | None = None,
        get: Get | None = None,
        durability: str = Durability.PROCESS,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> Self:
        """Opens a chain, new or not, verifies it from what is known, and cuts a torn tail.

        Args:
            path: the file; made (0600) if it is not there.
            clock: gives the wall time of entries, ns since 1970.
            known: how far it is known to be good; see `recover`.
            put: keeps what is too long for a record; None to have everything in line.
            get: gives such content back, for the last state.
            durability: `process` or `host`.
            monotonic: gives the time between syncs, ns.

        Raises:
            ChainBroken: the chain is not what it was; nothing was changed.
            WrongState: another writer has it.
            DiskFull, IntegrityError: the file cannot be opened, or its tail not be cut.
        """
        where = str(path)
        fd = _open(where)
        try:
            _lock(fd, where)
            if durability == Durability.HOST:
                # An earlier life may have died of a sync that failed: what counts is on the disk.
                forget_cached(fd)
            with ChainFile.open(where) as file:
                recovery = recover(file, known, get)
            if recovery.torn_bytes:
                _cut(fd, where, recovery.mark.offset)
            if durability == Durability.HOST:
                _sync_name(where)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, where, recovery, clock, put, Durability(durability), monotonic)

    def fileno(self) -> int:
        """The descriptor of the file, which can only be appended to."""
        return self._fd

    @property
    def head(self) -> Head:
        """The head behind everything appended, staged or written."""
        return self._encoder.head

    @property
    def mark(self) -> Mark:
        """The mark behind everything appended: what a successor needs to go on quickly."""
        return self._tracker.mark(self._encoder.head)

    @property
    def written(self) -> Head:
        """The head of what has been written."""
        return self._written

    @property
    def offset(self) -> int:
        """Bytes of the chain with everything appended."""
        return self._encoder.offset

    @property
    def is_committed(self) -> bool:
        """Whether everything appended is as safe as this chain promises."""
        return not self._staged and not self._unsynced

    @property
    def staged_bytes(self) -> int:
        """Bytes that wait for `flush`."""
        return self._staged_bytes

    def append(self, kind: Kind, payload: Payload) -> bytes:
        """Stages an entry; returns its digest. Nothing may leave on its account before `flush` or `commit`.

        Raises:
            TypeError, ValueError, MessageTooLarge: the entry cannot be recorded; the chain stays as it is.
            DiskFull, IntegrityError: content, or what was staged, could not be written.
        """
        if self._ended is not None:
            raise WrongState(self._ended)
        offset = self._encoder.offset
        record, digest = self._encoder.entry(kind, payload, self._clock())
        self._tracker.note(payload, offset)
        self._staged.append(record)
        self._staged_bytes += len(record)
        if self._staged_bytes > STAGED_MAX:
            self.flush()
        return digest

    def flush(self) -> bool:
        """Writes everything staged: from now on it survives this process.

        Returns:
            whether there was anything.

        Raises:
            DiskFull: there is no room. IntegrityError: the disk failed. In both cases the writer has ended;
                `written` says which of the staged entries are in the file, whole.
        """
        if self._ended is not None:
            raise WrongState(self._ended)
        if not self._staged:
            return False
        data = self._staged[0] if len(self._staged) == 1 else b"".join(self._staged)
        done = 0
        try:
            done = os.write(self._fd, data)
            while done < len(data):  # a disk that is almost full, or more than the kernel takes at once
                done += os.write(self._fd, memoryview(data)[done:])
        except OSError as error:
            self._end_after_failed_write(error, done)
            raise disk_error(error, f"writing {self.path}") from error
        except BaseException as error:
            self._end_after_failed_write(error, done)
            raise
        self._staged.clear()
        self._staged_bytes = 0
        self._written = self._encoder.head
        self._unsynced = self._host
        return True

    def commit(self, *, wait: bool = True) -> bool:
        """Makes everything appended as safe as this chain promises; then effects may be let out.

        Args:
            wait: False to have several commits share one sync: if the last was less than 2 ms ago, nothing is
                synced, and the caller keeps its effects back and asks again after `due_in`.

        Returns:
            Whether effects may be let out; always True if `wait`.

        Raises:
            DiskFull, IntegrityError: as `flush`.
        """
        self.flush()
        if not self._unsynced:
            return True
        if not wait and self.due_in() > 0:
            return False
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            forget_cached(self._fd)
            self._end(error)
            raise disk_error(error, f"syncing {self.path}") from error
        self._synced_at = self._monotonic()
        self._unsynced = False
        return True

    def due_in(self) -> float:
        """Seconds until `commit(wait=False)` will sync; 0 if at once, or if there is nothing to sync."""
        if not self._unsynced:
            return 0.0
        return max(0, self._synced_at + SYNC_INTERVAL_NS - self._monotonic()) / 1e9

    def close(self) -> None:
        """Commits and closes. A writer that has failed is closed already."""
        if self._ended is not None:
            return
        self.commit()
        self._end(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the end

    def _end_after_failed_write(self, error: BaseException, done: int) -> None:
        """Leaves the file at the last whole entry that reached it, if it can."""
        for record in self._staged:
            if done < len(record):
                break
            done -= len(record)
            entries, _, offset = self._written
            self._written = Head(entries + 1, record[-DIGEST_SIZE:], offset + len(record))
        try:
            os.ftruncate(self._fd, self._written.offset)
        except OSError:
            pass  # Half an entry is left, which the next `open` cuts.
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        os.close(self._fd)
        self._staged.clear()
        self._staged_bytes = 0
        why = "it was closed" if error is None else f"it was closed after a failure: {error}"
        self._ended = f"{self.path}: nothing can be appended, {why}; open it again"


def _open(path: str) -> int:
    # Not for reading: what a file is open for, its memory could be mapped for, and then what is written be changed.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        raise disk_error(error, f"opening {path}") from error


def _lock(fd: int, path: str) -> None:
    """Makes sure that there is one writer. The kernel lets go of the lock when the last holder of the file is dead."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WrongState(f"{path} is being written by another process") from error


def _cut(fd: int, path: str, size: int) -> None:
    try:
        os.ftruncate(fd, size)
    except OSError as error:
        raise disk_error(error, f"cutting the torn tail of {path}") from error


def _sync_name(path: str) -> None:
    try:
        sync_folder(os.path.dirname(path) or ".")
    except OSError as error:
        raise disk_error(error, f"syncing the folder of {path}") from error
