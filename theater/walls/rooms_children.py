"""The rooms of the processes that are started for one piece of work: compiling, keeping a home small, replaying.

None of them has a network, and none but the first executes anything. What they read was written by others: the compiler
reads components that may have been written to break it, a replay executes a guest as a worker does.
"""

from __future__ import annotations

from collections.abc import Mapping

from theater.walls.rooms import BY_NAME, HOSTILE, ORDINARY, Room, names
from theater.walls.rooms_services import NEVER, NO_NAMESPACE, alone
from theater.walls.seccomp import Filter

_BOUNDS: Mapping[str, int] = {"core": 0, "locked": 0, "queues": 0}
_MEMORY = frozenset({"mmap", "mprotect"})
_FILES = frozenset({"fcntl", "ftruncate", "fallocate", "pwrite64", "utimensat", "fchmodat", "chmod"})

COMPILE = Room(
    "compile",
    Filter(
        allowed=ORDINARY
        | BY_NAME
        | _MEMORY
        | _FILES
        | names("execve vfork fork wait4 waitid dup2 dup3 pipe setpriority kill prctl setrlimit")
        | names("prlimit64 seccomp capset capget landlock_create_ruleset landlock_add_rule")
        | names("landlock_restrict_self sched_setaffinity set_tid_address ioctl tgkill"),
        when={"clone": NO_NAMESPACE},
        errors={"clone3": NEVER["clone3"]},
        hostile=HOSTILE - {"execve"},
    ),
    _BOUNDS,
)
"""It waits for its turn, executes the compiler, and keeps the cache in order."""


def compiler() -> Room:
    """Memory of its own becomes code in it, which nobody runs: wasmtime makes that before it writes it down."""
    needs = names("fcntl sched_setaffinity")
    bounds = {**_BOUNDS, "file_size": 2 << 30, "descriptors": 64}
    return Room("compiler", _filter(ORDINARY | BY_NAME | _MEMORY | needs), bounds)


def upkeep() -> Room:
    """It reads what workers have written, and writes chains anew."""
    return Room("upkeep", _filter(ORDINARY | BY_NAME | _MEMORY | _FILES), _BOUNDS, keeps_code=True)


def replay() -> Room:
    """As a worker's, but that it may read what it replays, and map the code of one component after the other."""
    needs = names("fcntl ftruncate")
    return Room("replay", _filter(ORDINARY | BY_NAME | _MEMORY | needs), {**_BOUNDS, "file_size": 0})


def _filter(allowed: frozenset[str]) -> Filter:
    return Filter(allowed=allowed, when=alone(), errors=NEVER, hostile=HOSTILE)
