"""Output is cut into pieces, however the bytes arrive."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.launcher.cutting import Chunks, Cutter, JsonLines, Lines, Raw

texts = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"{}", b"1", b" ", b"\xff", b"\0"]), max_size=40)
sizes = st.integers(1, 9)


def cut(cutter: Cutter, parts: list[bytes]) -> list[bytes]:
    pieces = [piece for part in parts for piece in cutter.feed(part)]
    return [*pieces, *cutter.finish()]


@pytest.mark.parametrize("make", [Raw, Chunks, Lines])
@given(parts=texts, size=sizes)
def test_nothing_is_lost_and_no_piece_is_empty_or_too_long(
    make: Callable[[int], Cutter], parts: list[bytes], size: int
) -> None:
    pieces = cut(make(size), parts)
    assert b"".join(pieces) == b"".join(parts)
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.mark.parametrize("make", [Chunks, Lines])
@given(parts=texts, size=sizes)
def test_it_does_not_matter_how_bytes_arrive(make: Callable[[int], Cutter], parts: list[bytes], size: int) -> None:
    assert cut(make(size), parts) == cut(make(size), [b"".join(parts)])


@given(parts=texts)
def test_lines_end_at_line_feeds_and_nowhere_else(parts: list[bytes]) -> None:
    pieces = cut(Lines(1000), parts)
    assert all(b"\n" not in piece[:-1] for piece in pieces)
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])


@given(parts=texts, size=sizes)
def test_chunks_have_their_size_but_for_the_last(parts: list[bytes], size: int) -> None:
    assert all(len(piece) == size for piece in cut(Chunks(size), parts)[:-1])


@given(parts=texts, size=sizes)
def test_every_piece_of_json_is_a_value_and_every_other_line_is_counted(parts: list[bytes], size: int) -> None:
    refused: list[int] = []
    pieces = cut(JsonLines(size, refused.append), parts)
    for piece in pieces:
        json.loads(piece)
        assert len(piece) <= size
    filled = [line for line in b"".join(parts).split(b"\n") if line.strip()]
    assert len(pieces) + len(refused) in range(len(filled), len(b"".join(parts).split(b"\n")) + 1)


def test_json_that_is_too_long_too_deep_or_none_is_left_out() -> None:
    refused: list[int] = []
    text = b'{"a": 1}\nhello\n' + b"[" * 200_000 + b"\n" + b'"' + b"x" * 300_000 + b'"\n\n  7  \n8'
    assert cut(JsonLines(250_000, refused.append), [text]) == [b'{"a": 1}', b"7", b"8"]
    assert refused == [5, 200_000, 300_003]
