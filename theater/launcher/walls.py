"""The walls around a program: what it may not do, although the server's user may.

A program may be told anything by its actor, and a shell or an interpreter does whatever it is told. So it may read what
the server's user may read, and reach the network, but it

* does not find the server's home nor its cache of compiled code: they are covered by empty folders. Where there is no
  namespace of mounts, Landlock lets it open files everywhere else only.
* writes only into the folders that its manifest gives it, and into those for temporary files; in particular not into
  /proc and /sys, through which root changes the kernel.
* opens no device but those that mean nothing: a disk would show it the home.
* cannot signal or trace what is not its own, nor change what the kernel is (theater/walls/rooms_services.py).
* has no capability, also where the server is root. That is the keeper's doing (theater/launcher/keeper.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from theater.walls import landlock, privileges, resources, seccomp
from theater.walls.landlock import Right
from theater.walls.rooms_services import LAUNCHER, PROGRAM

TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev/shm")
"""Folders that every program may write into, as far as its user may."""

DEVICES: Final = tuple(f"/dev/{each}" for each in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"))
_ALL_DEVICES: Final = "/dev"

NIX_STORE: Final = "/nix"
"""Where Nix builds what a development shell needs, if its user may."""

_WRITES: Final = (
    Right.WRITE_FILE | Right.TRUNCATE | Right.REFER | Right.REMOVE_DIR | Right.REMOVE_FILE | Right.MAKE_DIR
    | Right.MAKE_REG | Right.MAKE_SYM | Right.MAKE_SOCK | Right.MAKE_FIFO | Right.MAKE_CHAR | Right.MAKE_BLOCK
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProgramWalls:
    """A `theater.launcher.program.Walls`.

    Args:
        hidden: absolute folders that no program may know of.
        version: of the kernel's Landlock; 0 if it has none.
        filter: of system calls, as the kernel takes it; empty if it takes none.
    """

    hidden: tuple[str, ...]
    version: int
    filter: bytes

    @classmethod
    def of_this_machine(cls, hidden: Sequence[str]) -> ProgramWalls:
        """All that its kernel offers."""
        folders = tuple(os.path.realpath(each) for each in hidden if os.path.isdir(each))
        code = PROGRAM.program(notify=False) if seccomp.is_there() else b""
        return cls(folders, landlock.version(), code)

    def around(self, writable: Sequence[str], *, namespace: bool) -> Mapping[str, Any]:
        """As `Walls` says."""
        ruleset, rules = b"", []
        if self.version:
            handled = (_WRITES | Right.READ_FILE) & landlock.known_rights(self.version)
            ruleset = landlock.ruleset(self.version, handled, network=True)
            # In a namespace the hidden folders are not there, whatever a rule says of them.
            hidden = () if namespace else self.hidden
            found = {each: int(Right.READ_FILE) for each in around("/", (*hidden, _ALL_DEVICES))}
            for folder in (*TEMPORARY, *DEVICES, *map(os.path.realpath, writable)):
                found.update((each, int(handled)) for each in around(folder, hidden))
            rules = [(os.fsencode(path), rights) for path, rights in found.items()]
        return {
            "hidden": [os.fsencode(each) for each in self.hidden],
            "ruleset": ruleset,
            "rules": rules,
            "filter": self.filter,
        }


def seal() -> None:
    """Has this process, the launcher, give up what neither a keeper nor a program needs. Of root's capabilities
    two are left: to make namespaces, and to give up the ways to all others in them."""
    privileges.hide_memory()
    privileges.gain_no_more()
    privileges.keep_capabilities(privileges.SYS_ADMIN, privileges.SETPCAP)
    resources.limit(LAUNCHER.limits)
    if seccomp.is_there():
        seccomp.install(LAUNCHER.filter.program(notify=False))


def around(folder: str, hidden: Sequence[str]) -> Iterator[str]:
    """The fewest paths that hold everything below a folder but what is hidden.

    Args:
        folder: absolute path, without links, as those of `hidden`.
    """
    if any(_lies_in(folder, each) for each in hidden):
        return
    if not any(_lies_in(each, folder) for each in hidden):
        yield folder
        return
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        yield from around(os.path.join(folder, name), hidden)


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
