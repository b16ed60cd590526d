"""What a home keeps of its tree: what was applied last, and how its supervisors have fared.

The tree is one file with everything that is needed to start it again: the rows, and what each child is. It is replaced
as a whole, so a server that is killed while a tree is being changed has either the old one or the new one. How the
supervisors have fared is a file of its own, which is written behind the events: what a killed server had not written is
a number that is too low, and no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from theater.config import Home
from theater.core import manifest as manifests
from theater.core.codec import pack, unpack
from theater.core.exit_reason import ExitReason
from theater.core.tree_file import EMPTY, from_plain, to_plain
from theater.durable import replace
from theater.errors import IntegrityError, TheaterError, WireError
from theater.server.cast import plain_manifest
from theater.server.wishes import Application, Role

_LARGEST = 256 << 20
_FORMAT = 1
_T = TypeVar("_T")


@dataclass(slots=True)
class Standing:
    """How a supervisor has fared.

    Args:
        incarnation: how often it was started.
        last_exit: how it ended last.
        down: it has ended, and nobody is to start it again.
    """

    incarnation: int = 0
    last_exit: ExitReason | None = None
    down: bool = False


@dataclass(slots=True)
class KeptTree:
    """The two files of a home.

    Args:
        standings: of the supervisors, by name.
        leaving: ids of the actors that are taken out of the tree; whoever finds one of them alive ends it.
    """

    home: Home
    leaving: tuple[str, ...] = ()
    standings: dict[str, Standing] = field(default_factory=dict)

    def standing(self, supervisor: str) -> Standing:
        """How this supervisor has fared; one that nobody knows yet, not at all."""
        return self.standings.setdefault(supervisor, Standing())

    def load(self) -> Application | None:
        """What was applied last; None if nothing ever was.

        Raises:
            IntegrityError: it cannot be read.
        """
        self.standings = _read(self.home.supervisors, _standings) or {}
        kept = _read(self.home.tree, _application)
        if kept is None:
            return None
        application, self.leaving = kept
        return application

    def save(self, applied: Application, leaving: Iterable[str] = ()) -> None:
        """Keeps what is applied, for whoever starts on this home next; it is on the disk when this returns.

        Args:
            leaving: ids of the actors that are about to be removed.

        Raises:
            OSError: the disk does not take it, and the home keeps what it had.
        """
        roles = {name: _plain_role(role) for name, role in applied.roles.items()}
        plain = {"format": _FORMAT, "where": applied.where, "tree": to_plain(applied.tree), "roles": roles}
        replace(self.home.tree, pack({**plain, "leaving": list(leaving)}))

    def save_standings(self) -> None:
        """Writes how the supervisors have fared.

        Raises:
            OSError: the disk does not take it.
        """
        plain = {
            name: [each.incarnation, each.down, each.last_exit.to_dict() if each.last_exit is not None else None]
            for name, each in self.standings.items()
        }
        replace(self.home.supervisors, pack({"format": _FORMAT, "standings": plain}))

    def retain(self, supervisors: Collection[str]) -> None:
        """All other supervisors are no more."""
        self.standings = {name: each for name, each in self.standings.items() if name in supervisors}


def kept_digests(home: Home) -> set[str]:
    """The contents that a kept tree needs, in hex.

    Raises:
        IntegrityError: it cannot be read.
    """
    kept = _read(home.tree, _application)
    roles = kept[0].roles.values() if kept is not None else ()
    return {part for role in roles for part in (role.component, role.program, role.init_state) if part is not None}


def _read(path: Path, reader: Callable[[Any], _T]) -> _T | None:
    try:
        return reader(unpack(path.read_bytes(), max_len=_LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, WireError, TheaterError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}; remove it to begin without a tree") from error


def _application(plain: Mapping[str, Any]) -> tuple[Application, tuple[str, ...]]:
    roles = {name: _role(role) for name, role in plain["roles"].items()}
    tree = from_plain(plain["tree"], plain["where"])
    return Application(plain["where"], tree, roles), tuple(plain["leaving"])


def _plain_role(role: Role) -> list[Any]:
    return [plain_manifest(role.manifest), role.where, role.component, role.program, role.init_state]


def _role(plain: list[Any]) -> Role:
    manifest, where, component, program, init_state = plain
    return Role(manifests.from_canonical(manifest, where), where, component, program, init_state)


def _standings(plain: Mapping[str, Any]) -> dict[str, Standing]:
    return {
        name: Standing(incarnation, ExitReason.from_dict(end) if end is not None else None, down)
        for name, (incarnation, down, end) in plain["standings"].items()
    }


NOTHING = Application("", EMPTY, {})
"""What a server runs that was given no tree."""
