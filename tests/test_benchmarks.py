"""The benchmarks say what they say they do. No figure is held against the clock here: that is `make bench`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import isolated, report
from benchmarks.contestants import CONTESTANTS, PEERS, THEATER, Contestant
from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_rounds, of_samples
from benchmarks.processes import MARK, end_marked, is_alive, marked
from benchmarks.results import NOT_INSTALLED, Results, from_plain, to_plain, verdict
from benchmarks.rows import BY_KEY, ROWS, Unit, amount

ROOT = Path(__file__).parents[1]
LATEST, README = ROOT / "benchmarks" / "latest.json", ROOT / "README.md"

CHEAP = ("guest-16", "chain-append", "chain-verify", "help")

# The budgets of the design. They are written down twice, so that nobody moves a target by accident.
BUDGETS = {
    "request-reply": "<= 110 µs",
    "record-cost": "<= 1.3 times",
    "one-way": ">= 40,000/s",
    "guest-16": "<= 12 µs",
    "guest-1k": "<= 25 µs",
    "guest-64k": "<= 0.6 ms",
    "guest-1m": "<= 12 ms",
    "request-64k": "<= 1.5 ms",
    "request-64k-fresh": "<= 1.5 ms",
    "start": "<= 5 ms",
    "start-rate": ">= 150/s",
    "start-rate-8": ">= 150/s",
    "restart-spare": "<= 3 ms",
    "restart": "<= 8 ms",
    "seal": "<= 3 ms",
    "sealed-call": "<= 1.05 times",
    "deadline-gone": "<= 100 ms",
    "one-for-all": "<= 150 ms",
    "up-1000": "<= 12 s",
    "kill-1000": "<= 12 s",
    "list-storm": "<= 250 ms",
    "core-checked": ">= 100,000/s",
    "memory": "<= 3 MiB",
    "memory-python": "<= 3 MiB",
    "capacity": ">= 2,000 actors",
    "chain-append": ">= 200,000/s",
    "chain-verify": ">= 250,000/s",
    "chain-append-large": ">= 1 GB/s",
    "chain-verify-large": ">= 1 GB/s",
    "verify-home": ">= 250,000/s",
    "million-verify": "<= 4 s",
    "http-rate": ">= 8,000/s",
    "http-latency": "<= 2 ms",
    "http-slow": "<= 2 times",
    "websocket-rate": ">= 5,000/s",
    "http-client": "<= 0.5 ms",
    "state-root": "<= 1.5 ms",
    "snapshot": "<= 30 ms",
    "restore": "<= 100 ms",
    "replay-waited": ">= 20 times",
    "replay-waited-command": ">= 20 times",
    "replay-pure": ">= 70 %",
    "replay-pure-python": ">= 70 %",
    "list": "<= 250 ms",
    "help": "<= 150 ms",
}

MACHINE = {"cores": 2, "processor": "P", "kernel": "6", "python": "3.11", "versions": {"theater": "0.1"}}


def results(*figures: Figure, peer: Figure | None = None) -> Results:
    """A run that found these figures; of the peers, only the first took part, and the last is not installed."""
    found = {THEATER: {figure.row: figure for figure in figures}}
    if peer is not None:
        found[PEERS[0]] = {peer.row: peer}
    return Results(
        ROWS, found, frozenset({PEERS[-1]}), ["it rained"], MACHINE, (1.0,), (2.0,), 3.0, {"rounds": 1, "share": 1.0}
    )


# ---- the table


def test_every_budget_is_a_target() -> None:
    assert {row.key: row.shown_target for row in ROWS if row.target is not None} == BUDGETS


def test_every_row_is_measured_by_one_contestant_of_theater_and_peers_measure_nothing_else() -> None:
    ours = [row for contestant in CONTESTANTS if contestant.name == THEATER for row in contestant.rows]
    assert sorted(ours) == sorted(BY_KEY)
    assert {row for contestant in CONTESTANTS for row in contestant.rows} <= BY_KEY.keys()


def test_the_printed_table_has_every_row_with_its_target() -> None:
    lines = report.text(results()).splitlines()[2:]
    for row, line in zip(ROWS, lines, strict=False):
        what, target = re.split(r"\s{2,}", line)[:2]
        assert (what, target) == (row.what, row.shown_target or report.NOTHING)


def test_a_peer_that_is_not_installed_says_so_in_every_row() -> None:
    lines = report.text(results()).splitlines()[2 : 2 + len(ROWS)]
    assert all(line.endswith(NOT_INSTALLED) for line in lines)


@pytest.mark.parametrize(
    ("row", "value", "said"),
    [
        ("request-reply", 109e-6, "met"),
        ("request-reply", 111e-6, "missed"),
        ("one-way", 40_000.0, "met"),
        ("one-way", 39_999.0, "missed"),
        ("client-request", 1.0, ""),
        ("memory", 3 * 1024.0**2, "met"),
    ],
)
def test_a_figure_meets_its_target_or_misses_it(row: str, value: float, said: str) -> None:
    assert verdict(BY_KEY[row], Figure(row, value)) == said


def test_a_measurement_that_stopped_by_itself_misses_nothing() -> None:
    row = BY_KEY["capacity"]
    assert verdict(row, Figure("capacity", 300, open_end=True)) == "not tried"
    assert verdict(row, Figure("capacity", 2000, open_end=True)) == "met"
    assert verdict(row, Figure("capacity", 300)) == "missed"
    assert verdict(row, None) == "not measured"


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (78.44e-6, Unit.MICROSECONDS, "78.4 µs"),
        (1.5e-3, Unit.MILLISECONDS, "1.50 ms"),
        (40_000.4, Unit.PER_SECOND, "40,000/s"),
        (3.0 * 1024**2, Unit.MIB, "3.00 MiB"),
    ],
)
def test_amounts_are_shown_in_the_unit_of_their_row(value: float, unit: Unit, shown: str) -> None:
    assert amount(value, unit) == shown


# ---- figures


def test_samples_give_their_median_and_the_99th_percentile() -> None:
    figure = of_samples("start", [*range(1, 101)])
    assert (figure.median, figure.p99, figure.samples) == (50.5, 100, 100)


def test_rounds_give_the_median_of_their_medians() -> None:
    whole = of_rounds([Figure("start", value, value * 2, 10) for value in (5.0, 1.0, 3.0)])
    assert whole == Figure("start", 3.0, 6.0, 30, rounds=(5.0, 1.0, 3.0))


def test_results_survive_their_json() -> None:
    found = results(Figure("start", 0.005, 0.006, 3, "so", rounds=(0.005,)), peer=Figure("start", 1.0))
    again = from_plain(json.loads(json.dumps(to_plain(found))))
    assert to_plain(again) == to_plain(found)
    assert report.markdown(again) == report.markdown(found)


def test_the_readme_shows_the_latest_run_whole() -> None:
    latest = from_plain(json.loads(LATEST.read_text()))
    assert report.into(README.read_text(), latest) == README.read_text()
    assert list(latest.rows) == list(ROWS)


# ---- a run


def test_a_tiny_run_of_the_cheap_rows_measures_them(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    only = [word for row in CHEAP for word in ("--only", row)]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--no-peers", "--json", str(file), *only]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = json.loads(file.read_text())["rows"]
    assert {row["row"] for row in rows} == set(CHEAP)
    assert all(row["measured"]["median"] > 0 for row in rows)
    assert all(BY_KEY[row].what in run.stdout for row in CHEAP)


STAYS = """
import os, time
from benchmarks.figures import Figure

