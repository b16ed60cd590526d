"""A figure: what one contestant measured for one row, in one round or over all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement.

    Args:
        row: key of the row.
        median: seconds, bytes, or a number; of all samples, and of all rounds.
        p99: the value that 99 of 100 samples do not exceed; None if there is no distribution.
        samples: how many were taken.
        note: how it was measured, if that is not plain; or what stopped it.
        open_end: the measurement was stopped by its own limit, so that it is no verdict.
        rounds: the values of the single rounds.
    """

    row: str
    median: float
    p99: float | None = None
    samples: int = 1
    note: str = ""
    open_end: bool = False
    rounds: tuple[float, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """The figure as values that JSON has, without its row."""
        plain = asdict(self)
        del plain["row"]
        return plain

    @classmethod
    def from_plain(cls, row: str, plain: Mapping[str, Any]) -> Self:
        """The figure that `to_plain` wrote."""
        return cls(row, **{**plain, "rounds": tuple(plain["rounds"])})


def of_samples(row: str, samples: Sequence[float], note: str = "") -> Figure:
    """The figure of single values: their median, and the 99th percentile."""
    ordered = sorted(samples)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return Figure(row, statistics.median(ordered), p99, len(ordered), note)


def of_rounds(figures: Sequence[Figure]) -> Figure:
    """What several rounds say together: medians of their values and of their percentiles."""
    last = figures[-1]
    p99s = [figure.p99 for figure in figures if figure.p99 is not None]
    return Figure(
        last.row,
        statistics.median(figure.median for figure in figures),
        statistics.median(p99s) if p99s else None,
        sum(figure.samples for figure in figures),
        last.note,
        last.open_end,
        tuple(figure.median for figure in figures),
    )


def timed(run: Callable[[], object]) -> float:
    """Seconds that `run` takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def times(run: Callable[[], object], repeat: int) -> list[float]:
    """Seconds of each of `repeat` runs."""
    return [timed(run) for _ in range(repeat)]


def rate(count: int, run: Callable[[], object]) -> float:
    """How many of `count` things that `run` does it does in a second."""
    return count / timed(run)


def by_row(figures: Iterable[Figure]) -> dict[str, list[Figure]]:
    """Figures in order, by row."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.row, []).append(figure)
    return found
