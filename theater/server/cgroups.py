"""The control groups of a server: one for itself, one for each life of an actor.

The group that is delegated to the server becomes a branch (cgroup v2 has processes in leaves only):

    BASE/server             the supervisor and what descends from it
    BASE/actors/ID.N        the worker of the Nth life of an actor, with its limits

A worker is born in the group of the server and moved when it becomes an actor. Moving takes the kernel milliseconds,
for which it waits for every processor, so a thread of its own does it: nobody's start waits for it, and a guest is
held by its worker and its resource limits until it has happened. At the end of a life whatever is left in its group is
killed at once, and the group says whether the kernel had killed for want of memory.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from queue import SimpleQueue

from theater.core import control_groups as plan
from theater.core.manifest import Limits
from theater.errors import InvalidInput
from theater.log import Logger

_MARKS = ("user.delegate", "trusted.delegate")
_LEAST_CONTROLLERS = "cgroup.controllers"


class Group:
    """The group of one life.

    Args:
        folder: its folder.
        counts_memory: the kernel says of it whether it was short of memory.
    """

    def __init__(self, folder: Path, *, counts_memory: bool) -> None:
        self.folder = folder
        self.counts_memory = counts_memory
        self.entered = threading.Event()

    def claim(self) -> bool:
        """Whether the kernel killed in it for want of memory."""
        try:
            return plan.kills((self.folder / "memory.events").read_text()) > 0
        except OSError:
            return False

    def enter(self, pid: int) -> None:
        """Moves a process into it, unless that has ended."""
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.procs").write_text(str(pid))
        self.entered.set()

    def remove(self) -> None:
        """Kills whoever is left in it, and takes it away."""
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            self.folder.rmdir()


class Groups:
    """The groups of this server. Without a delegated one nothing of this does anything, and `text` says why.

    Attributes:
        text: what there is, and what is missing with why.
        controllers: those that hold actors.
    """

    def __init__(self, base: Path | None, controllers: frozenset[str], why: str) -> None:
        self.base = base
        self.controllers = controllers
        self.text = plan.text(str(base) if base is not None else None, controllers, why)
        self._moves: SimpleQueue[tuple[Group, int] | None] = SimpleQueue()
        self._leaving: list[Group] = []
        if base is not None:
            threading.Thread(target=self._move, name="control groups", daemon=True).start()

    @classmethod
    def none(cls, why: str = "nobody has looked for any") -> Groups:
        """Of a server that has no control groups."""
        return cls(None, frozenset(), why)

    @classmethod
    def prepare(cls, given: Path | None = None) -> Groups:
        """Divides the group of this process, if that is delegated to it, and moves it into its part.

        Args:
            given: a group that is the server's, in place of the one it is in.

        Raises:
            InvalidInput: the one that was given is none, or cannot be used.
        """
        try:
            base, why = (given, "") if given is not None else _delegated()
            if base is None:
                return cls.none(why)
            return cls(base, *_divide(base))
        except OSError as error:
            sentence = f"the control group {error.filename or given} cannot be used: {error.strerror}"
            if given is not None:
                raise InvalidInput(sentence) from error
            return cls.none(sentence)

    def admit(self, actor: str, incarnation: int, pid: int, limits: Limits, log: Logger) -> Group | None:
        """Makes the group of a life that begins, and has its process moved there soon."""
        if self.base is None:
            return None
        group = Group(
            self.base / plan.ACTORS / plan.name(actor, incarnation), counts_memory="memory" in self.controllers
        )
        try:
            group.folder.mkdir(exist_ok=True)
            for setting in plan.settings(limits, self.controllers):
                try:
                    (group.folder / setting.file).write_text(setting.value)
                except FileNotFoundError:
                    if setting.file not in plan.OPTIONAL:
                        raise
        except OSError as error:
            log.error("an actor has no control group", actor=actor, why=f"{error.filename}: {error.strerror}")
            return None
        self._moves.put((group, pid))
        return group

    def dismiss(self, group: Group) -> None:
        """A life is over, and its process is gone."""
        group.remove()
        if group.folder.exists():
            self._leaving.append(group)

    def tidy(self) -> None:
        """Takes away what could not be when its actor ended."""
        for group in self._leaving:
            group.remove()
        self._leaving = [group for group in self._leaving if group.folder.exists()]

    def close(self) -> None:
        """Ends the thread and takes away the groups of actors; this process stays in its own."""
        self._moves.put(None)
        if self.base is not None:
            self.tidy()
            _sweep(self.base / plan.ACTORS)

    def _move(self) -> None:
        while (move := self._moves.get()) is not None:
            group, pid = move
            group.enter(pid)


def _delegated() -> tuple[Path | None, str]:
    """The group that this process may divide; or why there is none."""
    found = plan.own(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    if found.folder is None:
        return None, found.why
    folder = Path(found.folder)
    # After a restart in place, or with systemd's DelegateSubgroup, this process is in a part of what is delegated.
    if folder.name == plan.SERVER and plan.why_not_ours(_signs(folder.parent)) is None:
        return folder.parent, ""
    if _is_marked(folder.parent) and not _is_marked(folder) and os.access(folder.parent, os.W_OK):
        return folder.parent, ""
    why = plan.why_not_ours(_signs(folder))
    return (None, why) if why is not None else (folder, "")


def _signs(folder: Path) -> plan.Signs:
    has_type = (folder / "cgroup.type").exists()
    return plan.Signs(
        str(folder),
        is_root=not has_type,
        is_top=has_type and not (folder.parent / "cgroup.procs").exists(),
        is_writable=os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK),
        is_marked=_is_marked(folder),
        is_owned=os.geteuid() != 0 and folder.stat().st_uid == os.geteuid(),
    )


def _is_marked(folder: Path) -> bool:
    for mark in _MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    return False


def _divide(base: Path) -> tuple[frozenset[str], str]:
    """Makes the parts; gives the controllers of the actors', and why there are not more."""
    actors, server = base / plan.ACTORS, base / plan.SERVER
    server.mkdir(exist_ok=True)
    actors.mkdir(exist_ok=True)
    (server / "cgroup.procs").write_text(str(os.getpid()))
    _sweep(actors)
    offered = (base / _LEAST_CONTROLLERS).read_text().split()
    why = [f"{base} has not got them"] if set(plan.WANTED) - set(offered) else []
    enabled = set()
    for controller in (each for each in plan.WANTED if each in offered):
        try:
            for folder in (base, actors):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            enabled.add(controller)
        except OSError as error:
            why.append(f"{controller} cannot be enabled: {error.strerror}; are there other processes in {base}?")
    if "cpu" in enabled:
        (server / "cpu.weight").write_text(str(plan.SERVER_WEIGHT))
    return frozenset(enabled), "; ".join(why)


def _sweep(actors: Path) -> None:
    """Ends what a server that was killed has left in the groups of its actors."""
    with contextlib.suppress(OSError):
        for folder in actors.iterdir():
            if folder.is_dir():
                Group(folder, counts_memory=False).remove()
