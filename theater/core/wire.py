"""The messages of Theater and how they are written: one table, a row for each message.

A message on any socket is one frame:

    offset  size  what
    0       2     "TH"
    2       1     version of the format, 1
    3       1     row number of the message in this table
    4       ...   canonical msgpack (core/codec.py): an array of the row's fields, in order

Nothing else is accepted: an unknown version, an unknown row, a missing or surplus field, or a field of another
type is a `WireError`, which the receiver counts and drops. The transport (theater/bus) may put its own frames
around it, never inside.

Three conversations share the table. *Control* is a client with the server: every `Request` carries an id and
how long its sender waits; it is answered by any number of `Progress` and then by exactly one `Reply` or
`Failure`. What the server says in a frame longer than `PIECE` comes as several of `Part`, so that what waits for a slow
client can be counted. *Signals* run between the supervisor and a worker. *Mail* runs from worker to worker, each
link in order; who sends is known by the link, and no message says it. *Services* are the processes that do for actors
what their own may not, the gateway and the launcher: the supervisor tells them whom they serve, workers ask them and
are asked by them. With some messages comes a descriptor, the end of a link (theater/bus/links.py). Moments are
nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.

`tests/core/vectors/wire.json` holds one frame for each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, NamedTuple, get_args, get_type_hints

from theater.core.codec import pack, unpack
from theater.errors import WireError

MAGIC = b"TH"
VERSION = 1
MAX_FRAME = 96 << 20
"""Longest frame that is read at all, bytes: the largest component that a client may send, and some."""

PIECE = 1 << 16
"""Bytes of a frame from which on the server sends it in pieces."""


# ---- control


class Request(NamedTuple):
    """A client asks: operation `op` with `args`; `wait_ms` is how long it will listen."""

    id: int
    op: str
    args: dict[str, Any]
    wait_ms: int


class Reply(NamedTuple):
    id: int
    value: Any


class Failure(NamedTuple):
    """The request failed; `error` is `TheaterError.to_wire()`."""

    id: int
    error: dict[str, Any]


class Progress(NamedTuple):
    """The request goes on; `text` says for a person what is being done."""

    id: int
    text: str


class Part(NamedTuple):
    """A piece of a longer frame of the server's. Pieces follow each other; with `more` false the frame is complete."""

    data: bytes
    more: bool


# ---- signals: worker to supervisor


class Ready(NamedTuple):
    """The actor's init has succeeded; it takes mail now."""

    incarnation: int


class Lookup(NamedTuple):
    """Where does `words` (an id or a name) live? `Found` or `Missing` comes when it is up, or at the deadline."""

    number: int
    words: str
    deadline_ns: int


class Whereis(NamedTuple):
    """Which actor is registered as `name`? Answered at once by `Named`."""

    number: int
    name: str


class Register(NamedTuple):
    number: int
    name: str


class Unregister(NamedTuple):
    number: int
    name: str


class Handled(NamedTuple):
    """The end of a `Deliver`: the reply, or an error as of `TheaterError.to_wire()`."""

    number: int
    value: bytes | None
    error: dict[str, Any] | None


class Undelivered(NamedTuple):
    """Messages that their receiver did not take: `letters` of [sender or None, receiver, body, cause, why]."""

    letters: list[Any]


class Grown(NamedTuple):
    """The chain has grown; sent only while somebody watches (see core/pulse.py)."""

    entries: int


class Spawn(NamedTuple):
    """The actor wants a child `child`, whose id it has derived (core/ids.py) from the entry of its chain that records
    this wish, of digest `origin`: from the manifest at a path, or from its text; with `resume` it goes on from `state`
    without init. Answered by `Named` when the child is up."""

    number: int
    child: str
    origin: bytes
    manifest: str
    state: bytes | None
    resume: bool


class OfChild(NamedTuple):
    """A question or order about a descendant, or with "list" and an empty `child` about all children: "stop",
    "restart", "state", "events", "list". Answered by `Told`."""

    number: int
    what: str
    child: str


class Monitor(NamedTuple):
    """The actor wants one `MonitorDown` with `ref` when the present life of `words` (an id or a name) is over. Answered
    by `Named`."""

    number: int
    words: str
    ref: int


