"""Files that the supervisor opens for the gateway, which is behind walls: what a manifest grants, and nothing else.

The gateway says a path, one in a message, and gets a descriptor that it can read from, or the number of an error. It is
not believed: a path is opened if the folder that it leads to, over all links, is one of the `certificates` of an actor
that runs; or if it is the server's `credentials.toml`, or a file that stands there. Of the home nothing else is lent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from theater.config import Home
from theater.core.toml_text import LONGEST_TEXT, document
from theater.errors import ManifestError
from theater.server.loop import Loop

CREDENTIALS: Final = "credentials.toml"
_LONGEST_PATH: Final = 4096
_AT_ONCE: Final = 16


class Lending:
    """The supervisor's end.

    Args:
        folders: absolute folders of certificates that lives have which run now.
    """

    def __init__(self, home: Home, loop: Loop, folders: Callable[[], Iterable[Path]]) -> None:
        self._home = home
        self._loop = loop
        self._folders = folders
        self._line: socket.socket | None = None

    def open(self) -> socket.socket:
        """Makes a line to a new gateway, in place of the one before; returns its end, which the caller closes."""
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        ours.setblocking(False)
        self._line = ours
        self._loop.reader(ours.fileno(), self._hear)
        return theirs

    def close(self) -> None:
        """Lends nothing any more."""
        if self._line is not None:
            self._loop.forget(self._line.fileno())
            self._line.close()
            self._line = None

    def _hear(self) -> None:
        for _ in range(_AT_ONCE):
            if self._line is None:
                return
            try:
                asked = self._line.recv(_LONGEST_PATH)
                if not asked:
                    self.close()
                    return
                self._answer(self._line, asked)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return

    def _answer(self, line: socket.socket, asked: bytes) -> None:
        try:
            descriptor = self._opened(Path(os.fsdecode(asked)))
        except OSError as error:
            line.send(str(error.errno or errno.EIO).encode())
            return
        except ValueError:
            line.send(str(errno.EINVAL).encode())
            return
        try:
            socket.send_fds(line, [b"0"], [descriptor])
        finally:
            os.close(descriptor)

    def _opened(self, path: Path) -> int:
        if not path.is_absolute() or not self._lends(path):
            raise PermissionError(errno.EACCES, "not granted")
        # Not to wait for whoever writes into a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PermissionError(errno.EACCES, "no file")
            # By what was opened, not by what the path leads to by now.
            where = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if not self._is_of_credentials(path) and not self._is_certificate(where):
                raise PermissionError(errno.EACCES, "not granted")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _lends(self, path: Path) -> bool:
        return self._is_of_credentials(path) or self._is_certificate(path.resolve())

    def _is_certificate(self, path: Path) -> bool:
        if path.is_relative_to(self._home.root.resolve()):
            return False
        return any(path.is_relative_to(folder.resolve()) for folder in self._folders())

    def _is_of_credentials(self, path: Path) -> bool:
        ours = self._home.root / CREDENTIALS
        return path == ours or path in _named_in(ours)


def _named_in(credentials: Path) -> list[Path]:
    """The files that hold values of credentials. What is wrong with the file is said by the gateway."""
    with contextlib.suppress(OSError, ValueError, ManifestError), open(credentials, "rb") as file:
        rows = document(file.read(LONGEST_TEXT + 1).decode(), str(credentials)).values.values()
        files = (row.get("file") for row in rows if isinstance(row, dict))
        return [credentials.parent / each for each in files if isinstance(each, str)]
    return []
