"""What of a life's permissions means on this machine: files for names, open folders for paths, an environment.

A name is looked for once, when the life begins, in the server's PATH, and links are followed then: what is executed is
the file that was found, as long as it still is no link. Whatever an actor says, a program is one of these files.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from theater.beneath import is_link_in_the_way, open_folder, open_trusted
from theater.core import granted_paths
from theater.core.permissions.process import Process
from theater.core.quantities import show
from theater.errors import InvalidInput, NotFound, TheaterError

LANG = "C.UTF-8"


@dataclass(frozen=True, slots=True)
class Executable:
    """A program.

    Args:
        called: the path by which it was found.
        file: the same without links: what is executed.
    """

    called: str
    file: str


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one life.

    Args:
        granted: as the manifest writes them; None for what is not there.
    """

    granted: Mapping[str, Executable | None]

    @classmethod
    def found(cls, names: Sequence[str], path: str) -> Self:
        """Looks for programs.

        Args:
            path: what PATH is; only its absolute folders count.
        """
        return cls({name: _found(name, path) for name in names})

    def named(self, name: str, key: str) -> Executable:
        """The program that an actor means, by its name in the manifest or its absolute path.

        Args:
            key: the key of the manifest, for sentences.

        Raises:
            InvalidInput: it is not granted.
            NotFound: it is not there.
        """
        if name in self.granted:
            program = self.granted[name]
        else:
            program = next((each for each in self.granted.values() if each is not None and each.called == name), None)
            if program is None:
                raise InvalidInput(f"the manifest does not grant {show(name)}; allowed: {self._words(key)}")
        if program is None:
            where = "" if name.startswith("/") else " in the server's PATH"
            raise NotFound(f"there is no program {show(name)}{where}")
        if os.path.realpath(program.file) != program.file or not _is_program(program.file):
            raise NotFound(f"{show(program.file)} is not the program any more that {show(name)} was at the grant")
        return program

    def _words(self, key: str) -> str:
        return f"{key} = [{', '.join(map(show, self.granted))}]" if self.granted else f"none, {key} is empty"


def _found(name: str, path: str) -> Executable | None:
    folders = [""] if name.startswith("/") else [f"{each}/" for each in path.split(":") if each.startswith("/")]
    for folder in folders:
        called = folder + name
        file = os.path.realpath(called)
        if _is_program(file):
            return Executable(called, file)
    return None


def _is_program(file: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(file).st_mode) and os.access(file, os.X_OK)
    except OSError:
        return False


def environment(may: Process, given: Sequence[Sequence[str]], folder: str) -> dict[str, str]:
    """The whole environment of a program.

    Args:
        given: pairs that the actor gives.
        folder: that it runs in.

    Raises:
        InvalidInput: one that is not granted, or is given twice.
    """
    found = base_environment(folder)
    seen = set()
    for name, value in given:
        if not may.gives(name):
            allowed = ", ".join(may.environment) or "none, environment is empty"
            raise InvalidInput(f"the manifest does not grant the variable {show(name)}; allowed: {allowed}")
        if name in seen:
            raise InvalidInput(f"the variable {show(name)} is given twice")
        seen.add(name)
        found[name] = value
    return found


def base_environment(folder: str) -> dict[str, str]:
    """What every program has: the server's PATH, a language, and the folder that it runs in as its home."""
    return {"PATH": server_path(), "LANG": LANG, "HOME": folder}


def server_path() -> str:
    """The absolute folders of the server's PATH."""
    return ":".join(each for each in os.environ.get("PATH", os.defpath).split(":") if each.startswith("/"))


@contextmanager
def folder_of(may: Process, cwd: str | None, manifest: Path) -> Iterator[tuple[int, str]]:
    """The open folder that a program runs in, and its path.

    Args:
        cwd: what the actor says.
        manifest: the folder of the manifest.

    Raises:
        TheaterError: there is no such folder, or it is not granted.
    """
    granted = may.placed(str(manifest))
    if cwd is None:
        with opened(granted.cwd[0] if granted.cwd else "/", (), manifest) as folder:
            yield folder
        return
    path = granted_paths.read(cwd).within(granted_paths.read(str(manifest)))
    found = granted_paths.nearest(path, granted.cwd)
    if found is None:
        allowed = ", ".join(map(show, may.cwd)) or "none, cwd is empty"
        raise InvalidInput(f"the manifest does not grant programs the folder {show(cwd)}; allowed: {allowed}")
    with opened(*found, manifest) as folder:
        yield folder


@contextmanager
def opened(granted: str, names: Sequence[str], manifest: Path) -> Iterator[tuple[int, str]]:
    """An open folder, below one that is granted. No link is followed on the way from that, nor from the folder of the
    manifest to one that is granted beside it.

    Args:
        granted: absolute path.
        names: the way from there.
        manifest: the folder of the manifest.

    Raises:
        TheaterError: there is none.
    """
    path = "/".join([granted.rstrip("/"), *names]) or "/"
    beside = granted_paths.read(granted).below(granted_paths.read(str(manifest)))
    trusted, way = (granted, names) if beside is None else (manifest, [*beside, *names])
    try:
        base = open_trusted(trusted)
        try:
            folder = open_folder(base, "/".join(way))
        finally:
            os.close(base)
    except OSError as error:
        raise _no_folder(path, error) from error
    try:
        yield folder, path
    finally:
        os.close(folder)


def _no_folder(path: str, error: OSError) -> TheaterError:
    if is_link_in_the_way(error):
        return InvalidInput(f"a link stands in the way to the folder {show(path)}; links are not followed")
    return NotFound(f"programs cannot run in the folder {show(path)}: {error.strerror}")


def limits(may: Process) -> list[tuple[int, int]]:
    """The resource limits of a program's processes."""
    found = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, may.files)]
    if may.memory is not None:
        found.append((resource.RLIMIT_DATA, may.memory))
    if may.cpu is not None:
        found.append((resource.RLIMIT_CPU, -(-may.cpu // 1000)))
    if may.processes is not None:
        found.append((resource.RLIMIT_NPROC, may.processes))
    return found
