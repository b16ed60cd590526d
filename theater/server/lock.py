"""The lock of a home: whoever holds it is the only one who changes what the home keeps."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from theater.config import Home
from theater.errors import HomeInUse


@contextlib.contextmanager
def locked(home: Home) -> Iterator[None]:
    """Holds the lock of a home. The kernel frees it when the process ends, however it ends.

    Raises:
        HomeInUse: somebody holds it.
    """
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise HomeInUse(
                f"a server (pid {pid or 'unknown'}) runs on {home.root} already; stop it with `theater stop --server`, "
                "or choose another $THEATER_HOME",
                pid=pid,
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
