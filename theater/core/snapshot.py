"""What a snapshot says (lifecycle entry "snapshot", core/chain.py), as its writer and its readers make it. Pure.

Beside what the format names, one that holds the memory has "loaded": canonical msgpack of an array with [interface,
function, arguments, answer] for each host call that was answered while the guest was loaded. A guest is loaded with the
same answers before it gets the memory, for what it asked then is part of the memory that the image differs from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from theater.core.chain import SNAPSHOT, Get, Lifecycle, resolve
from theater.core.codec import Ref, Veiled, pack, unpack
from theater.errors import ChainBroken, WireError

_MEMORY: Final = "memory"
_LARGEST: Final = 64 << 20


class Answered(NamedTuple):
    """A host call that was answered while the guest was loaded."""

    interface: str
    function: str
    args: tuple[Any, ...]
    value: Any


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an actor was, between two calls.

    Args:
        state: its state; with what stands for secrets in it, where nobody has put those back.
        committed: whether a call has committed that.
        life: what the beginning of its life said of it.
        root: the state root; None if nobody can tell.
        memory: names the memory image; None if it could not be kept.
        why: why not, one sentence.
        loaded: what was answered while the guest was loaded; of no use without the memory, and empty then.
    """

    state: bytes | Veiled | None
    committed: bool
    life: Mapping[str, Any]
    root: bytes | None
    memory: Ref | None
    why: str | None
    loaded: Sequence[Answered]

    def payload(self) -> Lifecycle:
        """The entry's payload."""
        said = {"state": [self.state], "committed": self.committed, "life": dict(self.life), "root": self.root}
        if self.memory is None:
            return Lifecycle(SNAPSHOT, {**said, _MEMORY: None, "why": self.why})
        return Lifecycle(SNAPSHOT, {**said, _MEMORY: self.memory, "loaded": pack([list(each) for each in self.loaded])})


def is_snapshot(payload: object) -> bool:
    """Whether the payload of an entry, as it stands in a record, is one."""
    return isinstance(payload, list) and len(payload) > 1 and payload[0] == SNAPSHOT


def resolve_all_but_memory(payload: Any, get: Get) -> Any:
    """The payload of a snapshot with content in place of each Ref but the one that names the memory, which is large.

    Raises: as `resolve`.
    """
    event, details, *more = payload
    if not isinstance(details, Mapping):
        return payload
    return [event, {key: value if key == _MEMORY else resolve(value, get) for key, value in details.items()}, *more]


def read_snapshot(entry: int, payload: Lifecycle) -> Snapshot:
    """What an entry says; its content is resolved, the memory apart.

    Raises:
        ChainBroken: it is not what a snapshot must say.
    """
    said = payload.details
    try:
        (state,) = said["state"]
        committed, life, root, memory = (said[name] for name in ("committed", "life", "root", _MEMORY))
        rows = unpack(said["loaded"], max_len=_LARGEST) if memory is not None else []
        loaded = [Answered(interface, function, tuple(args), value) for interface, function, args, value in rows]
    except (KeyError, TypeError, ValueError, WireError) as error:
        raise ChainBroken(f"entry {entry} is no snapshot: {error}", index=entry) from error
    fits = (
        isinstance(state, bytes | Veiled | None)
        and isinstance(committed, bool)
        and isinstance(life, Mapping)
        and isinstance(root, bytes | None)
        and isinstance(memory, Ref | None)
        and (memory is None or (root is not None and not isinstance(state, Veiled)))
    )
    if not fits:
        raise ChainBroken(f"entry {entry} is no snapshot: something in it has another type", index=entry)
    return Snapshot(state, committed, life, root, memory, said.get("why"), loaded)
