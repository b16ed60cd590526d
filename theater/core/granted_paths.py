"""Paths as actors write them, and what a granted folder has to do with them: text, before any file is looked at.

A path is a row of names with `/` between them. It begins in the folder of the manifest, or at `/`. There is one way to
write each: empty names and `.` mean nothing, and `..` is refused, so that what a path stands below can be read from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from theater.core.quantities import show
from theater.errors import InvalidInput

LONGEST_PATH = 4000
"""Bytes of UTF-8; the kernel takes 4095 with what is before it."""
LONGEST_NAME = 255
"""Bytes of UTF-8 of one name, as in nearly every file system."""
DEEPEST = 128
"""Names in one path."""


@dataclass(frozen=True, slots=True)
class Path:
    """A path.

    Args:
        names: one after the other; none for the folder where it begins.
        absolute: it begins at `/`.
    """

    names: tuple[str, ...]
    absolute: bool = False

    def __str__(self) -> str:
        return "/" * self.absolute + "/".join(self.names) or "."

    def below(self, folder: Path) -> tuple[str, ...] | None:
        """The names that lead here from `folder`; None if it is not below that folder, nor the folder itself."""
        ours = folder.names
        return self.names[len(ours) :] if self.absolute == folder.absolute and self.names[: len(ours)] == ours else None

    def within(self, folder: Path) -> Path:
        """The same path for somebody who stands in the folder that `folder` lies in."""
        return self if self.absolute else Path((*folder.names, *self.names), folder.absolute)


def read(text: str) -> Path:
    """The path that is written so.

    Raises:
        InvalidInput: it is none; a sentence.
    """
    if not text:
        raise InvalidInput("a path cannot be empty; the folder itself is '.'")
    if "\0" in text:
        raise InvalidInput(f"the path {show(text)} has a NUL in it, which no file system takes")
    if len(_bytes(text)) > LONGEST_PATH:
        raise InvalidInput(f"the path has {len(_bytes(text))} bytes; allowed: {LONGEST_PATH}")
    names = tuple(name for name in text.split("/") if name not in ("", "."))
    if ".." in names:
        raise InvalidInput(f"the path {show(text)} has '..' in it; a path is written without")
    if any(len(_bytes(name)) > LONGEST_NAME for name in names):
        raise InvalidInput(f"a name in the path {show(text)} has over {LONGEST_NAME} bytes")
    if len(names) > DEEPEST:
        raise InvalidInput(f"the path has {len(names)} names; allowed: {DEEPEST}")
    return Path(names, text.startswith("/"))


def nearest(path: Path, folders: Iterable[str]) -> tuple[str, tuple[str, ...]] | None:
    """The innermost of `folders` that a path lies in, and the names that lead there; None if it lies in none."""
    found = ((folder, names) for folder in folders if (names := path.below(read(folder))) is not None)
    return min(found, key=lambda each: len(each[1]), default=None)


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput("a path is text that UTF-8 can carry; this one has lone surrogates") from error
