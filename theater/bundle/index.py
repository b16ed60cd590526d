"""What a bundle is: which files it has, what its index says, and its limits.

A bundle is a zip archive with these members and no others, by ascending name:

    actors/ID/chain         the chain of an actor, to the byte up to its head
    actors/ID/dropped       the signed statement about entries that are not kept any more, if there is one; the chain's
                            bytes before and behind them then follow each other
    bundle.json             the index
    checkpoint              a signed checkpoint (core/signed_checkpoint.py) of exactly these actors, and the supervisor
    content/AB/CDEF...      each content that a chain refers to, in the file that its blake3 ABCDEF... names

The index is JSON in one form, two spaces deep, with a line feed at its end: `format`, `version`, and `actors`, an array
by ascending id of `id`, `name`, `entries` and `head` (the digest of the last entry, hex). It says nothing that the
chains do not say; it is there for people and their tools. So everything in a bundle is either fixed by a digest that
the checkpoint signs, or computed again by whoever reads it and compared.

The layout is that of a home: who unpacks a bundle by hand has a home without a server, which `theater --home` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

from theater.errors import BundleRefused, InvalidInput

FORMAT: Final = "theater bundle"
VERSION: Final = 1

INDEX: Final = "bundle.json"
CHECKPOINT: Final = "checkpoint"

MEMBERS_MAX: Final = 200_000
"""Files in one bundle."""

DIRECTORY_MAX: Final = 64 << 20
"""Bytes of the archive's directory."""

TEXT_MAX: Final = 16 << 20
"""Bytes of the index, and of the checkpoint."""

CONTENT_MAX: Final = 1 << 30
"""Bytes of one content."""

UNPACKED_MAX: Final = 64 << 30
"""Bytes of everything in a bundle."""

UNPACKED_TIMES: Final = 100
UNPACKED_LEAST: Final = 1 << 30
"""A bundle becomes at most so many times as long as its file, if that is more than these bytes."""

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME = re.compile(
    rf"actors/(?P<actor>{_ID})/(?P<what>chain|dropped)|content/(?P<head>[0-9a-f]{{2}})/(?P<tail>[0-9a-f]{{62}})",
    re.ASCII,
)
_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One actor of a bundle.

    Args:
        id: its id.
        name: the name in its genesis.
        entries: number of entries of its chain.
        head: digest of the last, hex.
    """

    id: str
    name: str
    entries: int
    head: str


@dataclass(frozen=True, slots=True)
class Members:
    """What files a bundle has, by what they are.

    Args:
        chains: ids of the actors whose chain is there.
        dropped: ids of those of which entries were dropped.
        contents: digests, hex.
    """

    chains: frozenset[str]
    dropped: frozenset[str]
    contents: frozenset[str]


def chain_name(actor: str) -> str:
    """The member that is the chain of an actor."""
    return f"actors/{actor}/chain"


def dropped_name(actor: str) -> str:
    """The member that says which entries of an actor's chain were dropped."""
    return f"actors/{actor}/dropped"


def content_name(digest: str) -> str:
    """The member that is the content of a digest in hex."""
    return f"content/{digest[:2]}/{digest[2:]}"


def sort_members(names: Iterable[str]) -> Members:
    """What the files of a bundle are.

    Raises:
        BundleRefused: one of them is nothing that a bundle has.
        InvalidInput: there is no index, so this is another kind of archive.
    """
    known = set(names)
    if INDEX not in known:
        raise InvalidInput(f"this is no bundle of Theater: it is an archive without a file {INDEX}")
    chains, dropped, contents = set(), set(), set()
    for name in known - {INDEX, CHECKPOINT}:
        found = _NAME.fullmatch(name)
        if found is None:
            raise BundleRefused(f"the bundle has a file {name[:100]!r}, and no export writes one of that name")
        if found["what"] == "chain":
            chains.add(found["actor"])
        elif found["what"] == "dropped":
            dropped.add(found["actor"])
        else:
            contents.add(found["head"] + found["tail"])
    if CHECKPOINT not in known:
        raise BundleRefused("the bundle has no checkpoint, so nobody speaks for its chains")
    if not dropped <= chains:
        raise BundleRefused("the bundle has a statement about dropped entries of a chain that it does not have")
    return Members(frozenset(chains), frozenset(dropped), frozenset(contents))


def write_index(rows: Iterable[Row]) -> bytes:
    """The index of these actors."""
    actors = [asdict(row) for row in sorted(rows, key=lambda row: row.id)]
    whole = {"format": FORMAT, "version": VERSION, "actors": actors}
    return json.dumps(whole, ensure_ascii=False, indent=2).encode() + b"\n"


def read_index(text: bytes) -> tuple[Row, ...]:
    """What an index says.

    Raises:
        InvalidInput: it is none, or one of a version that is not known here.
        BundleRefused: it does not have the form that an export gives it.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"this is no bundle of Theater: its {INDEX} is no JSON") from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise InvalidInput(f"this is no bundle of Theater: its {INDEX} does not say {FORMAT!r}")
    if type(whole.get("version")) is not int or whole["version"] != VERSION:
        version = str(whole.get("version"))[:20]
        raise InvalidInput(f"the bundle is of version {version}; this Theater knows version {VERSION}")
    try:
        rows = tuple(_row(each) for each in whole["actors"])
        sound = bool(rows) and write_index(rows) == text
    except (KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise BundleRefused(f"the bundle's {INDEX} does not have the form that an export gives it")
    return rows


def _row(plain: dict[str, object]) -> Row:
    row = Row(**plain)  # type: ignore[arg-type]
    good = (
        isinstance(row.id, str)
        and re.fullmatch(_ID, row.id, re.ASCII)
        and isinstance(row.name, str)
        and type(row.entries) is int
        and 0 < row.entries < 1 << 63
        and isinstance(row.head, str)
        and _DIGEST.fullmatch(row.head)
    )
    if not good:
        raise ValueError("no row of an index")
    return row
