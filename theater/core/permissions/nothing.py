"""Handlers without permissions: an actor has them or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Nothing:
    """No key beside `type`."""

    def excess(self, granted: Self) -> str | None:
        return None
