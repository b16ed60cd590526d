"""Verifies chains of Theater, without Theater: a second opinion, written from the description of the format alone.

    python verify_chain.py [--checkpoint FILE] CHAIN...

It needs blake3 and msgpack, and the program zstd if parts of a chain are compressed. Beside an actor's chain there may
be a folder `segments` with those parts, and a statement `dropped` about entries that are kept no more; beside
`supervisor.chain` likewise `supervisor.segments` and `supervisor.dropped`. Both are read; the statement's signature is
left to a tool that knows Ed25519, as that of a checkpoint.

Of each chain it prints the head, or at which entry what is wrong; of several, which causes are in one of the others. It
ends with 0 if all are good (a torn tail is), with 9 if one is not, with 2 if it was used wrongly.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
from blake3 import blake3

TAG = b"\x15theater chain entry 1"
MAX_BODY = 16 * 1024 * 1024
MAX_NESTING, MAX_WRAPPING = 64, 32
HEADER, DIGEST = 16, 32
GENESIS, CALL, HOST_RESULT = 0, 1, 3


@dataclass(frozen=True)
class Dropped:
    """Entries that are not kept any more: where they began, where they ended, and the entry that follows."""

    actor: str
    first: tuple[int, bytes, int]
    until: tuple[int, bytes, int]
    follows: bytes


@dataclass
class Chain:
    """What was found in one file.

    Args:
        entries: good entries, from the first.
        head: digest of the last of them.
        size: bytes up to there.
        torn: bytes of an unfinished record behind them.
        wrong: number of the first entry that is not as it should be, and what is wrong with it.
        actor, name: as the genesis says.
        causes: (number of the entry, digest of its cause, who is said to have sent it).
        dropped: the statement about entries that are not kept any more.
    """

    entries: int = 0
    head: bytes = bytes(DIGEST)
    size: int = 0
    torn: int = 0
    wrong: tuple[int, str] | None = None
    actor: str = ""
    name: str = ""
    digests: list[bytes] = field(default_factory=list)
    causes: list[tuple[int, bytes, str | None]] = field(default_factory=list)
    dropped: Dropped | None = None

    @property
    def ok(self) -> bool:
        return self.wrong is None

    def fail(self, entry: int, what: str) -> None:
        """Notes what is wrong; the first that is found counts."""
        self.wrong = self.wrong or (entry, what)


# ---- records


def verify(data: bytes, dropped: Dropped | None = None) -> Chain:
    """What is in a chain, and whether it is good.

    Args:
        dropped: the statement about what is not in it any more.
    """
    chain = Chain(dropped=dropped)
    while chain.size < len(data) and chain.ok and not chain.torn:
        if dropped is not None and chain.size == dropped.first[2]:
            _pass_over(chain, dropped, data)
            continue
        rest = memoryview(data)[chain.size :]
        body = _next_body(rest, chain)
        if body is not None:
            chain.head = bytes(rest[HEADER + len(body) : HEADER + len(body) + DIGEST])
            chain.digests.append(chain.head)
            _take_in(chain, body)
            chain.entries += 1
            chain.size += HEADER + len(body) + DIGEST
    return chain


def _pass_over(chain: Chain, dropped: Dropped, data: bytes) -> None:
    """Goes on behind what was dropped, as the statement says; what follows there must be what it names."""
    if dropped.first != (chain.entries, chain.head, chain.size) or dropped.actor != chain.actor:
        chain.fail(chain.entries, "the statement about what was dropped is about another chain")
        return
    missing = dropped.until[0] - chain.entries
    chain.entries, chain.head, chain.size = dropped.until
    chain.digests += [bytes(DIGEST)] * (missing - 1) + [chain.head]
    behind = _digest_of_next(data, chain)
    if behind != dropped.follows:
        chain.fail(chain.entries, "it is not the entry that has to follow what was dropped")


def _digest_of_next(data: bytes, chain: Chain) -> bytes | None:
    """The digest of the record that comes next, if there is a good one."""
    rest = memoryview(data)[chain.size :]
    body = _next_body(rest, chain)
    return None if body is None else bytes(rest[HEADER + len(body) : HEADER + len(body) + DIGEST])


def _next_body(rest: memoryview, chain: Chain) -> bytes | None:
    """The body of the record at the beginning of `rest`; None if there is no good one, and then `chain` says why."""
    number = chain.entries
    if len(rest) < HEADER:
        chain.torn = len(rest)
        return None
    length, seq, check = struct.unpack(">IQI", rest[:HEADER])
    if check != zlib.crc32(rest[:12]):
        zeros_only = _zero(rest) or (len(rest) >= HEADER + DIGEST and _zero(rest[HEADER:]))
        _torn_or_wrong(chain, rest, zeros_only, "the checksum of its header is wrong")
        return None
    if seq != number:
        chain.fail(number, f"it says that it is entry {seq}")
        return None
    if not 1 <= length <= MAX_BODY:
        chain.fail(number, f"its body is said to have {length} bytes")
        return None
    if len(rest) < HEADER + length + DIGEST:
        chain.torn = len(rest)
        return None
    body = bytes(rest[HEADER : HEADER + length])
    if blake3(TAG + chain.head + body).digest() != rest[HEADER + length : HEADER + length + DIGEST]:
        _torn_or_wrong(chain, rest, _zero(rest[HEADER + length :]), "its digest is not that of what it says")
        return None
    if not body.startswith(b"\x94" + msgpack.packb(number)):
        chain.fail(number, "its body is not that of an entry of this number")
        return None
    return body


def _torn_or_wrong(chain: Chain, rest: memoryview, torn: bool, what: str) -> None:
    if torn:
        chain.torn = len(rest)
    else:
        chain.fail(chain.entries, what)


def _zero(data: memoryview) -> bool:
    return not any(data)


# ---- entries


def _take_in(chain: Chain, body: bytes) -> None:
    """Takes from an entry what is needed of it. An entry that cannot be read is no error, unless it is the genesis:
    what its writer said is what the digest fixes."""
    entry = _unpack(body)
    if chain.entries == 0:
        _take_in_genesis(chain, entry)
    if entry is None:
        return
    kind, payload = entry
    if kind == GENESIS:
        _note_cause(chain, payload, 7, payload[6] if len(payload) > 6 else None)
    elif kind == CALL:
        _note_cause(chain, payload, 3, payload[4] if len(payload) > 4 else None)
    elif kind == HOST_RESULT:
        _note_cause(chain, payload, 1, None)


def _note_cause(chain: Chain, payload: list[Any], at: int, sender: object) -> None:
    cause = payload[at] if len(payload) > at else None
    if isinstance(cause, bytes) and len(cause) == DIGEST:
        chain.causes.append((chain.entries, cause, sender if isinstance(sender, str) else None))


def _take_in_genesis(chain: Chain, entry: tuple[int, list[Any]] | None) -> None:
    if entry is None:
        chain.fail(0, "it cannot be read")
        return
    kind, payload = entry
    if kind != GENESIS:
        chain.fail(0, f"it is of kind {kind} and not a genesis")
    elif not _is_genesis(payload):
        chain.fail(0, "it is not as a genesis has to be")
    else:
        chain.actor, chain.name = payload[:2]


def _is_genesis(payload: list[Any]) -> bool:
    digest, text = (bytes, type(None)), (str, type(None))
    types = [(str,), (str,), digest, digest, digest, (dict,), text, digest, (int,), digest, digest, (bool,)]
    return len(payload) >= 6 and all(type(value) in kinds for value, kinds in zip(payload, types, strict=False))


# ---- values


def _unpack(body: bytes) -> tuple[int, list[Any]] | None:
    """Kind and payload; None if the body is no entry."""
    try:
        _, kind, time, payload = _value(body, 0)
    except Exception:
        return None
    if type(kind) is not int or not 0 <= kind <= 6 or type(time) is not int or type(payload) is not list:
        return None
    return kind, payload


def _value(data: bytes, wrapping: int) -> Any:
    """A value, if it is one that a chain may hold. An extension stays what it is, once it has been looked into."""
    value = msgpack.unpackb(
        data,
        strict_map_key=False,
        ext_hook=lambda code, inner: _extension(code, inner, wrapping),
        object_pairs_hook=_map,
    )
    _check_nesting(value, MAX_NESTING)
    return value


def _map(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or not all(type(key) is str for key in found):
        raise ValueError("a map with a key that is no text, or with one twice")
    return found


def _extension(code: int, data: bytes, wrapping: int) -> msgpack.ExtType:
    if code in (16, 17, 18):
        if len(data) != DIGEST + 8:
            raise ValueError("a reference of wrong length")
        return msgpack.ExtType(code, data)
    if wrapping == MAX_WRAPPING:
        raise ValueError("too many extensions in each other")
    inner = _value(data, wrapping + 1)
    if code == 4 and not (type(inner) is list and len(inner) == 2 and type(inner[0]) is str):
        raise ValueError("a case that is none")
    if code == 5 and not (
        type(inner) is list and all(type(flag) is str for flag in inner) and len(set(inner)) == len(inner)
    ):
        raise ValueError("flags that are none")
    if code == 6 and not _is_veiled(inner):
        raise ValueError("hidden secrets that are none")
    if code not in (1, 2, 3, 4, 5, 6):
        raise ValueError(f"extension {code} is unknown")
    return msgpack.ExtType(code, data)


def _is_veiled(inner: Any) -> bool:
    if type(inner) is not list or len(inner) < 4 or len(inner) % 2 or inner[0] not in (16, 17):
        return False
    return all(map(_is_piece, inner[1::2])) and all(map(_is_stand, inner[2::2]))


def _is_piece(part: object) -> bool:
    return type(part) is bytes or (type(part) is msgpack.ExtType and part.code in (16, 17, 18))


def _is_stand(part: object) -> bool:
    types = [type(field) for field in part] if isinstance(part, list) else []
    return types[:3] == [str, bytes, str] and types[3:] in ([int, int], [type(None), type(None)])


def _check_nesting(value: object, room: int) -> None:
    if isinstance(value, (list, dict)):
        if room == 0:
            raise ValueError("arrays and maps nest too deep")
        for part in value.values() if isinstance(value, dict) else value:
            _check_nesting(part, room - 1)
    elif type(value) not in (str, bytes, int, float, bool, type(None), msgpack.ExtType):
        raise ValueError("a value of a type that no chain has")


# ---- several chains


def check_causes(chains: dict[str, Chain]) -> tuple[int, int]:
    """Follows every cause: if the chain of who is said to have sent something is there, it must be an entry of that.

    Returns:
        how many causes were found in one of the chains, and how many may be in others.
    """
    everywhere = {digest: label for label, chain in chains.items() for digest in chain.digests}
    by_actor = {chain.actor: chain for chain in chains.values() if chain.actor}
    # Of a chain that is not whole any more nobody can say what was in it.
    known = {actor: set(chain.digests) for actor, chain in by_actor.items() if chain.dropped is None}
    found = elsewhere = 0
    for chain in chains.values():
        for entry, cause, sender in chain.causes:
            if sender in known and cause not in known[sender]:
                chain.fail(entry, f"its cause {cause.hex()} is no entry of the chain of {sender}")
            elif cause in everywhere:
                found += 1
            else:
                elsewhere += 1
    return found, elsewhere


# ---- what is beside a chain


def read_chain(path: Path) -> tuple[bytes, Dropped | None]:
    """A chain with the parts of it that are compressed, and the statement about what was dropped."""
    data = bytearray(path.read_bytes())
    prefix, is_chain, rest = path.name.rpartition("chain")
    if not is_chain or rest or prefix not in ("", "supervisor."):
        return bytes(data), None
    for segment in sorted(path.with_name(f"{prefix}segments").glob("*-*.zst")):
        _, offset = segment.stem.split("-")
        part = _decompressed(segment.read_bytes())
        data[int(offset) : int(offset) + len(part)] = part
    statement = path.with_name(f"{prefix}dropped")
    return bytes(data), read_dropped(statement.read_text("ascii")) if statement.exists() else None


def _decompressed(data: bytes) -> bytes:
    try:
        done = subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise ValueError("parts of this chain are compressed, and there is no zstd to decompress them") from error
    except subprocess.CalledProcessError as error:
        raise ValueError(f"a compressed part is damaged: {error.stderr.decode(errors='replace')}") from error
    return done.stdout


def read_dropped(text: str) -> Dropped:
    """A statement. The signature is not looked at: that is for a tool that knows Ed25519."""
    row = r"([0-9]+) ([0-9a-f]{64}) ([0-9]+)\n"
    shape = (
        r"theater dropped 1\nkey [0-9a-f]{64}\ntime [0-9]+\nactor (\S+)\nfrom " + row + "until " + row
        + r"snapshot ([0-9a-f]{64})\nformer (?:[0-9a-f]{64}|-)\nsignature [0-9a-f]{128}\n"
    )  # fmt: skip
    found = re.fullmatch(shape, text)
    if found is None:
        raise ValueError("the statement about what was dropped is none of version 1")
    actor, entries, digest, offset, last, until, end, follows = found.groups()
    first = int(entries), bytes.fromhex(digest), int(offset)
    return Dropped(actor, first, (int(last), bytes.fromhex(until), int(end)), bytes.fromhex(follows))


# ---- a checkpoint


def read_checkpoint(text: str) -> dict[str, tuple[int, str]]:
    """Actor to number of entries and digest. The signature is not looked at: that is for a tool that knows Ed25519."""
    if not text.startswith("theater checkpoint 1\n"):
        raise ValueError("this is no checkpoint of version 1")
    rows = re.findall(r"^chain (\S+) ([0-9]+) ([0-9a-f]{64})$", text, re.MULTILINE)
    return {actor: (int(entries), digest) for actor, entries, digest in rows}


def check_against(checkpoint: dict[str, tuple[int, str]], chain: Chain) -> None:
    """Compares a chain with what a checkpoint says of it; one that is not named there cannot be compared."""
    if chain.actor not in checkpoint:
        chain.fail(0, f"the checkpoint does not name the chain of {chain.actor or 'nobody'}")
        return
    entries, digest = checkpoint[chain.actor]
    if chain.dropped is not None and 1 < entries < chain.dropped.until[0]:
        return  # What it names was dropped, and nobody can compare it any more.
    if chain.entries < entries:
        chain.fail(chain.entries, f"the chain ends, and the checkpoint has seen {entries} entries")
    elif chain.digests[entries - 1].hex() != digest:
        chain.fail(entries - 1, f"its digest was {digest} at the time of the checkpoint")


# ---- the command line


def main() -> int:
    parser = argparse.ArgumentParser(description="Verifies chains of Theater.")
    parser.add_argument("chains", nargs="+", type=Path, metavar="CHAIN")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="what `theater checkpoint` gave")
    given = parser.parse_args()
    try:
        chains = {str(path): verify(*read_chain(path)) for path in given.chains}
        checkpoint = read_checkpoint(given.checkpoint.read_text()) if given.checkpoint else None
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if checkpoint is not None:
        for chain in chains.values():
            check_against(checkpoint, chain)
    found, elsewhere = check_causes(chains)
    for label, chain in chains.items():
        print("\n".join(_report(label, chain)))
    if len(chains) > 1:
        print(f"causes: {found} in these chains, {elsewhere} elsewhere")
    return 0 if all(chain.ok for chain in chains.values()) else 9


def _report(label: str, chain: Chain) -> Iterator[str]:
    yield f"{label}: {chain.name or '-'} {chain.actor or '-'}"
    yield f"  {chain.entries} entries, head {chain.head.hex()}"
    if chain.dropped is not None:
        yield f"  entries {chain.dropped.first[0]} to {chain.dropped.until[0] - 1} were dropped, as a statement says"
    if chain.torn:
        yield f"  {chain.torn} bytes of an unfinished entry behind them, which nobody was told of"
    if chain.wrong is not None:
        yield "  WRONG: entry {}: {}".format(*chain.wrong)


if __name__ == "__main__":
    sys.exit(main())
