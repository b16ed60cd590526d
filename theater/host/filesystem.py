"""theater:simple/filesystem and theater:otp/files: files below the folders that the manifest grants, and commands."""

from __future__ import annotations

from typing import Any

from theater.core.handlers import LAUNCHER
from theater.core.values import Case
from theater.host.folders import Folders
from theater.host.services import Services

_LONGER_S = 5.0


class Filesystem:
    """The interface of `theater:simple`.

    Args:
        folders: of this life.
        services: where commands are run.
    """

    def __init__(self, folders: Folders, services: Services) -> None:
        self._folders = folders
        self._services = services

    def read_file(self, path: str) -> bytes:
        return self._folders.read(path)

    def write_file(self, path: str, content: str) -> None:
        self._folders.write(path, content.encode())

    def list_files(self, path: str) -> list[str]:
        return self._folders.names(path)

    def delete_file(self, path: str) -> None:
        self._folders.delete(path)

    def create_dir(self, path: str) -> None:
        self._folders.make(path)

    def delete_dir(self, path: str) -> None:
        self._folders.delete_folder(path)

    def path_exists(self, path: str) -> bool:
        found = self._folders.info(path)
        return found is not None and found.kind != "other"

    def execute_command(self, dir: str, command: str, args: list[str]) -> Case:
        self._folders.require_command(command)
        return self._run(dir, command, args)

    def execute_nix_command(self, dir: str, command: str) -> Case:
        self._folders.require_nix()
        return self._run(dir, None, [command])

    def _run(self, folder: str, command: str | None, args: list[str]) -> Case:
        """What a command came to. The launcher looks at the same permissions again, and opens the folder itself."""
        self._folders.require_folder(folder)
        order = {"folder": folder, "command": command, "args": args}
        # The launcher ends a command whose time is over, and still says so.
        patience = self._folders.command_timeout + _LONGER_S
        found: Case = self._services.ask(LAUNCHER, "command.run", [order], patience)
        return found


class Files:
    """The interface of `theater:otp`: what `theater:simple` has no function for."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def write_bytes(self, path: str, content: bytes) -> None:
        self._folders.write(path, content)

    def append(self, path: str, content: bytes) -> None:
        self._folders.append(path, content)

    def read_part(self, path: str, offset: int, length: int) -> bytes:
        return self._folders.read_part(path, offset, length)

    def rename(self, path: str, to: str) -> None:
        self._folders.rename(path, to)

    def stat(self, path: str) -> dict[str, Any] | None:
        found = self._folders.info(path)
        return None if found is None else found._asdict()