class Demonitor(NamedTuple):
    """No `MonitorDown` with `ref` any more. Answered by `Told`: whether one was still to come."""

    number: int
    ref: int


class LinkTo(NamedTuple):
    """The actor's present life and that of `words` end together. Answered by `Named`."""

    number: int
    words: str


class Unlink(NamedTuple):
    """Undoes `LinkTo`. Answered by `Named`; after that no `LinkExit` of it comes."""

    number: int
    words: str


class TrapExits(NamedTuple):
    """Whether the ends of linked actors are to arrive as `LinkExit` instead of ending this one."""

    trap: bool


# ---- signals: supervisor to worker


class Found(NamedTuple):
    """Answer to `Lookup` and `FindLife`: the actor, the largest message and mailbox it allows, and whether mail that a
    life of it has not confirmed is for the next one. With the first such answer about a life comes the link to it."""

    number: int
    actor: str
    incarnation: int
    message_limit: int
    mailbox: int
    keep: bool


class Meet(NamedTuple):
    """A life of an actor is about to write to this one: over the link that comes with this."""

    actor: str
    incarnation: int


class Missing(NamedTuple):
    """Answer to `Lookup`, `Register` or `Unregister` that failed."""

    number: int
    error: dict[str, Any]


class Named(NamedTuple):
    """Answer to `Whereis`, `Register` and `Unregister`: the actor concerned, if any."""

    number: int
    actor: str | None


class Deliver(NamedTuple):
    """A message from outside the system. `ask` says that somebody waits for a reply until `deadline_ns`."""

    number: int
    ask: bool
    body: bytes
    deadline_ns: int


class Down(NamedTuple):
    """An incarnation that this worker has looked up is dead; every message it sent came before this one."""

    actor: str
    incarnation: int
    reason: str


class Forget(NamedTuple):
    """`name` does not mean any more what the last lookup of it said."""

    name: str


class Stop(NamedTuple):
    """End in order: finish the call at hand, then exit with `shutdown`."""


class Told(NamedTuple):
    """Answer to `OfChild` and `Demonitor`."""

    number: int
    value: Any


class MonitorDown(NamedTuple):
    """The monitored life is over, or there was none. `reason` is `ExitReason.to_dict()`; `spoke` says that the dead
    actor knew this one's address, so that messages of its last moments may still be on their way."""

    ref: int
    actor: str
    incarnation: int
    reason: dict[str, Any]
    spoke: bool


class LinkExit(NamedTuple):
    """A linked actor has ended; only to those who trap exits. Fields as of `MonitorDown`."""

    actor: str
    incarnation: int
    reason: dict[str, Any]
    spoke: bool


class ChildEnded(NamedTuple):
    """A child has ended: `how` is "error" (by itself, abnormally), "exit" (by itself, in order; `data` is what its
    `shutdown` said) or "external-stop" (somebody else had it stopped). Other fields as of `MonitorDown`."""

    child: str
    incarnation: int
    how: str
    data: bytes | None
    reason: dict[str, Any]
    spoke: bool


class Pardon(NamedTuple):
    """A message whose body has this content digest may be tried again although it has ended the actor before."""

    digest: bytes


# ---- mail


class Send(NamedTuple):
    """Messages without an answer: `letters` of [cause, body], in order, and among them what is said on channels:
    [cause, body, channel], with nil for a body that closes the channel. `number` is that of the first; they are
    counted through on each connection. A cause is the digest of the sender's entry that recorded the message."""

    number: int
    letters: list[Any]


class SendAgain(NamedTuple):
    """As `Send`, of messages that were sent to an earlier life of the receiver, which has not confirmed them. It may
    have begun to handle some; the receiver skips those."""

    number: int
    letters: list[Any]


class Ask(NamedTuple):
    """A message whose sender waits. `path` names the actors that wait, directly or not, for its answer."""

    number: int
    cause: bytes
    body: bytes
    deadline_ns: int
    path: list[Any]


class Answer(NamedTuple):
    """The end of an `Ask`: a reply or an error; `cause` is the digest of the answering entry, or empty."""

    number: int
    cause: bytes
    value: bytes | None
    error: dict[str, Any] | None


class Taken(NamedTuple):
    """All sends of this connection up to `number` have been recorded by their receiver."""

    number: int


