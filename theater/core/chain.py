"""The chain: the format of the record, its writer's and its reader's rules. Pure; files are in theater/chainlog.

A chain is a sequence of entries, each of which fixes all before it. One actor has one chain, which goes on over all
its incarnations; the supervisor has one of its own. In a file, records follow each other with nothing between:

    offset  size  what
    0       4     length of the body in bytes, u32, from 1 to MAX_BODY (16 MiB)
    4       8     sequence number of the entry, u64, from 0, without gaps
    12      4     CRC-32 (that of zlib, IEEE 802.3) of the twelve bytes before
    16      n     body: canonical msgpack (core/codec.py), an array [sequence number, kind, time, payload]
    16+n    32    digest

All integers of the header are big-endian. The kind is a number of the table below, the time wall time in
nanoseconds since 1970 as the writer took it, the payload an array. The digest is

    blake3( 21, "theater chain entry 1", digest of the entry before, body )

where 21 is one byte, the length of the tag, and the first entry has 32 zero bytes before it. The number in the tag
is the version of this format. A chain's *head* is the number of its entries, the digest of its last, and its length
in bytes: whoever holds a head, holds proof of everything up to there.

Payloads, field by field. A reader ignores further fields at the end; missing ones at the end are nil. A `?` allows
nil. Digests are 32 bytes, ids text; incarnation and fuel are integers, resumed is true or false.

    0  genesis      actor, name, manifest digest?, component digest?, wrapper digest?, engine identity (map),
                    parent?, digest of the parent's entry?, incarnation, randomness?, initial state digest?, resumed?
    1  call         interface, function, arguments (array), cause?, sender?, request?
    2  host-call    interface, function, arguments (array)
    3  host-result  value, cause?
    4  outcome      ending ("ok", "err", "trap"), value, state digest?, state (array), fuel?, root?
    5  lifecycle    event (text), details (map)
    6  checkpoint   map of actor to array [entries, digest, offset, state at?, incarnation, call at?, snapshot at?]

The *cause* of a call or a host result is the digest of the entry that sent what arrived here: one of another chain, or
an earlier one of the same. If a call has a sender, that is the id of the actor in whose chain its cause is. The
value of an outcome is the export's result if the ending is ok, its error if it is err, and an array [kind, message,
backtrace] if it is trap. The state is an empty array if it is as before, else an array of one: bytes, or nil for "no
state"; the state digest is the blake3 of the bytes, in every outcome, or of the canonical form of what stands in place
of the bytes if there are secrets in them. An outcome's root says what the linear memory was after the call
(theater/wasm/state_root.py), if the manifest wants it; a writer leaves the field out if it is nil.
The genesis of an actor that another one has spawned names that one and the entry of its chain that records the host
call; the actor's id follows from that entry's digest and number (core/ids.py).
The genesis is entry 0 and no other; each later life begins with a lifecycle entry "incarnation" whose details have its
number as "incarnation". A checkpoint says where chains were: after `entries` entries the digest was `digest` and the
file `offset` bytes long.

A lifecycle entry "snapshot" says between two calls what the actor was, so that nothing before it need be read to go
on from there. Its details: "state", an array of one as in an outcome; "committed", whether a call has committed it;
"life", what the beginning of the life said of it, in the form of an incarnation's details; "root", the state root, or
nil; and "memory", a Ref to a value that holds the linear memory (theater/core/memory_image.py), or nil with "why". With
the memory comes "loaded": what the guest was answered while it was loaded (theater/core/snapshot.py). In the
supervisor's chain a snapshot has "marks" instead: what a checkpoint would say of all chains that the server knows.

What a life was made of is kept elsewhere, under its blake3: the manifest, the component and the initial state that a
genesis names, the "program" (hex) in its engine identity, and "manifest", "component", "program", "initial" in the
details of an incarnation, which also have its "wrapper" and "engine" as a genesis does, its policy as "state" ("last",
"fresh", "replay") and whether it was "resumed"; one that goes on with the memory of those before also has "from" and
"left_out" (core/lineage.py). A life has the state that was committed last if its policy is not "fresh" and
there is one; else the initial state, and its first call is init, unless it was resumed. An init of an actor whose
manifest says "replay" commits what it returns also if that is as before, so that no state at all can be gone on from.

A life that may know secrets says so in a lifecycle entry "secrets" right behind its first. Wherever such a secret is
written in anything but names, what stands in the record has the name in its place, as Veiled (core/codec.py), in states
and snapshots, too; and a root is not that of the memory. core/secrets.py says how, and what is promised of the value.

Byte strings and texts of more than INLINE_MAX (4096) bytes, anywhere in a payload, are kept elsewhere under their
blake3 and stand in the body as a Ref (core/codec.py). A field that is still longer than FIELD_MAX (65536) bytes in
canonical form then becomes a Ref to a value itself. A chain may also hold all of it in line.

How a chain ends. A reader takes records as long as they are good: header checksum right, length in range, sequence
number the next, digest right, and the body beginning with an array of four (the byte 0x94) and that sequence number in
its shortest form. A good header is one of which the first three are true. Where it stops,

- the chain is *whole* if nothing is left;
- its tail is *torn* if what is left is the beginning of one record: fewer than 16 bytes, or a good header and then
  fewer bytes than the record has. It is also torn if a machine died before the file's pages were written, which
  leaves zeros: if all that is left is zero; or a header with a wrong checksum is followed by 32 or more bytes, all
  zero, up to the end; or the digest of a record with a good header, and everything after it, is zero. No flip of one
  bit makes this of a record, and what is torn was never acknowledged, so a writer cuts it;
- anything else is *damage*, which nobody cuts.

What makes a chain good, then: it is whole or torn, and its entry 0, if it has one, is a genesis that can be read, with
fields of the types above. What is in the bodies after it is its writer's business: a body that is no entry breaks who
wants to read it, not the chain, since the digests fix it as it is.

A hash chain cannot see its own tail missing, nor that it was written anew as a whole. The checkpoints in the
supervisor's chain can, and a signed one that somebody else has kept (core/signed_checkpoint.py), which also catches the
supervisor's chain. `tests/core/vectors/chain.json` holds chains with every kind of entry, and what to find in broken
ones; `examples/verifier` has a second verifier that was written from this text.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple, Self
from zlib import crc32

from blake3 import blake3

from theater.core.codec import DIGEST_SIZE, REF_MARK, Form, Ref, Veiled, content_digest, pack, unpack
from theater.core.values import Case, Err, Ok, Some
from theater.errors import ChainBroken, ContentDamaged, MessageTooLarge, WireError

TAG = b"theater chain entry 1"
MAX_BODY = 1 << 24
INLINE_MAX = 4096
FIELD_MAX = 1 << 16
HEADER_SIZE = 16
OVERHEAD = HEADER_SIZE + DIGEST_SIZE
"""Bytes of a record beside its body."""

INCARNATION: Final = "incarnation"
"""Lifecycle event with which each life after the first begins."""

REMOVED: Final = "removed"
"""Lifecycle event of the supervisor's chain: the actor `details["actor"]` was deleted, its chain need not exist."""

