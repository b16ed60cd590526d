"""Whether the chains of several actors tell one story: who spawned whom, and who sent what. Pure.

A replay proves of each chain by itself that its actor did what it says. What came to it from other actors stands in
*their* chains, and the digest of that entry, the cause, stands in the chain of who got it. Here the two are compared.

A `Witness` reads one chain and says what it claims of others: each `Claim` names the entry of another chain that must
have sent what arrived. A `Hearing` reads the chain of a sender and compares. So nothing but the claims at hand has to
be remembered, and whoever reads the chains decides how many these are; `Kinship` needs one row for each spawn.

What was sent is compared by length and digest, so that it does not matter where it is kept. What these chains cannot
tell is not held against them: an entry behind the end of a chain as it is at hand (it is younger than the last one
that is), or among entries that were dropped; and a body in which one of the two has hidden secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from theater.core import manifest as manifests
from theater.core.chain import Call, Ending, Entry, Genesis, Get, HostCall, HostResult, Kind, Outcome, Payload, Record
from theater.core.codec import Form, Ref, Veiled, content_digest, unpack
from theater.core.handlers import MESSAGE_SERVER_CLIENT, MESSAGE_SERVER_HOST, REQUESTS, SUPERVISOR, TIMERS
from theater.core.ids import channel_id, child_id, is_id
from theater.core.values import Ok, Some
from theater.errors import TheaterError

_VALUE_MAX: Final = 1 << 26
_MANIFEST_MAX: Final = 1 << 20
_SPAWNS: Final = frozenset({"spawn", "resume"})
_TELLING: Final = frozenset({Kind.GENESIS, Kind.CALL, Kind.HOST_CALL, Kind.HOST_RESULT})


class Way(StrEnum):
    """How something came from one actor to another."""

    SEND = "a message"
    REQUEST = "a request"
    REPLY = "a reply"
    OFFER = "the offer of a channel"
    ACCEPTANCE = "the acceptance of a channel"
    WORD = "a message on a channel"
    CLOSE = "the close of a channel"


class Body(NamedTuple):
    """What was sent: its digest and length."""

    digest: bytes
    size: int


NOTHING: Final = Body(b"", 0)
"""What comes without a body."""

HIDDEN: Final = Body(b"", -1)
"""A body with secrets, which nobody can compare who does not have them."""


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry says that another chain has the entry that caused it.

    Args:
        actor, entry, time_ns: whose chain says so, where, and when.
        cause: digest of the entry that must be there.
        sender: in whose chain; None if the record does not say, as with a reply to a request by name.
        way: what came.
        body: of what came.
        asked: of a reply, or an acceptance: digest of the entry that asked.
        channel: on which it came.
    """

    actor: str
    entry: int
    time_ns: int
    cause: bytes
    sender: str | None
    way: Way
    body: Body
    asked: bytes | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Spawn:
    """A parent's chain says that it wanted a child.

    Args:
        parent, entry, digest: where.
        child: the id that follows from that.
        resumed: it was to go on with `state`.
        manifest: what it was to be: a path, or a text of several lines; None if that is not at hand.
        state: what it was to begin with; None for what the manifest says, or for none.
        answer: the id that the parent was told; None if it was told none.
    """

    parent: str
    entry: int
    digest: bytes
    child: str
    resumed: bool
    manifest: str | None
    state: Body | None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that does not fit together, told of the actor in whose chain it was met."""

    actor: str
    sentence: str


# ---- what a chain claims


class Witness:
    """Reads one chain from its beginning.

    Args:
        actor: whose it is.
        get: content that it refers to.

    Attributes:
        genesis, began_ns: its first entry, and when that was.
        spawns: what it says of children, by the id of the child.
    """

    def __init__(self, actor: str, get: Get) -> None:
        self.actor = actor
        self.genesis: Genesis | None = None
        self.began_ns = 0
        self.spawns: dict[str, Spawn] = {}
        self._get = get
        self._asking: tuple[Entry, HostCall] | None = None
        self._last: Record | None = None

    @property
    def ended_ns(self) -> int:
        """When the last entry was written."""
        return self._last.entry().time_ns if self._last is not None else 0

    def note(self, record: Record) -> Claim | None:
        """Takes in the next entry; returns what it claims, if anything.

        Raises:
            ChainBroken: it is no entry of this version.
            ContentDamaged, UnknownContent: what it refers to cannot be had.
        """
        self._last = record
        asking, self._asking = self._asking, None
        if record.kind_number not in _TELLING:
            return None
        entry = record.entry()
        payload = entry.read()
        match payload:
            case Genesis():
                self.genesis, self.began_ns = payload, entry.time_ns
            case Call():
                return self._called(entry, payload)
            case HostCall():
                self._asking = entry, payload
                if payload.interface == SUPERVISOR and payload.function in _SPAWNS:
                    self._wanted(entry, payload)
            case HostResult() if asking is not None:
                return self._answered(entry, payload, *asking)
        return None

    def _called(self, entry: Entry, call: Call) -> Claim | None:
        if call.cause is None or call.sender is None or call.interface != MESSAGE_SERVER_CLIENT:
            return None
        args = _list(call.args, self._get)
        way = _BY_CHANNEL.get(call.function)
        channel = _text(args[:1]) if way is not None else None
        body = NOTHING if way is Way.CLOSE else _body(args[-1]) if args else None
        if body is None:
            return None
        if way is None:
            way = Way.SEND if call.request is None else Way.REQUEST
        return Claim(self.actor, entry.seq, entry.time_ns, call.cause, call.sender, way, body, channel=channel)

    def _answered(self, entry: Entry, result: HostResult, asked: Entry, wish: HostCall) -> Claim | None:
        value = result.value.value if isinstance(result.value, Ok) else None
        if wish.interface == SUPERVISOR and wish.function in _SPAWNS:
            self._told(asked, value)
        way, body, channel = Way.REPLY, _body(value), None
        if (wish.interface, wish.function) == _OPENING and isinstance(value, str):
            way, body, channel = Way.ACCEPTANCE, NOTHING, value
        if result.cause is None or body is None:
            return None
        to = _text(_list(wish.args, self._get)[:1])
        sender = to if to is not None and is_id(to) else None
        return Claim(self.actor, entry.seq, entry.time_ns, result.cause, sender, way, body, asked.digest, channel)

    def _wanted(self, entry: Entry, wish: HostCall) -> None:
        args = _list(wish.args, self._get)
        child = child_id(entry.digest, entry.seq)
        given = args[0] if args else None
        if isinstance(given, Ref) and given.form is Form.TEXT:
            given = self._get(given.digest.hex()).decode("utf-8", "replace")
        manifest = given if isinstance(given, str) else None
        state = _body(args[1]) if len(args) > 1 else None
        self.spawns[child] = Spawn(
            self.actor, entry.seq, entry.digest, child, wish.function == "resume", manifest, state
        )

    def _told(self, asked: Entry, value: Any) -> None:
        child = child_id(asked.digest, asked.seq)
        spawn = self.spawns[child]
        if isinstance(value, str):
            self.spawns[child] = replace(spawn, answer=value)


# ---- what its sender says


class Hearing:
    """Reads the chain of a sender and compares it with what others claim of it.

    Args:
        actor: whose chain it is.
        claims: by cause; those that were found in it are taken out.
        get: content that it refers to.
    """

    def __init__(self, actor: str, claims: dict[bytes, list[Claim]], get: Get) -> None:
        self.actor = actor
        self._claims = claims
        self._get = get
        self._handling: Call | None = None
        self._last: Record | None = None

    @property
    def ended_ns(self) -> int:
        """When the last entry was written."""
        return self._last.entry().time_ns if self._last is not None else 0

    def note(self, record: Record) -> Iterator[Flaw]:
        """Takes in the next entry; gives what does not fit.

        Raises: as `Witness.note`.
        """
        self._last = record
        claims = self._claims.get(record.digest)
        if claims is None and record.kind_number != Kind.CALL:
            return
        entry = record.entry()
        payload = entry.read()
        if isinstance(payload, Call):
            self._handling = payload
        mine = [claim for claim in claims or () if claim.sender in (None, self.actor)]
        if claims is not None and mine:
            self._claims[record.digest] = [claim for claim in claims if claim not in mine]
        for claim in mine:
            why = self._compare(claim, entry, payload)
            if why is not None:
                yield Flaw(
                    claim.actor,
                    f"entry {claim.entry}: {claim.way.value} came that entry {entry.seq} of {self.actor} is said to "
                    f"have sent, and that entry {why}",
                )

    def _compare(self, claim: Claim, entry: Entry, payload: Payload) -> str | None:
        """What an entry is instead of the sending of what arrived; None if it is that."""
        match payload:
            case HostCall() if (payload.interface, payload.function) in _SENDING[claim.way]:
                return self._compare_sent(claim, entry, payload)
            case Outcome(ending=Ending.OK) if claim.way is Way.REPLY:
                value = _list(payload.value, self._get)
                if self._handling is None or self._handling.cause != claim.asked:
                    return "ends the call of another request"
                return _differs(_body(value[0]) if value else None, claim.body)
            case Outcome(ending=Ending.OK) if claim.way in (Way.ACCEPTANCE, Way.WORD):
                return self._compare_accepted(claim, payload)
            case HostCall():
                return f"is the host call {payload.function}"
            case _:
                return f"is no sending, but {type(payload).__name__}"

    def _compare_accepted(self, claim: Claim, outcome: Outcome) -> str | None:
        """As `_compare`, of the decision about a channel, which is also the sending of its first message back."""
        call = self._handling
        if call is None or _BY_CHANNEL.get(call.function) is not Way.OFFER:
            return "decides about no channel"
        offered = _text(_list(call.args, self._get)[:1])
        if offered != claim.channel or claim.asked not in (None, call.cause):
            return f"decides about channel {offered}"
        accept = next(iter(_list(outcome.value, self._get)), None)
        if not isinstance(accept, dict) or accept.get("accepted") is not True:
            return "refuses the channel"
        return None if claim.way is Way.ACCEPTANCE else _differs(_body(accept.get("message")), claim.body)

    def _compare_sent(self, claim: Claim, entry: Entry, sent: HostCall) -> str | None:
        if sent.interface == TIMERS and claim.actor != self.actor:
            return "sets a timer, whose message goes to nobody else"
        args = _list(sent.args, self._get)
        to = _text(args[:1])
        if claim.channel is not None:
            is_opening = (sent.interface, sent.function) == _OPENING
            channel = channel_id(entry.digest, entry.seq) if is_opening else to
            if channel != claim.channel:
                return f"is about channel {channel}, and not {claim.channel}"
            if claim.way is Way.CLOSE:
                return None
            to = to if is_opening else None
        if claim.way is not Way.REPLY and to is not None and is_id(to) and to != claim.actor:
            return f"sends to {to}"
        return _differs(_body(args[1]) if len(args) > 1 else None, claim.body)


_OPENING: Final = (MESSAGE_SERVER_HOST, "open-channel")
_BY_CHANNEL: Final[Mapping[str, Way]] = {
    "handle-channel-open": Way.OFFER,
    "handle-channel-message": Way.WORD,
    "handle-channel-close": Way.CLOSE,
}
_SENDING: Final[Mapping[Way, frozenset[tuple[str, str]]]] = {
    Way.SEND: frozenset({(MESSAGE_SERVER_HOST, "send"), (TIMERS, "send-after"), (TIMERS, "send-interval")}),
    Way.REQUEST: frozenset({(MESSAGE_SERVER_HOST, "request"), (REQUESTS, "request-timeout")}),
    Way.REPLY: frozenset({(MESSAGE_SERVER_HOST, "respond-to-request")}),
    Way.OFFER: frozenset({_OPENING}),
    Way.ACCEPTANCE: frozenset(),
    Way.WORD: frozenset({(MESSAGE_SERVER_HOST, "send-on-channel")}),
    # An opener that has waited too long closes what may be accepted yet.
    Way.CLOSE: frozenset({(MESSAGE_SERVER_HOST, "close-channel"), _OPENING}),
}


def _differs(sent: Body | None, came: Body) -> str | None:
    if sent == came or HIDDEN in (sent, came):
        return None
    if sent is None:
        return "sends nothing"
    return (
        f"sends {sent.size} bytes of digest {sent.digest.hex()[:16]}, and {came.size} bytes of digest "
        f"{came.digest.hex()[:16]} arrived"
    )


# ---- families


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of one chain when families are compared.

    Args:
        genesis: its first entry.
        began_ns, ended_ns: when its first and its last entry were written.
        is_whole: nothing of it was dropped.
    """

    genesis: Genesis
    began_ns: int
    ended_ns: int
    is_whole: bool = True


