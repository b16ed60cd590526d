"""Files below the folders that the manifest grants, and programs that run there.

A path is written as from the folder of the manifest, or absolute if a folder was granted so. Every function raises
`CallFailed` when the host refuses or there is no such file.
"""

from dataclasses import dataclass
from typing import Any

from theater._host import ask, interface
from theater.errors import CallFailed, Error

_files = interface("filesystem")
_more = interface("files")


@dataclass(frozen=True, slots=True)
class Info:
    """What is at a path.

    Attributes:
        kind: "file", "folder" or "other".
        size: bytes of a file.
        modified: seconds since 1970.
    """

    kind: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program that has run left.

    Attributes:
        status: its exit status.
        stdout, stderr: what it wrote.
    """

    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether its exit status is 0."""
        return self.status == 0


def read(path: str) -> bytes:
    """The content of a file."""
    return ask(_files.read_file, path)


def read_text(path: str) -> str:
    """The content of a file that is UTF-8."""
    try:
        return read(path).decode()
    except UnicodeDecodeError:
        raise Error(f"{path} is not UTF-8") from None


def read_part(path: str, offset: int, length: int) -> bytes:
    """A part of a file; shorter than asked only at the file's end."""
    return ask(_more.read_part, path, offset, length)


def write(path: str, content: str | bytes) -> None:
    """Writes a file, which is replaced when it exists: whoever reads it finds the old content or the new."""
    if isinstance(content, str):
        ask(_files.write_file, path, content)
    else:
        ask(_more.write_bytes, path, content)


def append(path: str, content: str | bytes) -> None:
    """Adds to the end of a file, which is made when it does not exist."""
    ask(_more.append, path, content.encode() if isinstance(content, str) else content)


def rename(path: str, to: str) -> None:
    """Gives a file or folder another path. A file may replace a file; a folder replaces nothing."""
    ask(_more.rename, path, to)


def info(path: str) -> Info | None:
    """What is at a path; None when there is nothing."""
    found = ask(_more.stat, path)
    return None if found is None else Info(found.kind.name.lower(), found.size, found.modified / 1000)


def names(path: str) -> list[str]:
    """The names in a folder."""
    return ask(_files.list_files, path)


def exists(path: str) -> bool:
    """Whether there is a file or folder."""
    return ask(_files.path_exists, path)


def delete(path: str) -> None:
    """Removes a file."""
    ask(_files.delete_file, path)


def make_folder(path: str) -> None:
    """Makes a folder, and those on the way to it. That it exists is fine."""
    ask(_files.create_dir, path)


def delete_folder(path: str) -> None:
    """Removes a folder with everything in it."""
    ask(_files.delete_dir, path)


def run(command: str, *args: str, folder: str = ".") -> Ran:
    """Runs a program that the manifest names in a folder, and waits for its end.

    Raises:
        CallFailed: the manifest does not allow it, or it could not be run, or not to its end.
    """
    return _ran(ask(_files.execute_command, folder, command, list(args)))


def run_nix(command: str, folder: str = ".") -> Ran:
    """Runs a command inside a folder's Nix development shell, and waits for its end.

    Raises:
        CallFailed: as `run`.
    """
    return _ran(ask(_files.execute_nix_command, folder, command))


def _ran(result: Any) -> Ran:
    if isinstance(result, _files.CommandResult_Error):
        raise CallFailed(result.value.message)
    found = result.value
    return Ran(found.exit_code, found.stdout, found.stderr)
