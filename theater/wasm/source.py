"""Building the text of generated Python: lines with their indentation, fresh names, constants.

`encode` and `decode` write one function per WIT signature. What a name stands for goes into the namespace the text is
executed in; nothing that a component chose (a name of a field, of a case) becomes program text except as a literal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

from theater.wasm import native

K = TypeVar("K")
TextCell = tuple[int, int]
"""Length and address of an encoded text."""


class UnsupportedType(Exception):
    """A function cannot be called from here: its type has a future, a resource in an export, or nests too deeply."""


class Block:
    """Lines of program text, indented as the `with` blocks they were written in."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0

    def __call__(self, *lines: str) -> None:
        self.lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def under(self, head: str) -> Iterator[None]:
        """Write `head`, and what follows inside the `with` beneath it."""
        self(head)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1


class Source:
    """One generated module: its functions and the names they see."""

    def __init__(self, **names: Any) -> None:
        self.names = names
        self.functions: list[Block] = []
        self._texts: list[bytes] = []
        self._count = count(1)

    def fresh(self, prefix: str) -> str:
        return f"{prefix}{next(self._count)}"

    def constant(self, value: Any, prefix: str = "k") -> str:
        """A fresh name for a value."""
        name = self.fresh(prefix)
        self.names[name] = value
        return name

    def text(self, name: str) -> TextCell:
        """Length and address of a name's UTF-8, which stays where it is as long as the generated code lives."""
        encoded = name.encode()
        self._texts.append(encoded)
        return len(encoded), id(encoded) + native.BYTES_OFFSET

    @contextmanager
    def function(self, head: str) -> Iterator[Block]:
        """Write a function of the module: `head`, and what follows inside the `with` beneath it."""
        block = Block()
        with block.under(head):
            yield block
        self.functions.append(block)

    def compile(self, name: str) -> Any:
        """The code object of the module. Executing it in a copy of `names` defines its functions.

        Raises:
            UnsupportedType: the type nests deeper than Python's blocks can.
        """
        self.names["_texts"] = self._texts
        text = "\n".join(line for block in self.functions for line in block.lines)
        try:
            return compile(text, f"<{name}>", "exec", dont_inherit=True)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise UnsupportedType(f"the type of {name} nests too deeply: {error}") from error


def dispatch(block: Block, index: str, keys: Sequence[K], write: Callable[[K], None], first: int = 0) -> None:
    """Write a binary search over the variable `index`: `write(keys[i])` where it is `first + i`."""
    if all(key == keys[0] for key in keys):
        write(keys[0])
        return
    half = len(keys) // 2
    with block.under(f"if {index} < {first + half}:"):
        dispatch(block, index, keys[:half], write, first)
    with block.under("else:"):
        dispatch(block, index, keys[half:], write, first + half)
