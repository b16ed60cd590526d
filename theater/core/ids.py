"""Who is who: actor ids, and how a user's words find one.

An id is a UUID in its canonical text. A root actor's comes from the operating system's randomness, which its
genesis records; a child's is derived from its parent's chain, so that a replayed tree has the same ids (D7).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from theater.core.codec import digest
from theater.errors import AmbiguousActor, UnknownActor

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHILD_TAG = b"theater child id 1"
_CHANNEL_TAG = b"theater channel id 1"


@dataclass(frozen=True, slots=True)
class Known:
    """What an actor answers to.

    Args:
        id: its id.
        name: the name in its manifest, which several actors may share.
        registered: the names that are its own.
    """

    id: str
    name: str
    registered: frozenset[str] = frozenset()


def is_id(text: str) -> bool:
    """Whether `text` is an actor id in canonical form."""
    return _ID.fullmatch(text) is not None


def root_id(randomness: bytes) -> str:
    """The id made of 16 random bytes: a UUID of version 4 (RFC 9562, 5.4)."""
    return str(uuid.UUID(bytes=randomness[:16], version=4))


def child_id(parent_head: bytes, number: int) -> str:
    """The id of a parent's spawn: a UUID of version 8 (RFC 9562, 5.8) from the parent's head and the spawn's number."""
    return _derived(parent_head, number, _CHILD_TAG)


def channel_id(origin: bytes, number: int) -> str:
    """The id of a channel that an actor opens, from digest and number of the entry of its chain that records the wish:
    a UUID of version 8, too."""
    return _derived(origin, number, _CHANNEL_TAG)


def _derived(origin: bytes, number: int, tag: bytes) -> str:
    bits = int.from_bytes(digest(origin + number.to_bytes(8, "big"), tag)[:16], "big")
    bits = bits & ~(0xF << 76) | 8 << 76  # version
    bits = bits & ~(0x3 << 62) | 2 << 62  # variant
    return str(uuid.UUID(int=bits))


def resolve(words: str, actors: Iterable[Known]) -> str:
    """The one actor that `words` name: an id, a registered name, a unique prefix of an id, or a unique manifest name.

    Raises:
        UnknownActor: none matches.
        AmbiguousActor: several match; the sentence lists them.
    """
    everyone = list(actors)
    for actor in everyone:
        if actor.id == words or words in actor.registered:
            return actor.id
    by_name = [actor.id for actor in everyone if actor.name == words]
    found = by_name or ([actor.id for actor in everyone if words and actor.id.startswith(words.lower())])
    if not found:
        raise UnknownActor(f"no actor {words!r}; `theater list` shows ids and names", actor=words)
    if len(found) > 1:
        shown = ", ".join(sorted(found)[:5]) + (", …" if len(found) > 5 else "")
        raise AmbiguousActor(f"{words!r} means {len(found)} actors: {shown}; use an id", actor=words, found=found)
    return found[0]