class OpenChannel(NamedTuple):
    """The sender wants to open `channel`, and waits; other fields as of `Ask`. Answered by an `Answer` without a value
    when it is accepted."""

    number: int
    channel: str
    cause: bytes
    body: bytes
    deadline_ns: int
    path: list[Any]


# ---- channels with the outside, and between lives


class FindLife(NamedTuple):
    """Worker to supervisor: where is this very life of an actor reached? Answered at once by `Found` or `Missing`;
    `Down` follows when it is over."""

    number: int
    actor: str
    incarnation: int


class OfferChannel(NamedTuple):
    """Supervisor to worker: a client wants to open `channel`. Answered by `Handled`."""

    number: int
    channel: str
    body: bytes
    deadline_ns: int


class OnChannel(NamedTuple):
    """What is said on a channel between a worker and a client, both ways: `bodies` in order, nil closing the channel.
    What comes from the client is answered by `Handled` when all of it has been recorded; in the other direction
    `number` is 0."""

    channel: str
    number: int
    bodies: list[Any]


class Fetched(NamedTuple):
    """Supervisor to worker: the client has got so many of the messages of a channel, of so many bytes."""

    channel: str
    messages: int
    size: int


class StillThere(NamedTuple):
    """Server to client, who has an open channel: needs no answer. Who cannot be told it has gone."""


# ---- services: with the supervisor


class Serving(NamedTuple):
    """A service takes admissions now."""

    service: str


class Admit(NamedTuple):
    """A life begins whose actor the service may serve: what its manifest grants (`permissions`: handler -> plain form)
    and what it must not exceed. With this comes the link to its worker."""

    actor: str
    incarnation: int
    name: str
    where: str
    folder: str
    permissions: dict[str, Any]
    limits: dict[str, Any]


class Dismiss(NamedTuple):
    """A life is over. `for_good` says that no further one is coming: what was kept for it can go."""

    actor: str
    incarnation: int
    for_good: bool


class Announce(NamedTuple):
    """What people should know of what a service does for an actor, such as where it listens; replaces what was said
    before."""

    service: str
    actor: str
    facts: dict[str, Any]


class ServiceIs(NamedTuple):
    """To workers: a service is there, over the link that comes with this; or it is down, and whatever was asked of it
    before has been lost with it."""

    service: str
    up: bool


# ---- services: with workers


class Want(NamedTuple):
    """An actor wants something done: `op` with `args`. `origin` is the digest of the entry that records the wish.
    Answered by exactly one `Given`."""

    number: int
    op: str
    args: list[Any]
    origin: bytes
    deadline_ns: int


class Given(NamedTuple):
    """The end of a `Want`."""

    number: int
    value: Any
    error: dict[str, Any] | None


class Invoke(NamedTuple):
    """A service has handlers of the actor called: `calls` of [number, interface, function, params, deadline_ns], in
    order. `params` are WIT values (core/values.py) without the state. Each ends in exactly one of `Returned`."""

    calls: list[Any]


class Returned(NamedTuple):
    """Ends of calls of `Invoke`: `ends` of [number, value, error, cause]. The value are the handler's extra results,
    or the error says why there are none; the cause is the digest of the entry that records the outcome, or empty."""

    ends: list[Any]


Message = (
    Request | Reply | Failure | Progress | Part
    | Ready | Lookup | Whereis | Register | Unregister | Handled | Undelivered | Grown
    | Spawn | OfChild | Monitor | Demonitor | LinkTo | Unlink | TrapExits
    | Found | Meet | Missing | Named | Deliver | Down | Forget | Stop | Pardon
    | Told | MonitorDown | LinkExit | ChildEnded
    | Send | Ask | Answer | Taken | SendAgain | OpenChannel
    | FindLife | OfferChannel | OnChannel | Fetched | StillThere
    | Serving | Admit | Dismiss | Announce | ServiceIs
    | Want | Given | Invoke | Returned
)  # fmt: skip

