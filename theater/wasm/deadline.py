"""A deadline for code that never returns to Python: a POSIX timer that advances the engine's epoch.

While a guest runs, no Python runs in its process: neither a signal handler nor a ticker thread could stop a guest
that loops. So the kernel's timer calls `wasmtime_engine_increment_epoch` itself (timer_create(2) with SIGEV_THREAD:
the C library starts a thread at expiry, whose function is wasmtime's and whose argument is the engine). The guest's
next loop or function head then traps.

A timer belongs to the process that made it and is not inherited by a fork, so it is made by the first `arm` in each
process. The C library makes one helper thread with it; a process that is forked by a raw clone(2) must therefore not
have armed a deadline, or its children have a C library that believes in a thread which is not there.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING, Final

from theater.errors import LimitExceeded

if TYPE_CHECKING:
    import wasmtime

_CLOCK_MONOTONIC: Final = 1
_SIGEV_THREAD: Final = 2
_NS: Final = 1_000_000_000
_MAX_SECONDS: Final = 1e9


class _SigEvent(ctypes.Structure):
    """`struct sigevent` of sigevent(7): 64 bytes on every 64-bit Linux, glibc and musl alike."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("reserved", ctypes.c_byte * 32),
    )


_spent: set[wasmtime.Engine] = set()
"""Engines that a late tick may still reach: kept for ever, so that it does not write into freed memory."""


class Deadline:
    """One-shot deadlines for one engine. `arm` and `disarm` cost a system call each, about a microsecond.

    Args:
        engine: whose epoch is advanced, once, when an armed deadline passes.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._owner = 0
        self._armed = False
        self._timer = ctypes.c_void_p()
        self._seconds = -1.0
        # struct itimerspec: interval seconds, interval ns, value seconds, value ns; all zero disarms
        self._wanted = (ctypes.c_int64 * 4)()
        self._before = (ctypes.c_int64 * 4)()
        library = _library()
        self._settime = library.settime
        self._delete = library.delete
        # Arguments are made once: converting integers to pointers would cost as much as the call itself.
        self._arm = (self._timer, library.relative, ctypes.byref(self._wanted), None)
        self._disarm = (self._timer, library.relative, ctypes.byref(library.never), ctypes.byref(self._before))

    def prepare(self) -> None:
        """Makes the timer of this process, if it has none. `arm` does it too, but a sealed process may not be able to.

        At expiry the C library still needs a new thread: a seal must allow clone3(2), mmap(2) and mprotect(2), and
        leave room in RLIMIT_NPROC, or the deadline passes unheard.

        Raises:
            LimitExceeded: the kernel gives this process no timer or no thread.
        """
        if self._owner != os.getpid():
            self._create()

    def arm(self, seconds: float) -> None:
        """Advances the epoch in `seconds` from now, unless disarmed before.

        Raises:
            LimitExceeded: the kernel gives this process no timer or no thread.
        """
        if self._owner != os.getpid():
            self._create()
        if seconds != self._seconds:
            self._set(seconds)
        self._armed = True
        if self._settime(*self._arm):
            raise LimitExceeded(f"no deadline could be set: {os.strerror(ctypes.get_errno())}")

    def disarm(self) -> bool:
        """Stops the armed deadline. Returns whether it had passed: then the tick has come, or comes within moments."""
        self._settime(*self._disarm)
        self._armed = False
        before = self._before
        if before[3] or before[2]:
            return False
        _spent.add(self._engine)
        return True

    def remaining(self) -> float | None:
        """Seconds until the armed deadline; None when there is none, or it has passed."""
        if self._owner != os.getpid():
            return None
        _library().gettime(self._timer, ctypes.byref(self._before))
        return (self._before[2] + self._before[3] / _NS) or None

    def close(self) -> None:
        """Gives the timer back, also an armed one. The object is not used again."""
        if self._owner == os.getpid():
            if self._armed:
                self.disarm()
            self._delete(self._timer)
        self._owner = 0

    __del__ = close

    def _set(self, seconds: float) -> None:
        # The kernel reads zero as "never": a deadline that has passed already is one nanosecond away.
        ns = max(1, int(min(seconds, _MAX_SECONDS) * _NS))
        self._wanted[2] = ns // _NS
        self._wanted[3] = ns % _NS
        self._seconds = seconds

    def _create(self) -> None:
        library = _library()
        pointer = ctypes.cast(self._engine.ptr(), ctypes.c_void_p).value
        event = _SigEvent(value=pointer, notify=_SIGEV_THREAD, function=library.tick)
        monotonic = ctypes.c_int(_CLOCK_MONOTONIC)
        if library.create(monotonic, ctypes.byref(event), ctypes.byref(self._timer)):
            raise LimitExceeded(f"no timer for deadlines: {os.strerror(ctypes.get_errno())}")
        self._owner = os.getpid()
        self._armed = False


class _Library:
    """The C functions, found once. They return at once, so the interpreter lock is kept (PyDLL)."""

    def __init__(self) -> None:
        from wasmtime import _ffi as ffi

        libc = ctypes.PyDLL(None, use_errno=True)
        if not hasattr(libc, "timer_create"):  # glibc before 2.34 has it in a library of its own
            libc = ctypes.PyDLL("librt.so.1", use_errno=True)
        # A fresh function object by item access; each returns int, and is given ctypes objects only.
        self.create = libc["timer_create"]
        self.settime = libc["timer_settime"]
        self.gettime = libc["timer_gettime"]
        self.delete = libc["timer_delete"]
        self.tick = ctypes.cast(ffi.dll.wasmtime_engine_increment_epoch, ctypes.c_void_p).value
        self.relative = ctypes.c_int(0)
        self.never = (ctypes.c_int64 * 4)()


@functools.cache
def _library() -> _Library:
    return _Library()
