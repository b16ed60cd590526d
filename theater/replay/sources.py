"""What a replay reads of a home: the records of a chain, and the manifests of its lives. Loads no wasmtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from theater.chainlog.reader import ChainReader
from theater.core import manifest as manifests
from theater.core.chain import Get, Record
from theater.core.codec import unpack
from theater.core.manifest import Manifest
from theater.core.replay import Life
from theater.errors import IntegrityError, TheaterError

_AT_ONCE = 256
_LARGEST_MANIFEST = 1 << 20


def records_of(chain: Path, begin: int | None = None) -> Iterator[Record]:
    """The records of a chain file, each verified, up to where it ends now.

    Args:
        begin: number of an entry; what is between the genesis and that is left out.

    Raises:
        NotFound, ChainBroken: as `ChainReader`.
    """
    with ChainReader(chain) as reader:
        if begin:
            yield from reader.records(1)
            reader.seek(begin)
        while records := reader.records(_AT_ONCE):
            yield from records


def manifest_of(life: Life, get: Get) -> Manifest:
    """The manifest of a life, whose limits decide what its guest sees.

    Raises:
        IntegrityError: it is not there, or not one.
    """
    if life.manifest is None:
        raise IntegrityError(f"entry {life.entry}: a life begins without its manifest", index=life.entry)
    try:
        plain = unpack(get(life.manifest), max_len=_LARGEST_MANIFEST)
        return manifests.from_canonical(plain, f"manifest {life.manifest}")
    except TheaterError as error:
        raise IntegrityError(f"entry {life.entry}: its manifest cannot be had: {error.message}") from error


def program_of(life: Life, get: Get) -> bytes | None:
    """The program that a life's component is given; None if it is an actor by itself.

    Raises:
        IntegrityError: it is not there.
    """
    try:
        return None if life.program is None else get(life.program)
    except TheaterError as error:
        raise IntegrityError(f"entry {life.entry}: its program cannot be had: {error.message}") from error