SIGNED: Final = "signed"
"""Lifecycle event of the supervisor's chain: `details["checkpoint"]` signs everything before (signed_checkpoint.py)."""

SNAPSHOT: Final = "snapshot"
MARKS: Final = "marks"
"""Lifecycle event that says what an actor was: its state, and its linear memory where that is possible."""

UNCHANGED: Final[tuple[Any, ...]] = ()
"""The `state` of an outcome that leaves the state as it was."""

_START = bytes(DIGEST_SIZE)
_PREFIX = bytes((len(TAG),)) + TAG  # as codec.digest does; a call less for each entry
_LENGTH_AND_SEQ = struct.Struct(">IQ")
_HEADER = struct.Struct(">IQI")
_ARRAY_OF_FOUR = b"\x94"

Put = Callable[[bytes], str]
"""Keeps content and returns its digest in hex (`ContentStore.put`)."""

Get = Callable[[str], bytes]
"""The content of a digest in hex (`ContentStore.get`)."""


class Kind(IntEnum):
    """What an entry is about; the number is the one in the record."""

    GENESIS = 0
    CALL = 1
    HOST_CALL = 2
    HOST_RESULT = 3
    OUTCOME = 4
    LIFECYCLE = 5
    CHECKPOINT = 6

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.name.lower().replace("_", "-")


