"""What a server says to the service manager that started it: datagrams of `NAME=value` lines (sd_notify(3)).

The address comes in $NOTIFY_SOCKET, the time within which to be heard of in $WATCHDOG_USEC. Both are taken out of the
environment, so that no child can speak in the server's name. Without a service manager nothing is said, and nothing
fails: whether anybody listens is never the server's concern.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_PATIENCE_S = 1.0
"""So long a message that must not be lost waits for room in the manager's queue."""


class Notifier:
    """Speaks to a service manager.

    Args:
        address: of its socket, `/path` or `@abstract`; None if there is no manager.
        watchdog_s: within what time it wants to hear of the server, seconds; None if it does not care.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = None if address is None else _kernel_form(address)
        self.watchdog_s = watchdog_s if self._address is not None else None
        self._socket = None if self._address is None else socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """The one that a service manager has set up; its variables are removed from `environment`."""
        address = environment.pop(_SOCKET, None)
        microseconds = environment.pop(_WATCHDOG, "")
        of = environment.pop(_WATCHDOG_PID, str(os.getpid()))
        is_ours = of == str(os.getpid()) and microseconds.isdecimal() and int(microseconds) > 0
        usable = address is not None and address[:1] in ("/", "@") and len(address) > 1
        return cls(address if usable else None, int(microseconds) / 1e6 if is_ours else None)

    @property
    def is_heard(self) -> bool:
        """Whether there is a manager."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The server serves, or has finished reading its settings again."""
        self._say(f"READY=1\nSTATUS={_line(status)}", patience_s=_PATIENCE_S)

    def reloading(self) -> None:
        """The server reads its settings again, as of now; `ready` follows."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._say(f"RELOADING=1\nMONOTONIC_USEC={now_us}", patience_s=_PATIENCE_S)

    def stopping(self, status: str) -> None:
        """The server has begun to end."""
        self._say(f"STOPPING=1\nSTATUS={_line(status)}", patience_s=_PATIENCE_S)

    def status(self, text: str) -> None:
        """What an operator shall read in one line."""
        self._say(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """The server is in good health."""
        self._say("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Beginning or ending takes longer: for so many seconds from now, or until this is said again."""
        self._say(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def close(self) -> None:
        """Says nothing any more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._address = None

    def _say(self, text: str, patience_s: float = 0.0) -> None:
        if self._socket is None or self._address is None:
            return
        self._socket.settimeout(patience_s)
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)


def _kernel_form(address: str) -> bytes:
    """An abstract socket's name begins with a NUL (unix(7))."""
    name = os.fsencode(address)
    return b"\0" + name[1:] if name.startswith(b"@") else name


def _line(text: str) -> str:
    """On one line, for the next line would be another message."""
    return " ".join(text.split())
