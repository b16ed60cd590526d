"""Keeps what a guest's memory has become, and gives it to a guest that was loaded anew."""

from __future__ import annotations

from collections.abc import Sequence

from theater.core.memory_image import MemoryImage
from theater.errors import IntegrityError, WrongState
from theater.wasm.memories import PAGE, Memory
from theater.wasm.state_root import content, page_digests, root_of


class Keeping:
    """The memories of one instance.

    Args:
        memories: in the order in which the instance made them.
    """

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._memories = memories
        self._base: list[list[bytes]] | None = None
        self._base_root = b""

    def keep_image(self) -> None:
        """Remembers the memories as they are now."""
        self._base = [page_digests(memory) for memory in self._memories]
        self._base_root = self.root()

    def root(self) -> bytes:
        """The state root now."""
        return root_of([(memory.size(), page_digests(memory)) for memory in self._memories], ())

    @property
    def unportable(self) -> str | None:
        """Why the memories cannot be kept faithfully; None if they can."""
        if self._base is None:
            return "nobody kept an image of it when it was loaded"
        if [memory.size() // PAGE for memory in self._memories] != [len(pages) for pages in self._base]:
            return "its memory has grown since it was loaded"
        return None

    def keep(self) -> MemoryImage:
        """What differs from the memories as they were loaded."""
        base = self._portable()
        pages = {}
        for index, memory in enumerate(self._memories):
            view = content(memory, memory.size())
            for number, digest in enumerate(page_digests(memory)):
                if digest != base[index][number]:
                    pages[index, number] = bytes(view[number * PAGE : (number + 1) * PAGE])
        sizes = tuple(memory.size() for memory in self._memories)
        return MemoryImage(self.root(), self._base_root, sizes, pages)

    def restore(self, image: MemoryImage) -> None:
        """Gives the memories what was kept."""
        self._portable()
        if image.base != self._base_root or image.memories != tuple(memory.size() for memory in self._memories):
            raise IntegrityError("the memory was kept of a guest that was another when it was loaded")
        for (index, number), page in image.pages.items():
            memory = self._memories[index]
            content(memory, memory.size())[number * PAGE : (number + 1) * PAGE] = page
        if self.root() != image.root:
            raise IntegrityError("the memory that was restored is not the one that was kept")

    def _portable(self) -> list[list[bytes]]:
        why = self.unportable
        if why is not None or self._base is None:
            raise WrongState(f"the guest's memory cannot be kept: {why}")
        return self._base
