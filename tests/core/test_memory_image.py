"""A memory image is read as it was stored, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theater.core.codec import Form, Ref, content_digest, pack
from theater.core.memory_image import BLOCK, PAGE, MemoryImage, load, read, store
from theater.errors import ContentDamaged, UnknownContent

VECTORS = Path(__file__).parent / "vectors" / "memory.json"
ROOT, BASE = b"r" * 32, b"b" * 32


class Contents(dict[str, bytes]):
    """A content store in memory."""

    def put(self, data: bytes) -> str:
        digest = content_digest(data).hex()
        self[digest] = data
        return digest

    def get_it(self, digest: str) -> bytes:
        if digest not in self:
            raise UnknownContent(f"there is no {digest}")
        return self[digest]


@st.composite
def images(draw: st.DrawFn) -> MemoryImage:
    memories = tuple(draw(st.lists(st.integers(0, 40).map(lambda pages: pages * PAGE), max_size=3)))
    blocks = {}
    for memory, size in enumerate(memories):
        for number in draw(st.sets(st.integers(0, max(size // BLOCK - 1, 0)), max_size=5)) if size else ():
            blocks[memory, number] = bytes([draw(st.integers(0, 255))]) * BLOCK
    values = st.sampled_from([4, 8, 16]).flatmap(lambda width: st.binary(min_size=width, max_size=width))
    streams = st.lists(st.sampled_from(["stdin", "stdout", "stderr"]), max_size=3).map(tuple)
    return MemoryImage(ROOT, BASE, memories, blocks, tuple(draw(st.lists(values, max_size=4))), draw(streams))


@given(images())
def test_an_image_is_loaded_as_it_was_stored(image: MemoryImage) -> None:
    contents = Contents()
    assert load(store(image, contents.put), contents.get_it) == image


@given(images(), st.data())
def test_an_image_that_lost_content_or_has_other_content_is_refused(image: MemoryImage, data: st.DataObject) -> None:
    contents = Contents()
    ref = store(image, contents.put)
    digest = data.draw(st.sampled_from(sorted(contents)))
    lost = Contents({name: content for name, content in contents.items() if name != digest})
    with pytest.raises(UnknownContent):
        load(ref, lost.get_it)
    contents[digest] = contents[digest][:-1] + bytes([contents[digest][-1] ^ 1])
    with pytest.raises(ContentDamaged):
        load(ref, contents.get_it)


def test_an_image_has_the_form_that_is_written_down() -> None:
    """The vectors, in which a block is filled with one byte."""
    for vector in json.loads(VECTORS.read_text())["images"]:
        image = MemoryImage(
            bytes.fromhex(vector["root"]),
            bytes.fromhex(vector["base"]),
            tuple(vector["memories"]),
            {(memory, number): bytes([filled]) * BLOCK for memory, number, filled in vector["blocks"]},
            tuple(map(bytes.fromhex, vector["globals"])),
            tuple(vector["streams"]),
        )
        contents = Contents()
        ref = store(image, contents.put)
        assert ref.digest.hex() == vector["digest"]
        assert contents[vector["digest"]].hex() == vector["value"]
        assert read(bytes.fromhex(vector["value"]), contents.get_it) == image


def test_blocks_of_four_mib_are_one_content_and_actors_share_it() -> None:
    contents = Contents()
    blocks = {(0, number): bytes([number % 251]) * BLOCK for number in (1, 3, 255, 256)}
    store(MemoryImage(ROOT, BASE, (80 * PAGE,), blocks), contents.put)
    assert sorted(map(len, contents.values()))[1:] == [BLOCK, 3 * BLOCK]
    store(MemoryImage(BASE, BASE, (81 * PAGE,), blocks), contents.put)
    assert len(contents) == 4


def nobody(digest: str) -> bytes:
    raise AssertionError(f"{digest} was asked for, though the value is refused without it")


def value(**changes: Any) -> dict[str, Any]:
    fields = {"format": 1, "root": ROOT, "base": BASE, "memories": [[PAGE, []]], "globals": [], "streams": []}
    return {**fields, **changes}


def part(numbers: Any, blocks: int = 1, form: Form = Form.BYTES) -> list[Any]:
    return [numbers, Ref(bytes(32), blocks * BLOCK, form)]


@pytest.mark.parametrize(
    "wrong",
    [
        *(value(format=number) for number in (0, 2, True, None, "1")),
        *(value(root=root) for root in (b"", b"r" * 31, "r" * 32, None)),
        value(base=b"b" * 33),
        *(value(globals=[item]) for item in (b"", b"123", b"12345", 7, None, "1234")),
        value(globals=None),
        *(value(streams=[item]) for item in ("stdlog", b"stdin", None, 1)),
        *(value(memories=[[size, []]]) for size in (-PAGE, 1, PAGE - 1, PAGE * 65537, None, True, 65536.0)),
        *(value(memories=memories) for memories in (None, [PAGE], [[PAGE]], [[PAGE, [], []]], [[PAGE, None]], {})),
        value(memories=[[0, [part([0])]]]),
        *(value(memories=[[PAGE, [part([number])]]]) for number in (-1, 4, 2**63, None, True, 0.0)),
        value(memories=[[PAGE, [part([])]]]),
        value(memories=[[PAGE, [part(None)]]]),
        value(memories=[[PAGE, [part([0, 0], 2)]]]),
        value(memories=[[PAGE, [part([1, 0], 2)]]]),
        value(memories=[[PAGE, [part([0, 1], 1)]]]),
        value(memories=[[PAGE, [part([0], 1, Form.VALUE)]]]),
        value(memories=[[PAGE, [[[0], b"content"]]]]),
        value(memories=[[PAGE, [[[0]]]]]),
        value(memories=[[PAGE, [part([0]), part([1])]]]),
        value(memories=[[80 * PAGE, [part([255, 256], 2)]]]),
        value(memories=[[80 * PAGE, [part([256]), part([0])]]]),
        value(memories=[[80 * PAGE, [part([0]), part([1])]]]),
        value(memories=[[PAGE, []]] * 65),
        {**value(), "more": 1},
        {name: field for name, field in value().items() if name != "streams"},
        [],
        None,
        b"image",
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_before_anything_is_fetched(wrong: Any) -> None:
    with pytest.raises(ContentDamaged):
        read(pack(wrong), nobody)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(ContentDamaged):
        read(data, nobody)


@pytest.mark.parametrize(
    ("ref", "get"),
    [
        (Ref(bytes(32), 100, Form.BYTES), nobody),
        (Ref(bytes(32), 1 << 40, Form.VALUE), nobody),
        (Ref(bytes(32), 5, Form.VALUE), lambda digest: b"other"),
        (Ref(content_digest(b"other"), 4, Form.VALUE), lambda digest: b"other"),
    ],
)
def test_a_reference_to_something_else_is_refused(ref: Ref, get: Callable[[str], bytes]) -> None:
    with pytest.raises(ContentDamaged):
        load(ref, get)
