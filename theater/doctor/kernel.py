"""What the kernel has of what Theater can use: walls around workers, and ways to watch memory and paths."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from theater.beneath import open_beneath
from theater.doctor.finding import Finding, note, ok, problem
from theater.walls.standing import Standing, Wall, namespaces, offered

_AREA = "kernel"
_OLDEST = (5, 13)
"""Of what workers are confined by, Landlock is the newest; before it nothing holds their paths."""

_PATIENCE_S = 20.0
_FIRST_PIDS = "pid:[4026531836]"
"""The namespace of processes that a machine begins with (PROC_PID_INIT_INO)."""


def examine() -> Iterator[Finding]:
    yield version(platform.release(), platform.machine())
    yield from walls(Standing((*offered().walls, _namespaces())))
    yield _pidfd()
    yield _openat2()
    yield _written_memory()
    yield _processes()
    yield cgroup(Path("/sys/fs/cgroup"), _own_groups())


def version(release: str, machine: str) -> Finding:
    """Of the kernel, and for which machine it is."""
    if machine not in ("x86_64", "aarch64"):
        return problem(
            _AREA, "version", f"Linux {release} on {machine}", "run on x86_64 or aarch64; others are unknown"
        )
    found = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if found < _OLDEST:
        return note(_AREA, "version", f"Linux {release} has no Landlock", "take Linux 5.13 or newer")
    return ok(_AREA, "version", f"Linux {release} on {machine}")


def walls(standing: Standing) -> Iterator[Finding]:
    """What stands between a worker whose guest broke out and the machine (theater/walls)."""
    if standing.text():
        yield ok(_AREA, "walls", f"these walls can be put around workers: {standing.text()}")
    for wall in standing.missing:
        yield note(_AREA, wall.name, f"the wall {wall.name} is missing: {wall.detail}", _REQUIRED)


_REQUIRED = "the server runs without it, unless it is told --require-walls"


def _namespaces() -> Wall:
    """Asked in a process of its own, for the answer changes whoever asks."""
    program = "from theater.walls.namespaces import leave_the_network as leave; print(leave() or '', end='')"
    command = [sys.executable, "-c", program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return namespaces(f"it could not be tried: {error}")
    return namespaces(done.stdout or None)


def _pidfd() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        why = f"processes cannot be held by a descriptor: {error.strerror}"
        return note(_AREA, "pidfd", why, "clients wait for the end of a server by looking again and again")
    return ok(_AREA, "pidfd", "processes can be held by a descriptor")


def _openat2() -> Finding:
    folder = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(open_beneath(folder, "proc", os.O_PATH))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            says = "granted folders cannot be opened in one step (openat2)"
            return note(_AREA, "openat2", says, "they are walked step by step, which is slower and as safe")
    finally:
        os.close(folder)
    return ok(_AREA, "openat2", "granted folders are opened by the kernel in one step")


def _written_memory() -> Finding:
    """theater/wasm/written.py: what a snapshot need not read again."""
    try:
        with open("/proc/self/pagemap", "rb") as file:
            file.read(8)
    except OSError as error:
        says = f"what was written of a memory is not known: {error.strerror}"
        return note(_AREA, "memory", says, "snapshots and state roots read all of it, every time")
    found = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2] if part.isdigit())
    if found < (6, 7):
        return note(_AREA, "memory", "which pages were written since is not known", "Linux 6.7 tells it (PAGEMAP_SCAN)")
    return ok(_AREA, "memory", "the kernel knows which pages of a memory were written")


def _processes() -> Finding:
    """Whether all processes of the machine are seen from here."""
    try:
        is_first = os.readlink("/proc/self/ns/pid") == _FIRST_PIDS
    except OSError as error:
        return note(_AREA, "processes", f"/proc says nothing of processes: {error.strerror}", "mount it")
    if is_first:
        return ok(_AREA, "processes", "this is no container: numbers of processes are those of the machine")
    return ok(_AREA, "processes", "this is a container with process numbers of its own")


def _own_groups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def cgroup(root: Path, groups: str) -> Finding:
    """Whether this process may divide its group among actors.

    Args:
        root: where groups are mounted.
        groups: what /proc/self/cgroup says.
    """
    advice = "limits of memory and processor are then held by each process alone; a unit with Delegate=yes gives groups"
    own = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), None)
    if own is None or not (root / "cgroup.controllers").exists():
        return note(_AREA, "cgroup", "there are no groups of version 2 for this process", advice)
    folder = root / own.lstrip("/")
    if not os.access(folder / "cgroup.procs", os.W_OK) or not os.access(folder, os.W_OK):
        return note(_AREA, "cgroup", f"the group {own} is not delegated to this user", advice)
    has = set((folder / "cgroup.controllers").read_text().split()) & {"cpu", "memory", "pids"}
    if len(has) < 3:
        return note(
            _AREA, "cgroup", f"of cpu, memory and pids the group {own} has {', '.join(sorted(has)) or 'none'}", advice
        )
    return ok(_AREA, "cgroup", f"the group {own} is ours, with cpu, memory and pids")
