"""An empty network, and an identity that means nothing outside (namespaces(7)).

Root needs no more than to ask. Anybody else gets a namespace of users first, where they may, in which they are
themselves and nobody else is.
"""

from __future__ import annotations

import os
from pathlib import Path

from theater.walls.kernel import unshare

_USER, _NETWORK, _IPC, _NAMES = 0x10000000, 0x40000000, 0x08000000, 0x04000000


def leave_the_network() -> str | None:
    """Puts this process, and all that descend from it, into namespaces of users, networks, System V IPC and host names
    in which nothing is. Must come before it has a second thread.

    Returns:
        None if it is done, else why not.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare_with_users()
    except OSError as error:
        return _without_users(error)
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError as error:
        return f"its user could not be mapped: {error.strerror}"
    return None


def _unshare_with_users() -> None:
    """A service manager that has given the whole server its own IPC and names may allow no more than the other two."""
    try:
        unshare(_USER | _NETWORK | _IPC | _NAMES)
    except PermissionError:
        unshare(_USER | _NETWORK)


def _without_users(first: OSError) -> str | None:
    try:
        unshare(_NETWORK | _IPC | _NAMES)
    except OSError:
        return f"namespaces: {first.strerror}"
    return None
