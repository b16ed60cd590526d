"""Handlers without permissions: an actor has them or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from theater.core.permissions import Asked


@dataclass(frozen=True, slots=True)
class Nothing:
    """No key beside `type`."""

    def excess(self, granted: Self) -> str | None:
        return None

    def used(self, calls: Sequence[Asked]) -> Self:
        return self
