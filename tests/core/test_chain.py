"""The chain format: what is written is read, in any pieces; what is torn, damaged or whole is told apart for sure."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import notation
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from theater.core.chain import (
    FIELD_MAX,
    INLINE_MAX,
    MAX_BODY,
    OVERHEAD,
    START,
    Call,
    Checkpoint,
    Damage,
    Encoder,
    Genesis,
    Head,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    Mark,
    Outcome,
    Record,
    Scanner,
    Torn,
    Tracker,
    outcome_err,
    outcome_ok,
    outcome_trap,
    read_header,
    read_payload,
    refs,
    refs_in_value,
    resolve,
    state_digest,
)
from theater.core.codec import Form, Ref, content_digest, pack, unpack
from theater.core.outage import Loss
from theater.core.values import Case, Err, Ok, Some
from theater.errors import ChainBroken, ContentDamaged, MessageTooLarge, UnknownContent

VECTORS = json.loads((Path(__file__).parent / "vectors" / "chain.json").read_text())
ACTOR = "00000000-0000-8000-8000-000000000001"
GENESIS = Genesis(ACTOR, "counter", None, None, None, {"wasmtime": "50"})
ENTRIES: list[tuple[Kind, Any]] = [
    (Kind.GENESIS, GENESIS),
    (Kind.CALL, Call("i", "f", (b"hello", 1), bytes(range(32)), "sender", 7)),
    (Kind.HOST_CALL, HostCall("i", "g", ())),
    (Kind.HOST_RESULT, HostResult(Ok({"b": 1, "a": None}))),
    (Kind.OUTCOME, outcome_ok([1, 2], b"state", None, 12)),
    (Kind.LIFECYCLE, Lifecycle("incarnation", {"incarnation": 2})),
]


class Memory:
    """Content in memory."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = content_digest(data).hex()
        self.contents[digest] = data
        return digest

    def get(self, digest: str) -> bytes:
        if digest not in self.contents:
            raise UnknownContent(digest)
        return self.contents[digest]


def write(entries: Sequence[tuple[Kind, Any]], put: Callable[[bytes], str] | None = None) -> list[bytes]:
    """The records of a chain."""
    encoder = Encoder(START, put)
    return [encoder.entry(kind, payload, 1000 + number)[0] for number, (kind, payload) in enumerate(entries)]


def scan(data: bytes, pieces: Sequence[int] = ()) -> tuple[list[Record], Torn | Damage | None]:
    """What a scanner finds in `data` that is fed in pieces, cut at the positions `pieces`."""
    scanner = Scanner()
    cuts = [0, *sorted(min(cut, len(data)) for cut in pieces), len(data)]
    records = [record for begin, end in pairwise(cuts) for record in scanner.feed(data[begin:end])]
    return records, scanner.end()


RECORDS = write(ENTRIES)
FILE = b"".join(RECORDS)


# ---- the vectors


CHAINS = [VECTORS, VECTORS["child"]]


@pytest.mark.parametrize("chain", CHAINS, ids=["an actor", "a child"])
def test_the_chain_that_is_written_down_is_written(chain: dict[str, Any]) -> None:
    encoder = Encoder()
    for noted in chain["entries"]:
        payload = [notation.read(field) for field in noted["payload"]]
        record, digest = encoder.entry(Kind(noted["kind"]), payload, noted["time_ns"])
        assert (record.hex(), digest.hex()) == (noted["record"], noted["digest"]), noted["about"]
    assert list(encoder.head) == [chain["head"]["entries"], encoder.digest, chain["head"]["offset"]]


@pytest.mark.parametrize("chain", CHAINS, ids=["an actor", "a child"])
def test_the_chain_that_is_written_down_is_read(chain: dict[str, Any]) -> None:
    records, ending = scan(bytes.fromhex("".join(noted["record"] for noted in chain["entries"])))
    assert ending is None
    for record, noted in zip(records, chain["entries"], strict=True):
        entry = record.entry()
        assert entry.payload == [notation.read(field) for field in noted["payload"]]
        assert (entry.seq, entry.kind.label, entry.time_ns) == (noted["seq"], noted["about"], noted["time_ns"])
        assert (entry.offset, entry.digest.hex()) == (noted["offset"], noted["digest"])
        assert record.kind_number == entry.kind
        entry.read()


