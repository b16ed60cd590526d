"""Malformed input for a while: mutations of what is in this repository, given to everything that reads input.

Each `Field` has a corpus, and a judge that raises if the input did harm. Harmless is: it was refused with an error of
theater/errors.py, or taken for what it says. Everything else is kept as a case in tests/faults/cases, which
tests/faults/test_malformed_input.py tries again in every test run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.mutation import mutated
from theater.bundle.opened import open_bundle
from theater.chainlog.reader import ChainReader
from theater.chainlog.verify import verify_chain
from theater.core import authorized_key, manifest, tree_file, wire
from theater.core.codec import pack, unpack
from theater.core.memory_image import read as read_image
from theater.core.signed_checkpoint import SignedCheckpoint
from theater.errors import ChainBroken, TheaterError, UnknownContent

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("cases")
_VECTORS = ROOT / "tests" / "core" / "vectors"
_PATIENCE_S = 10
sys.path.append(str(ROOT / "tests" / "bundle"))


class Hangs(Exception):
    """An input is looked at for too long."""


class Harm(Exception):
    """An input was taken for something that it is not."""


@dataclass(frozen=True, slots=True)
class Field:
    """One reader of input.

    Args:
        corpus: good input.
        judge: gives the input to the reader; raises TheaterError if that refuses it, anything else for harm.
        weight: how often it is tried in comparison with others.
    """

    name: str
    corpus: tuple[bytes, ...]
    judge: Callable[[bytes], None]
    weight: int = 10


@dataclass(slots=True)
class Tried:
    """How often each field was tried and refused, and what did harm."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def fuzz(fields: Sequence[Field], seed: int, seconds: float) -> Tried:
    """Tries mutations of all fields for so long; what does harm is kept."""
    chance, found = random.Random(seed), Tried()
    until = time.monotonic() + seconds
    weights = [each.weight for each in fields]
    while time.monotonic() < until:
        (chosen,) = chance.choices(fields, weights)
        data = mutated(chance, chosen.corpus)
        found.tried[chosen.name] += 1
        try:
            found.refused[chosen.name] += not is_taken(chosen, data)
        except Exception as error:
            path = CASES / f"{chosen.name}-{seed}-{found.tried[chosen.name]}.hex"
            with contextlib.suppress(OSError):
                path.write_text(data.hex() + "\n")
            found.wrong.append(f"{chosen.name}: {type(error).__name__}: {error} (kept in {path})")
    return found


def is_taken(chosen: Field, data: bytes) -> bool:
    """Whether the input is taken for good.

    Raises:
        Exception: it did harm.
    """
    try:
        with _patience():
            chosen.judge(data)
    except TheaterError as error:
        if not error.message or len(error.message) > 100_000:
            raise Harm(f"refused with a sentence of {len(error.message)} characters") from error
        return False
    return True


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def over(*_: object) -> None:
        raise Hangs(f"not done after {_PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- the fields


def pure_fields(folder: Path) -> list[Field]:
    """Those that need no server.

    Args:
        folder: a private one, for files.
    """
    frames = tuple(bytes.fromhex(each) for each in json.loads((_VECTORS / "wire.json").read_text()).values())
    images = tuple(_packed_in(json.loads((_VECTORS / "memory.json").read_text())))
    texts = _texts("examples/**/*.toml", "theater/templates/**/*.toml", "tests/**/*.toml")
    manifests = tuple(text for text in texts if b"[[supervisor]]" not in text and b"[[child]]" not in text)
    trees = tuple(text for text in texts if text not in manifests)
    chain, heads = _chain(folder)
    fields = [
        Field("frame", frames, _judge_frame, 30),
        Field("value", tuple(frame[4:] for frame in frames), _judge_value, 20),
        Field("manifest", manifests, lambda data: _parse(manifest.parse, data), 30),
        Field("tree", trees, lambda data: _parse(tree_file.parse, data), 20),
        Field("chain", (chain,), functools.partial(_judge_chain, folder / "chain", heads), 5),
        Field("bundle", (_bundle(folder),), functools.partial(_judge_bundle, folder / "bundle"), 2),
        Field("checkpoint", _checkpoints(), lambda data: _discard(SignedCheckpoint.read(data)), 5),
        Field("key", (_KEY,), lambda data: _discard(authorized_key.read(_text(data), "a key")), 5),
    ]
    if images:
        fields.append(Field("memory", images, lambda data: _discard(read_image(data, _nothing)), 10))
    return fields


_KEY = b'# a key\nkey = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"\nrole = "admin"\n'


def _texts(*patterns: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern)))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _parse(parse: Callable[[str, str], object], data: bytes) -> None:
    parse(data.decode("utf-8", "replace"), "fuzzed.toml")


def _discard(value: object) -> None:
    """It was read; that is all that matters."""


def _nothing(digest: str) -> bytes:
    raise UnknownContent(f"there is no {digest}")


def _judge_frame(data: bytes) -> None:
    message = wire.decode(data)
    if wire.decode(wire.encode(message)) != message:
        raise Harm("a frame is taken for what cannot be written")


def _judge_value(data: bytes) -> None:
    form = pack(unpack(data, max_len=1 << 20))
    if pack(unpack(form, max_len=1 << 21)) != form:
        raise Harm("a value is taken for what cannot be written")


def _packed_in(value: object) -> Iterator[bytes]:
    """All long texts of hexadecimal digits in a JSON file of vectors."""
    if isinstance(value, str) and len(value) >= 40:
        with contextlib.suppress(ValueError):
            yield bytes.fromhex(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _packed_in(each)


def _checkpoints() -> tuple[bytes, ...]:
    vectors = json.loads((_VECTORS / "signed_checkpoint.json").read_text())
    found = [text.encode() for text in _strings(vectors) if "\n" in text]
    return tuple(found) or (b"theater checkpoint 1\n",)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _chain(folder: Path) -> tuple[bytes, dict[int, str]]:
    """A chain that a server has written, and its digest after each entry."""
    content = bytes.fromhex(json.loads((_VECTORS / "recorded.json").read_text())["chain"])
    path = folder / "recorded"
    path.write_bytes(content)
    with ChainReader(path) as reader:
        records = reader.records(1 << 20)
    return content, {record.seq + 1: record.digest.hex() for record in records}


def _judge_chain(path: Path, heads: dict[int, str], data: bytes) -> None:
    path.write_bytes(data)
    verdict = verify_chain(path)
    if verdict.error is not None:
        raise ChainBroken(verdict.error)
    if verdict.ok and verdict.entries and heads.get(verdict.entries) != verdict.head:
        raise Harm(f"a chain of {verdict.entries} entries that nobody wrote is taken")


def _bundle(folder: Path) -> bytes:
    from packing import ONE, bundle, make_home

    return bundle(make_home(folder / "home", ONE), ONE)


def _judge_bundle(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with open_bundle(path):
        pass


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """One, while it is needed."""
    with tempfile.TemporaryDirectory(prefix="tf") as folder:
        yield Path(folder)
