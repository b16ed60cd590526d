"""Which files a process may still reach by name (landlock(7)).

A domain names folders and files with what may be done beneath them; everything else is refused, whoever the process
is. It says nothing of descriptors that are open already, and nothing of stat(2), chdir(2), or a connection to a socket
file. Domains are inherited, and several hold together. Each version of the kernel's interface knows more rights; what a
kernel does not know it does not refuse, so `version` is part of what an operator is told.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping
from enum import IntFlag

from theater.walls.kernel import system_call
from theater.walls.syscalls import NUMBERS

_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NET_BIND_TCP, _NET_CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2


class Right(IntFlag):
    """What may be done with files (linux/landlock.h)."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Right.READ_FILE | Right.READ_DIR
CHANGE = READ | Right.WRITE_FILE | Right.TRUNCATE | Right.MAKE_REG | Right.MAKE_DIR | Right.REMOVE_FILE
CHANGE |= Right.REMOVE_DIR | Right.REFER
"""Everything with plain files and folders."""

ADD = READ | Right.MAKE_REG | Right.MAKE_DIR | Right.REFER
"""New files can be moved in; those that are there can be neither changed nor removed."""

Paths = Mapping[str, Right] | Mapping[str | int, Right]
"""What may be done beneath each folder, or with each file: by its path, or by a descriptor that is open."""

_OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_KNOWN_SINCE = {1: (1 << 13) - 1, 2: Right.REFER, 3: Right.TRUNCATE, 5: Right.IOCTL_DEV}


def version() -> int:
    """Of the kernel's interface; 0 if it has none."""
    try:
        return system_call(NUMBERS.get("landlock_create_ruleset", -1), 0, 0, _VERSION_FLAG)
    except OSError:
        return 0


def confine(paths: Paths, *, network: bool = False) -> int:
    """Refuses everything with files but what `paths` say, for good. Needs no_new_privs or CAP_SYS_ADMIN.

    Where the kernel can, also TCP, connections to abstract sockets of others, and signals to others.

    Args:
        paths: what stays allowed; one that is not there is left out.
        network: TCP stays allowed.

    Returns:
        the version of the interface; 0 if the kernel has none and nothing was done.

    Raises:
        OSError: the kernel refuses.
    """
    found = version()
    if not found:
        return 0
    handled = known_rights(found)
    head = ruleset(found, handled, network=network)
    rules = system_call(NUMBERS["landlock_create_ruleset"], head, len(head), 0)
    try:
        for path, rights in paths.items():
            _allow(rules, path, rights & handled)
        system_call(NUMBERS["landlock_restrict_self"], rules, 0)
    finally:
        os.close(rules)
    return found


def known_rights(found: int) -> Right:
    """All that a version of the interface knows."""
    handled = Right(0)
    for since, rights in _KNOWN_SINCE.items():
        if found >= since:
            handled |= Right(rights)
    return handled


def ruleset(found: int, handled: Right, *, network: bool) -> bytes:
    """What the kernel is told that a domain is about (`struct landlock_ruleset_attr`).

    Args:
        found: version of the interface.
        handled: rights with files that nobody has whom no rule gives them; the version must know them.
        network: TCP stays allowed.
    """
    tcp = _NET_BIND_TCP | _NET_CONNECT_TCP if found >= 4 and not network else 0
    scoped = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if found >= 6 else 0
    return struct.pack("QQQ", handled, tcp, scoped)[: 8 if found < 4 else 16 if found < 6 else 24]


def _allow(rules: int, path: str | int, rights: Right) -> None:
    if isinstance(path, int):
        _add(rules, path, rights)
        return
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # Not there, or not for this process: then there is nothing to allow.
    try:
        _add(rules, place, rights)
    except OSError as error:
        raise OSError(error.errno, f"landlock: {path}: {os.strerror(error.errno or errno.EINVAL)}") from error
    finally:
        os.close(place)


def _add(rules: int, place: int, rights: Right) -> None:
    # A rule for a file may have no right of folders.
    fitting = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & _OF_FILES
    rule = struct.pack("=Qi", int(fitting), place)
    system_call(NUMBERS["landlock_add_rule"], rules, _PATH_BENEATH, rule, 0)
