"""A handler for Theater that comes in a package of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from theater.host.extensions import Extension, Surroundings
from theater_tally.counters import Counters
from theater_tally.permissions import Tally

INTERFACE = "example:tally/counters@0.1.0"


def build(around: Surroundings) -> Mapping[str, object]:
    """What answers in one life of one actor."""
    return {INTERFACE: Counters(around.folder, around.permissions, around.release)}


EXTENSION = Extension((INTERFACE,), Path(__file__).parent / "wit", build, Tally)
