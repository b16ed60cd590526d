"""A memory image: what a guest's memory has become since it was loaded, as a value that can be kept.

A guest that is loaded anew from the same component and program has the same memory each time, its *base*. The image
says what differs from it: whole wasm pages of 64 KiB, the sizes of the memories, and the mutable globals, which a
program written in C or Rust uses for its stack pointer. Laid over the base it gives the guest back as it was; that it
did is checked by the state root (theater/wasm/state_root.py). Actors of one component share the pages that are alike.

The value, canonical msgpack (core/codec.py), is a map:

    format    1
    root      state root of the guest that was kept, 32 bytes
    base      state root of the guest as it was loaded, 32 bytes
    memories  an array with [size, pages] for each linear memory: its size in bytes, a multiple of 64 KiB and at most
              4 GiB, and its pages that differ, in ascending order: [number, Ref to the 64 KiB]. The first page is 0.
    globals   an array with the values of the mutable globals: 4, 8 or 16 bytes each, little-endian

Memories and globals stand in the order of theater/wasm/state_root.py. Reading is strict: an image that breaks a rule,
or names a page whose content is not what its digest says, is damaged, and nobody gets a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from theater.core.chain import Get, Put
from theater.core.codec import DIGEST_SIZE, Form, Ref, content_digest, pack, unpack
from theater.errors import ContentDamaged, WireError

PAGE: Final = 65536
"""Bytes of a page, which is one of WebAssembly's."""

FORMAT: Final = 1
MAX_MEMORIES: Final = 64
MAX_GLOBALS: Final = 65536
MAX_PAGES: Final = 65536
"""Pages of one linear memory, which has 32-bit addresses."""
MAX_VALUE: Final = 64 << 20
"""Bytes of the longest value that is read: one with every page of eight memories."""
_WIDTHS: Final = (4, 8, 16)


@dataclass(frozen=True, slots=True)
class MemoryImage:
    """What differs from the base.

    Attributes:
        root: state root of the guest that was kept.
        base: state root of the guest as it was loaded.
        memories: size of each linear memory in bytes.
        pages: content of the pages that differ, by memory and number.
        globals: values of the mutable globals, little-endian.
    """

    root: bytes
    base: bytes
    memories: tuple[int, ...]
    pages: Mapping[tuple[int, int], bytes]
    globals: tuple[bytes, ...] = ()


def store(image: MemoryImage, put: Put) -> Ref:
    """Keeps the pages and then the value that names them.

    Args:
        put: keeps content and returns its digest in hex (`ContentStore.put`).

    Returns:
        The value's Ref, for a chain.
    """
    memories: list[tuple[int, list[tuple[int, Ref]]]] = [(size, []) for size in image.memories]
    for (memory, number), content in sorted(image.pages.items()):
        memories[memory][1].append((number, Ref(bytes.fromhex(put(content)), PAGE)))
    fields = {"format": FORMAT, "root": image.root, "base": image.base, "memories": memories}
    value = pack({**fields, "globals": image.globals})
    return Ref(bytes.fromhex(put(value)), len(value), Form.VALUE)


def load(ref: Ref, get: Get) -> MemoryImage:
    """The image that `store` kept.

    Args:
        ref: what a chain says.
        get: the content of a digest in hex (`ContentStore.get`).

    Raises:
        ContentDamaged: it is no image, or some of its content is not what its digest says.
        UnknownContent: `get` does not have all of it.
    """
    if ref.form is not Form.VALUE or ref.size > MAX_VALUE:
        raise ContentDamaged(f"a memory image cannot be {ref.size} bytes of form {ref.form.name}")
    return read(_content(ref, get), get)


def read(data: bytes, get: Get) -> MemoryImage:
    """The image whose value has the form `data`; raises as `load` does."""
    try:
        value = unpack(data, max_len=MAX_VALUE, references=True)
    except WireError as error:
        raise ContentDamaged(f"a memory image cannot be read: {error}") from error
    if type(value) is not dict or set(value) != {"format", "root", "base", "memories", "globals"}:
        raise _damaged("its fields are others")
    if type(value["format"]) is not int or value["format"] != FORMAT:
        raise _damaged(f"its format is {value['format']!r}, and {FORMAT} is what can be read")
    root, base = _digest(value["root"]), _digest(value["base"])
    memories = [_memory(item) for item in _list(value["memories"], MAX_MEMORIES)]
    values = tuple(_global(item) for item in _list(value["globals"], MAX_GLOBALS))
    pages = {
        (index, number): _content(page, get)
        for index, (_, found) in enumerate(memories)
        for number, page in found.items()
    }
    return MemoryImage(root, base, tuple(size for size, _ in memories), pages, values)


def _memory(item: Any) -> tuple[int, dict[int, Ref]]:
    size, pages = _pair(item)
    if type(size) is not int or not 0 <= size <= MAX_PAGES * PAGE or size % PAGE:
        raise _damaged(f"a memory cannot have {size!r} bytes")
    found: dict[int, Ref] = {}
    last = -1
    for entry in _list(pages, MAX_PAGES):
        number, ref = _pair(entry)
        if type(number) is not int or not last < number < size // PAGE:
            raise _damaged(f"page {number!r} after {last} of {size // PAGE}")
        if type(ref) is not Ref or ref.size != PAGE or ref.form is not Form.BYTES:
            raise _damaged(f"page {number} is not {PAGE} bytes")
        found[number] = ref
        last = number
    return size, found


def _content(ref: Ref, get: Get) -> bytes:
    content = get(ref.digest.hex())
    if len(content) != ref.size or content_digest(content) != ref.digest:
        raise ContentDamaged(f"content {ref.digest.hex()} of a memory image is not what its digest says")
    return content


def _digest(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != DIGEST_SIZE:
        raise _damaged("a state root has 32 bytes")
    return value


def _global(value: Any) -> bytes:
    if type(value) is not bytes or len(value) not in _WIDTHS:
        raise _damaged("a global has 4, 8 or 16 bytes")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if type(value) is not list or len(value) != 2:
        raise _damaged("a pair was expected")
    return value[0], value[1]


def _list(value: Any, most: int) -> list[Any]:
    if type(value) is not list or len(value) > most:
        raise _damaged(f"an array of at most {most} was expected")
    return value


def _damaged(why: str) -> ContentDamaged:
    return ContentDamaged(f"a memory image is damaged: {why}")
