"""How much there is in a store, counted as it comes, so that a quota costs one small read.

The count is written before what it counts, so it is never too low; where a process died between the two it is too high,
until somebody counts again. A count that is torn, or missing, is as good as none.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from theater.core.codec import DIGEST_SIZE, digest

_FORM = struct.Struct("<QQQ")
_TAG = b"theater store used 1"


class Used(NamedTuple):
    """What a store has: contents, their bytes, labels."""

    contents: int
    size: int
    labels: int


def read_used(path: str) -> Used | None:
    """The count in a file; None if there is none that can be trusted. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        data = os.read(fd, _FORM.size + DIGEST_SIZE + 1)
    finally:
        os.close(fd)
    body = data[: _FORM.size]
    return Used(*_FORM.unpack(body)) if data[_FORM.size :] == digest(body, _TAG) else None


def write_used(path: str, used: Used, *, durable: bool) -> None:
    """Writes the count in place. Raises OSError."""
    body = _FORM.pack(*used)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, body + digest(body, _TAG))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
