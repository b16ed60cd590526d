"""One contestant's process: measures, and reports each figure as a line of JSON as soon as it has it.

It ends in order when it is asked to, and is asked to when whoever started it dies.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import signal
import sys
from pathlib import Path

from benchmarks.effort import Effort

_PR_SET_PDEATHSIG = 1


def main() -> None:
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _end_with(options.parent)
    measure = importlib.import_module(options.module).measure
    effort = Effort(frozenset(options.rows.split(",")), options.share, options.actors)
    with options.report.open("a") as report:
        for figure in measure(effort):
            if effort.wants(figure.row):
                print(json.dumps([figure.row, figure.to_plain()]), file=report, flush=True)


def _end_with(parent: int) -> None:
    """Has the kernel ask this process to end when its parent dies; it may be dead already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(143)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("--rows", required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--actors", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--report", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
