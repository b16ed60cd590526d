"""Files that the gateway reads and cannot open: certificates with their keys, and credentials.

The gateway speaks with the whole network, so it is behind walls that leave it no name of a file of the machine's user.
What manifests grant it to read is opened by the supervisor, which knows the manifests (theater/server/lending.py), and
comes as a descriptor over a socket. Elsewhere, as in tests, files are opened directly.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

Opened = Callable[[Path], int]
"""Opens a file for reading, and gives its descriptor. Raises OSError."""

LONGEST: Final = 1 << 20
"""Bytes of a certificate or key."""

_PATIENCE_S: Final = 5.0


def opened_directly(path: Path) -> int:
    """As the process itself may."""
    # Not to wait for whoever writes into a pipe.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


class Lent:
    """Files that the supervisor opens.

    Args:
        line: to the supervisor (SOCK_SEQPACKET).
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        line.set_inheritable(False)
        line.settimeout(_PATIENCE_S)

    def __call__(self, path: Path) -> int:
        """Waits for the supervisor, whose loop is never long away."""
        self._line.send(os.fsencode(path))
        answer, descriptors, _, _ = socket.recv_fds(self._line, 64, 1)
        if descriptors:
            os.set_inheritable(descriptors[0], False)
            return descriptors[0]
        number = int(answer or errno.EPIPE)
        raise OSError(number, os.strerror(number), str(path))


@contextmanager
def as_path(path: Path, opened: Opened) -> Iterator[str]:
    """Another path, which OpenSSL can read a file's content by. Raises OSError."""
    with open(opened(path), "rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    with open(os.memfd_create("certificate"), "w+b", buffering=0) as copy:
        copy.write(content)
        yield f"/proc/self/fd/{copy.fileno()}"
