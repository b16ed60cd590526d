"""What an actor's chain shows of its permissions: read from the files of a home, with the server up or down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from theater.chainlog.reader import ChainReader
from theater.config import Home
from theater.core.chain import INCARNATION, Call, Genesis, HostCall, HostResult, Kind, Lifecycle
from theater.core.codec import Ref, unpack
from theater.core.manifest import Manifest, from_canonical
from theater.core.permissions import Asked
from theater.core.uses import Tally, Use, smallest
from theater.errors import NotFound, TheaterError, WireError
from theater.lookback.home import Chains
from theater.store.content import ContentStore
from theater.wasm.anatomy import imported_interfaces

_AT_ONCE = 1000
_LARGEST_MANIFEST = 1 << 20
_TOLD = frozenset({Kind.CALL, Kind.HOST_CALL, Kind.HOST_RESULT})


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found of one actor.

    Args:
        manifest: what it is now.
        uses: of its handlers.
        entries: how many the chain has.
        dropped: how many of them, the oldest, are not kept any more and were not looked at.
        smallest: the least manifest that would have done.
    """

    manifest: Manifest
    uses: list[Use]
    entries: int
    dropped: int
    smallest: Manifest


@dataclass(frozen=True, slots=True)
class _Made:
    """What the newest life of an actor was made of."""

    manifest: Manifest
    component: str
    program: str | None


def look_at_uses(home: Home, actor: str) -> Findings:
    """Goes through an actor's chain.

    Raises:
        NotFound: there is no such chain, or it does not say what the actor is.
        ChainBroken: it is not what it was.
        UnknownContent, ContentDamaged: the manifest cannot be had.
    """
    content = ContentStore(home.content)
    with Chains(home) as chains:
        made = _made(chains, actor, content)
        children = [_made(chains, child, content).manifest for child in _children(chains, actor)]
    tally = Tally(made.manifest, actor)
    with ChainReader(home.chain(actor)) as reader:
        dropped = reader.dropped
        _count(reader, tally)
        entries = reader.head.entries
    uses = tally.uses()
    imports = frozenset[str]() if made.program is not None else imported_interfaces(content.get(made.component))
    least = smallest(made.manifest, uses, imports, children)
    return Findings(made.manifest, uses, entries, dropped.until.entries - 1 if dropped else 0, least)


def _made(chains: Chains, actor: str, content: ContentStore) -> _Made:
    chain = chains.chain(actor)
    for seq in chain.back_from(len(chain), {Kind.LIFECYCLE, Kind.GENESIS}):
        payload = chain.payload(seq)
        if isinstance(payload, Genesis) and payload.manifest is not None and payload.component is not None:
            program = payload.engine.get("program")
            return _Made(_manifest(content, payload.manifest), payload.component.hex(), program)
        if isinstance(payload, Lifecycle) and payload.event == INCARNATION and not isinstance(payload.details, Ref):
            details = payload.details
            return _Made(_manifest(content, details["manifest"]), details["component"], details["program"])
    raise NotFound(f"the chain of {actor} does not say what it is")


def _manifest(content: ContentStore, digest: bytes) -> Manifest:
    try:
        return from_canonical(unpack(content.get(digest.hex()), max_len=_LARGEST_MANIFEST))
    except WireError as error:
        raise NotFound(f"the content {digest.hex()} is no manifest") from error


def _children(chains: Chains, actor: str) -> Iterator[str]:
    for other in chains.actors():
        try:
            genesis = chains.chain(other).payload(0)
        except (TheaterError, IndexError):
            continue  # Of a chain that cannot be read nobody knows whose child it is of.
        if isinstance(genesis, Genesis) and genesis.parent == actor:
            yield other


def _count(reader: ChainReader, tally: Tally) -> None:
    open_call: HostCall | None = None
    while records := reader.records(_AT_ONCE):
        for record in records:
            if record.kind_number not in _TOLD:
                continue
            payload = record.entry().read()
            if isinstance(payload, HostCall):
                open_call = payload
            elif isinstance(payload, HostResult) and open_call is not None:
                tally.asked(_asked(open_call, payload.value))
                open_call = None
            elif isinstance(payload, Call):
                tally.handled(payload.interface, payload.function, payload.sender)


def _asked(call: HostCall, answer: object) -> Asked:
    args = () if isinstance(call.args, Ref) else tuple(call.args)
    return Asked(call.interface, call.function, args, answer)