class Ending(StrEnum):
    """How a call ended: with a result, with an error of the actor, with a trap."""

    OK = "ok"
    ERR = "err"
    TRAP = "trap"


# ---- positions


class Head(NamedTuple):
    """How far a chain goes: number of entries, digest of the last, bytes."""

    entries: int
    digest: bytes
    offset: int


class Mark(NamedTuple):
    """A head, and what must be known to go on from there without reading what is before it.

    Args:
        entries: number of entries, and so the sequence number of the next.
        digest: digest of the last entry.
        offset: bytes of the chain.
        state_at: offset of the record of the outcome, or of the snapshot, that holds the last state; None if no state
            was ever committed.
        incarnation: number of the life that wrote last; 0 if unknown.
        call_at: offset of the record of the call that has no outcome yet, if there is one.
        snapshot_at: offset of the record of the last snapshot, if there is one.
    """

    entries: int
    digest: bytes
    offset: int
    state_at: int | None = None
    incarnation: int = 0
    call_at: int | None = None
    snapshot_at: int | None = None

    @property
    def head(self) -> Head:
        return Head(self.entries, self.digest, self.offset)

    @classmethod
    def read(cls, row: object) -> Self:
        """The mark in a row of a checkpoint.

        Raises:
            ChainBroken: it is not one.
        """
        mark = cls(*_fields(cls, row, _MARK_TYPES))
        if mark.entries < 0 or mark.offset < 0 or len(mark.digest) != DIGEST_SIZE:
            raise ChainBroken(f"a Mark cannot be {mark}")
        return mark


START: Final = Head(0, _START, 0)


# ---- payloads: each is the array that stands in the record


class Genesis(NamedTuple):
    """The first entry: who this is, made of what, by whom."""

    actor: str
    name: str
    manifest: bytes | None
    component: bytes | None
    wrapper: bytes | None
    engine: Mapping[str, Any]
    parent: str | None = None
    parent_head: bytes | None = None
    incarnation: int = 1
    randomness: bytes | None = None
    initial: bytes | None = None
    resumed: bool = False


class Call(NamedTuple):
    """An export is called; written before the guest runs."""

    interface: str
    function: str
    args: Sequence[Any]
    cause: bytes | None = None
    sender: str | None = None
    request: Any = None


class HostCall(NamedTuple):
    """The guest asks the host."""

    interface: str
    function: str
    args: Sequence[Any]


class HostResult(NamedTuple):
    """What the host told it; `cause` if that came out of another chain."""

    value: Any
    cause: bytes | None = None


class Outcome(NamedTuple):
    """How the call ended. Made by `outcome_ok`, `outcome_err` and `outcome_trap`."""

    ending: str
    value: Any
    state_digest: bytes | None
    state: Sequence[Any] = UNCHANGED
    fuel: int | None = None
    root: bytes | None = None


class Lifecycle(NamedTuple):
    """Something that happened to the actor and not in it."""

    event: str
    details: Mapping[str, Any]


class Checkpoint(NamedTuple):
    """Where chains were: actor to `Mark`."""

    marks: Mapping[str, Sequence[Any]]


Payload = Genesis | Call | HostCall | HostResult | Outcome | Lifecycle | Checkpoint


