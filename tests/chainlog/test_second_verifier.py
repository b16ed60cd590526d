"""Two verifiers that share nothing but a description of the format say the same of every chain."""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

import long_chains
import pytest
from blake3 import blake3
from chains import Living
from effort import effort
from hypothesis import given, settings
from hypothesis import strategies as st

from theater.chainlog import verify_chain
from theater.core.chain import (
    START,
    Call,
    Encoder,
    Genesis,
    Head,
    HostCall,
    HostResult,
    Kind,
    Lifecycle,
    outcome_err,
    outcome_ok,
)
from theater.core.codec import pack
from theater.core.signed_checkpoint import Signer
from theater.core.values import Case, Err, Ok, Some
from theater.core.verification import SUPERVISOR, Verifier

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "verifier" / "verify_chain.py"
VECTORS = json.loads((ROOT / "tests" / "core" / "vectors" / "chain.json").read_text())
ACTOR = "00000000-0000-8000-8000-000000000001"
OTHER = "00000000-0000-8000-8000-000000000002"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_chain", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for the module of their class
    spec.loader.exec_module(module)
    return module


second = _load()

Opinion = tuple[int, str, int, int | None, str]
"""Good entries, head, torn bytes, the entry that is wrong, the name."""


def first_opinion(data: bytes, pieces: int = 1 << 20) -> Opinion:
    verifier = Verifier()
    for at in range(0, len(data), pieces):
        verifier.feed(data[at : at + pieces])
    verdict = verifier.verdict()
    wrong = None if verdict.error is None else int(verdict.error.split()[1].rstrip(":"))
    return verdict.entries, verdict.head, verdict.torn_bytes, wrong, verdict.name


def second_opinion(data: bytes) -> Opinion:
    found = second.verify(data)
    assert found.size == len(data) - found.torn or not found.ok
    return found.entries, found.head.hex(), found.torn, None if found.ok else found.wrong[0], found.name


def agreed(data: bytes) -> Opinion:
    """What both say, if it is the same. Of a chain whose genesis is wrong it is enough that both say so, for one reads
    on in the block that it has and the other does not."""
    one, other = first_opinion(data), second_opinion(data)
    if one[3] == 0 == other[3]:
        return other
    assert one == other
    return other


def records(entries: Sequence[tuple[Kind, Any]], head: Head = START) -> list[bytes]:
    encoder = Encoder(head)
    return [encoder.entry(kind, payload, 1000 + at)[0] for at, (kind, payload) in enumerate(entries)]


GENESIS = (Kind.GENESIS, Genesis(ACTOR, "counter", None, bytes(32), None, {"wasmtime": "50", "fuel": False}))
SMALL = records([GENESIS, (Kind.CALL, Call("i", "f", (b"x",))), (Kind.OUTCOME, outcome_ok(1, b"state", None))])


# ---- what it is


def test_it_is_one_file_that_knows_nothing_of_theater() -> None:
    imports = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imports - set(sys.stdlib_module_names) == {"blake3", "msgpack"}


# ---- agreement


@pytest.mark.parametrize("vector", VECTORS["endings"], ids=lambda vector: vector["about"])
def test_both_read_the_vectors(vector: dict[str, Any]) -> None:
    data = bytearray.fromhex("".join(noted["record"] for noted in VECTORS["entries"]))
    for edit in vector["edits"]:
        if "cut" in edit:
            del data[edit["cut"] :]
        if "flip" in edit:
            data[edit["flip"][0]] ^= 1 << edit["flip"][1]
        if "remove" in edit:
            del data[edit["remove"][0] : edit["remove"][1]]
        data += bytes.fromhex(edit.get("append", ""))
    entries, head, torn, wrong, _ = agreed(bytes(data))
    assert entries == vector["entries"]
    assert torn == vector.get("bytes", 0)
    assert wrong == (vector["entries"] if vector["ending"] == "damage" else None)
    if vector["ending"] == "whole" and entries == VECTORS["head"]["entries"]:
        assert head == VECTORS["head"]["digest"]


def test_both_read_the_chain_of_a_child_with_all_that_was_added_to_the_format() -> None:
    noted = VECTORS["child"]
    data = bytes.fromhex("".join(each["record"] for each in noted["entries"]))
    assert agreed(data) == (noted["head"]["entries"], noted["head"]["digest"], 0, None, "child")


