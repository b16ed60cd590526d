"""Which walls this kernel lets us put up, and why one is missing: for the server's log, `inspect` and the doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from theater.walls import landlock, seccomp
from theater.walls.kernel import process_control

_GET_MDWE, _GET_SPECULATION_CTRL = 66, 52
_FORCE_DISABLED = 8


@dataclass(frozen=True, slots=True)
class Wall:
    """One wall.

    Args:
        name: what users know it by.
        detail: more about one that stands, such as a version; for one that does not, why and what to do.
        stands: whether it does.
    """

    name: str
    detail: str = ""
    stands: bool = True

    def __str__(self) -> str:
        return f"{self.name}({self.detail})" if self.detail else self.name


@dataclass(frozen=True, slots=True)
class Standing:
    """All walls, those that stand and those that are missing."""

    walls: tuple[Wall, ...]

    @property
    def missing(self) -> tuple[Wall, ...]:
        return tuple(wall for wall in self.walls if not wall.stands)

    def text(self) -> str:
        """Those that stand, in a line."""
        return " ".join(str(wall) for wall in self.walls if wall.stands)

    def summary(self) -> str:
        """What stands and what does not, in a line."""
        missing = ", ".join(wall.name for wall in self.missing)
        return f"{self.text()}; missing: {missing}" if missing else self.text()

    def complaint(self) -> str:
        """Those that are missing, in a sentence; empty if none is."""
        return "; ".join(f"{wall.name}: {wall.detail}" for wall in self.missing)

    def to_plain(self) -> list[list[object]]:
        """As msgpack values."""
        return [[wall.name, wall.detail, wall.stands] for wall in self.walls]

    @classmethod
    def from_plain(cls, plain: Iterable[Iterable[object]]) -> Standing:
        """The reverse of `to_plain`."""
        return cls(tuple(Wall(str(name), str(detail), bool(stands)) for name, detail, stands in plain))


def offered() -> Standing:
    """What this kernel has. Whether namespaces can be had is known when one has been asked for
    (`namespaces.leave_the_network`)."""
    walls = (_filters(), _domains(), _code(), Wall("no-new-privileges"), Wall("capabilities"), Wall("rlimits"))
    return Standing((*walls, Wall("speculation-controls")) if _speculates_no_more() else walls)


def _speculates_no_more() -> bool:
    """Whether that was given up: an option, so it is not missing where it was not."""
    try:
        return all(process_control(_GET_SPECULATION_CTRL, what) & _FORCE_DISABLED for what in (0, 1))
    except OSError:
        return False


def namespaces(refusal: str | None) -> Wall:
    """The wall of namespaces, as `leave_the_network` answered."""
    if refusal is None:
        return Wall("namespaces")
    return Wall("namespaces", f"{refusal}; allow user namespaces, or run the server as root", stands=False)


def _filters() -> Wall:
    if not seccomp.is_there():
        return Wall("seccomp", "this kernel filters no system calls, or is of an unknown machine", stands=False)
    return Wall("seccomp", "" if seccomp.can_notify() else "without reports")


def _domains() -> Wall:
    found = landlock.version()
    if not found:
        why = "this kernel has no Landlock, or it is not among those that were chosen at boot (lsm=landlock,...)"
        return Wall("landlock", why, stands=False)
    return Wall("landlock", str(found))


def _code() -> Wall:
    try:
        process_control(_GET_MDWE)
    except OSError:
        return Wall("write-xor-execute", "needs Linux 6.3; seccomp refuses it meanwhile", stands=False)
    return Wall("write-xor-execute")
