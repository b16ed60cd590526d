"""A memory image: what a guest has become since it was loaded, as a value that can be kept.

A guest that is loaded anew from the same component and program has the same memory each time, its *base*. The image
says what differs from it: blocks of 16 KiB, the sizes of the memories, and the globals that the guest's code sets,
such as the stack pointer of a program written in C or Rust. Laid over the base it gives the guest back as it was; that
it did is checked by the state root (theater/wasm/state_root.py).

The value, canonical msgpack (core/codec.py), is a map:

    format    1
    root      state root of the guest that was kept, 32 bytes
    base      state root of the guest as it was loaded, 32 bytes
    memories  an array with [size, parts] for each linear memory: its size in bytes, a multiple of 64 KiB and at most
              4 GiB, and the parts of it that differ, in ascending order: [numbers, Ref]. The numbers are those of the
              blocks, in ascending order, all of the same 4 MiB: the first block of a memory is 0, 4 MiB have 256. The
              Ref is to bytes: these blocks, one after the other.
    globals   an array with the values of the globals: 4, 8 or 16 bytes each, little-endian
    streams   an array with the standard streams that the guest has opened, "stdin", "stdout" or "stderr", in the order
              in which a guest as it was loaded has to open them to have the same handles

Memories and globals stand in the order of theater/wasm/state_root.py. A block that nothing says otherwise of is that of
the base, or zeros where the memory has grown. Parts are content of their own, so that what a large memory did not
change since the last image is not kept again, and a small one is not many files. Reading is strict: an image that
breaks a rule, or names content that is not what its digest says, is damaged, and nobody gets a part of it.
`tests/core/vectors/memory.json` holds images and state roots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NoReturn

from theater.core.chain import Get, Put
from theater.core.codec import DIGEST_SIZE, Form, Ref, content_digest, pack, unpack
from theater.errors import ContentDamaged, WireError

BLOCK: Final = 16384
"""Bytes of a block, which is what a state root hashes as one."""
PART: Final = 256
"""Blocks that one content may hold: those of 4 MiB."""
PAGE: Final = 65536
"""Bytes of a WebAssembly page."""

FORMAT: Final = 1
MAX_MEMORIES: Final = 64
MAX_GLOBALS: Final = 1024
MAX_PAGES: Final = 65536
"""Pages of one linear memory, which has 32-bit addresses."""
MAX_VALUE: Final = 64 << 20
"""Bytes of the longest value that is read; all blocks of a memory of 4 GiB take one."""
MAX_STREAMS: Final = 10_000
_STREAMS: Final = ("stdin", "stdout", "stderr")
_WIDTHS: Final = (4, 8, 16)
_FIELDS: Final = {"format", "root", "base", "memories", "globals", "streams"}


@dataclass(frozen=True, slots=True)
class MemoryImage:
    """What differs from the base.

    Attributes:
        root: state root of the guest that was kept.
        base: state root of the guest as it was loaded.
        memories: size of each linear memory in bytes.
        blocks: content of the blocks that differ, by memory and number.
        globals: values of the globals that the guest's code sets, little-endian.
        streams: the standard streams that the guest has opened, in order.
    """

    root: bytes
    base: bytes
    memories: tuple[int, ...]
    blocks: Mapping[tuple[int, int], bytes]
    globals: tuple[bytes, ...] = ()
    streams: tuple[str, ...] = ()


def store(image: MemoryImage, put: Put) -> Ref:
    """Keeps the blocks and then the value that names them.

    Args:
        put: keeps content and returns its digest in hex (`ContentStore.put`).

    Returns:
        The value's Ref, for a chain.
    """
    memories: list[tuple[int, list[tuple[list[int], Ref]]]] = [(size, []) for size in image.memories]
    for (memory, _), keys in groupby(sorted(image.blocks), lambda key: (key[0], key[1] // PART)):
        of_part = list(keys)
        content = b"".join(image.blocks[key] for key in of_part)
        numbers = [number for _, number in of_part]
        memories[memory][1].append((numbers, Ref(bytes.fromhex(put(content)), len(content))))
    fields = {"format": FORMAT, "root": image.root, "base": image.base, "memories": memories}
    value = pack({**fields, "globals": image.globals, "streams": image.streams})
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
        _refuse(f"{ref.size} bytes of form {ref.form.name} are none")
    return read(_content(ref, get), get)


def read(data: bytes, get: Get) -> MemoryImage:
    """The image whose value has the form `data`; raises as `load` does."""
    try:
        value = unpack(data, max_len=MAX_VALUE, references=True)
    except WireError as error:
        raise ContentDamaged(f"a memory image cannot be read: {error}") from error
    if type(value) is not dict or set(value) != _FIELDS:
        _refuse("its fields are others")
    if type(value["format"]) is not int or value["format"] != FORMAT:
        _refuse(f"its format is {value['format']!r}, and {FORMAT} is what can be read")
    root, base = _digest(value["root"]), _digest(value["base"])
    values = tuple(_global(item) for item in _list(value["globals"], MAX_GLOBALS))
    streams = tuple(_stream(item) for item in _list(value["streams"], MAX_STREAMS))
    memories = [_memory(item) for item in _list(value["memories"], MAX_MEMORIES)]
    # All that can be known without content is checked before any is fetched.
    blocks = {
        (memory, number): block
        for memory, (_, parts) in enumerate(memories)
        for numbers, ref in parts
        for number, block in zip(numbers, _blocks(_content(ref, get)), strict=True)
    }
    return MemoryImage(root, base, tuple(size for size, _ in memories), blocks, values, streams)


def _memory(item: Any) -> tuple[int, list[tuple[list[int], Ref]]]:
    size, parts = _pair(item)
    if type(size) is not int or not 0 <= size <= MAX_PAGES * PAGE or size % PAGE:
        _refuse(f"a memory cannot have {size!r} bytes")
    last = -1
    found = []
    for part in _list(parts, -(-size // (BLOCK * PART))):
        numbers, ref = _part(part, last, size // BLOCK)
        last = numbers[0] // PART * PART + PART - 1
        found.append((numbers, ref))
    return size, found


def _part(item: Any, last: int, end: int) -> tuple[list[int], Ref]:
    """A part, whose first block comes after `last`, and whose last one before `end`."""
    numbers, ref = _pair(item)
    numbers = _list(numbers, PART)
    for number in numbers:
        if type(number) is not int or not last < number < end or number // PART != numbers[0] // PART:
            _refuse(f"block {number!r} stands where it cannot stand")
        last = number
    if not numbers or type(ref) is not Ref or ref.size != len(numbers) * BLOCK or ref.form is not Form.BYTES:
        _refuse("a part is not as long as its blocks")
    return numbers, ref


def _blocks(content: bytes) -> Iterator[bytes]:
    return (content[at : at + BLOCK] for at in range(0, len(content), BLOCK))


def _content(ref: Ref, get: Get) -> bytes:
    content = get(ref.digest.hex())
    if len(content) != ref.size or content_digest(content) != ref.digest:
        raise ContentDamaged(f"content {ref.digest.hex()} of a memory image is not what its digest says")
    return content


def _digest(value: Any) -> bytes:
    if type(value) is not bytes or len(value) != DIGEST_SIZE:
        _refuse("a state root has 32 bytes")
    return value


def _global(value: Any) -> bytes:
    if type(value) is not bytes or len(value) not in _WIDTHS:
        _refuse("a global has 4, 8 or 16 bytes")
    return value


def _stream(value: Any) -> str:
    if type(value) is not str or value not in _STREAMS:
        _refuse("a stream is stdin, stdout or stderr")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if type(value) is not list or len(value) != 2:
        _refuse("a pair was expected")
    return value[0], value[1]


def _list(value: Any, most: int) -> list[Any]:
    if type(value) is not list or len(value) > most:
        _refuse(f"an array of at most {most} was expected")
    return value


def _refuse(why: str) -> NoReturn:
    raise ContentDamaged(f"a memory image is damaged: {why}")
