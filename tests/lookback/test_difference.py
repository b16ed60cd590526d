"""How two states differ."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.codec import pack
from theater.lookback import difference
from theater.lookback.difference import ABSENT, Change, Form, compare

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text("ab/~é\n", max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=10,
)
STRUCTURES = st.lists(VALUES, max_size=5) | st.dictionaries(st.text("ab/~", max_size=2), VALUES, max_size=4)


def of_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_structures_are_compared_by_path() -> None:
    old = {"count": 1, "items": [{"id": 1}, {"id": 2}], "a/b": None, "gone": {"x": 1}}
    new = {"count": 2, "items": [{"id": 0}, {"id": 1}, {"id": 2}], "a/b": True, "here": []}
    expected = (
        Change("/a~1b", None, True),
        Change("/count", 1, 2),
        Change("/gone", {"x": 1}, ABSENT),
        Change("/here", ABSENT, []),
        Change("/items/0", ABSENT, {"id": 0}),
    )
    for form, encode in ((Form.JSON, of_json), (Form.MSGPACK, pack)):
        found = compare(encode(old), encode(new))
        assert (found.form, found.changes) == (form, expected)
        assert found.lines == (
            "-/a~1b: null", "+/a~1b: true", "-/count: 1", "+/count: 2", "-/gone/x: 1", "+/here: []", "+/items/0/id: 0",
        )  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [(1, 1.0), (1, True), (0, False), (0.0, -0.0), ("1", 1), ([], {})])
def test_what_only_seems_the_same_is_a_change(old: Any, new: Any) -> None:
    assert compare(of_json({"x": old}), of_json({"x": new})).changes == (Change("/x", old, new),)


def test_the_same_in_other_bytes_is_compared_as_text() -> None:
    found = compare(b'{"a": 1, "b": 2}', b'{"b": 2, "a": 1}')
    assert (found.form, found.changes) == (Form.TEXT, ())
    assert found.lines == ("@@ -1 +1 @@", '-{"a": 1, "b": 2}', '+{"b": 2, "a": 1}')


def test_text_is_compared_by_line_with_its_numbers() -> None:
    old = "\n".join(f"line {number}" for number in range(100))
    found = compare(old.encode(), old.replace("line 50", "other").encode())
    assert found.form is Form.TEXT
    assert found.lines == (
        "@@ -48,7 +48,7 @@",
        " line 47", " line 48", " line 49", "-line 50", "+other", " line 51", " line 52", " line 53",
    )  # fmt: skip


def test_bytes_are_compared_by_rows() -> None:
    old = bytes(range(64))
    new = old[:20] + b"\xff" + old[21:]
    found = compare(old, new)
    assert found.form is Form.BYTES
    assert found.lines[2] == "-000010  10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f  ................"
    assert found.lines[3].startswith("+000010  10 11 12 13 ff 15")


def test_long_bytes_in_a_structure_that_begin_alike_are_told_apart_by_their_digests() -> None:
    found = compare(pack({"x": bytes([128]) * 1000}), pack({"x": bytes([128]) * 999 + b"\0"}))
    minus, plus = found.lines
    assert minus[1:] != plus[1:]
    assert "1000 bytes of blake3" in minus


def test_no_state_differs_from_an_empty_one() -> None:
    assert compare(None, None).lines == ()
    assert compare(None, b"a\nb").lines == ("+a", "+b")
    assert compare(b"a", None).form is Form.NONE
    assert compare(None, b"").lines == ("+",)


def test_a_structure_that_nests_very_deep_is_compared_all_the_same() -> None:
    deep = b"[" * 900 + b"1" + b"]" * 900
    assert compare(deep, deep.replace(b"1", b"2")).lines
    deeper = b"[" * 100_000
    assert compare(deeper, deeper + b"]").form is Form.TEXT


@given(old=STRUCTURES, new=STRUCTURES)
def test_structures_are_the_same_if_and_only_if_nothing_is_listed(old: Any, new: Any) -> None:
    found = compare(of_json(old), of_json(new))
    assert (found.lines == ()) is (of_json(old) == of_json(new))


ROWS = st.lists(st.sampled_from(["a", "b", "c", "d", "@@ -1 +1 @@", "--- x", ""]), max_size=30)


@given(old=ROWS, new=ROWS, limit=st.sampled_from([2000, 3]))
def test_the_lines_turn_the_old_text_into_the_new(old: list[str], new: list[str], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difference, "_MOST_COMPARED", limit)
        lines = list(difference._unified(old, new))
    assert patched(old, lines) == new


def patched(old: list[str], lines: list[str]) -> list[str]:
    """What patch(1) makes of them."""
    found: list[str] = []
    at, rest, left = 0, iter(lines), 0
    for row in rest:
        if left == 0:
            begin, length, new_length = re.fullmatch(  # type: ignore[union-attr]
                r"@@ -(\d+),?(\d*) \+\d+,?(\d*) @@", row
            ).groups()
            count, counted = int(length or 1), int(new_length or 1)
            begin_at = int(begin) - (1 if count else 0)
            found += old[at:begin_at]
            at, left = begin_at, count + counted
            continue
        if row[0] in " -":
            assert old[at] == row[1:]
            at += 1
        if row[0] in " +":
            found.append(row[1:])
        left -= 2 if row[0] == " " else 1
    return found + old[at:]
