"""Which manifests an actor may start children from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from theater.core import schema
from theater.core.permissions import Asked
from theater.core.schema import key


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Permissions of the handler `supervisor`.

    Args:
        manifests: glob patterns of manifests beside its own; None for its own folder and for texts.
    """

    manifests: tuple[str, ...] | None = key(schema.optional(schema.texts), None)

    def excess(self, granted: Self) -> str | None:
        if self == granted or (self.manifests and granted.manifests and {*self.manifests} <= {*granted.manifests}):
            return None
        return "start children from other manifests than its parent"

    def used(self, calls: Sequence[Asked]) -> Self:
        return self
