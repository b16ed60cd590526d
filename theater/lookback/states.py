"""The state that an actor had after any entry of its chain, found by reading and not by running.

Between two entries the state is what the newest of these left, whichever comes last:

- an outcome with a state: a call has committed it;
- a snapshot: it says what the state was;
- the beginning of a life: by its policy the state that was committed last, in whichever life, or else the initial one,
  which the genesis or the incarnation names.

A call that answered with an error, that trapped, or that was cut leaves the state as it was. `tests/lookback` holds
this search against the rules of core/replay.py, entry by entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from theater.core.chain import (
    INCARNATION,
    SNAPSHOT,
    Genesis,
    Get,
    Kind,
    Lifecycle,
    Outcome,
    Payload,
    resolve,
    state_digest,
)
from theater.core.codec import Ref, Veiled, unpack
from theater.core.secrets import SECRETS, redacted
from theater.errors import ChainBroken, ContentDamaged, TheaterError, WireError
from theater.lookback.survey import Survey

_FRESH = "fresh"
_KINDS_OF_NOTE = frozenset({Kind.GENESIS, Kind.OUTCOME, Kind.LIFECYCLE})
"""Kinds of entries that may say what the state is."""
_STATE = Outcome._fields.index("state")


@dataclass(frozen=True, slots=True)
class PastState:
    """What an actor's state was.

    Args:
        entry: the number of the entry after which.
        time_ns: when that was written, wall time.
        head: the digest of that entry.
        incarnation: the number of the life to which it belongs.
        recorded: the state as the record has it; None for no state.
        held_by: the number of the entry that holds the state, or names it.
        committed: whether a call has committed it; else it is the initial one.
    """

    entry: int
    time_ns: int
    head: bytes
    incarnation: int
    recorded: bytes | Veiled | None
    held_by: int
    committed: bool

    @property
    def state(self) -> bytes | None:
        """The bytes, with names in place of secrets."""
        state: bytes | None = redacted(self.recorded)
        return state

    @property
    def digest(self) -> bytes | None:
        """The digest of the state, as outcomes carry it."""
        return state_digest(self.recorded)


def state_after(chain: Survey, seq: int, get: Get) -> PastState:
    """The state after entry `seq`.

    Args:
        get: content by its digest in hex.

    Raises:
        ChainBroken: an entry that matters is not what it was.
        UnknownContent, ContentDamaged: the state is not in the store any more.
    """
    entry = chain.entry(seq)
    life = life_number(chain, seq, get)
    found = _Search(chain, get).state(seq)
    return PastState(seq, entry.time_ns, entry.digest, life, *found)


def life_beginning(chain: Survey, seq: int) -> int:
    """The number of the entry with which the life began to which entry `seq` belongs: it, or an earlier one.

    If that was dropped, it is the snapshot that stands in its place.
    """
    beginnings = (at for at in chain.back_from(seq + 1, {Kind.LIFECYCLE}) if _begins_life(chain.payload(at)))
    found = next(beginnings, 0)
    return max(found, chain.first_kept) if seq else 0


def life_number(chain: Survey, seq: int, get: Get) -> int:
    """The number of the life to which entry `seq` belongs; 0 if the record does not say it."""
    beginning = chain.payload(life_beginning(chain, seq))
    if isinstance(beginning, Genesis):
        return beginning.incarnation
    details = details_of(beginning, get)
    said = details.get("life") if isinstance(beginning, Lifecycle) and beginning.event == SNAPSHOT else details
    number = said.get(INCARNATION) if isinstance(said, Mapping) else None
    return number if type(number) is int else 0


_Found = tuple[bytes | Veiled | None, int, bool]
"""A state, the entry that holds it, and whether a call has committed it."""


class _Search:
    """Goes back from an entry to what holds its state."""

    def __init__(self, chain: Survey, get: Get) -> None:
        self._chain = chain
        self._get = get

    def state(self, seq: int) -> _Found:
        found = self._find(seq)
        self._require(seq, found)
        return found

    def _find(self, seq: int) -> _Found:
        for at, payload in self._of_note(seq + 1):
            if isinstance(payload, Genesis) or _begins_life(payload):
                return self._at_beginning(at, payload)
            return self._held(at, payload)
        raise ChainBroken(f"{self._chain.path}: it does not begin with a genesis", reason="damaged", index=0)

    def _at_beginning(self, at: int, payload: Payload) -> _Found:
        if isinstance(payload, Lifecycle) and self._details(payload).get("state") != _FRESH:
            for earlier, held in self._of_note(at):
                if isinstance(held, Outcome) or self._details(held).get("committed") is True:
                    return self._held(earlier, held)
        return self._initial(at, payload), at, False

    def _of_note(self, before: int) -> Iterator[tuple[int, Payload]]:
        """The entries below `before` that say what the state is, newest first."""
        for at in self._chain.back_from(before, _KINDS_OF_NOTE):
            if self._chain.kind_number(at) == Kind.OUTCOME and self._chain.glance(at)[_STATE:][:1] == [[]]:
                continue  # so end most calls of an actor that has nothing to remember
            payload = self._chain.payload(at)
            match payload:
                case Genesis() | Outcome(state=[_, *_]):
                    yield at, payload
                case Lifecycle(event=event) if event in (INCARNATION, SNAPSHOT):
                    yield at, payload

    def _require(self, seq: int, found: _Found) -> None:
        """Makes sure that nothing was overlooked since what was looked through was changed.

        Every outcome has the digest of the state, so the newest of a life vouches for what is found further back.

        Raises:
            ChainBroken: there was.
        """
        chain = self._chain
        state, held_by, _ = found
        newest = next(chain.back_from(seq + 1, {Kind.OUTCOME}), 0)
        begin = max(newest, held_by) if newest > life_beginning(chain, seq) else held_by
        begin = max(begin, chain.first_kept) if seq else 0
        chain.verify(begin, seq)
        outcome = chain.payload(begin)
        if isinstance(outcome, Outcome) and outcome.state_digest != state_digest(state):
            if self._knows_secrets(begin):
                # They are hidden in what the digest is of, but not in the initial state, nor in older ones.
                chain.verify(max(held_by, chain.first_kept), seq)
                return
            raise ChainBroken(
                f"{chain.path}: entry {begin} has another state than entry {held_by}, with none between them",
                reason="damaged", index=begin,
            )  # fmt: skip

    def _knows_secrets(self, seq: int) -> bool:
        """Whether the life to which entry `seq` belongs does."""
        beginning = life_beginning(self._chain, seq)
        said = (self._chain.payload(at) for at in (beginning + 1,) if self._chain.has(at))
        return any(isinstance(payload, Lifecycle) and payload.event == SECRETS for payload in said)

    def _held(self, at: int, payload: Payload) -> _Found:
        """The state that an entry holds."""
        if isinstance(payload, Outcome):
            return self._bytes(at, payload.state), at, True
        details = self._details(payload)
        return self._bytes(at, details.get("state")), at, details.get("committed") is True

    def _bytes(self, at: int, held: Any) -> bytes | Veiled | None:
        if not isinstance(held, (list, tuple)) or len(held) != 1:
            raise ChainBroken(f"{self._chain.path}: entry {at} holds no state", reason="damaged", index=at)
        (state,) = resolve(list(held), self._get)
        if state is None or isinstance(state, (bytes, Veiled)):
            return state
        raise ChainBroken(f"{self._chain.path}: the state in entry {at} is no bytes", reason="damaged", index=at)

    def _initial(self, at: int, payload: Payload) -> bytes | None:
        named = payload.initial if isinstance(payload, Genesis) else self._details(payload).get("initial")
        digest = named.hex() if isinstance(named, bytes) else named
        if not isinstance(digest, str):
            return None
        try:
            return self._get(digest)
        except TheaterError as error:
            raise type(error)(
                f"entry {at} names an initial state that cannot be had: {error.message}", **error.details
            ) from error

    def _details(self, payload: Payload) -> Mapping[str, Any]:
        return details_of(payload, self._get)


def _begins_life(payload: Payload) -> bool:
    return isinstance(payload, Lifecycle) and payload.event == INCARNATION


def details_of(payload: Payload, get: Get) -> Mapping[str, Any]:
    """The details of a lifecycle entry, none of any other. What they refer to stays where it is: the state in them may
    be wanted, but the memory in a snapshot is large.

    Raises:
        UnknownContent, ContentDamaged: they are kept elsewhere as a whole, and cannot be had.
    """
    details: Any = payload.details if isinstance(payload, Lifecycle) else None
    if isinstance(details, Ref):
        details = _unpacked(details, get)
    return details if isinstance(details, Mapping) else {}


def _unpacked(ref: Ref, get: Get) -> Any:
    try:
        return unpack(get(ref.digest.hex()), max_len=ref.size, references=True)
    except WireError as error:
        raise ContentDamaged(f"content {ref.digest.hex()} is not the value that it stands for") from error