def test_both_find_every_flipped_bit_in_its_entry() -> None:
    data = b"".join(SMALL)
    owner = [number for number, record in enumerate(SMALL) for _ in record]
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        _, _, torn, wrong, _ = agreed(bytes(flipped))
        assert (torn, wrong) == (0, owner[bit // 8]), bit


def test_both_know_a_torn_tail_wherever_it_is_cut() -> None:
    data = b"".join(SMALL)
    for cut in range(len(data) + 1):
        entries, _, torn, wrong, _ = agreed(data[:cut])
        assert wrong is None
        assert sum(map(len, SMALL[:entries])) + torn == cut


ZEROS = (1, 15, 16, 31, 32, 33, 47, 48, 49, 79, 80, 81, 200)


@pytest.mark.parametrize("zeros", ZEROS)
def test_both_know_the_zeros_that_a_power_cut_leaves(zeros: int) -> None:
    data = b"".join(SMALL)
    for cut in range(len(data) + 1):
        agreed(data[:cut] + bytes(zeros))
        agreed(data[:cut] + bytes(zeros) + b"\x01")
        agreed(data[:cut] + bytes(min(zeros, len(data) - cut)) + data[cut + zeros :])


def test_both_find_entries_removed_swapped_or_doubled() -> None:
    rows = [*SMALL, *records([(Kind.LIFECYCLE, Lifecycle("stopped", {}))], _head(SMALL))]
    for at in range(len(rows)):
        for changed in (
            rows[:at] + rows[at + 1 :],
            rows[: at + 1] + rows[at:],
            [*rows[:at], *rows[at + 1 : at + 2], rows[at], *rows[at + 2 :]],
        ):
            *_, wrong, _ = agreed(b"".join(changed))
            assert (wrong is None) == (changed in (rows, rows[:-1]))


def _head(rows: Sequence[bytes]) -> Head:
    return Head(len(rows), rows[-1][-32:], sum(map(len, rows)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    | st.builds(Ok, inner) | st.builds(Err, inner) | st.builds(Some, inner)
    | st.builds(Case, st.just("c"), inner) | st.frozensets(st.text(max_size=2), max_size=3),
    max_leaves=8,
)  # fmt: skip
DIGESTS = st.none() | st.binary(min_size=32, max_size=32)
ENTRIES = st.one_of(
    st.tuples(
        st.just(Kind.CALL),
        st.builds(Call, st.just("i"), st.text(max_size=3), st.lists(VALUES, max_size=2), DIGESTS, st.none(), VALUES),
    ),
    st.tuples(st.just(Kind.HOST_CALL), st.builds(HostCall, st.just("i"), st.just("f"), st.lists(VALUES, max_size=2))),
    st.tuples(st.just(Kind.HOST_RESULT), st.builds(HostResult, VALUES, DIGESTS)),
    st.tuples(st.just(Kind.OUTCOME), st.builds(outcome_err, VALUES, DIGESTS, st.none())),
    st.tuples(st.sampled_from(Kind), st.lists(VALUES, max_size=3)),
)
GENESES = st.one_of(
    st.just(GENESIS),
    st.tuples(st.just(Kind.GENESIS), st.lists(VALUES, max_size=13)),
    st.builds(
        lambda engine, more: (Kind.GENESIS, [ACTOR, "n", None, None, None, engine, *more]),
        VALUES,
        st.lists(VALUES, max_size=7),
    ),
    ENTRIES,
)
EDITS = st.lists(
    st.tuples(st.sampled_from(["cut", "flip", "insert", "zero", "join"]), st.floats(0, 1), st.integers(1, 120)),
    max_size=3,
)


def edited(data: bytes, edits: Sequence[tuple[str, float, int]]) -> bytes:
    for what, where, size in edits:
        at = int(where * len(data))
        if what == "cut":
            data = data[:at]
        elif what == "join":
            data = data[:at] + data[at + size :]
        elif what == "insert":
            data = data[:at] + bytes(size) + data[at:]
        elif what == "zero":
            data = data[:at] + bytes(min(size, len(data) - at)) + data[at + size :]
        elif at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << size % 8]) + data[at + 1 :]
    return data


@settings(max_examples=effort(100, 1000), deadline=None)
@given(GENESES, st.lists(ENTRIES, max_size=6), EDITS)
def test_both_say_the_same_of_chains_that_nobody_thought_of(
    genesis: tuple[Kind, Any], entries: list[tuple[Kind, Any]], edits: list[tuple[str, float, int]]
) -> None:
    agreed(edited(b"".join(records([genesis, *entries])), edits))


def forged(body: bytes, number: int = 0, before: bytes = bytes(32)) -> bytes:
    """A record whose digest and checksum are right, whatever its body is."""
    header = struct.pack(">IQ", len(body), number)
    digest = blake3(bytes([21]) + b"theater chain entry 1" + before + body).digest()
    return header + crc32(header).to_bytes(4, "big") + body + digest


GOOD_GENESIS = [ACTOR, "n", None, None, None, {}]


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pack([0, 0, 1, GOOD_GENESIS]), id="a good one"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS, 5]), id="an array of five"),
        pytest.param(pack([1, 0, 1, GOOD_GENESIS]), id="another number"),
        pytest.param(b"\x94\xcc\x00" + pack(0) + pack(1) + pack(GOOD_GENESIS), id="a number in a longer form"),
        pytest.param(pack([0, 7, 1, GOOD_GENESIS]), id="a kind that is unknown"),
        pytest.param(pack([0, True, 1, GOOD_GENESIS]), id="a kind that is no number"),
        pytest.param(pack([0, 0, 1.5, GOOD_GENESIS]), id="a time that is no number"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS[:5]]), id="too few fields"),
        pytest.param(pack([0, 0, 1, [*GOOD_GENESIS, 5]]), id="a field of another type"),
        pytest.param(pack([0, 0, 1, {}]), id="a payload that is a map"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS]) + b"\x00", id="more behind it"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1], id="less than it says"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a\xc1", id="no msgpack"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x82\xa1a\x01\xa1a\x01", id="a key twice"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\x01\x01", id="a key that is no text"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a\xd4\x09\x00", id="an unknown extension"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a\xd4\x10\x00", id="a short reference"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a\xd4\x04\x00", id="a case that is none"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a\xd6\xff\0\0\0\0", id="a time of msgpack's own"),
        pytest.param(pack([0, 0, 1, [*GOOD_GENESIS[:5], {"a": nested(61)}]]), id="nested to the limit"),
        pytest.param(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a" + pack(nested(62)), id="nested too deep"),
        pytest.param(
            pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a" + pack(frozenset("ab")).replace(b"\xa1b", b"\xa1a"),
            id="a flag twice",
        ),
        pytest.param(bytes(1), id="a zero"),
    ],
)
def test_both_accept_the_same_as_a_genesis(body: bytes) -> None:
    *_, wrong, _ = agreed(forged(body))
    assert wrong in (None, 0)