def marks_in(payload: Payload) -> dict[str, Mark]:
    """What an entry of the supervisor's chain says of how far others were; nothing, if it does not speak of that.

    Raises:
        ChainBroken: a row is no mark.
    """
    rows: object = None
    if isinstance(payload, Checkpoint):
        rows = payload.marks
    elif isinstance(payload, Lifecycle) and payload.event == SNAPSHOT:
        rows = payload.details.get(MARKS) if isinstance(payload.details, Mapping) else None
    return {actor: Mark.read(row) for actor, row in rows.items()} if isinstance(rows, Mapping) else {}


def state_digest(state: bytes | Veiled | None) -> bytes | None:
    """The digest of a state as outcomes carry it: None for no state."""
    if state is None:
        return None
    return content_digest(pack(state) if isinstance(state, Veiled) else state)


def outcome_ok(
    value: Any, state: bytes | None, before: bytes | None, fuel: int | None = None, *, commits: bool = False
) -> Outcome:
    """The outcome of a call that returned.

    Args:
        value: the result without the state.
        state: the new state.
        before: digest of the state before; the state itself is recorded only if it differs,
        commits: or in any case.
    """
    after = state_digest(state)
    return Outcome("ok", value, after, UNCHANGED if after == before and not commits else (state,), fuel)


def outcome_err(error: Any, before: bytes | None, fuel: int | None = None) -> Outcome:
    """The outcome of a call that answered with an error: the state is as before."""
    return Outcome("err", error, before, UNCHANGED, fuel)


def outcome_trap(kind: str, message: str, backtrace: Any, before: bytes | None, fuel: int | None = None) -> Outcome:
    """The outcome of a call that ended in a trap: the state is as before."""
    return Outcome("trap", (kind, message, backtrace), before, UNCHANGED, fuel)


_TEXT, _DIGEST, _NUMBER = (str,), (bytes,), (int,)
_DIGEST_OR_NIL, _NUMBER_OR_NIL, _TEXT_OR_NIL = (bytes, type(None)), (int, type(None)), (str, type(None))
_TRUTH = (bool,)
_ANY: tuple[type, ...] = ()
_MARK_TYPES = (_NUMBER, _DIGEST, _NUMBER, _NUMBER_OR_NIL, _NUMBER, _NUMBER_OR_NIL, _NUMBER_OR_NIL)
_PAYLOADS: Mapping[Kind, tuple[type[Any], tuple[tuple[type, ...], ...]]] = {
    Kind.GENESIS: (
        Genesis,
        (
            *(_TEXT, _TEXT, _DIGEST_OR_NIL, _DIGEST_OR_NIL, _DIGEST_OR_NIL, (dict,)),
            *(_TEXT_OR_NIL, _DIGEST_OR_NIL, _NUMBER, _DIGEST_OR_NIL, _DIGEST_OR_NIL, _TRUTH),
        ),
    ),
    Kind.CALL: (Call, (_TEXT, _TEXT, (list, Ref), _DIGEST_OR_NIL, _TEXT_OR_NIL, _ANY)),
    Kind.HOST_CALL: (HostCall, (_TEXT, _TEXT, (list, Ref))),
    Kind.HOST_RESULT: (HostResult, (_ANY, _DIGEST_OR_NIL)),
    Kind.OUTCOME: (Outcome, (_TEXT, _ANY, _DIGEST_OR_NIL, (list,), _NUMBER_OR_NIL, _DIGEST_OR_NIL)),
    Kind.LIFECYCLE: (Lifecycle, (_TEXT, (dict, Ref))),
    Kind.CHECKPOINT: (Checkpoint, ((dict, Ref),)),
}


def read_payload(kind: Kind, payload: object) -> Payload:
    """The typed payload of an entry.

    Raises:
        ChainBroken: it is not what the table allows.
    """
    cls, types = _PAYLOADS[kind]
    read: Payload = cls(*_fields(cls, payload, types))
    return read


