"""What the supervision machine takes to decide: the histories of the simulator, told to it once more without the
simulator's world and checks (tests/core/simulator.py)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from benchmarks.effort import Effort
from benchmarks.figures import Figure

EVENTS = 200_000
FOLDER = Path(__file__).parents[2] / "tests" / "core"


def measure(effort: Effort) -> Iterator[Figure]:
    count = effort.of(EVENTS, 2000)
    speed = _simulator().measure(count)
    yield Figure("core-event", 1 / speed.alone, samples=speed.events, note=f"{speed.alone:,.0f} events/s")
    yield Figure("core-checked", speed.checked, samples=speed.events)


def _simulator() -> ModuleType:
    """The test module, which finds its neighbours where it stands."""
    sys.path.insert(0, str(FOLDER))
    return importlib.import_module("simulator")
