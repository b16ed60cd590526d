"""What a replay reads of a home: the records of a chain, and the manifests of its lives. Loads no wasmtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from theater.chainlog.reader import ChainReader
from theater.core.chain import SNAPSHOT, Get, Kind, Lifecycle, Record
from theater.core.codec import Ref
from theater.core.felt_limits import FeltLimits, felt_limits
from theater.core.life import Life
from theater.errors import IntegrityError, InvalidInput, NotFound, TheaterError

_AT_ONCE = 256
_NAMED = 10


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


def snapshot_to_begin_at(chain: Path, wanted: int | None) -> int:
    """The number of a snapshot from which a chain can be executed.

    Args:
        wanted: that number; None for the newest.

    Raises:
        NotFound: there is no such entry, or no snapshot that holds the memory.
        InvalidInput: the entry is none, or holds no memory; the sentence names some that do.
        ChainBroken: the chain cannot be read.
    """
    found = [record.seq for record in records_of(chain) if _holds_memory(record)]
    if wanted is None:
        if not found:
            raise NotFound(f"{chain} has no snapshot that holds the memory; replay it from its beginning")
        return found[-1]
    if wanted not in found:
        known = f"there are entries {', '.join(map(str, found[-_NAMED:]))}" if found else "the chain has none"
        raise InvalidInput(f"entry {wanted} is no snapshot that holds the memory; {known}")
    return wanted


def _holds_memory(record: Record) -> bool:
    if record.kind_number != Kind.LIFECYCLE:
        return False
    payload = record.entry().read()
    if not isinstance(payload, Lifecycle) or payload.event != SNAPSHOT or not isinstance(payload.details, Mapping):
        return False
    return isinstance(payload.details.get("memory"), Ref)


def limits_of(life: Life, get: Get) -> FeltLimits:
    """The limits of a life, which decide what its guest sees; which handlers its manifest names does not, and a replay
    needs no package that brings one.

    Raises:
        IntegrityError: it is not there, or not one.
    """
    if life.manifest is None:
        raise IntegrityError(f"entry {life.entry}: a life begins without its manifest", index=life.entry)
    try:
        return felt_limits(get(life.manifest))
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