def wrapped(times: int) -> Any:
    value: Any = 0
    for _ in range(times):
        value = Ok(value)
    return value


@pytest.mark.parametrize("times", [31, 32])
def test_both_look_into_extensions_as_deep(times: int) -> None:
    *_, wrong, _ = agreed(forged(pack([0, 0, 1, [*GOOD_GENESIS[:5], {"a": wrapped(times)}]])))
    assert wrong is None
    deeper = pack(wrapped(32))
    outer = b"\xc7" + bytes([len(deeper), 1]) + deeper
    *_, wrong, _ = agreed(forged(pack([0, 0, 1, GOOD_GENESIS])[:-1] + b"\x81\xa1a" + outer))
    assert wrong == 0


@pytest.mark.parametrize("length", [0, (16 << 20) + 1])
def test_both_refuse_a_length_out_of_range(length: int) -> None:
    header = struct.pack(">IQ", length, 0)
    data = header + crc32(header).to_bytes(4, "big") + bytes(100)
    *_, wrong, _ = agreed(data)
    assert wrong == 0


# ---- several chains, and checkpoints


def chain(path: Path, *entries: tuple[Kind, Any], actor: str = ACTOR) -> list[bytes]:
    """Writes a chain; returns its digests."""
    rows = records([(Kind.GENESIS, Genesis(actor, f"name-{actor[-1]}", None, None, None, {})), *entries])
    path.write_bytes(b"".join(rows))
    return [row[-32:] for row in rows]


def run(*arguments: object) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[bytes | None], tuple[Path, Path]]:
    """One that sends, and one whose call has that send, or something else, as its cause."""

    def make(cause: bytes | None) -> tuple[Path, Path]:
        sent = chain(tmp_path / "one", (Kind.HOST_CALL, HostCall("i", "send", (OTHER, b"x"))))
        call = Call("i", "handle-send", (b"x",), cause or sent[1], ACTOR)
        result = HostResult(b"answer", bytes(32))
        chain(tmp_path / "two", (Kind.CALL, call), (Kind.HOST_RESULT, result), actor=OTHER)
        return tmp_path / "one", tmp_path / "two"

    return make


def test_it_prints_the_head(tmp_path: Path) -> None:
    digests = chain(tmp_path / "one", (Kind.LIFECYCLE, Lifecycle("stopped", {})))
    code, said = run(tmp_path / "one")
    assert (code, f"2 entries, head {digests[-1].hex()}" in said) == (0, True)
    (tmp_path / "one").write_bytes((tmp_path / "one").read_bytes()[:-1])
    code, said = run(tmp_path / "one")
    assert (code, "1 entries" in said, "unfinished" in said) == (0, True, True)


