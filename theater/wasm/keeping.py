"""Keeps what a guest has become since it was loaded, and gives it to a guest that was loaded anew.

What a guest carries from call to call is its linear memories and their sizes, the globals that its code sets, and the
handles of the host's resources. Memories and globals are kept, through the hatch that the component was compiled with
(`hatch`). Of handles only those of the standard streams can be given to another guest, under the same numbers: while a
guest holds any others that it did not have when it was loaded, or its next handle would be another, it is not portable.
Nor is one of which it cannot be said what it carries (`anatomy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from theater.core.codec import DIGEST_SIZE, content_digest
from theater.core.memory_image import MemoryImage
from theater.errors import IntegrityError, WrongState
from theater.wasm.hatch import STREAMS
from theater.wasm.memories import PAGE, Memory
from theater.wasm.state_root import LEAF, Leaves, content, root_of
from theater.wasm.wasi import Handles

_REFUSED: Final = (1 << 32) - 1
_ZEROS: Final = content_digest(bytes(LEAF))
_MARKS: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Reach:
    """What can be reached of a guest beside its memories' bytes.

    Attributes:
        widths: bytes of each global.
        get, set: the hatch's functions for globals.
        growers: for each memory what makes it grow by so many pages.
        peekers: for each memory what reads the byte at an address.
        open: gives the guest a handle of `hatch.STREAMS[number]`.
        unmetered: in it, calls of the above cost no fuel.
    """

    widths: tuple[int, ...]
    get: Callable[[int], int]
    set: Callable[[int, int], None]
    growers: tuple[Callable[[int], int], ...]
    peekers: tuple[Callable[[int], int], ...]
    open: Callable[[int], int]
    unmetered: Callable[[], AbstractContextManager[None]]


class Keeping:
    """The memories and globals of one guest.

    Args:
        memories: all of them, by falling address.
        reach: the hatch; or why there is none.
        handles: what the guest holds of the host.
    """

    def __init__(self, memories: Sequence[Memory], reach: Reach | str, handles: Callable[[], Handles]) -> None:
        if isinstance(reach, Reach):
            reach, memories = _identified(memories, reach)
        self._memories = memories
        self._reach = reach
        self._handles = handles
        self._leaves = Leaves(memories)
        self._base: list[bytes] | None = None
        self._base_root = b""
        self._base_handles = Handles((), (), 0)

    def keep_image(self) -> None:
        """Remembers the guest as it is now."""
        self._base = self._leaves.remember()
        sizes = (len(leaves) // DIGEST_SIZE * LEAF for leaves in self._base)
        self._base_root = root_of(zip(sizes, self._base, strict=True), self._globals())
        self._base_handles = self._handles()

    def prepare(self) -> None:
        """Opens what `root` needs."""
        self._leaves.prepare()

    def enter(self) -> None:
        """The guest is called for the first time since `keep_image`."""
        self._leaves.enter()

    def root(self) -> bytes:
        """The state root now."""
        return root_of(self._leaves.current(), self._globals())

    @property
    def unportable(self) -> str | None:
        """Why the guest cannot be kept faithfully; None if it can."""
        if isinstance(self._reach, str):
            return self._reach
        if self._base is None:
            return "nobody remembered what it was when it was loaded"
        if self._handles().opened_since(self._base_handles) is None:
            return "it holds, or has given back, resources of the host that no other guest could be given"
        return None

    def keep(self) -> MemoryImage:
        """What differs from the guest as it was loaded; raises WrongState if it is not portable."""
        _, base = self._portable()
        streams = self._handles().opened_since(self._base_handles) or ()
        values = self._globals()
        memories = self._leaves.current()
        blocks = {
            (index, number): bytes(content(self._memories[index], size)[number * LEAF : (number + 1) * LEAF])
            for index, (size, leaves) in enumerate(memories)
            for number in _different(base[index], leaves)
        }
        sizes = tuple(size for size, _ in memories)
        return MemoryImage(root_of(memories, values), self._base_root, sizes, blocks, values, streams)

    def restore(self, image: MemoryImage) -> None:
        """Makes of a guest as it was loaded what was kept; raises IntegrityError if that fails."""
        reach, _ = self._portable()
        if image.base != self._base_root or self.root() != self._base_root:
            raise IntegrityError("the memory was kept of a guest that was another when it was loaded")
        if len(image.memories) != len(self._memories) or tuple(map(len, image.globals)) != reach.widths:
            raise IntegrityError("the memory was kept of a guest that has other memories or globals")
        self.enter()
        with reach.unmetered():
            for memory, size, grow in zip(self._memories, image.memories, reach.growers, strict=True):
                _grow(memory, size, grow)
            self._set_globals(reach, image.globals)
            for stream in image.streams:
                reach.open(STREAMS.index(stream))
        for (index, number), block in image.blocks.items():
            content(self._memories[index], image.memories[index])[number * LEAF : (number + 1) * LEAF] = block
        streams = self._handles().opened_since(self._base_handles)
        if self.root() != image.root or streams != image.streams:
            raise IntegrityError("the memory that was restored is not the one that was kept")

    def close(self) -> None:
        """Gives back what was opened; nothing can be asked any more."""
        self._leaves.close()
        self._memories = ()

    def _portable(self) -> tuple[Reach, list[bytes]]:
        why = self.unportable
        if why is not None or isinstance(self._reach, str) or self._base is None:
            raise WrongState(f"the memory of this guest cannot be kept: {why}")
        return self._reach, self._base

    def _globals(self) -> tuple[bytes, ...]:
        if isinstance(self._reach, str):
            return ()
        values = []
        index = 0
        with self._reach.unmetered():
            for width in self._reach.widths:
                value = b""
                while len(value) < width:
                    value += self._reach.get(index).to_bytes(8, "little")[:width]
                    index += 1
                values.append(value)
        return tuple(values)

    @staticmethod
    def _set_globals(reach: Reach, values: Sequence[bytes]) -> None:
        halves = [value[at : at + 8] for value in values for at in range(0, len(value), 8)]
        for index, half in enumerate(halves):
            reach.set(index, int.from_bytes(half, "little"))


def _identified(memories: Sequence[Memory], reach: Reach) -> tuple[Reach | str, Sequence[Memory]]:
    """The memories in the order of the hatch: a byte that changes in one is seen to change through one function."""
    if len(memories) != len(reach.peekers):
        return "one of its memories has no page yet, or its memories cannot be found here", memories
    found: dict[int, Memory] = {}
    with reach.unmetered():
        for memory in memories:
            before = [peek(0) for peek in reach.peekers]
            first = content(memory, 1)
            first[0] ^= _MARKS
            changed = [i for i, peek in enumerate(reach.peekers) if peek(0) != before[i]]
            first[0] ^= _MARKS
            if len(changed) == 1:
                found[changed[0]] = memory
    if len(found) != len(memories):
        return "its memories cannot be told apart", memories
    return reach, [found[index] for index in range(len(memories))]


def _grow(memory: Memory, size: int, grow: Callable[[int], int]) -> None:
    """Makes a memory grow to `size` bytes, if it may."""
    missing = size - memory.size()
    if missing and (missing < 0 or grow(missing // PAGE) == _REFUSED or memory.size() != size):
        raise IntegrityError(f"a memory of {memory.size()} bytes could not be made one of {size}, as it was kept")


def _different(base: bytes, leaves: bytes | bytearray) -> list[int]:
    """The numbers of the leaves that are others than in the base; where that ends, zeros are the base."""
    known = len(base)
    return [
        at // DIGEST_SIZE
        for at in range(0, len(leaves), DIGEST_SIZE)
        if leaves[at : at + DIGEST_SIZE] != (base[at : at + DIGEST_SIZE] if at < known else _ZEROS)
    ]
