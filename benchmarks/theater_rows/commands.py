"""Whole processes of the command line, from exec to exit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, times
from benchmarks.theater_rows.server import server

ACTORS = 20


def measure(effort: Effort) -> Iterator[Figure]:
    if effort.wants("list"):
        with server() as house:
            ready = house.prepare("listed")
            for _ in range(ACTORS):
                house.client.start_prepared(ready)
            here = {**os.environ, "THEATER_HOME": str(house.home.root)}
            yield of_samples("list", _runs("list", here, effort), f"with {ACTORS} actors")
    if effort.wants("help"):
        yield of_samples("help", _runs("--help", os.environ, effort))


def _runs(argument: str, environment: Mapping[str, str], effort: Effort) -> list[float]:
    command = [*theater(), argument]

    def run() -> None:
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)

    run()
    return times(run, effort.of(20))


def theater() -> list[str]:
    """The command as it is installed beside this Python; as a module if only that is there."""
    script = Path(sys.executable).with_name("theater")
    return [str(script)] if script.exists() else [sys.executable, "-m", "theater_cli"]
