"""Certificates of servers: only from folders that the manifest grants, checked, and taken up anew when they change.

A context is never changed into something that does not work: files are read into a scratch context first, and what is
wrong with them is said; who connects meanwhile meets the certificate of before.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from theater.errors import InvalidInput, NotFound
from theater.gateway.lent_files import Opened, as_path, opened_directly

Stamp = tuple[tuple[int, int, int], ...]
"""What tells that a file is not the one that it was: inode, size and time of change, of each."""


@dataclass(frozen=True, slots=True)
class Files:
    """A certificate chain and its key.

    Args:
        certificate, key: resolved paths, within what is granted.
        granted: resolved folders.
    """

    certificate: Path
    key: Path
    granted: tuple[Path, ...]

    def stamp(self) -> Stamp:
        """Raises OSError."""
        found = [os.stat(path) for path in (self.certificate, self.key)]
        return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)


def granted_files(paths: list[str], folders: tuple[str, ...], beside: Path) -> Files:
    """The files that an actor has named.

    Args:
        paths: of certificate and key, beside the manifest or absolute.
        folders: what the manifest grants, the same.
        beside: the manifest's folder.

    Raises:
        InvalidInput: a path leads out of all folders, also over links.
        NotFound: there is no such file.
    """
    granted = tuple((beside / folder).resolve() for folder in folders)
    certificate, key = (_granted(path, granted, beside) for path in paths)
    return Files(certificate, key, granted)


def _granted(path: str, granted: tuple[Path, ...], beside: Path) -> Path:
    try:
        resolved = (beside / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        resolved = Path(os.path.normpath(beside / path.replace("\0", "")))
        if _is_within(resolved, granted):
            raise NotFound(f"there is no file {path} beside the manifest") from None
    if not _is_within(resolved, granted):
        allowed = ", ".join(map(str, granted)) or "no folder"
        raise InvalidInput(f"the manifest does not grant the certificate file {path}; certificates has {allowed}")
    return resolved


def _is_within(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


class Certificate:
    """A TLS context and the files that it is made from.

    Args:
        opened: how they are opened.

    Raises:
        InvalidInput: they are no certificate and its key.
    """

    def __init__(self, files: Files, opened: Opened = opened_directly) -> None:
        self._files = files
        self._opened = opened
        self._stamp = _stamp(files)
        self.context = _context(files, opened)

    def renew(self) -> bool:
        """Takes up the files if they have changed; says whether they had.

        Raises:
            InvalidInput, NotFound: they are of no use; they are looked at again when they have changed once more.
        """
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        _context(self._files, self._opened)
        _load(self.context, self._files, self._opened)
        return True


def _stamp(files: Files) -> Stamp:
    try:
        if not all(_is_within(path.resolve(), files.granted) for path in (files.certificate, files.key)):
            raise InvalidInput(f"the certificate {files.certificate} leads out of what the manifest grants")
        return files.stamp()
    except OSError as error:
        raise NotFound(f"the certificate {files.certificate} cannot be read: {error.strerror}") from error


def _context(files: Files, opened: Opened) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files, opened)
    return context


def _load(context: ssl.SSLContext, files: Files, opened: Opened) -> None:
    try:
        with as_path(files.certificate, opened) as certificate, as_path(files.key, opened) as key:
            # Without a password that is given, a key that has one would be asked for at the terminal.
            context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        why = error.reason or str(error)
        if why == "KEY_VALUES_MISMATCH":
            raise InvalidInput(f"the key {files.key} does not belong to the certificate {files.certificate}") from error
        raise InvalidInput(f"{files.certificate} and {files.key} are no certificate and its key: {why}") from error
    except OSError as error:
        raise NotFound(f"the certificate {files.certificate} cannot be read: {error.strerror}") from error
