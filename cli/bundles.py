"""What the commands that read bundles share: when a word means one, and what its reader knows already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from theater.errors import InvalidInput, TheaterError

from .options import read_input

if TYPE_CHECKING:
    from theater.bundle.opened import Trust

ENDING = ".theater"


def meant(words: tuple[str, ...]) -> str | None:
    """The bundle that is meant by the words in place of actors: the one word is a file, and no id or name looks so.

    Raises:
        InvalidInput: there are other words beside a bundle.
    """
    files = [word for word in words if word.endswith(ENDING) or (("/" in word or "." in word) and os.path.isfile(word))]
    if files and len(words) > 1:
        raise InvalidInput(f"{files[0]} is a bundle; name one bundle and nothing else")
    return files[0] if files else None


def trust(words: str | None, kept: str | None) -> Trust:
    """What a user knows already.

    Args:
        words: of `--key`.
        kept: of `--checkpoint`.

    Raises:
        InvalidInput, CheckpointRefused: one of them is not what it should be.
    """
    from theater.bundle.opened import Trust
    from theater.chainlog.keys import given_key
    from theater.core.signed_checkpoint import SignedCheckpoint

    key = given_key(words) if words is not None else None
    if kept is None:
        return Trust(key)
    try:
        found = SignedCheckpoint.read(read_input(kept))
        if key is not None:
            found.require_key(key, "the key that you trust")
    except TheaterError as error:
        raise type(error)(f"{kept}: {error.message}", **error.details) from error
    return Trust(found.key, found)