def test_the_later_fields_that_are_written_down_are_what_they_are_called() -> None:
    records, _ = scan(bytes.fromhex("".join(noted["record"] for noted in VECTORS["child"]["entries"])))
    read = [record.entry().read() for record in records]
    genesis, outcome, without_root, checkpoint, loss = read[0], read[2], read[6], read[10], read[11]
    assert isinstance(genesis, Genesis)
    assert (genesis.parent, genesis.initial, genesis.resumed) == (ACTOR, bytes(range(5, 37)), True)
    assert isinstance(outcome, Outcome)
    assert outcome.root == bytes(range(6, 38))
    assert isinstance(without_root, Outcome)
    assert without_root.root is None
    assert isinstance(checkpoint, Checkpoint)
    assert [Mark.read(row).snapshot_at for row in checkpoint.marks.values()] == [None, 1500]
    assert isinstance(loss, Lifecycle)
    assert Loss.read(loss.details).details() == loss.details
    assert str(Loss.read(loss.details)).startswith("entries 7 to 8 were lost when the machine died")
    tracker = Tracker()
    for record, payload in zip(records, read, strict=True):
        tracker.note(payload, record.offset)
    assert (tracker.snapshot_at, tracker.state_at) == (records[8].offset, records[7].offset)


def test_the_description_of_the_format_suffices_to_verify_a_chain() -> None:
    data = bytes.fromhex("".join(noted["record"] for noted in VECTORS["entries"]))
    at, number, before = 0, 0, bytes(32)
    while at < len(data):
        length, seq, check = struct.unpack_from(">IQI", data, at)
        assert (seq, check) == (number, crc32(data[at : at + 12]))
        body, digest = data[at + 16 : at + 16 + length], data[at + 16 + length : at + 48 + length]
        assert digest == blake3(bytes([21]) + b"theater chain entry 1" + before + body).digest()
        before, at, number = digest, at + 48 + length, number + 1
    assert before.hex() == VECTORS["head"]["digest"]


@pytest.mark.parametrize("vector", VECTORS["endings"], ids=lambda vector: vector["about"])
def test_a_chain_ends_as_it_is_written_down(vector: dict[str, Any]) -> None:
    data = bytearray.fromhex("".join(noted["record"] for noted in VECTORS["entries"]))
    for edit in vector["edits"]:
        _edit(data, **edit)
    for piece in (len(data) or 1, 1, 7):
        records, ending = scan(bytes(data), range(piece, len(data), piece))
        assert len(records) == vector["entries"]
        if vector["ending"] == "whole":
            assert ending is None
        elif vector["ending"] == "torn":
            assert ending == Torn(vector["bytes"])
        else:
            assert isinstance(ending, Damage)
            assert ending.index == vector["entries"]


def _edit(
    data: bytearray,
    cut: int | None = None,
    append: str = "",
    flip: tuple[int, int] | None = None,
    remove: tuple[int, int] | None = None,
) -> None:
    if cut is not None:
        del data[cut:]
    if flip is not None:
        data[flip[0]] ^= 1 << flip[1]
    if remove is not None:
        del data[remove[0] : remove[1]]
    data += bytes.fromhex(append)


# ---- reading


@given(st.lists(st.integers(0, len(FILE)), max_size=30))
def test_it_does_not_matter_in_which_pieces_a_chain_is_read(pieces: list[int]) -> None:
    records, ending = scan(FILE, pieces)
    assert ending is None
    assert [record.body for record in records] == [record[16:-32] for record in RECORDS]
    assert b"".join(FILE[record.offset : record.end] for record in records) == FILE


