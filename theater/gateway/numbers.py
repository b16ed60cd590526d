"""Ids of websockets: never given twice, also not by a gateway that was started again."""

from __future__ import annotations

import itertools
from collections.abc import Callable


class Numbers:
    """Counts from the time of its start, in microseconds: a gateway gives fewer ids than one in each. They fit into
    the whole numbers of JavaScript.

    Args:
        now_ns: the wall clock.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._count = itertools.count(now_ns() // 1000)

    def next(self) -> int:
        return next(self._count)
