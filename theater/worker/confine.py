"""What a freshly forked process does so that it owns nothing of its parents."""

from __future__ import annotations

import os
import signal


def own_nothing_but(keep: int) -> None:
    """Closes every inherited descriptor above standard error but `keep`."""
    os.closerange(3, keep)
    os.closerange(keep + 1, _descriptor_limit())


def default_signals() -> None:
    """Gives every signal its default action, but ignores SIGINT, which a terminal sends to everybody."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def _descriptor_limit() -> int:
    """One above the highest open descriptor: closing up to the limit itself takes long where that is a million."""
    return max(map(int, os.listdir("/proc/self/fd"))) + 1
