"""What a freshly forked process does so that it owns nothing of its parents and never outlives the server."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(supervisor: int) -> None:
    """Has the kernel kill this process when the supervisor dies, whenever that was.

    The signal is sent on the death of the parent, which for a clone made with CLONE_PARENT is the supervisor. If
    it died before the request, the parent is another process by now, and we end at once (prctl(2)).
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != supervisor:
        os._exit(1)


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
