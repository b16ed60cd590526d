"""Changes of good input that make it bad: by chance, from a seed, with what lies near to the good as well."""

from __future__ import annotations

import random
from collections.abc import Sequence

_TELLING = (
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\0asm"),
    *(b"\r\n", b"\n[", b'"', b"9" * 30, b"-1", b"\xf0\x9f\x98\x80", b"..", b"/", b"[" * 50, b"\xff\xff\xff\xff\x0f"),
)
"""Bytes that have ended parsers."""


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus, changed in one to eight places."""
    data = bytearray(chance.choice(corpus))
    for _ in range(min(8, 1 + int(chance.expovariate(0.7)))):
        _change(chance, data, corpus)
    return bytes(data)


def _change(chance: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    size = min(len(data) - at, 1 + int(chance.expovariate(0.1)))
    match chance.randrange(8):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.randrange(256)
        case 2:
            del data[at : at + size]
        case 3:
            data[at:at] = data[at : at + size]
        case 4:
            data[at:at] = chance.choice(_TELLING)
        case 5:
            del data[at:]
        case 6:
            other = chance.choice(corpus)
            begin = chance.randrange(len(other) + 1)
            data[at : at + size] = other[begin : begin + size]
        case _:
            data[at : at + size] = chance.randbytes(size)