def test_it_says_at_which_entry_what_is_wrong(tmp_path: Path) -> None:
    chain(tmp_path / "one", (Kind.LIFECYCLE, Lifecycle("stopped", {})))
    data = bytearray((tmp_path / "one").read_bytes())
    data[-1] ^= 1
    (tmp_path / "one").write_bytes(data)
    assert run(tmp_path / "one")[0] == 9
    assert "WRONG: entry 1: its digest is not that of what it says" in run(tmp_path / "one")[1]
    assert run(tmp_path / "nothing")[0] == 2


def test_it_follows_causes(pair: Callable[[bytes | None], tuple[Path, Path]]) -> None:
    one, two = pair(None)
    assert run(one, two)[0] == 0
    assert "causes: 1 in these chains, 1 elsewhere" in run(one, two)[1]


def test_a_cause_that_its_sender_never_recorded_is_wrong(pair: Callable[[bytes | None], tuple[Path, Path]]) -> None:
    one, two = pair(b"?" * 32)
    assert run(two)[0] == 0
    code, said = run(one, two)
    assert (code, f"entry 1: its cause {(b'?' * 32).hex()} is no entry of the chain of {ACTOR}" in said) == (9, True)


def test_it_compares_with_a_checkpoint(tmp_path: Path) -> None:
    digests = chain(tmp_path / "one", (Kind.LIFECYCLE, Lifecycle("a", {})), (Kind.LIFECYCLE, Lifecycle("b", {})))
    kept = tmp_path / "kept"
    kept.write_bytes(Signer(bytes(32)).sign(bytes(32), {SUPERVISOR: (1, bytes(32)), ACTOR: (2, digests[1])}, 1).text)
    assert run("--checkpoint", kept, tmp_path / "one")[0] == 0
    chain(tmp_path / "one")
    code, said = run("--checkpoint", kept, tmp_path / "one")
    assert (code, "entry 1: the chain ends, and the checkpoint has seen 2 entries" in said) == (9, True)
    chain(tmp_path / "one", (Kind.LIFECYCLE, Lifecycle("c", {})))
    code, said = run("--checkpoint", kept, tmp_path / "one")
    assert (code, f"entry 1: its digest was {digests[1].hex()}" in said) == (9, True)
    chain(tmp_path / "one", actor=OTHER)
    assert run("--checkpoint", kept, tmp_path / "one")[0] == 9
    assert run("--checkpoint", tmp_path / "one", tmp_path / "one")[0] == 2


# ---- chains that were made smaller


@pytest.fixture
def shrunk(tmp_path: Path) -> Living:
    """A home with a chain that was compressed, and then dropped up to a snapshot."""
    home = Living.at(tmp_path / "home")
    long_chains.live(home.chain(ACTOR), home.store)
    long_chains.live(home.chain(ACTOR), home.store, 10, every=1000)
    long_chains.drop(home, hot=1 << 30)
    return home


def test_it_passes_over_what_was_dropped_and_says_so(shrunk: Living) -> None:
    verdict = verify_chain(shrunk.chain(ACTOR), key=long_chains.SIGNER.public, actor=ACTOR)
    assert verdict.ok
    assert verdict.dropped is not None
    code, said = run(shrunk.chain(ACTOR))
    assert code == 0, said
    assert f"{verdict.entries} entries, head {verdict.head}" in said
    last = verdict.dropped.until.entries - 1
    assert f"entries 1 to {last} were dropped, as a statement says" in said


def test_it_refuses_a_statement_that_does_not_fit(shrunk: Living) -> None:
    statement = shrunk.actor(ACTOR) / "dropped"
    right = statement.read_text()
    for field in ("actor", "from", "until", "snapshot"):
        line = next(line for line in right.splitlines() if line.startswith(field))
        digit = next(at for at in reversed(range(len(line))) if line[at] in "12345678")
        statement.write_text(right.replace(line, line[:digit] + "9" + line[digit + 1 :]))
        assert run(shrunk.chain(ACTOR))[0] == 9, field
    statement.write_text(right.replace("theater", "theatre"))
    assert run(shrunk.chain(ACTOR))[0] == 2
    statement.unlink()
    assert run(shrunk.chain(ACTOR))[0] == 9


def test_it_reads_what_was_compressed_with_the_program_zstd(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("there is no zstd on this machine")
    home = Living.at(tmp_path / "home")
    mark = long_chains.live(home.chain(ACTOR), home.store, 150)
    long_chains.compress(home)
    code, said = run(home.chain(ACTOR))
    assert (code, f"{mark.entries} entries, head {mark.digest.hex()}" in said) == (0, True), said