@pytest.mark.parametrize("piece", [1 << 20, 5])
def test_a_chain_cut_anywhere_is_whole_or_torn(piece: int) -> None:
    ends = [sum(len(record) for record in RECORDS[:count]) for count in range(len(RECORDS) + 1)]
    for cut in range(len(FILE) + 1):
        records, ending = scan(FILE[:cut], range(piece, cut, piece))
        whole = max(end for end in ends if end <= cut)
        assert len(records) == ends.index(whole)
        assert ending == (Torn(cut - whole) if cut > whole else None)


def test_no_flipped_bit_is_taken_for_a_torn_tail() -> None:
    owner = [index for index, record in enumerate(RECORDS) for _ in record]
    for bit in range(len(FILE) * 8):
        flipped = bytearray(FILE)
        flipped[bit // 8] ^= 1 << bit % 8
        records, ending = scan(bytes(flipped))
        assert isinstance(ending, Damage), bit
        assert ending.index == len(records) == owner[bit // 8]


@given(st.integers(0, len(FILE)), st.integers(1, 300), st.lists(st.integers(0, 1000), max_size=5))
def test_zeros_behind_a_cut_are_a_torn_tail_unless_something_was_lost(cut: int, zeros: int, pieces: list[int]) -> None:
    data = FILE[:cut] + bytes(zeros)
    records, ending = scan(data, pieces)
    ends = [sum(len(record) for record in RECORDS[:count]) for count in range(len(RECORDS) + 1)]
    whole = max(end for end in ends if end <= cut)
    if isinstance(ending, Damage):
        # Only where the zeros fill the place of what was there, and it cannot be told from a change: in a record
        # whose digest is still there, or in a header behind which there are too few.
        assert ending.offset == whole
        assert zeros < 80 or cut - whole > len(RECORDS[len(records)]) - 32
    else:
        assert len(records) >= ends.index(whole)


@given(st.permutations(range(len(RECORDS))))
def test_entries_in_another_order_are_damage(order: list[int]) -> None:
    _, ending = scan(b"".join(RECORDS[number] for number in order))
    assert (ending is None) == (order == sorted(order))


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_an_entry_left_out_or_doubled_is_damage(number: int) -> None:
    without = RECORDS[:number] + RECORDS[number + 1 :]
    twice = RECORDS[: number + 1] + RECORDS[number:]
    for records in (twice,) if number == len(RECORDS) - 1 else (without, twice):
        _, ending = scan(b"".join(records))
        assert isinstance(ending, Damage)


def test_a_body_that_says_another_number_is_damage() -> None:
    body = pack([5, Kind.HOST_RESULT.value, 1, [None, None]])
    header = struct.pack(">IQ", len(body), 0)
    digest = blake3(bytes([21]) + b"theater chain entry 1" + bytes(32) + body).digest()
    _, ending = scan(header + crc32(header).to_bytes(4, "big") + body + digest)
    assert isinstance(ending, Damage)
    assert "a body of entry 0" in str(ending)


@pytest.mark.parametrize("length", [0, MAX_BODY + 1, (1 << 32) - 1])
def test_a_length_out_of_range_is_damage_however_good_its_checksum(length: int) -> None:
    header = struct.pack(">IQ", length, 0)
    whole = header + crc32(header).to_bytes(4, "big")
    assert read_header(whole) is None
    assert isinstance(scan(whole + bytes(100))[1], Damage)


def test_damage_says_what_was_expected_and_what_was_found() -> None:
    data = bytearray(FILE)
    data[len(RECORDS[0]) + 20] ^= 1
    _, ending = scan(bytes(data))
    assert isinstance(ending, Damage)
    error = ending.error("a chain")
    assert isinstance(error, ChainBroken)
    assert error.details["index"] == 1
    assert "a chain: entry 1 at byte" in str(error)
    assert ending.found == RECORDS[1][-32:].hex()


def test_nothing_is_read_behind_damage() -> None:
    scanner = Scanner()
    scanner.feed(FILE[:-1] + bytes([FILE[-1] ^ 1]))
    scanner.feed(b"x")
    assert scanner.damage is not None
    assert scanner.feed(FILE) == []
    assert scanner.end() is scanner.damage


def test_a_chain_is_read_from_a_known_head_on() -> None:
    encoder = Encoder()
    for kind, payload in ENTRIES[:3]:
        encoder.entry(kind, payload, 1)
    scanner = Scanner(encoder.head)
    more = [encoder.entry(kind, payload, 2)[0] for kind, payload in ENTRIES[3:]]
    records = scanner.feed(b"".join(more))
    assert [record.seq for record in records] == [3, 4, 5]
    assert scanner.end() is None
    assert scanner.head == encoder.head
    assert isinstance(Scanner(Head(3, bytes(32), 0)).feed(more[0]), list)


# ---- writing


@given(st.lists(st.sampled_from(ENTRIES), max_size=20))
def test_what_is_written_is_read(entries: list[tuple[Kind, Any]]) -> None:
    records, ending = scan(b"".join(write(entries)))
    assert ending is None
    for number, (record, (kind, payload)) in enumerate(zip(records, entries, strict=True)):
        entry = record.entry()
        assert (entry.seq, entry.kind, entry.time_ns) == (number, kind, 1000 + number)
        written = payload[:5] if kind is Kind.OUTCOME else payload  # without a root
        assert entry.payload == unpack(pack(written), max_len=10_000)
        assert entry.previous == (records[number - 1].digest if number else bytes(32))


def test_time_and_everything_before_count_for_the_digest() -> None:
    first, second = Encoder(), Encoder()
    same = HostResult(1)
    assert first.entry(Kind.HOST_RESULT, same, 1)[1] == second.entry(Kind.HOST_RESULT, same, 1)[1]
    assert first.entry(Kind.HOST_RESULT, same, 1)[1] != second.entry(Kind.HOST_RESULT, same, 2)[1]
    assert first.entry(Kind.HOST_RESULT, same, 1)[1] != second.entry(Kind.HOST_RESULT, same, 1)[1]


def test_an_entry_that_cannot_be_recorded_leaves_the_chain_as_it_was() -> None:
    encoder = Encoder()
    encoder.entry(*ENTRIES[0], 1)
    before = encoder.head
    with pytest.raises(TypeError):
        encoder.entry(Kind.HOST_RESULT, HostResult(object()), 1)
    with pytest.raises(ValueError):
        encoder.entry(Kind.HOST_RESULT, HostResult("\ud800"), 1)
    with pytest.raises(MessageTooLarge):
        encoder.entry(Kind.HOST_RESULT, HostResult(bytes(MAX_BODY)), 1)
    assert encoder.head == before


# ---- what is kept elsewhere

LONG = st.binary(min_size=INLINE_MAX - 2, max_size=INLINE_MAX + 2) | st.sampled_from(
    ["x" * 4096, "x" * 4097, "ü" * 2048, "ü" * 2049, "🎭" * 1024, "🎭" * 1025]
)
MIXED = st.recursive(
    st.none() | st.integers(0, 9) | LONG,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        | st.builds(Ok, inner)
        | st.builds(Err, inner)
        | st.builds(Some, inner)
        | st.builds(Case, st.just("c"), inner)
    ),
    max_leaves=6,
)


@given(MIXED)
def test_what_is_long_is_kept_elsewhere_and_put_back(value: Any) -> None:
    memory = Memory()
    (record,) = scan(write([(Kind.HOST_RESULT, HostResult(value))], memory.put)[0])[0]
    assert all(len(content) > INLINE_MAX for content in memory.contents.values())
    payload = record.entry().payload
    found = refs(payload)
    assert {ref.digest.hex() for ref in found} == set(memory.contents)
    assert record.has_refs or not found
    assert resolve(payload, memory.get) == [value, None]
    assert len(record.body) < FIELD_MAX + 1000


def test_exactly_what_is_longer_than_4096_bytes_is_kept_elsewhere() -> None:
    memory = Memory()
    fits, long, text, long_text = bytes(4096), bytes(4097), "ü" * 2048, "ü" * 2049
    (record,) = scan(write([(Kind.CALL, Call("i", "f", [fits, long, text, long_text]))], memory.put)[0])[0]
    args = record.entry().payload[2]
    assert args[0] == fits
    assert args[1] == Ref(content_digest(long), 4097, Form.BYTES)
    assert args[2] == text
    assert args[3] == Ref(content_digest(long_text.encode()), 4098, Form.TEXT)


def test_a_field_that_is_long_without_long_parts_is_kept_elsewhere_as_a_whole() -> None:
    memory = Memory()
    many = [{"number": number, "long": b"x" * 5000} for number in range(5000)]
    (record,) = scan(write([(Kind.HOST_RESULT, HostResult(many))], memory.put)[0])[0]
    (ref,) = refs(record.entry().payload)
    assert ref.form is Form.VALUE
    assert {inner.digest for inner in refs_in_value(memory.get(ref.digest.hex()))} == {content_digest(b"x" * 5000)}
    assert resolve(record.entry().payload, memory.get) == [many, None]
    assert len(record.body) < 200


def test_without_a_place_everything_stands_in_line() -> None:
    (record,) = scan(write([(Kind.HOST_RESULT, HostResult(bytes(100_000)))])[0])[0]
    assert record.entry().payload == [bytes(100_000), None]


def test_content_that_is_not_what_the_chain_says_is_damage() -> None:
    def get(_: str) -> bytes:
        return b"\xff\xfe"

    for ref in (Ref(bytes(32), 5), Ref(bytes(32), 2, Form.TEXT), Ref(bytes(32), 2, Form.VALUE)):
        with pytest.raises(ContentDamaged):
            resolve([ref], get)
    inside = pack(Ref(bytes(32), 1, Form.VALUE))
    with pytest.raises(ContentDamaged, match="inside of a value"):
        resolve([Ref(bytes(32), len(inside), Form.VALUE)], lambda _: inside)
    with pytest.raises(ContentDamaged):
        refs_in_value(b"\xc1")


def test_content_that_is_missing_is_said_to_be() -> None:
    with pytest.raises(UnknownContent):
        resolve([Ref(bytes(32), 5)], Memory().get)


# ---- payloads


@pytest.mark.parametrize(("kind", "payload"), ENTRIES)
def test_a_payload_is_read_as_what_it_was(kind: Kind, payload: Any) -> None:
    (record,) = scan(write([(kind, payload)])[0])[0]
    found = record.entry().read()
    assert type(found) is type(payload)
    assert pack(found) == pack(payload)


def test_an_outcome_holds_the_state_only_if_it_changed() -> None:
    before = state_digest(b"state")
    assert outcome_ok(1, b"state", before) == Outcome("ok", 1, before, ())
    assert outcome_ok(1, b"other", before) == Outcome("ok", 1, state_digest(b"other"), (b"other",))
    assert outcome_ok(1, None, before) == Outcome("ok", 1, None, (None,))
    assert outcome_ok(1, None, None) == Outcome("ok", 1, None, ())
    assert outcome_err("no", before, 9) == Outcome("err", "no", before, (), 9)
    assert outcome_trap("oom", "out of memory", "0: f", before).value == ("oom", "out of memory", "0: f")


def test_fields_of_a_later_version_are_ignored_and_absent_ones_are_nil() -> None:
    assert read_payload(Kind.HOST_RESULT, [1]) == HostResult(1, None)
    assert read_payload(Kind.HOST_RESULT, [1, None, "new", "newer"]) == HostResult(1, None)
    assert read_payload(Kind.OUTCOME, ["ok", 1, None]) == Outcome("ok", 1, None, (), None)
    assert Mark.read([3, bytes(32), 99]) == Mark(3, bytes(32), 99, None, 0, None)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Kind.GENESIS, []),
        (Kind.GENESIS, [1, "n", None, None, None, {}]),
        (Kind.GENESIS, ["a", "n", None, None, None, {}, None, None, "1"]),
        (Kind.CALL, ["i", "f"]),
        (Kind.CALL, ["i", "f", {}]),
        (Kind.CALL, ["i", "f", [], "cause"]),
        (Kind.HOST_CALL, "text"),
        (Kind.HOST_RESULT, []),
        (Kind.OUTCOME, ["ok", 1, None, b"state"]),
        (Kind.OUTCOME, ["ok", 1, None, [], True]),
        (Kind.LIFECYCLE, ["event", None]),
        (Kind.CHECKPOINT, [[]]),
    ],
)
def test_a_payload_of_another_shape_is_a_broken_chain(kind: Kind, payload: object) -> None:
    with pytest.raises(ChainBroken):
        read_payload(kind, payload)


