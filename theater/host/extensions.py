"""Handlers that packages bring: found by the entry point `theater.handlers`, loaded when one is asked for.

The name of the entry point is the handler's type; its value is an `Extension`. What an extension does runs in the
worker of each actor that is granted it, behind the same seam as all handlers: its calls are permitted, recorded and
replayed like theirs, and it knows nothing of that. It is code of whoever runs the server, and as trusted as the server.

A process that may meet such a handler says `offer`, which costs nothing; packages are looked through, once in a life of
the process, when a type or an interface is asked for that is not built in. One that cannot be loaded is left out, and a
manifest that names it is told why.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from theater.core import handlers
from theater.core.handlers import HandlerType
from theater.core.permissions import Permissions
from theater.core.permissions.nothing import Nothing
from theater.errors import StartFailed, TheaterError

GROUP: Final = "theater.handlers"
_FOLDER: Final = "handlers"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an extension knows of the actor that it is built for, one life of it.

    Args:
        actor: its id.
        name: the manifest's.
        incarnation: number of the life, from 1.
        folder: for files of this handler and this actor; it outlives the life, and is made when it is asked for.
        permissions: what the manifest grants, an instance of the extension's class.
        release: writes down what has been recorded; to be called before an effect that anybody else can see.
        remaining: seconds that the running call may still take; None for any time.
    """

    actor: str
    name: str
    incarnation: int
    folder: Callable[[], Path]
    permissions: Any
    release: Callable[[], None]
    remaining: Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Extension:
    """A handler.

    Args:
        interfaces: full names of the WIT interfaces that it answers, in a package of its own.
        wit: the folder of the `.wit` files that declare them.
        build: gives the objects that answer, by interface; one method for each function (`get-count` is `get_count`).
            A method says no by raising `theater.host.base.Refused`.
        permissions: a frozen dataclass, the schema of its `[[handler]]` table (theater/core/permissions).
    """

    interfaces: tuple[str, ...]
    wit: Path
    build: Callable[[Surroundings], Mapping[str, object]]
    permissions: type[Permissions] = Nothing


_found: dict[str, Extension] = {}
_looked = False


def offer() -> None:
    """From now on handlers of packages are found in this process."""
    handlers.look_for_more_with(_look)


def _look() -> None:
    global _looked
    if _looked:
        return
    _looked = True
    # Imported late: it costs more than most commands do.
    from importlib import metadata

    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            register(entry.name, entry.load())
        except Exception as error:  # Whatever a package does when it is imported, the others are not to blame.
            handlers.UNAVAILABLE[entry.name] = f"{entry.value}, which brings it, cannot be loaded: {error}"


def register(name: str, extension: object) -> None:
    """Adds a handler to those that manifests may name.

    Raises:
        ManifestError: its name or an interface is taken, or no name of one.
        TypeError: it is no extension.
    """
    if not isinstance(extension, Extension):
        raise TypeError(f"found {type(extension).__name__}; allowed: a theater.host.extensions.Extension")
    row = HandlerType(
        imports=frozenset(extension.interfaces), permissions=extension.permissions, wit=str(extension.wit)
    )
    handlers.add(name, row)
    _found[name] = extension


def interfaces(
    types: Iterable[str],
    actor: tuple[str, str, int],
    folder: Path,
    permissions: Mapping[str, Permissions],
    release: Callable[[], None],
    remaining: Callable[[], float | None],
) -> dict[str, object]:
    """What answers the interfaces of extensions in one life of an actor.

    Args:
        types: of all handlers that it is granted.
        actor: id, name, incarnation.
        folder: the actor's folder.
        permissions: by type of handler.

    Raises:
        StartFailed: an extension could not be built.
    """
    found: dict[str, object] = {}
    for type_ in types:
        if type_ in _found:
            place = Surroundings(*actor, _maker(folder, type_), permissions[type_], release, remaining)
            found.update(_built(type_, place))
    return found


def _built(type_: str, place: Surroundings) -> Mapping[str, object]:
    try:
        return _found[type_].build(place)
    except TheaterError:
        raise
    except Exception as error:
        raise StartFailed(f"the handler {type_} could not be built: {type(error).__name__}: {error}") from error


def _maker(folder: Path, type_: str) -> Callable[[], Path]:
    def made() -> Path:
        path = folder / _FOLDER / type_
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    return made