def _fields(cls: Any, row: object, types: tuple[tuple[type, ...], ...]) -> list[Any]:
    """The fields that `cls` knows of an array, all of the right types, absent ones filled in."""
    if type(row) is not list:
        raise ChainBroken(f"a {cls.__name__} is an array, found {type(row).__name__}")
    fields = row[: len(types)]
    for name, value, allowed in zip(cls._fields, fields, types, strict=False):
        if allowed and type(value) not in allowed:
            raise ChainBroken(f"{cls.__name__}.{name} cannot be of type {type(value).__name__}")
    for name in cls._fields[len(fields) :]:
        if name not in cls._field_defaults:
            raise ChainBroken(f"a {cls.__name__} without {name}")
        fields.append(cls._field_defaults[name])
    return fields


# ---- entries


class Entry(NamedTuple):
    """What an entry says. `payload` is the array as it stands in the body, maybe with Refs (`resolve`)."""

    seq: int
    kind: Kind
    time_ns: int
    payload: Any
    digest: bytes
    previous: bytes
    offset: int

    def read(self) -> Payload:
        """The payload by its kind.

        Raises:
            ChainBroken: it is not what the table allows.
        """
        return read_payload(self.kind, self.payload)


class Record(NamedTuple):
    """An entry as it stands in a file, its digest checked, its body not yet taken apart."""

    seq: int
    offset: int
    body: bytes
    digest: bytes
    previous: bytes

    @property
    def end(self) -> int:
        """Offset of the byte after the record."""
        return self.offset + OVERHEAD + len(self.body)

    @property
    def kind_number(self) -> int:
        """The kind, without taking the body apart; -1 for none that this version knows."""
        at = 1 + _PACKED_INT_SIZE.get(self.body[1], 1)
        number = self.body[at] if at < len(self.body) else -1
        return number if number in _KIND_NUMBERS else -1

    @property
    def has_refs(self) -> bool:
        """False only if no part of the payload is kept elsewhere."""
        return REF_MARK in self.body

    def entry(self) -> Entry:
        """What it says.

        Raises:
            ChainBroken: the digest is right, but its writer wrote something else than an entry of this version.
        """
        try:
            _, kind, time_ns, payload = unpack(self.body, max_len=MAX_BODY, references=True)
            if type(time_ns) is not int:
                raise ValueError("its time is no number")
            return Entry(self.seq, Kind(kind), time_ns, payload, self.digest, self.previous, self.offset)
        except (WireError, ValueError) as error:
            raise ChainBroken(f"entry {self.seq} is none of this version: {error}", index=self.seq) from error


_PACKED_INT_SIZE = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
_KIND_NUMBERS = frozenset(int(kind) for kind in Kind)


class Tracker:
    """Follows a chain entry by entry, and knows at each moment what belongs into a `Mark` beside the head.

    Args:
        mark: where it begins.
    """

    __slots__ = ("call_at", "incarnation", "snapshot_at", "state_at")

    def __init__(self, mark: Mark | None = None) -> None:
        self.state_at = mark.state_at if mark else None
        self.incarnation = mark.incarnation if mark else 0
        self.call_at = mark.call_at if mark else None
        self.snapshot_at = mark.snapshot_at if mark else None

    def note(self, payload: Payload, offset: int) -> None:
        """Takes in the next entry: its payload, and the offset of its record."""
        kind = type(payload)
        if kind is HostCall or kind is HostResult:
            return
        if isinstance(payload, Call):
            self.call_at = offset
        elif isinstance(payload, Outcome):
            self.call_at = None
            if payload.state:
                self.state_at = offset
        elif isinstance(payload, Genesis):
            self.incarnation = payload.incarnation
        elif isinstance(payload, Lifecycle) and payload.event == INCARNATION:
            self._begin(payload.details)
        elif isinstance(payload, Lifecycle) and payload.event == SNAPSHOT:
            self._remember(payload.details, offset)

    def _remember(self, details: Any, offset: int) -> None:
        """A snapshot says all that is known here, since what is before it may have been dropped."""
        self.snapshot_at = offset
        self.call_at = None
        if not isinstance(details, Mapping):
            return
        if details.get("committed") is True:
            self.state_at = offset
        life = details.get("life")
        number = life.get(INCARNATION) if isinstance(life, Mapping) else None
        if type(number) is int:
            self.incarnation = number

    def _begin(self, details: Any) -> None:
        number = details.get(INCARNATION) if isinstance(details, Mapping) else None
        if type(number) is not int:
            raise ChainBroken(f"the beginning of an incarnation without its number: {details!r}")
        self.incarnation = number
        self.call_at = None

    def mark(self, head: Head) -> Mark:
        return Mark(*head, self.state_at, self.incarnation, self.call_at, self.snapshot_at)