@pytest.mark.parametrize(
    "row", [None, [], [1, b"short", 2], [-1, bytes(32), 0], [1, bytes(32), -1], ["1", bytes(32), 0]]
)
def test_what_is_no_mark_is_a_broken_chain(row: object) -> None:
    with pytest.raises(ChainBroken):
        Mark.read(row)


@pytest.mark.parametrize("body", [[0, 99, 1, []], [0, "call", 1, []], [0, 1, "now", []]])
def test_a_good_record_that_is_no_entry_of_this_version_is_a_broken_chain(body: list[Any]) -> None:
    record = Record(0, 0, pack(body), bytes(32), bytes(32))
    assert record.kind_number in (-1, 1)
    with pytest.raises(ChainBroken, match="entry 0"):
        record.entry()


# ---- marks


def follow(payloads: Sequence[Any]) -> Mark:
    """The mark behind `payloads`, whose records are a hundred bytes long."""
    tracker = Tracker()
    for number, payload in enumerate(payloads):
        tracker.note(payload, number * 100)
    return tracker.mark(START)


def test_a_tracker_knows_where_the_state_is_and_which_call_is_open() -> None:
    call, keep = Call("i", "f", ()), outcome_ok(1, b"s", state_digest(b"s"))
    change, again = outcome_ok(1, b"t", None), Lifecycle("incarnation", {"incarnation": 5})
    assert follow([GENESIS]) == Mark(*START, None, 1, None)
    assert follow([GENESIS, call]) == Mark(*START, None, 1, 100)
    assert follow([GENESIS, call, HostCall("i", "f", ())]) == Mark(*START, None, 1, 100)
    assert follow([GENESIS, call, change, call, keep]) == Mark(*START, 200, 1, None)
    assert follow([GENESIS, call, again]) == Mark(*START, None, 5, None)
    assert follow([Lifecycle("stopped", {}), Checkpoint({})]) == Mark(*START)


def test_a_tracker_goes_on_from_a_mark() -> None:
    mark = Mark(9, bytes(32), 900, 300, 2, 800)
    tracker = Tracker(mark)
    assert tracker.mark(mark.head) == mark
    tracker.note(outcome_err("no", None), 900)
    assert tracker.mark(mark.head) == mark._replace(call_at=None)


def test_a_life_that_does_not_say_its_number_is_a_broken_chain() -> None:
    with pytest.raises(ChainBroken):
        Tracker().note(Lifecycle("incarnation", {}), 0)


def test_the_kind_is_found_without_taking_the_body_apart() -> None:
    encoder = Encoder(Head((1 << 32) - 2, bytes(32), 0))
    for seq in (0, 127, 128, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32):
        encoder.entries = seq
        record, _ = encoder.entry(Kind.OUTCOME, outcome_err("x", None), 1)
        assert Record(seq, 0, record[16:-32], b"", b"").kind_number == Kind.OUTCOME
    assert OVERHEAD == 48
