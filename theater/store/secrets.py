"""The values of secrets that lives have had, in files that only their owner may read.

    secrets/ID/NAME.NUMBER    0600: 32 bytes of key, then the value (core/secrets.py), of which the number counts those
                              that the name has had, from 1

They are written before any entry that needs them, and never changed. Who deletes one can neither replay the chain of
the actor nor go on from a state in which it stands.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from theater.config import private_directory
from theater.core.secrets import KEY_SIZE, MOST, Open, Promise, Secret, find, unknown
from theater.errors import IntegrityError, disk_error


def kept(folder: Path) -> list[Secret]:
    """The secrets of a folder, by name and number; none if there is no such folder.

    Raises:
        IntegrityError: one cannot be read.
    """
    try:
        names = [(path, *path.name.rpartition(".")[::2]) for path in folder.iterdir() if not path.name.endswith(".new")]
    except FileNotFoundError:
        return []
    found = [_read(path, name, int(number)) for path, name, number in names if name and number.isdecimal()]
    return sorted(found, key=lambda secret: (secret.name, secret.number))


def keep(folder: Path, values: Mapping[str, bytes]) -> None:
    """Keeps the values that the newest ones of their names differ from. They are on the disk when this returns.

    Raises:
        DiskFull, IntegrityError: they could not be written, or what is there not be read.
    """
    newest = {secret.name: secret for secret in kept(folder)}
    for name, value in values.items():
        last = newest.get(name)
        if last is None or last.value != value:
            _write(folder, f"{name}.{last.number + 1 if last else 1}", os.urandom(KEY_SIZE) + value)


def opener(folder: Path, given: Iterable[tuple[str, bytes]] = ()) -> Open:
    """Finds the secrets of a chain among those that a user gave, and those of a folder.

    Args:
        folder: of the actor's kept secrets; it need not exist.
        given: names, and the contents of kept secrets.
    """
    ours = {(each.name, each.commitment): each for each in kept(folder)}

    def open_ours(promise: Promise) -> Secret:
        try:
            return ours[promise.name, promise.commitment]
        except KeyError:
            raise unknown(promise) from None

    return find(given, open_ours)


def _read(path: Path, name: str, number: int) -> Secret:
    content = read_kept(path)
    return Secret(name, number, content[:KEY_SIZE], content[KEY_SIZE:])


def read_kept(path: Path) -> bytes:
    """The content of a kept secret.

    Raises:
        IntegrityError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(KEY_SIZE + MOST + 1)
    except OSError as error:
        raise IntegrityError(f"cannot read the kept secret {path}: {error.strerror}") from error


def _write(folder: Path, name: str, content: bytes) -> None:
    private_directory(folder.parent)
    private_directory(folder)
    fresh = folder / f"{name}.new"
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, folder / name)
        for path in (folder, folder.parent):
            _sync(path)
    except OSError as error:
        raise disk_error(error, f"writing {folder / name}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