# ---- writing


class Encoder:
    """Turns entries into records, one after the other. Does no I/O.

    Args:
        head: where the chain stands; `START` for a new one.
        put: keeps what is too long to stand in a record; None to have everything in line.
    """

    __slots__ = ("_put", "digest", "entries", "offset")

    def __init__(self, head: Head = START, put: Put | None = None) -> None:
        self.entries, self.digest, self.offset = head
        self._put = put

    @property
    def head(self) -> Head:
        """The head behind the last entry that was made."""
        return Head(self.entries, self.digest, self.offset)

    def entry(self, kind: Kind, payload: Sequence[Any], time_ns: int) -> tuple[bytes, bytes]:
        """The record of the next entry, and its digest.

        Args:
            payload: one of the payload classes of this module.
            time_ns: wall time, ns since 1970.

        Raises:
            TypeError, ValueError: the payload holds what has no canonical form; the chain stays as it is.
            MessageTooLarge: the record would be longer than a reader accepts; the chain stays as it is.
        """
        seq = self.entries
        if type(payload) is Outcome and payload.root is None:
            payload = payload[:-1]
        body = pack((seq, kind._value_, time_ns, payload))
        if len(body) > INLINE_MAX and self._put is not None:
            body = pack((seq, kind._value_, time_ns, externalise(payload, self._put)))
        size = len(body)
        if size > MAX_BODY:
            raise MessageTooLarge(f"an entry of {size} bytes; a chain allows {MAX_BODY}", size=size, limit=MAX_BODY)
        found = blake3(_PREFIX + self.digest + body).digest()
        header = _HEADER.pack(size, seq, crc32(_LENGTH_AND_SEQ.pack(size, seq)))
        self.entries = seq + 1
        self.digest = found
        self.offset += OVERHEAD + size
        return header + body + found, found


def externalise(payload: Sequence[Any], put: Put) -> list[Any]:
    """The payload with everything long replaced by Refs, whose content `put` has taken."""
    return [_short_field(_short(field, put), put) for field in payload]


def _short(value: Any, put: Put) -> Any:
    kind = type(value)
    if kind is bytes:
        return value if len(value) <= INLINE_MAX else _refer(value, Form.BYTES, put)
    if kind is str:
        return value if len(value) * 4 <= INLINE_MAX else _short_text(value, put)
    return rebuild(value, lambda part: _short(part, put))


def _short_text(text: str, put: Put) -> str | Ref:
    encoded = text.encode()
    return text if len(encoded) <= INLINE_MAX else _refer(encoded, Form.TEXT, put)


def _short_field(field: Any, put: Put) -> Any:
    if type(field) is Ref:
        return field
    packed = pack(field)
    return field if len(packed) <= FIELD_MAX else _refer(packed, Form.VALUE, put)


def _refer(content: bytes, form: Form, put: Put) -> Ref:
    return Ref(bytes.fromhex(put(content)), len(content), form)


