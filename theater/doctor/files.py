"""The home and the disk that it is on: whose it is, who may read it, how much room there is, how fast it is kept."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from theater import config
from theater.config import Home
from theater.doctor.finding import Finding, note, ok, problem
from theater.errors import DiskFull, IntegrityError, InvalidInput, SocketPathTooLong

_LITTLE, _SCARCE = 64 << 20, 1 << 30
_FEW_INODES = 10_000
_SLOW_MS = 20.0
_SYNCS = 5
_SKEW_S = 60.0
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "ceph", "glusterfs", "afs", "vboxsf", "virtiofs"})
_FLEETING = frozenset({"tmpfs", "ramfs"})


def examine(home: Home) -> Iterator[Finding]:
    yield from _modes(home)
    yield _socket(home)
    there = _existing(home.root)
    yield from _disk(there)
    if home.root.is_dir() and os.access(home.root, os.W_OK):
        yield _sync(home.root)
    yield _clock(home)


# ---- whose it is


def _modes(home: Home) -> Iterator[Finding]:
    if not home.root.exists():
        yield note("home", "home", f"there is no home {home.root} yet", "`theater server` makes it")
        return
    wrong = [found for path in _ours(home) if (found := mode_of(path)) is not None]
    yield from wrong
    if not wrong:
        yield ok("home", "permissions", f"{home.root} is ours, and nobody else may enter")


def _ours(home: Home) -> Iterator[Path]:
    """Folders of ours, and files that nobody else may read."""
    folders = (home.root, home.actors, home.content, home.labels, home.run, home.secrets, home.dead_letters)
    yield from (path for path in (*folders, home.key, home.supervisor_chain) if path.exists())


def mode_of(path: Path) -> Finding | None:
    """What is wrong with whose a path is and who may use it; None if nothing is."""
    try:
        found = path.stat()
    except OSError as error:
        return problem("home", path.name, f"{path}: {error.strerror}", "run as the user whose home it is", InvalidInput)
    if found.st_uid != os.geteuid():
        says = f"{path} belongs to user {found.st_uid}, and this is user {os.geteuid()}"
        return problem("home", path.name, says, "run as that user, or `chown -R` the home", InvalidInput)
    if stat.S_ISDIR(found.st_mode) and not os.access(path, os.W_OK | os.X_OK):
        return problem("home", path.name, f"{path} cannot be written to", f"`chmod 700 {path}`", InvalidInput)
    may = stat.S_IMODE(found.st_mode) & 0o077
    if may and (stat.S_ISDIR(found.st_mode) or path.name == "key"):
        says = f"others may use {path} (mode {stat.S_IMODE(found.st_mode):o})"
        return problem("home", path.name, says, f"`chmod go= {path}`", InvalidInput)
    return None


def _socket(home: Home) -> Finding:
    try:
        config.check_socket_path(home.control)
    except SocketPathTooLong as error:
        return problem("home", "socket", error.message, "choose a shorter $THEATER_HOME", SocketPathTooLong)
    room = config.UNIX_PATH_MAX - len(os.fsencode(home.control))
    return ok("home", "socket", f"the path of the control socket has {room} bytes to spare")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


# ---- the disk


def _disk(path: Path) -> Iterator[Finding]:
    found = os.statvfs(path)
    yield space(found.f_bavail * found.f_frsize, str(path))
    if found.f_files:
        yield inodes(found.f_favail, str(path))
    yield file_system(kind_of(path, Path("/proc/self/mountinfo").read_text()), str(path))


def space(free: int, where: str) -> Finding:
    """Room for chains and content."""
    says = f"{free / (1 << 30):.1f} GiB are free where {where} is"
    advice = "make room: an actor whose chain cannot be written ends; `theater chain gc` makes chains smaller"
    if free < _LITTLE:
        return problem("disk", "space", says, advice, DiskFull)
    return note("disk", "space", says, advice) if free < _SCARCE else ok("disk", "space", says)


def inodes(free: int, where: str) -> Finding:
    says = f"{free} more files fit where {where} is"
    if free < _FEW_INODES:
        return problem("disk", "files", says, "delete some: each actor and each content is a few files", DiskFull)
    return ok("disk", "files", says)


def kind_of(path: Path, mounts: str) -> str:
    """The kind of file system that a path is on.

    Args:
        mounts: what /proc/self/mountinfo says.
    """
    wanted, best, kind = os.path.realpath(path), "", "unknown"
    for line in mounts.splitlines():
        before, _, behind = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not behind:
            continue
        place = fields[4].replace("\\040", " ")
        inside = wanted == place or wanted.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best):
            best, kind = place, behind.split()[0]
    return kind


def file_system(kind: str, where: str) -> Finding:
    if kind.split(".")[0] in _REMOTE:
        says = f"{where} is on {kind}: locks and syncs may not hold as they do on a disk of this machine"
        return note("disk", "file system", says, "keep the home on a local disk")
    if kind in _FLEETING:
        says = f"{where} is on {kind}: all of it is gone when the machine ends"
        return note("disk", "file system", says, "keep the home on a disk, unless that is meant")
    return ok("disk", "file system", f"{where} is on {kind}")


def _sync(folder: Path) -> Finding:
    try:
        return sync_speed(sorted(_syncs(folder))[_SYNCS // 2])
    except OSError as error:
        says = f"{folder} cannot be written to: {error.strerror}"
        return problem("disk", "sync", says, "look at the disk, and at `dmesg`", IntegrityError)


def _syncs(folder: Path) -> list[float]:
    """Milliseconds that it took to have a page on the disk, a few times."""
    found = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - begun) * 1000)
    return found


def sync_speed(milliseconds: float) -> Finding:
    says = f"a page is on the disk after {milliseconds:.2f} ms"
    if milliseconds > _SLOW_MS:
        advice = 'actors with [chain] durability = "host" answer no sooner; a faster disk, or durability = "process"'
        return note("disk", "sync", says, advice)
    return ok("disk", "sync", says)


# ---- the clock


def _clock(home: Home) -> Finding:
    try:
        newest = home.supervisor_chain.stat().st_mtime
    except OSError:
        newest = 0.0
    return clock(time.time(), newest)


def clock(now: float, newest: float) -> Finding:
    """Whether it is later than what has been recorded.

    Args:
        now: seconds since 1970.
        newest: when something was recorded last; 0 if nothing was.
    """
    if newest > now + _SKEW_S:
        says = f"the clock is {newest - now:.0f} s behind what was recorded last: it was set back"
        return problem("clock", "clock", says, "set it right: timers and records go by it", InvalidInput)
    if now < 1.7e9:
        return problem("clock", "clock", "the clock says a year that is long over", "set it right", InvalidInput)
    return ok("clock", "clock", "the clock is not behind what was recorded")