ROWS: Mapping[int, type[NamedTuple]] = {
    1: Request, 2: Reply, 3: Failure, 4: Progress, 5: Part,
    16: Ready, 17: Lookup, 18: Whereis, 19: Register, 20: Unregister, 21: Handled, 22: Undelivered, 23: Grown,
    24: Spawn, 25: OfChild, 26: Monitor, 27: Demonitor, 28: LinkTo, 29: Unlink, 30: TrapExits,
    32: Found, 33: Missing, 34: Named, 35: Deliver, 36: Down, 37: Stop, 38: Forget, 39: Pardon,
    40: Told, 41: MonitorDown, 42: LinkExit, 43: ChildEnded,
    48: Send, 49: Ask, 50: Answer, 51: Taken, 52: SendAgain, 53: OpenChannel, 54: Meet,
    64: Serving, 65: Admit, 66: Dismiss, 67: Announce, 68: ServiceIs,
    74: Want, 75: Given, 76: Invoke, 77: Returned,
    80: FindLife, 81: OfferChannel, 82: OnChannel, 83: Fetched, 84: StillThere,
}  # fmt: skip
"""Number of each message on the wire. A number is never used again for something else: 72
and 73 were."""


def encode(message: Message) -> bytes:
    """The frame of `message`.

    Raises:
        TypeError, ValueError: a field holds what msgpack cannot carry: a defect of the caller.
    """
    return _PREFIX[type(message)] + pack(list(message))


def decode(frame: bytes) -> Message:
    """The message in `frame`.

    Raises:
        WireError: it is not a message of this version; the sentence says why. Nothing else is raised.
    """
    row = _BY_PREFIX.get(frame[:4])
    if row is None:
        raise WireError(_why_unknown(frame))
    cls, kinds = row
    fields = unpack(frame[4:], max_len=MAX_FRAME)
    if type(fields) is not list or len(fields) != len(kinds):
        raise WireError(f"a {cls.__name__} message has {len(kinds)} fields")
    for value, allowed, name in zip(fields, kinds, cls._fields, strict=True):
        if allowed and type(value) not in allowed:
            raise WireError(f"{cls.__name__}.{name} cannot be of type {type(value).__name__}")
    return cls(*fields)  # type: ignore[return-value]


def pieces(frame: bytes) -> Iterator[bytes]:
    """The frames in which a frame is sent to a client: itself, or those of its `Part`s."""
    if len(frame) <= PIECE:
        yield frame
        return
    for at in range(0, len(frame), PIECE):
        yield encode(Part(frame[at : at + PIECE], at + PIECE < len(frame)))


class Joint:
    """Puts frames together again that came in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, message: Message) -> Message | None:
        """The message that is complete with this one; None as long as pieces are missing. What is no piece may come
        between them, and is complete.

        Raises:
            WireError: what the pieces make is no message, one of pieces, or longer than a frame may be.
        """
        if not isinstance(message, Part):
            return message
        self._pieces.append(message.data)
        self._size += len(message.data)
        if message.more and self._size <= MAX_FRAME:
            return None
        whole, too_long = b"".join(self._pieces), self._size > MAX_FRAME
        self._pieces, self._size = [], 0
        if too_long:
            raise WireError(f"pieces of a frame of more than {MAX_FRAME} bytes")
        made = decode(whole)
        if isinstance(made, Part):
            raise WireError("pieces that make a piece")
        return made


def _why_unknown(frame: bytes) -> str:
    if frame[:2] != MAGIC or len(frame) < 4:
        return f"{len(frame)} bytes that are no message of Theater"
    if frame[2] != VERSION:
        return f"a message of protocol version {frame[2]}; this is version {VERSION}"
    return f"a message of unknown kind {frame[3]}"


def _kinds(cls: type[NamedTuple]) -> tuple[tuple[type, ...], ...]:
    """For each field the exact types it may have; an empty tuple allows anything."""
    return tuple(_allowed(hint) for hint in get_type_hints(cls).values())


def _allowed(hint: Any) -> tuple[type, ...]:
    if hint is Any:
        return ()
    if isinstance(hint, UnionType):
        return tuple(kind for part in get_args(hint) for kind in _allowed(part))
    return (getattr(hint, "__origin__", hint),)


def _prefix(number: int) -> bytes:
    return MAGIC + bytes((VERSION, number))


_PREFIX: dict[type, bytes] = {cls: _prefix(number) for number, cls in ROWS.items()}
_BY_PREFIX = {_prefix(number): (cls, _kinds(cls)) for number, cls in ROWS.items()}