def measure(effort):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    yield Figure("help", 1.0)
    time.sleep(600)
"""
FAILS = """
from benchmarks.figures import Figure

def measure(effort):
    yield Figure("help", 1.0)
    raise RuntimeError("out of luck")
"""


def strange(folder: Path, source: str, deadline: float) -> isolated.Outcome:
    """What comes of a contestant with this source."""
    (folder / "strange.py").write_text(source)
    contestant = Contestant("strange", "strange", ("help",), deadline=deadline)
    return isolated.run(contestant, Effort(frozenset({"help"})), os.pathsep.join((str(folder), isolated.PATH)))


def test_a_contestant_that_fails_keeps_its_figures_and_says_why(tmp_path: Path) -> None:
    outcome = strange(tmp_path, FAILS, deadline=30)
    assert outcome.figures == (Figure("help", 1.0),)
    assert "out of luck" in outcome.problem


def test_a_contestant_that_is_never_done_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    outcome = strange(tmp_path, STAYS, deadline=3)
    assert outcome.figures == (Figure("help", 1.0),)
    assert "not done within 3 s" in outcome.problem
    assert "left behind, and ended: 1" in outcome.problem


def test_a_process_that_bears_a_mark_is_found_and_ended() -> None:
    mark = f"test-{os.getpid()}"
    with subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: mark}, start_new_session=True) as process:
        assert marked(mark) == [process.pid]
        assert end_marked(mark) == [process.pid]
        assert process.wait() < 0
    assert not is_alive(process.pid)
