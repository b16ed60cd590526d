"""What a manifest may say of the handler `tally`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Self

from theater.core import schema
from theater.core.permissions import Asked
from theater.core.schema import key


@dataclass(frozen=True, slots=True)
class Tally:
    """The schema of the table `[[handler]] type = "tally"`: a key that is no field of this class is an error.

    Args:
        counters: names of counters that the actor may use, and beginnings of names with a `*` behind them.
        most: how many counters it may have.
    """

    counters: tuple[str, ...] = key(schema.texts, ())
    most: int = key(schema.integer(1, 1_000_000), 1000)

    def grants(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.counters)

    def excess(self, granted: Self) -> str | None:
        """What a child with these would have more than its parent with `granted`: after "it may"."""
        more = [name for name in self.counters if not granted.grants(name)]
        if more:
            return f"use the counters {', '.join(more)}"
        return f"have {self.most} counters" if self.most > granted.most else None

    def used(self, calls: Sequence[Asked]) -> Self:
        """The least of these with which `calls` would have been answered as they were."""
        names = {call.args[0] for call in calls if call.function != "names" and not call.refused}
        return replace(self, counters=tuple(sorted(names)))
