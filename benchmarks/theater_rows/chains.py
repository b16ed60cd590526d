"""Appending to a chain and verifying it, in process, on the file system of the temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import chain
from benchmarks.effort import Effort
from benchmarks.figures import Figure, rate, timed

ENTRIES = 200_000
LARGE_PAYLOAD = 65_000


def measure(effort: Effort) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain"
        if effort.wants("chain-append", "chain-verify"):
            count = effort.of(ENTRIES, 10 * chain.GROUP)
            yield Figure("chain-append", rate(count, lambda: chain.write_small(path, entries=count)), samples=count)
            yield Figure("chain-verify", rate(count, lambda: chain.verify(path)), samples=count)
        if effort.wants("chain-append-large", "chain-verify-large"):
            took = timed(lambda: chain.write_large(path, LARGE_PAYLOAD))
            size = path.stat().st_size
            yield Figure("chain-append-large", size / took, samples=chain.LARGE)
            yield Figure("chain-verify-large", size / timed(lambda: chain.verify(path)), samples=chain.LARGE)
