"""Sizes and durations as people write them: "64MiB" is bytes, "30s" is milliseconds.

Whole numbers only, so that a quantity has one value on every machine. Knows no key and no file: whoever reads one
says where it stood.
"""

from __future__ import annotations

import json
import re

from theater.errors import InvalidInput

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}
_TIME_UNITS = {"ms": 1, "s": 1000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# More digits than any bound of ours has: refused here, so that nobody multiplies a number of a thousand digits.
_QUANTITY = re.compile(r"([0-9]{1,15}) ?([A-Za-z]*)")
_LONGEST_SHOWN = 60

SIZES = 'a number of bytes, or one with a unit such as "64MiB" (B, KiB, MiB, GiB)'
DURATIONS = 'a number of milliseconds, or one with a unit such as "30s" (ms, s, min, h, d)'


def size(value: object) -> int:
    """The number of bytes that `value` stands for: an int, or text such as `64MiB`.

    Raises:
        InvalidInput: it is neither; the sentence says what is allowed.
    """
    return _quantity(value, _SIZE_UNITS, "size", SIZES)


def duration(value: object) -> int:
    """The number of milliseconds that `value` stands for: an int, or text such as `30s`.

    Raises:
        InvalidInput: it is neither; the sentence says what is allowed.
    """
    return _quantity(value, {**_TIME_UNITS, "": 1}, "duration", DURATIONS)


def show_size(count: int) -> str:
    """`count` bytes in the largest unit that divides it: 67108864 is `64MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _SIZE_UNITS[unit] == 0:
            return f"{count // _SIZE_UNITS[unit]}{unit}"
    return f"{count}B"


def show_duration(milliseconds: int) -> str:
    """`milliseconds` in the largest unit that divides it: 30000 is `30s`."""
    for unit in ("d", "h", "min", "s"):
        if milliseconds and milliseconds % _TIME_UNITS[unit] == 0:
            return f"{milliseconds // _TIME_UNITS[unit]}{unit}"
    return f"{milliseconds}ms"


def show(value: object) -> str:
    """A value from somebody's text, fit for a sentence on a terminal: quoted, escaped and short."""
    if isinstance(value, str):
        text = json.dumps(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
        return text.replace("\\u2026", "…")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _quantity(value: object, units: dict[str, int], kind: str, allowed: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        raise InvalidInput(f"{show(value)} is not a {kind}; allowed: {allowed}")
    return int(found[1]) * units[found[2]]
