"""How much work a run puts into its figures."""

from __future__ import annotations

from dataclasses import dataclass

QUICK_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Effort:
    """What a contestant is to do.

    Args:
        wanted: keys of the rows that are wanted.
        share: of the usual number of repetitions.
        actors: most actors that `capacity` starts.
    """

    wanted: frozenset[str]
    share: float = 1.0
    actors: int = 300

    def wants(self, *rows: str) -> bool:
        """Whether one of `rows` is wanted."""
        return not self.wanted.isdisjoint(rows)

    def of(self, usual: int, least: int = 3) -> int:
        """How often to do what is usually done `usual` times."""
        return max(least, round(usual * self.share))
