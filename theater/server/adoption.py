"""Actors that come from elsewhere are taken into a home: all of them or none, whatever dies meanwhile.

Whoever imports makes a folder `importing.…` in the home, with a folder for each actor as it will be in `actors`: chain
and row, verified and complete. The decision is one rename, of that folder to `imported.…`; what is in it then is moved
into its place, by whom has decided, or, if that one died, by the next server that starts or the next import. A folder
that was not decided about is nobody's, and is removed then.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from theater.config import Home
from theater.core.codec import pack, unpack
from theater.core.ids import is_id
from theater.errors import InvalidInput, NotFound, TheaterError, WrongState, disk_error
from theater.server.cast import Actor, Cast

STAGED: Final = "importing."
DECIDED: Final = "imported."
_NAME = re.compile(re.escape(STAGED) + r"[0-9A-Za-z_]{1,40}", re.ASCII)
_ROW = "actor"
_ROW_MAX = 4 << 20


def stage(folder: Path, actor: Actor) -> None:
    """Writes the row of an actor into its folder, which is not in its place yet, so that it survives a power cut.

    Raises:
        OSError: the disk does not take it.
    """
    with open(folder / _ROW, "wb") as row:
        row.write(pack(actor.to_plain()))
        row.flush()
        os.fsync(row.fileno())
    _sync(folder)


def adopt(cast: Cast, name: str) -> list[Actor]:
    """Takes in the actors of a folder that was made for it.

    Args:
        cast: the actors of the home; whoever calls is the only one who changes them.
        name: of the folder, in the home. What is in it is on the disk, as is the content that it needs: a machine that
            dies must not find the decision without what was decided about.

    Raises:
        InvalidInput: it is no such folder.
        WrongState: an actor of that id is there already. Nothing was changed.
        DiskFull, IntegrityError: the disk does not take it. Nothing was changed.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name[:100]!r} is no folder of an import")
    staged = cast.home.root / name
    try:
        adopted = [_read(folder) for folder in sorted(staged.iterdir())]
        for actor in adopted:
            if cast.get(actor.id) is not None or os.path.lexists(cast.home.actor(actor.id)):
                raise WrongState(f"there is an actor {actor.id} already", actor=actor.id)
        known = {actor.id for actor in adopted}
        for actor in adopted:
            _find_place(actor, cast, known)
            stage(staged / actor.id, actor)
        os.rename(staged, staged.with_name(DECIDED + name.removeprefix(STAGED)))
        _sync(cast.home.root)
    except FileNotFoundError as error:
        raise NotFound(f"there is no folder {name} in {cast.home.root}") from error
    except OSError as error:
        raise disk_error(error, f"importing into {cast.home.root}") from error
    finish(cast.home, keep=STAGED)
    for actor in adopted:
        cast.take_in(actor)
    return adopted


def finish(home: Home, keep: str | None = None) -> None:
    """Does what was decided, and removes what was not, if somebody died in between.

    Args:
        keep: beginning of the names of folders that are left alone: somebody may be at work on them.

    Raises:
        DiskFull, IntegrityError: the disk does not take it.
    """
    try:
        for decided in home.root.glob(f"{DECIDED}*"):
            for folder in sorted(decided.iterdir()):
                os.rename(folder, home.actor(folder.name))
            _sync(home.actors)
            decided.rmdir()
        if keep is None:
            for staged in home.root.glob(f"{STAGED}*"):
                shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, f"finishing an import into {home.root}") from error


def _read(folder: Path) -> Actor:
    try:
        plain: Mapping[str, Any] = unpack((folder / _ROW).read_bytes(), max_len=_ROW_MAX)
        actor = Actor.from_plain(plain)
    except (OSError, TheaterError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{folder} has no row of an actor: {error}") from error
    if actor.id != folder.name or not is_id(actor.id):
        raise InvalidInput(f"{folder} has the row of another actor")
    return actor


def _find_place(actor: Actor, cast: Cast, known: set[str]) -> None:
    """Its place is behind all others, and below its parent if that is here."""
    actor.number = cast.next_number()
    if actor.parent is not None and actor.parent not in known and cast.get(actor.parent) is None:
        actor.parent, actor.supervisor = None, "root"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
