"""Control groups, version 2: where a process is, whether that group is its own to divide, and what is written where.

Pure: texts of /proc and answers about files come in, paths and values go out (cgroups(7), the kernel's cgroup-v2.rst,
systemd's CGROUP_DELEGATION). A group may be divided by whoever it is delegated to, and by nobody else: a group of
systemd's that is not delegated is systemd's, even if root may write to it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from theater.core.manifest import Limits
from theater.core.process_bounds import margin

WANTED: Final = ("memory", "cpu", "pids")
"""Controllers that hold limits of actors."""

SERVER, ACTORS = "server", "actors"
"""The groups into which the delegated one is divided: processes may only be in leaves."""

SERVER_WEIGHT: Final = 1000
"""`cpu.weight` of the server beside that of all actors together, 100 each: who holds the limits must get to do it."""

_PERIOD_US: Final = 100_000
_PROCESSES: Final = 64
"""Threads and processes in the group of an actor; a worker has a handful of threads."""


@dataclass(frozen=True, slots=True)
class Found:
    """The group of a process.

    Args:
        folder: its folder; None if there is none.
        why: why there is none, as the rest of a sentence.
    """

    folder: str | None
    why: str = ""


def own(cgroup: str, mountinfo: str) -> Found:
    """The group of a process.

    Args:
        cgroup: /proc/PID/cgroup.
        mountinfo: /proc/PID/mountinfo.
    """
    path = next((line[3:] for line in cgroup.splitlines() if line.startswith("0::")), None)
    if path is None:
        return Found(None, "this kernel has no control groups of version 2")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if after.split()[:1] != ["cgroup2"] or len(fields) < 5:
            continue
        root, point = _unescaped(fields[3]), _unescaped(fields[4])
        if root == "/":
            return Found(point + path.rstrip("/"))
        if path == root or path.startswith(root + "/"):
            return Found(point + path[len(root) :])
        return Found(None, f"its control group {path} is not among those that are mounted at {point}")
    return Found(None, "no control groups of version 2 are mounted")


@dataclass(frozen=True, slots=True)
class Signs:
    """What there is to see of a group's folder.

    Args:
        folder: its path.
        is_root: it is the root of all groups of the machine.
        is_top: it is the topmost that this process can see: a container's.
        is_writable: new groups may be made in it, and processes moved.
        is_marked: the service manager says that it is delegated (`user.delegate`, `trusted.delegate`).
        is_owned: it belongs to the user, who is not root.
    """

    folder: str
    is_root: bool
    is_top: bool
    is_writable: bool
    is_marked: bool
    is_owned: bool


def why_not_ours(signs: Signs) -> str | None:
    """Why a group is not delegated to who is in it: the rest of a sentence; None if it is."""
    if signs.is_root:
        return "it is in the root of all control groups"
    if not signs.is_writable:
        return f"its control group {signs.folder} is not writable"
    if signs.is_marked or signs.is_owned or signs.is_top:
        return None
    return f"its control group {signs.folder} is not delegated to it (Delegate=yes of a unit of systemd)"


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and the file in the group's folder that it is written into."""

    file: str
    value: str


def settings(limits: Limits, controllers: Collection[str]) -> tuple[Setting, ...]:
    """What holds an actor to its limits.

    Nothing is written to `memory.high`, which would slow an actor down for ever where `memory.max` ends it.

    Args:
        controllers: those that its group has.
    """
    found: list[Setting] = []
    if "memory" in controllers:
        found.append(Setting("memory.max", str(limits.memory + margin(limits))))
        found.append(Setting("memory.swap.max", "0"))
        found.append(Setting("memory.oom.group", "1"))
    if "cpu" in controllers:
        quota = "max" if limits.cpu is None else str(limits.cpu * _PERIOD_US // 100)
        found.append(Setting("cpu.max", f"{quota} {_PERIOD_US}"))
        found.append(Setting("cpu.weight", str(limits.cpu_weight)))
    if "pids" in controllers:
        found.append(Setting("pids.max", str(_PROCESSES)))
    return tuple(found)


OPTIONAL: Final = frozenset({"memory.swap.max", "memory.oom.group"})
"""Files that a kernel with the controller may lack."""


def kills(memory_events: str) -> int:
    """How many processes of a group the kernel has killed for want of memory (`memory.events`)."""
    found = re.search(r"^oom_kill (\d+)$", memory_events, re.MULTILINE)
    return int(found[1]) if found is not None else 0


def name(actor: str, incarnation: int) -> str:
    """The name of the group of one life."""
    return f"{actor}.{incarnation}"


def text(folder: str | None, controllers: Collection[str], why: str) -> str:
    """What a server says of its control groups."""
    if folder is None:
        return f"none: {why}"
    lacking = [each for each in WANTED if each not in controllers]
    has = ", ".join(each for each in WANTED if each in controllers) or "no controllers, only an end for all at once"
    return f"{folder}: {has}" + (f"; without {', '.join(lacking)}: {why}" if lacking else "")


def _unescaped(path: str) -> str:
    """A path of mountinfo, in which spaces and the like are octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
