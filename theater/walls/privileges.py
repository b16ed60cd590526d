"""What a process may do by being who it is, given up (prctl(2), capabilities(7))."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import struct

from theater.walls.kernel import ABSENT, process_control, system_call
from theater.walls.syscalls import NUMBERS

_SET_DUMPABLE, _SET_SECUREBITS, _CAPBSET_DROP, _CAP_AMBIENT = 4, 28, 24, 47
_SET_NO_NEW_PRIVS, _SET_SPECULATION_CTRL, _SET_MDWE = 38, 53, 65
_AMBIENT_CLEAR_ALL = 4
_LOCKED_DOWN = 0x2F
"""No capabilities by being root, none by a change of user; and all of that locked (linux/securebits.h)."""

SYS_ADMIN, SETPCAP = 21, 8
"""The capabilities to make namespaces, and to give up the ways to others."""

_CAPABILITY_VERSION = 0x20080522
_MOST_CAPABILITIES = 64
_SPECULATION_STORE_BYPASS, _SPECULATION_INDIRECT_BRANCH = 0, 1
_SPECULATION_FORCE_DISABLE = 8
_MDWE_REFUSE_EXEC_GAIN = 1


def gain_no_more() -> None:
    """Executing a program gives this process no right any more that it does not have."""
    process_control(_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Nobody of the same user may look into this process, and it leaves no core."""
    process_control(_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Gives up all capabilities, and the ways to get them back.

    Raises:
        OSError: some are left, since it may not be said that they be given up (a service manager's filter).
    """
    for number in range(_MOST_CAPABILITIES):
        try:
            process_control(_CAPBSET_DROP, number)
        except OSError:
            break  # The last one is behind us, or we may not: then there is nothing to drop but what follows.
    for option, value in ((_CAP_AMBIENT, _AMBIENT_CLEAR_ALL), (_SET_SECUREBITS, _LOCKED_DOWN)):
        with contextlib.suppress(OSError):
            process_control(option, value)
    try:
        system_call(NUMBERS["capset"], struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24))
    except OSError:
        if has_capabilities():
            raise


def has_capabilities() -> bool:
    """Whether this process has any capability that it could use."""
    found = ctypes.create_string_buffer(24)
    system_call(NUMBERS["capget"], struct.pack("Ii", _CAPABILITY_VERSION, 0), found)
    effective, permitted, _, more_effective, more_permitted, _ = struct.unpack("6I", found.raw)
    return any((effective, permitted, more_effective, more_permitted))


def keep_capabilities(*kept: int) -> None:
    """Gives up all capabilities but these, of those that there are.

    Raises:
        OSError: others are left, as with `drop_capabilities`.
    """
    for number in range(_MOST_CAPABILITIES):
        if number in kept:
            continue
        try:
            process_control(_CAPBSET_DROP, number)
        except OSError:
            break  # As in `drop_capabilities`.
    with contextlib.suppress(OSError):
        process_control(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    header, found = struct.pack("Ii", _CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    system_call(NUMBERS["capget"], header, found)
    low_effective, low_permitted, _, high_effective, high_permitted, _ = struct.unpack("6I", found.raw)
    mask = sum(1 << number for number in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    left = (low_effective & low, low_permitted & low, 0, high_effective & high, high_permitted & high, 0)
    try:
        system_call(NUMBERS["capset"], header, struct.pack("6I", *left))
    except OSError:
        if found.raw != struct.pack("6I", *left):
            raise


def keep_code_as_it_is() -> bool:
    """No memory that can be written becomes code any more; False if the kernel does not know that (before 6.3)."""
    try:
        process_control(_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN)
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise
    return True


def stop_speculating() -> bool:
    """Turns off speculative store bypass and indirect branch speculation; False if the processor cannot."""
    done = True
    for what in (_SPECULATION_STORE_BYPASS, _SPECULATION_INDIRECT_BRANCH):
        try:
            process_control(_SET_SPECULATION_CTRL, what, _SPECULATION_FORCE_DISABLE)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENXIO, errno.ERANGE, errno.EPERM, *ABSENT):
                raise
            done = False
    return done
