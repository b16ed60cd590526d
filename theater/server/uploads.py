"""Content that comes in parts, since a door on the network takes no long frames.

Parts come in order, and at the end the client says which digest all of it has. What is not finished waits in a file and
not in memory; how many uploads there are, how long each may get and how long it may rest is bounded.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from theater.core.wire import MAX_FRAME
from theater.errors import InvalidInput, LimitExceeded, NotFound, disk_error
from theater.server.loop import Loop

MOST: Final = 8
"""Uploads at a time."""

LARGEST: Final = MAX_FRAME
"""Bytes of one."""

REST_S: Final = 60.0
"""After which an upload that nobody goes on with is forgotten."""


@dataclass(slots=True)
class _Upload:
    path: Path
    size: int
    touched: float


class Uploads:
    """Unfinished content.

    Args:
        folder: where it waits; what is in it does not outlive the server.
        put: keeps content and returns its digest, hex.
    """

    def __init__(self, folder: Path, loop: Loop, put: Callable[[bytes], str]) -> None:
        self._folder = folder
        self._loop = loop
        self._put = put
        self._uploads: dict[bytes, _Upload] = {}

    def add(self, peer: bytes, offset: int, content: bytes) -> int:
        """Takes the next part of what a connection uploads; one at `offset` 0 begins anew. Returns the size so far.

        Raises:
            InvalidInput: the part is not the next one.
            LimitExceeded: there are too many uploads, or it is too long.
            DiskFull: the disk does not take it.
        """
        self._tidy()
        upload = self._begin(peer) if offset == 0 else self._find(peer)
        if offset != upload.size:
            raise InvalidInput(f"the next part of this upload begins at {upload.size}, not at {offset}")
        if upload.size + len(content) > LARGEST:
            self._forget(peer)
            raise LimitExceeded(f"content of more than {LARGEST} bytes is too large")
        try:
            with upload.path.open("ab") as file:
                file.write(content)
        except OSError as error:
            self._forget(peer)
            raise disk_error(error, "keeping an upload") from error
        upload.size += len(content)
        upload.touched = self._loop.now()
        return upload.size

    def end(self, peer: bytes, digest: str) -> str:
        """Keeps what a connection has uploaded, and returns its digest.

        Raises:
            NotFound: there is no upload of this connection.
            InvalidInput: it has another digest.
        """
        upload = self._find(peer)
        try:
            found = self._put(upload.path.read_bytes())
        finally:
            self._forget(peer)
        if found != digest:
            raise InvalidInput(f"what was uploaded has the digest {found}, not {digest}")
        return found

    def _begin(self, peer: bytes) -> _Upload:
        self._forget(peer)
        if len(self._uploads) >= MOST:
            raise LimitExceeded(f"there are {MOST} uploads under way; try again later")
        path = self._folder / f"upload.{os.urandom(8).hex()}"
        upload = self._uploads[peer] = _Upload(path, 0, self._loop.now())
        return upload

    def _find(self, peer: bytes) -> _Upload:
        upload = self._uploads.get(peer)
        if upload is None:
            raise NotFound("this connection has no upload under way: it rested too long, or never began")
        return upload

    def _forget(self, peer: bytes) -> None:
        upload = self._uploads.pop(peer, None)
        if upload is not None:
            with contextlib.suppress(OSError):
                upload.path.unlink(missing_ok=True)

    def _tidy(self) -> None:
        for peer, upload in list(self._uploads.items()):
            if upload.touched < self._loop.now() - REST_S:
                self._forget(peer)
