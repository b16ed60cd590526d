"""The folders of a life, opened before its guest runs: whatever it names later is found from these descriptors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from theater import beneath
from theater.core import granted_paths
from theater.core.permissions.filesystem import Filesystem, Right
from theater.core.quantities import show
from theater.errors import StartFailed
from theater.host.folders import Folders, Surroundings
from theater.worker.assignment import Assignment


def open_folders(
    assignment: Assignment,
    permissions: object,
    before_change: Callable[[], object],
    remaining: Callable[[], float | None],
) -> Folders:
    """The files of an actor; without the handler `filesystem` it has none.

    Args:
        permissions: of that handler, or None.
        before_change: called before anything is changed.
        remaining: seconds that the running call may still take; None for any time.

    Raises:
        StartFailed: a folder that the manifest grants cannot be.
    """
    may = permissions if isinstance(permissions, Filesystem) else Filesystem()
    read, write = (dict.fromkeys(may.folders(right), -1) for right in Right)
    if read or write:
        with _root(assignment, may) as root:
            for right, folders in ((Right.WRITE, write), (Right.READ, read)):  # what is written to is made
                for name in folders:
                    folders[name] = _open(root, name, right, assignment)
    durable = assignment.durability == "host"
    around = Surroundings(read, write, assignment.actor, durable, before_change, remaining)
    return Folders(may, around)


@contextmanager
def _root(assignment: Assignment, may: Filesystem) -> Iterator[int]:
    """The folder in which relative paths begin, as a descriptor; -1 for a life without one."""
    beside = Path(assignment.where).parent
    if not beside.is_absolute():
        yield -1
        return
    try:
        base = beneath.open_trusted(beside)
    except OSError as error:
        raise StartFailed(f"the folder of the manifest, {beside}, cannot be opened: {error.strerror}") from error
    try:
        root = _opened(base, may.root, "root")
        try:
            yield root
        finally:
            os.close(root)
    finally:
        os.close(base)


def _open(root: int, name: str, right: Right, assignment: Assignment) -> int:
    if root < 0 and not name.startswith("/"):
        raise StartFailed(f"the actor was started without a file, so the folder {show(name)} is beside nothing")
    if right is Right.WRITE and not name.startswith("/"):
        _make(root, name)
    found = _opened(root, name, right)
    _refuse_home(found, name, Path(assignment.content).parent)
    return found


def _opened(base: int, name: str, key: str) -> int:
    """Opens a folder that the manifest names. Whoever may write near it could put a link there, so none is followed."""
    path = granted_paths.read(name)
    if not path.absolute:
        return _found(base, "/".join(path.names), name, key)
    top = beneath.open_trusted("/")
    try:
        return _found(top, "/".join(path.names), name, key)
    finally:
        os.close(top)


def _found(base: int, path: str, name: str, key: str) -> int:
    try:
        return beneath.open_folder(base, path)
    except OSError as error:
        if beneath.is_link_in_the_way(error):
            sentence = "a link stands in its path; name the folder that it leads to"
        else:
            sentence = f"it cannot be opened: {error.strerror}"
        raise StartFailed(
            f"the folder {show(name)} that the manifest grants ([[handler]] {key}): {sentence}"
        ) from error


def _make(root: int, name: str) -> None:
    """Makes a folder to write to that is not there yet; what stands in the way is told by whoever opens it."""
    names = granted_paths.read(name).names
    here = os.dup(root)
    try:
        for each in names:
            try:
                os.mkdir(each, 0o777, dir_fd=here)
            except FileExistsError:
                pass
            inner = beneath.open_folder(here, each)
            os.close(here)
            here = inner
    except OSError:
        return
    finally:
        os.close(here)


def _refuse_home(folder: int, name: str, home: Path) -> None:
    """A server's home has keys, secrets and records in it: nobody is granted any of that as files."""
    try:
        at_home = beneath.open_trusted(home)
    except FileNotFoundError:
        return
    try:
        if beneath.lies_in(folder, at_home) or beneath.lies_in(at_home, folder):
            raise StartFailed(
                f"the folder {show(name)} that the manifest grants has the server's home {home} in it, or lies in it; "
                "no actor may have that"
            )
    finally:
        os.close(at_home)
