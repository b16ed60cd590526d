"""What the numbers of the handler `random` are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from theater.core.permissions import Asked
from theater.core.quantities import show
from theater.core.schema import Place, key, optional
from theater.errors import InvalidInput


def _seed(value: object, place: Place) -> int | str:
    if isinstance(value, str) and 1 <= len(value) <= 256:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    raise InvalidInput(f"found {show(value)}; allowed: a whole number from 0 to {(1 << 63) - 1}, or a text")


@dataclass(frozen=True, slots=True)
class Random:
    """Permissions of the handler `random`.

    Args:
        seed: what all randomness of the actor follows from (theater/core/randomness.py); None for that of the
            operating system.
    """

    seed: int | str | None = key(optional(_seed), None)

    def excess(self, granted: Self) -> str | None:
        return None  # Another seed gives other numbers, and no more of them.

    def used(self, calls: Sequence[Asked]) -> Self:
        return self