@dataclass(slots=True)
class Kinship:
    """Holds children against the entries of their parents that spawned them.

    Args:
        get: the manifests that genesis entries name.

    Attributes:
        missing: children that a parent was told of and that have no chain here.
        untold: children of which nobody can say whether their parent spawned them, since that entry is not at hand.
        children: how many fit.
    """

    get: Get
    missing: list[Spawn] = field(default_factory=list)
    untold: int = 0
    children: int = 0

    def compare(self, origins: Mapping[str, Origin], spawns: Mapping[str, Mapping[str, Spawn]]) -> Iterator[Flaw]:
        """Gives what does not fit.

        Args:
            origins: each chain that is at hand, by its actor.
            spawns: what each says of children.
        """
        for actor, origin in origins.items():
            parent = origin.genesis.parent
            if parent is not None and parent in origins:
                why = self._why_no_child(actor, origin, origins[parent], spawns.get(parent, {}).get(actor))
                if why is not None:
                    yield Flaw(actor, f"entry 0: {why}")
        for parent, wanted in spawns.items():
            for child, spawn in wanted.items():
                if spawn.answer is None:
                    continue
                if spawn.answer != child:
                    yield Flaw(
                        parent,
                        f"entry {spawn.entry}: the child that it spawned has the id {child} by this entry's digest and "
                        f"number, and entry {spawn.entry + 1} says {spawn.answer}",
                    )
                elif child not in origins:
                    self.missing.append(spawn)

    def _why_no_child(self, actor: str, origin: Origin, parent: Origin, spawn: Spawn | None) -> str | None:
        genesis = origin.genesis
        if spawn is None:
            if origin.began_ns >= parent.ended_ns or not parent.is_whole:
                self.untold += 1
                return None
            return f"expected a spawn in the chain of its parent {genesis.parent} that gives the id {actor}, found none"
        where = f"entry {spawn.entry} of its parent {spawn.parent}"
        if genesis.parent_head is not None and genesis.parent_head != spawn.digest:
            return (
                f"expected the digest {spawn.digest.hex()} of {where}, which gives its id, found "
                f"{genesis.parent_head.hex()}"
            )
        if genesis.resumed != spawn.resumed:
            return f"{where} says {_began(spawn.resumed)}, and it {_began(genesis.resumed)}"
        initial = spawn.state.digest if spawn.state is not None else None
        is_told = spawn.state is not None or spawn.resumed
        if is_told and spawn.state != HIDDEN and genesis.initial != initial:
            return f"{where} says the initial state {_hex(initial)}, and it has {_hex(genesis.initial)}"
        if spawn.manifest is not None and "\n" in spawn.manifest and not self._is_manifest(genesis, spawn.manifest):
            return f"{where} has the text of another manifest than it runs with"
        self.children += 1
        return None

    def _is_manifest(self, genesis: Genesis, text: str) -> bool:
        """Whether a manifest means the same as a text, both read by the rules of this version."""
        if genesis.manifest is None:
            return False
        try:
            plain = unpack(self.get(genesis.manifest.hex()), max_len=_MANIFEST_MAX)
            ours = manifests.canonical(manifests.from_canonical(plain, "a manifest"))
            return bool(ours == manifests.canonical(manifests.parse(text, "a manifest")))
        except TheaterError:
            return False


def _began(resumed: bool) -> str:
    return "was resumed" if resumed else "began with init"


def _hex(digest: bytes | None) -> str:
    return "none" if digest is None else digest.hex()


# ---- values as they stand in chains


def _list(field: Any, get: Get) -> list[Any]:
    """A field that is an array, with what is kept elsewhere left where it is."""
    if isinstance(field, Ref) and field.form is Form.VALUE:
        field = unpack(get(field.digest.hex()), max_len=_VALUE_MAX, references=True)
    return list(field) if isinstance(field, (list, tuple)) else []


def _body(value: Any) -> Body | None:
    while isinstance(value, Some):
        value = value.value
    if isinstance(value, bytes):
        return Body(content_digest(value), len(value))
    if isinstance(value, Veiled):
        return HIDDEN
    if isinstance(value, Ref) and value.form is Form.BYTES:
        return Body(value.digest, value.size)
    return None


def _text(values: list[Any]) -> str | None:
    return values[0] if values and isinstance(values[0], str) else None
