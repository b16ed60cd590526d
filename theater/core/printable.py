"""Text that others have chosen, made fit for a line on a terminal or in a log."""

from __future__ import annotations

import json

_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def safe(text: str) -> str:
    """`text` on one line, with everything escaped that a terminal would obey: control characters, and those that
    turn the direction of writing (CVE-2021-42574). What is escaped stands as in a JSON string."""
    if text.isprintable() and _DIRECTION.isdisjoint(text):
        return text
    return "".join(char if char.isprintable() and char not in _DIRECTION else _escaped(char) for char in text)


def shortened(text: str, longest: int) -> str:
    """`text`, of which at most so many characters are shown, and how many are not."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest} more)"


def _escaped(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]
