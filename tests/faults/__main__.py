"""Faults under load, and a checker that reads the record afterwards; then malformed input, for a while.

    python -m tests.faults [--seed N] [--minutes M] [--only NAME ...] [--kills N] [--no-replay]

A run is made of its seed, which is printed; a failure says the command that repeats it. Two thirds of the time are for
faults, the rest for malformed input. `--only` keeps kinds of faults (`kill`, `disk full`, ...) and of processes
(`worker`, `spawner`, ...), or `input` alone. `--kills 1000` only kills, until that was done a thousand times.
"""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys

from tests.faults.fuzz import fuzz, private_folder, pure_fields
from tests.faults.fuzz_served import fuzz_server
from tests.faults.plan import Kind, plan
from tests.faults.run import Run, table

INPUT = "input"


def main() -> int:
    """Runs, and prints a table; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--pause", type=float, default=0.35, help="seconds between faults, on average")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--no-replay", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    again = shlex.join(["python", "-m", "tests.faults", "--seed", str(options.seed), *_without_seed(sys.argv[1:])])
    print(f"seed {options.seed}; again: {again}", flush=True)
    seconds = options.minutes * 60
    wrong: list[str] = []
    if options.only != [INPUT]:
        wrong += _faults(options, seconds * (1 if options.only or options.kills else 2 / 3))
    if not options.kills and (not options.only or INPUT in options.only):
        wrong += _input(options.seed, seconds / 3)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if wrong:
        print(f"again: {again}")
    return 1 if wrong else 0


def _faults(options: argparse.Namespace, seconds: float) -> list[str]:
    """What a run under faults has found to be wrong."""
    say = (lambda line: None) if options.quiet else (lambda line: print(line, flush=True))
    if options.kills:
        only = frozenset(options.only) - {INPUT} | {str(Kind.KILL)}
        faults = plan(options.seed, 1e9, only, min(options.pause, 0.12), options.kills * 4)
        run = Run(faults, options.seed, 0.0, say, options.kills)
    else:
        run = Run(plan(options.seed, seconds, frozenset(options.only), options.pause), options.seed, seconds, say)
    report = run.run(replay=not options.no_replay)
    print("\n".join(table(report)))
    return [*report.wrong, *report.findings.wrong[:30]]


def _input(seed: int, seconds: float) -> list[str]:
    """What malformed input has done harm."""
    with private_folder() as folder:
        found = [fuzz(pure_fields(folder), seed, seconds / 2), fuzz_server(seed, seconds / 2)]
    for tried in found:
        for name, count in sorted(tried.tried.items()):
            print(f"  {'malformed: ' + name:<56} {count}, refused {tried.refused[name]}")
    return [sentence for tried in found for sentence in tried.wrong]


def _without_seed(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if not skip and word != "--seed" and not word.startswith("--seed="):
            kept.append(word)
        skip = word == "--seed"
    return kept


if __name__ == "__main__":
    sys.exit(main())
