"""Faults under load, and a checker that reads the record afterwards; then malformed input, for a while.

    python -m tests.faults [--seed N] [--minutes M] [--only NAME ...] [--no-replay]

A run is made of its seed, which is printed; a failure says the command that repeats it. `--only` keeps kinds of faults
(`kill`, `disk full`, ...) and of processes (`worker`, `spawner`, ...).
"""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys

from tests.faults.plan import plan
from tests.faults.run import Run, table


def main() -> int:
    """Runs, and prints a table; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--pause", type=float, default=0.35, help="seconds between faults, on average")
    parser.add_argument("--no-replay", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    again = shlex.join(["python", "-m", "tests.faults", "--seed", str(options.seed), *_without_seed(sys.argv[1:])])
    print(f"seed {options.seed}; again: {again}", flush=True)
    seconds = options.minutes * 60
    faults = plan(options.seed, seconds, frozenset(options.only), options.pause)
    say = (lambda line: None) if options.quiet else (lambda line: print(line, flush=True))
    report = Run(faults, options.seed, seconds, say).run(replay=not options.no_replay)
    print("\n".join(table(report)))
    for sentence in (*report.wrong, *report.findings.wrong[:30]):
        print(f"WRONG: {sentence}")
    if not report.ok:
        print(f"again: {again}")
    return 0 if report.ok else 1


def _without_seed(words: list[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if not skip and word != "--seed" and not word.startswith("--seed="):
            kept.append(word)
        skip = word == "--seed"
    return kept


if __name__ == "__main__":
    sys.exit(main())
