"""How often the tests try what depends on chance: often enough for each change, or (`make test-long`) for a night."""

from __future__ import annotations

import os

IS_LONG = os.environ.get("THEATER_TESTS") == "long"


def effort(each_time: int, long: int) -> int:
    """How often."""
    return long if IS_LONG else each_time
