"""The walls of an actor's processes: which files each of them may still reach (theater/walls/rooms.py has the rest).

A template is sealed when its component's code is mapped and before any of it runs; it knows its component and not the
actors it will fork, so it keeps the folders of all of them. A worker is sealed when it knows who it is and has opened
its chain, before its guest does anything on behalf of the actor: it keeps its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from theater.config import Home
from theater.core.handlers import HANDLERS
from theater.walls import rooms, sight
from theater.walls.landlock import ADD, CHANGE, READ, Right
from theater.worker.assignment import Assignment

_DEVICES: Mapping[str, Right] = {
    "/dev/null": Right.READ_FILE | Right.WRITE_FILE,
    "/dev/urandom": Right.READ_FILE,
}
_KNOWLEDGE = ("/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu")
_STORE, _FILESYSTEM = "store", "filesystem"
_BY_NAME = (_STORE, _FILESYSTEM)
"""Handlers that ask what files are like by their names; so may those of packages."""


def seal_template(order: Mapping[str, Any]) -> None:
    """Seals a template.

    Args:
        order: see `theater.worker.template.serve`.
    """
    home = Home(Path(order["home"]))
    paths = {str(folder): CHANGE for folder in (home.actors, home.labels)}
    paths |= {str(home.content): CHANGE, str(home.secrets): READ, str(home.run): CHANGE}
    paths |= dict.fromkeys((*_KNOWLEDGE, *_code()), READ)
    paths.update(_DEVICES)
    for folder, writable, _ in order["folders"]:
        there = _nearest(folder)
        paths[there] = paths.get(there, Right(0)) | (CHANGE if writable else READ)
    rooms.enter(rooms.TEMPLATE, paths)
    for by_name in (False, True):
        rooms.worker(0, 0, by_name=by_name).filter.program(notify=False)  # Most of it is kept, for all who are forked.


def seal_worker(assignment: Assignment, chain: int, folders: Iterable[tuple[int, bool]]) -> None:
    """Seals a worker.

    Args:
        chain: descriptor of its chain.
        folders: those that its manifest grants, as descriptors, and whether it may change what is in them.
    """
    pid = os.getpid()
    paths: dict[str | int, Right] = {assignment.folder: READ, str(assignment.own()): CHANGE, assignment.content: ADD}
    paths[f"/proc/{pid}"] = READ
    paths.update(_DEVICES)
    if _STORE in assignment.handlers:
        paths[assignment.labels] = CHANGE
    paths.update((folder, CHANGE if writable else READ) for folder, writable in folders)
    by_name = any(each in _BY_NAME or HANDLERS[each].wit is not None for each in assignment.handlers)
    rooms.enter(rooms.worker(pid, chain, by_name=by_name), paths)
    if not by_name:
        sight.only_what_is_open()


def _code() -> set[str]:
    """Where Python's own modules are: some are only loaded when they are needed."""
    found = {path for path in sys.path if os.path.isabs(path)}
    return found | {sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])}


def _nearest(folder: str) -> str:
    """A folder that is granted, or the one that it will be made in."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder
