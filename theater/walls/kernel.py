"""System calls and prctl(2) that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int

ABSENT = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""How a kernel answers to what it does not have."""


def system_call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Calls the kernel.

    Args:
        arguments: integers as they are; bytes and buffers by their address.

    Raises:
        OSError: the kernel refuses.
    """
    given = [_argument(each) for each in arguments]
    answer = int(_libc.syscall(ctypes.c_long(number), *given))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def process_control(option: int, *arguments: int) -> int:
    """prctl(2).

    Raises:
        OSError: the kernel refuses, or does not know the option (EINVAL).
    """
    given = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    answer = int(_libc.prctl(ctypes.c_int(option), *given))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def unshare(flags: int) -> None:
    """unshare(2).

    Raises:
        OSError: the kernel refuses.
    """
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _argument(value: int | bytes | ctypes.Array[ctypes.c_char]) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    return ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.byref(value)
