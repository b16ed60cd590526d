"""Runs a contestant in a process of its own: with a deadline, with its words kept, and with nobody left afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.effort import Effort
from benchmarks.figures import Figure
from benchmarks.processes import MARK, end_marked

ROOT = Path(__file__).parents[1]
PATH = str(ROOT)
_GRACE_S = 15.0
_LAST_WORDS = 800


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Args:
        figures: what it measured, in order.
        problem: why it measured no more, or what it left behind; empty if all went well.
        words: what it and its processes printed.
    """

    figures: tuple[Figure, ...]
    problem: str = ""
    words: str = ""


def run(contestant: Contestant, effort: Effort, path: str = PATH) -> Outcome:
    """Has a contestant measure. What it reported before it failed or was ended counts.

    Args:
        path: where it, and what it starts, finds modules.
    """
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        report, words = Path(folder) / "report", Path(folder) / "words"
        report.touch()
        try:
            problem = _attend(contestant, effort, path, report, words, mark)
        finally:
            left = end_marked(mark)
        if left:
            problem = f"{problem}; left behind, and ended: {len(left)}".lstrip("; ")
        lines = report.read_text().splitlines()
        said = words.read_text(errors="replace").strip()
        return Outcome(tuple(Figure.from_plain(*json.loads(line)) for line in lines), problem, said)


def _attend(contestant: Contestant, effort: Effort, path: str, report: Path, words: Path, mark: str) -> str:
    """Starts the process and waits for its end; returns what went wrong."""
    rows = [row for row in contestant.rows if effort.wants(row)]
    command = [sys.executable, "-m", "benchmarks.contestant", contestant.module, "--report", str(report)]
    command += ["--rows", ",".join(rows), "--share", str(effort.share), "--actors", str(effort.actors)]
    command += ["--parent", str(os.getpid())]
    with words.open("wb") as heard:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            # Commands are timed as they are when installed: compiled, which the first run of each does.
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "", MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=heard,
            stderr=heard,
            start_new_session=True,  # Ctrl-C is for this program, which ends the contestant in order.
        )
        try:
            status = process.wait(contestant.deadline)
        except subprocess.TimeoutExpired:
            return f"not done within {contestant.deadline:g} s"
        finally:
            _end(process)
    if status == 0:
        return ""
    last_words = words.read_text(errors="replace").strip().rpartition("\n")[2]
    return f"ended with {status}: {last_words[-_LAST_WORDS:]}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
        return
    process.kill()
    process.wait()
