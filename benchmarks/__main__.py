"""The command line: which rows, how much effort, and where the figures go."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import isolated, machine, report
from benchmarks.contestants import CONTESTANTS, THEATER, Contestant
from benchmarks.effort import QUICK_SHARE, Effort
from benchmarks.figures import Figure, by_row, of_rounds
from benchmarks.results import Results, to_plain
from benchmarks.rows import BY_KEY, ROWS

LATEST = Path(__file__).parent / "latest.json"
README = Path(__file__).parents[1] / "README.md"
ROUNDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes the JSON; the exit code says whether everything could be measured."""
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Unwinding ends whoever is measuring.
    wanted = frozenset(options.only or BY_KEY)
    effort = Effort(wanted, QUICK_SHARE if options.quick else 1.0, options.actors)
    chosen = [c for c in CONTESTANTS if effort.wants(*c.rows) and (options.peers or c.name == THEATER)]
    results = measure(chosen, effort, options.rounds or (1 if options.quick else ROUNDS))
    print(report.text(results))
    if options.json is not None:
        _write_json(options.json, results)
    elif options.peers and not (options.quick or options.only or results.problems):
        _write_json(LATEST, results)
        README.write_text(report.into(README.read_text(), results))
    return 1 if results.problems else 0


def measure(chosen: Sequence[Contestant], effort: Effort, rounds: int) -> Results:
    """Has all contestants measure, round by round."""
    begin, load = time.monotonic(), machine.load()
    figures: dict[str, list[Figure]] = {}
    problems: list[str] = []
    for number, contestant in _schedule(chosen, rounds):
        _say(f"round {number + 1} of {rounds}: {contestant.name}, {', '.join(filter(effort.wants, contestant.rows))}")
        outcome = isolated.run(contestant, effort)
        figures.setdefault(contestant.name, []).extend(outcome.figures)
        if outcome.problem:
            _say(outcome.words)
            problems.append(f"{contestant.name} ({contestant.module}): {outcome.problem}")
    return Results(
        rows=[row for row in ROWS if effort.wants(row.key)],
        figures={
            name: {row: of_rounds(each) for row, each in by_row(found).items()} for name, found in figures.items()
        },
        missing=frozenset(contestant.name for contestant in chosen if not contestant.is_installed),
        problems=problems,
        machine=machine.facts(),
        load_before=load,
        load_after=machine.load(),
        seconds=time.monotonic() - begin,
        settings={"rounds": rounds, "share": effort.share, "actors": effort.actors},
    )


def _schedule(chosen: Sequence[Contestant], rounds: int) -> Iterator[tuple[int, Contestant]]:
    """Who measures when: all in turn, again and again."""
    for number in range(rounds):
        for contestant in chosen:
            if contestant.is_installed and (number == 0 or not contestant.once):
                yield number, contestant


def _write_json(file: Path, results: Results) -> None:
    file.write_text(json.dumps(to_plain(results), indent=1, ensure_ascii=False) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the budgets of Theater.")
    parser.add_argument("--only", action="append", choices=sorted(BY_KEY), metavar="ROW", help="one row; repeatable")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="Theater alone")
    parser.add_argument("--quick", action="store_true", help="few repetitions, one round: rough figures")
    parser.add_argument("--rounds", type=int, help=f"how often everything is measured (default {ROUNDS})")
    parser.add_argument("--actors", type=int, default=300, help="most actors that `capacity` starts (default 300)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"where the figures go; else a full run without problems writes {LATEST.name}",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
