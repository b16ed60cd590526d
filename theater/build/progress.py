"""How a build says that it goes on: a function that takes a sentence, again and again."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Called with what is being done at the moment; the same sentence may come again with other figures."""


def silent(_: str) -> None:
    """Progress that nobody wants to see."""