def rebuild(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to the parts of a container; itself if it has no parts."""
    if isinstance(value, (list, tuple)):
        return [change(part) for part in value]
    if isinstance(value, Mapping):
        return {key: change(part) for key, part in value.items()}
    kind = type(value)
    if kind is Ok or kind is Err or kind is Some:
        return kind(change(value.value))
    if kind is Case:
        return Case(value.name, change(value.payload))
    if kind is Veiled:
        return Veiled(value.form, tuple(change(part) if at % 2 == 0 else part for at, part in enumerate(value.parts)))
    return value


# ---- reading


def resolve(payload: Any, get: Get) -> Any:
    """The payload with the content in place of each Ref.

    Raises:
        ContentDamaged: the content is not what the Ref says.
        UnknownContent: `get` does not have it.
    """
    if type(payload) is Ref:
        return _content(payload, get)
    return rebuild(payload, lambda part: resolve(part, get))


def _content(ref: Ref, get: Get) -> Any:
    content = get(ref.digest.hex())
    if len(content) != ref.size:
        raise ContentDamaged(f"content {ref.digest.hex()} has {len(content)} bytes, the chain says {ref.size}")
    if ref.form is Form.BYTES:
        return content
    try:
        if ref.form is Form.TEXT:
            return content.decode()
        value = unpack(content, max_len=ref.size, references=True)
    except (WireError, UnicodeDecodeError) as error:
        raise ContentDamaged(
            f"content {ref.digest.hex()} is not the {ref.form.name.lower()} that it stands for"
        ) from error
    # Such a value was cut out of a field whose long parts were Refs already; it never holds another of its own form.
    return _part(value, get)


def _part(part: Any, get: Get) -> Any:
    if type(part) is Ref:
        if part.form is Form.VALUE:
            raise ContentDamaged(f"content {part.digest.hex()} stands for a value inside of a value")
        return _content(part, get)
    return rebuild(part, lambda inner: _part(inner, get))


def refs(payload: Any) -> list[Ref]:
    """Every Ref in a payload, in order."""
    if type(payload) is Ref:
        return [payload]
    found: list[Ref] = []
    rebuild(payload, lambda part: found.extend(refs(part)))
    return found


def refs_in_value(content: bytes) -> list[Ref]:
    """Every Ref in the content of a Ref to a value.

    Raises:
        ContentDamaged: it is not the form of a value.
    """
    try:
        return refs(unpack(content, max_len=len(content), references=True))
    except WireError as error:
        raise ContentDamaged(f"content of {len(content)} bytes is no value, as the chain says: {error}") from error


@dataclass(frozen=True, slots=True)
class Torn:
    """The file ends inside of its last record: `size` bytes are left behind the last whole one."""

    size: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A record is not what it was.

    Args:
        index: sequence number that the damaged entry should have.
        offset: where its record begins.
        expected: what had to stand there.
        found: what does.
    """

    index: int
    offset: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"entry {self.index} at byte {self.offset}: expected {self.expected}, found {self.found}"

    def error(self, where: str) -> ChainBroken:
        """The damage as an error about the chain `where`."""
        return ChainBroken(
            f"{where}: {self}",
            reason="damaged", index=self.index, offset=self.offset, expected=self.expected, found=self.found,
        )  # fmt: skip


def read_header(data: bytes, at: int = 0) -> tuple[int, int] | None:
    """(length of the body, sequence number) of the record header at `data[at:]`; None if there is no good one."""
    if at < 0 or len(data) - at < HEADER_SIZE:
        return None
    length, seq, check = _HEADER.unpack_from(data, at)
    good = crc32(data[at : at + 12]) == check and 0 < length <= MAX_BODY
    return (length, seq) if good else None


class _Suspect(NamedTuple):
    """A record that is not good, but may be what a dying machine left, if the rest of the file is zeros.

    Args:
        zeros_from: from where on in the record everything must be zero.
        least: how many bytes from the record's beginning the file must have at least.
    """

    damage: Damage
    zeros_from: int
    least: int


class Scanner:
    """Checks the bytes of a chain, in pieces of any size, and gives the records that are good.

    It holds one record and the piece at hand, at most.

    Args:
        head: where the bytes begin; what is before it is taken for verified.

    Attributes:
        damage: set as soon as damage is certain; nothing is read after it.
    """

    def __init__(self, head: Head = START) -> None:
        self._entries, self._digest, self._offset = head
        self._parts: list[bytes] = []
        self._held = 0
        self._wanted = HEADER_SIZE
        self._suspect: _Suspect | None = None
        self.damage: Damage | None = None

    @property
    def head(self) -> Head:
        """The head behind the last good record."""
        return Head(self._entries, self._digest, self._offset)

    def feed(self, data: bytes) -> list[Record]:
        """Takes the next bytes of the file; returns the records that they complete, in order."""
        if self.damage is not None:
            return []
        self._held += len(data)
        if self._suspect is not None:
            self._expect_zeros(data)
            return []
        self._parts.append(data)
        if self._held < self._wanted:
            return []
        whole = b"".join(self._parts)
        records, used = self._take(whole)
        self._held -= used
        self._parts = [whole[used:]] if self._held else []
        if self._suspect is not None:
            self._parts = []
            self._expect_zeros(whole[used + self._suspect.zeros_from :])
        return records

    def end(self) -> Torn | Damage | None:
        """How the chain ends, once all bytes have been fed: None if it is whole."""
        if self.damage is not None:
            return self.damage
        if self._suspect is not None and self._held < self._suspect.least:
            return self._suspect.damage
        return Torn(self._held) if self._held else None

    def _take(self, data: bytes) -> tuple[list[Record], int]:
        """The good records at the beginning of `data`, and how many bytes they are."""
        records: list[Record] = []
        size, at, base = len(data), 0, self._offset
        seq, before = self._entries, self._digest
        self._wanted = HEADER_SIZE
        while size - at >= HEADER_SIZE:
            length, number, check = _HEADER.unpack_from(data, at)
            if crc32(data[at : at + 12]) != check or number != seq or not 0 < length <= MAX_BODY:
                self._doubt_header(data[at : at + HEADER_SIZE], seq, base + at)
                break
            body_end = at + HEADER_SIZE + length
            if size < body_end + DIGEST_SIZE:
                self._wanted = OVERHEAD + length
                break
            body = data[at + HEADER_SIZE : body_end]
            stated = data[body_end : body_end + DIGEST_SIZE]
            found = blake3(_PREFIX + before + body).digest()
            if found != stated:
                damage = Damage(seq, base + at, f"digest {found.hex()}", stated.hex())
                self._suspect = _Suspect(damage, HEADER_SIZE + length, OVERHEAD + length)
                break
            if not body.startswith(_ARRAY_OF_FOUR + _pack_seq(seq)):
                self.damage = Damage(seq, base + at, f"a body of entry {seq}", f"one that begins {body[:10].hex()}")
                break
            records.append(Record(seq, base + at, body, stated, before))
            before = stated
            seq += 1
            at = body_end + DIGEST_SIZE
        self._entries, self._digest, self._offset = seq, before, base + at
        return records, at

    def _doubt_header(self, header: bytes, seq: int, offset: int) -> None:
        length, number, check = _HEADER.unpack(header)
        right = crc32(header[:12])
        if check != right:
            damage = Damage(seq, offset, f"header checksum {right:08x}", f"{check:08x}")
            nothing_written = not any(header)
            least = HEADER_SIZE if nothing_written else HEADER_SIZE + DIGEST_SIZE
            self._suspect = _Suspect(damage, HEADER_SIZE, least)
        elif number != seq:
            self.damage = Damage(seq, offset, f"sequence number {seq}", str(number))
        else:
            self.damage = Damage(seq, offset, f"a length from 1 to {MAX_BODY}", str(length))

    def _expect_zeros(self, data: bytes) -> None:
        if self._suspect is not None and data.count(0) != len(data):
            self.damage = self._suspect.damage


def _pack_seq(seq: int) -> bytes:
    """A sequence number in msgpack's shortest form."""
    if seq < 0x80:
        return bytes((seq,))
    if seq < 0x100:
        return bytes((0xCC, seq))
    if seq < 0x10000:
        return b"\xcd" + seq.to_bytes(2, "big")
    if seq < 0x1_0000_0000:
        return b"\xce" + seq.to_bytes(4, "big")
    return b"\xcf" + seq.to_bytes(8, "big")
