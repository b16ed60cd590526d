"""The rooms of the processes that do for actors what those may not: the gateway, and the launcher with its programs.

They are known by what they need. The gateway needs the network and nothing of the machine: it opens no file but those
of the system that tell how names are resolved and whom to believe, and executes nothing. The launcher needs to start
programs, and every filter that it is behind is behind them, too: so it gives up what no program needs, and a program
gives up the rest in its keeper.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from theater.walls.rooms import BY_NAME, HOSTILE, ORDINARY, THREAD, WORD, Room, names
from theater.walls.seccomp import Filter, Masked

Conditions = Sequence[Sequence[Masked]]

_FIONBIO, _FIOCLEX, _FIONREAD = 0x5421, 0x5451, 0x541B
_PR_SET_NAME = 15
_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID and _NEWNET."""

_ROUTING, _MYSELF = 0, 0
_FAMILIES = [
    *[(Masked(0, WORD, int(family)),) for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)],
    (Masked(0, WORD, int(socket.AF_NETLINK)), Masked(2, WORD, _ROUTING)),
]
"""Of sockets: those that reach the network, and what the C library asks about it."""

NO_NAMESPACE = [(Masked(0, _NAMESPACES, 0),)]
"""Of clone: threads and processes, but none in a namespace of its own."""


def alone() -> dict[str, Conditions]:
    """Conditions for a process, this one, that has threads and an event loop and may abort, and knows no other."""
    return {
        "clone": [(Masked(0, THREAD, THREAD),)],
        "prctl": [(Masked(0, WORD, _PR_SET_NAME),)],
        "ioctl": [(Masked(1, WORD, request),) for request in (_FIONBIO, _FIOCLEX, _FIONREAD)],
        "tgkill": [(Masked(0, WORD, os.getpid()),)],
        "prlimit64": [(Masked(0, WORD, _MYSELF),)],
    }


NEVER = {"clone3": errno.ENOSYS}

_NO_RINGS = dict.fromkeys(("io_uring_setup", "io_uring_enter", "io_uring_register"), errno.ENOSYS)
"""uvloop asks for them, and does without."""


def gateway() -> Room:
    """Of this process, which is one."""
    needs = names(
        "connect bind listen accept accept4 setsockopt socketpair sendmmsg recvmmsg fcntl mmap mprotect memfd_create"
    )
    return Room(
        "gateway",
        Filter(
            allowed=ORDINARY | BY_NAME | needs,
            when={**alone(), "socket": _FAMILIES},
            errors={**NEVER, **_NO_RINGS},
            hostile=HOSTILE - _NO_RINGS.keys(),
        ),
        {"core": 0, "locked": 0, "queues": 0},
        keeps_code=True,
        network=True,
    )


_NO_PROGRAM_NEEDS = (HOSTILE | {"userfaultfd"}) - names(
    "execve execveat mount umount2 unshare chroot personality mknod mknodat name_to_handle_at "
    "process_madvise modify_ldt mount_setattr move_mount open_tree fsopen fsconfig fsmount "
    "fspick pivot_root setns"
)

LAUNCHER = Room(
    "launcher",
    Filter(errors=dict.fromkeys(sorted(_NO_PROGRAM_NEEDS), errno.EPERM), otherwise=None),
    {"core": 0, "queues": 0},
)
"""Refused and not fatal: programs are tried out by people, and one that asks for too much may have another way."""

_OF_A_KEEPER = names(
    "mount umount2 unshare chroot mount_setattr move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick "
    "pivot_root setns"
)

PROGRAM = Filter(
    errors={**dict.fromkeys(sorted(_OF_A_KEEPER | _NO_PROGRAM_NEEDS), errno.EPERM), "clone3": errno.ENOSYS},
    when={"clone": NO_NAMESPACE, "socket": _FAMILIES},
    otherwise=None,
)
"""What the kernel is asked about each call of a program."""
