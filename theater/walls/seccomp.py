"""Which system calls a process may still make: a filter that the kernel runs before each of them (seccomp(2)).

A filter is a short program of the classic Berkeley packet filter over the call's number and arguments. It cannot read
what an argument points to, so a call is allowed by its number and by the bits of its integers alone. Filters are
inherited, and several hold together: the strictest answer counts. A call that is *hostile*, one that nobody makes by
mistake, is not merely refused: the process is stopped in it and whoever holds the *listener* is told which call it was,
so that it can end the process and say why (seccomp_unotify(2)). Only one filter of a process may have a listener.

Format: `struct sock_filter` of linux/filter.h, eight bytes each: code, jump if true, jump if false, constant.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import select
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from theater.walls.kernel import system_call
from theater.walls.syscalls import AUDIT_ARCH, NUMBERS, name_of

_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _ANSWER = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _NOTIFY, _ERROR, _KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32 = 0x40000000
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5
_GET_NOTIF_SIZES = 3
_NOTIF_RECEIVE = 0xC0502100
_NOTIF = struct.Struct("<QIIiIQ6Q")
_LONGEST_JUMP = 255


class Masked(NamedTuple):
    """Holds if the lower 32 bits of an argument, masked, are this value; the kernel looks at no more of them where it
    takes an int. Or, of a pointer, the `upper` ones. Or if they are anything else: `differs`."""

    argument: int
    mask: int
    value: int
    upper: bool = False
    differs: bool = False


class Offence(NamedTuple):
    """A hostile call that a process has tried to make.

    Args:
        pid: of the thread, as the holder of the listener sees it.
        call: the name of the system call.
        arguments: its six arguments.
    """

    pid: int
    call: str
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is answered to system calls.

    Args:
        allowed: let through.
        when: let through if for one of the alternatives all conditions hold; else answered with EPERM.
        errors: answered with this errno.
        hostile: reported to the listener; without one they kill.
        otherwise: the errno of what is not named; None lets it through.
    """

    allowed: frozenset[str] = frozenset()
    when: Mapping[str, Sequence[Sequence[Masked]]] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    hostile: frozenset[str] = frozenset()
    otherwise: int | None = errno.EPERM

    def program(self, *, notify: bool) -> bytes:
        """The filter as the kernel takes it.

        Args:
            notify: hostile calls go to a listener.
        """
        steps: list[_Step] = []
        for name, alternatives in self.when.items():
            steps += _answer(name, _conditions(alternatives))
        for name, number in self.errors.items():
            steps += _answer(name, [(_ANSWER, 0, 0, _ERROR | number)])
        for name in sorted(self.hostile):
            steps += _answer(name, [(_ANSWER, 0, 0, _NOTIFY if notify else _KILL)])
        steps.append((_ANSWER, 0, 0, _ALLOW if self.otherwise is None else _ERROR | self.otherwise))
        return _beginning(self.allowed) + _packed(steps)


@functools.cache
def _beginning(allowed: frozenset[str]) -> bytes:
    """The check of the machine and all that is let through: most of a filter, and the same for all of a kind, so that
    who is forked need not make it again."""
    steps = [(_LOAD, 0, 0, _ARCHITECTURE_AT), (_IF_EQUAL, 1, 0, AUDIT_ARCH), (_ANSWER, 0, 0, _KILL)]
    steps += [(_LOAD, 0, 0, _NUMBER_AT), (_IF_AT_LEAST, 0, 1, _X32), (_ANSWER, 0, 0, _KILL)]
    for name in sorted(allowed, key=lambda name: NUMBERS.get(name, 0)):
        steps += _answer(name, [(_ANSWER, 0, 0, _ALLOW)])
    return _packed(steps)


def _packed(steps: Sequence[_Step]) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


_Step = tuple[int, int, int, int]


def _answer(name: str, steps: Sequence[_Step]) -> list[_Step]:
    """The steps for one call; they must end in an answer. A name that this machine does not have needs none."""
    number = NUMBERS.get(name)
    if number is None:
        return []
    if len(steps) > _LONGEST_JUMP:
        raise ValueError(f"too many conditions for {name}")
    return [(_IF_EQUAL, 0, len(steps), number), *steps]


def _conditions(alternatives: Sequence[Sequence[Masked]]) -> list[_Step]:
    steps: list[_Step] = []
    for conditions in alternatives:
        rest = 3 * len(conditions) + 1
        for condition in conditions:
            rest -= 3
            steps.append((_LOAD, 0, 0, _ARGUMENTS_AT + 8 * condition.argument + 4 * condition.upper))
            steps.append((_AND, 0, 0, condition.mask))
            jumps = (rest, 0) if condition.differs else (0, rest)
            steps.append((_IF_EQUAL, *jumps, condition.value))
        steps.append((_ANSWER, 0, 0, _ALLOW))
    steps.append((_ANSWER, 0, 0, _ERROR | errno.EPERM))
    return steps


def is_there() -> bool:
    """Whether this kernel runs filters, on a machine whose calls are known here."""
    return bool(NUMBERS) and os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def can_notify() -> bool:
    """Whether a listener can be told of calls (Linux 5.0)."""
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail") as file:
            return "user_notif" in file.read().split()
    except OSError:
        return False


def install(program: bytes, *, listener: bool = False) -> int | None:
    """Puts a filter up, for this thread and all that descend from it, for good. Needs no_new_privs or CAP_SYS_ADMIN.

    Args:
        program: of a `Filter`.
        listener: make one.

    Returns:
        the listener's descriptor, if one was wanted.

    Raises:
        OSError: the kernel refuses.
    """
    code = ctypes.create_string_buffer(program)
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    if not listener:
        system_call(NUMBERS["seccomp"], _SET_MODE_FILTER, 0, head)
        return None
    try:
        return system_call(NUMBERS["seccomp"], _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, head)
    except OSError as error:
        if error.errno != errno.EINVAL:  # Before Linux 5.19 the second flag is not known.
            raise
        return system_call(NUMBERS["seccomp"], _SET_MODE_FILTER, _NEW_LISTENER, head)


def next_offence(listener: int) -> Offence | None:
    """Takes the next hostile call from the listener. Its process stays in the call until it is killed.

    Returns:
        None if there is none, or its process has been killed meanwhile.
    """
    buffer = bytearray(_NOTIF.size)
    try:
        fcntl.ioctl(listener, _NOTIF_RECEIVE, buffer)
    except OSError:
        return None
    _, pid, _, number, _, _, *arguments = _NOTIF.unpack(buffer)
    return Offence(pid, name_of(number), tuple(arguments))


def is_abandoned(listener: int) -> bool:
    """Whether nobody is left who could be reported by this listener (Linux 5.9)."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    return any(events & select.POLLHUP for _, events in waiting.poll(0))
