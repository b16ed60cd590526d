"""Which folders an actor may read from and write to, how much, and which commands it may run there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from theater.core import granted_paths, schema
from theater.core.granted_paths import Path
from theater.core.permissions import Asked
from theater.core.quantities import GIB, MIB, show, show_duration, show_size
from theater.core.schema import Place, key
from theater.errors import InvalidInput

LARGEST_FILE = 64 * MIB
"""Bytes: what one value can carry across the boundary into wasm (theater/core/manifest.py)."""
_DAY = 86_400_000  # ms


class Right(StrEnum):
    """What one may do in a folder. Neither is part of the other."""

    READ = "read"
    WRITE = "write"


def _folder(value: object, place: Place) -> str:
    return str(granted_paths.read(schema.text(value, place)))


def _folders(value: object, place: Place) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_folder(folder, place) for folder in schema.texts(value, place)))


def _commands(value: object, place: Place) -> tuple[str, ...]:
    found = schema.texts(value, place)
    for command in found:
        if not command or "\0" in command or ("/" in command and not command.startswith("/")):
            raise InvalidInput(f'found {show(command)}; allowed: a name such as "git", or an absolute path')
    return found


@dataclass(frozen=True, slots=True)
class Filesystem:
    """Permissions of the handler `filesystem`.

    Args:
        read: folders, beside the manifest or absolute, that it may read from.
        write: likewise, that it may write to. One that it may also read from is in both.
        root: the folder in which relative paths, these and the actor's, begin; beside the manifest, or absolute.
        quota: bytes of all files in the folders that it may write to, together.
        files: how many files and folders there may be in them.
        max_file: bytes of one file, or part of one, that is read or written.
        commands: programs that it may run in these folders: a name that is looked for in PATH, or an absolute path.
        nix: whether it may run commands in the development shells of flakes there.
        command_timeout: ms that a command may take.
        command_output: bytes of standard output, and of standard error, that a command may write.
    """

    read: tuple[str, ...] = key(_folders, ())
    write: tuple[str, ...] = key(_folders, ())
    root: str = key(_folder, ".")
    quota: int = key(schema.bytes_from(0, 1024 * GIB), GIB)
    files: int = key(schema.integer(0, 10_000_000), 100_000)
    max_file: int = key(schema.bytes_from(0, LARGEST_FILE), 16 * MIB)
    commands: tuple[str, ...] = key(_commands, ())
    nix: bool = key(schema.boolean, False)
    command_timeout: int = key(schema.milliseconds(1, _DAY), 30_000)
    command_output: int = key(schema.bytes_from(0, LARGEST_FILE), MIB)

    @property
    def needs_service(self) -> bool:
        """Files are the worker's own business, commands are not."""
        return bool(self.commands) or self.nix

    def folders(self, right: Right) -> tuple[str, ...]:
        """Those with this right, as the manifest writes them."""
        return self.read if right is Right.READ else self.write

    def placed(self, folder: str) -> Self:
        """The same permissions with absolute folders.

        Args:
            folder: absolute path of the manifest's folder.
        """
        root = Path(granted_paths.read(self.root).within(granted_paths.read(folder)).names, True)
        read, write = (
            tuple(str(granted_paths.read(each).within(root)) for each in folders) for folders in (self.read, self.write)
        )
        return replace(self, read=read, write=write, root=str(root))

    def excess(self, granted: Self) -> str | None:
        for right in Right:
            for folder in self.folders(right):
                if not granted._has(self._where(folder), right):
                    return f"{right} in {show(folder)}, which does not lie in a folder that its parent may {right} in"
        for command in self.commands:
            if command not in granted.commands:
                return f"run {show(command)}"
        if self.nix and not granted.nix:
            return "run commands in Nix development shells"
        return self._larger(granted)

    def used(self, calls: Sequence[Asked]) -> Self:
        """The folders that were needed stay as they are, not cut down to what was touched in them: a folder must be
        there when a life begins."""
        done = [call for call in calls if not call.refused and call.args and isinstance(call.args[0], str)]
        read = self._needed(Right.READ, (path for call in done if call.function in _READING for path in call.args[:1]))
        write = self._needed(
            Right.WRITE, (path for call in done for path in call.args[: _WRITING.get(call.function, 0)])
        )
        either = [
            call.args[0] for call in done if call.function in _EITHER and _nearest(call.args[0], read + write) is None
        ]
        read += self._needed(Right.READ, either)
        write += self._needed(Right.WRITE, (path for path in either if _nearest(path, self.read) is None))
        commands = {call.args[1] for call in done if call.function == "execute-command" and len(call.args) > 1}
        return replace(
            self,
            read=tuple(each for each in self.read if each in read),
            write=tuple(each for each in self.write if each in write),
            commands=tuple(each for each in self.commands if each in commands),
            nix=self.nix and any(call.function == "execute-nix-command" for call in done),
        )

    def _needed(self, right: Right, paths: Iterable[object]) -> list[str]:
        found = (_nearest(path, self.folders(right)) for path in paths)
        return [folder for folder in found if folder is not None]

    def _where(self, folder: str) -> Path:
        return granted_paths.read(folder).within(granted_paths.read(self.root))

    def _has(self, path: Path, right: Right) -> bool:
        return any(path.below(self._where(folder)) is not None for folder in self.folders(right))

    def _larger(self, granted: Self) -> str | None:
        for name in ("quota", "max_file", "command_output"):
            if (ours := getattr(self, name)) > (theirs := getattr(granted, name)):
                return f"have {name} = {show_size(ours)}, its parent {show_size(theirs)}"
        if self.files > granted.files:
            return f"have files = {self.files}, its parent {granted.files}"
        if self.command_timeout > granted.command_timeout:
            theirs = show_duration(granted.command_timeout)
            return f"have command_timeout = {show_duration(self.command_timeout)}, its parent {theirs}"
        return None


_READING = frozenset({"read-file", "list-files", "read-part"})
_WRITING = {
    "write-file": 1,
    "delete-file": 1,
    "create-dir": 1,
    "delete-dir": 1,
    "write-bytes": 1,
    "append": 1,
    "rename": 2,
}
"""How many arguments of a function, from the first, are paths that are written to."""
_EITHER = frozenset({"path-exists", "stat", "execute-command", "execute-nix-command"})


def _nearest(path: object, folders: Iterable[str]) -> str | None:
    try:
        found = granted_paths.nearest(granted_paths.read(str(path)), folders)
    except InvalidInput:
        return None
    return found[0] if found is not None else None
