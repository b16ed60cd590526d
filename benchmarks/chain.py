"""Figures of the chain: appending, verifying, recovering. `python benchmarks/chain.py [--json]`, a few seconds.

Entries of about 100 bytes of body are grouped by 64, as a busy worker does. Verifying reads from the page cache and
looks at everything: header, digest, sequence, references. The best of several runs is shown: others disturb, nobody
helps.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theater.chainlog import ChainReader, ChainWriter, recover, verify_chain
from theater.chainlog.chain_file import ChainFile
from theater.core.chain import Call, Genesis, HostCall, HostResult, Kind, Mark, outcome_ok
from theater.store import ContentStore

SMALL = 200_000
LARGE = 4_000
GROUP = 64
GENESIS = Genesis("00000000-0000-8000-8000-000000000000", "bench", None, None, None, {})


def best(runs: int, run: Callable[[], Any]) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def write_small(path: Path, durability: str = "process", entries: int = SMALL, actor: str = GENESIS.actor) -> Mark:
    """A chain of `entries` host calls of about 100 bytes of body."""
    path.unlink(missing_ok=True)
    payload = HostCall("theater:simple/runtime", "log", ("some words that an actor says now and then, or so",))
    with ChainWriter.open(path, durability=durability) as writer:
        writer.append(Kind.GENESIS, GENESIS._replace(actor=actor))
        for _ in range(entries // GROUP):
            for _ in range(GROUP):
                writer.append(Kind.HOST_CALL, payload)
            writer.commit()
        return writer.mark


def write_calls(path: Path, calls: int) -> None:
    """What a request/reply leaves at its receiver: call, host call, host result, outcome, one write."""
    path.unlink(missing_ok=True)
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        before = None
        for number in range(calls):
            state = b"%d" % number
            writer.append(Kind.CALL, Call("theater:simple/message-server-client", "handle-send", (b"x" * 100,)))
            writer.append(Kind.HOST_CALL, HostCall("theater:simple/runtime", "log", ("words",)))
            writer.append(Kind.HOST_RESULT, HostResult(None))
            outcome = outcome_ok(None, state, before)
            before = outcome.state_digest
            writer.append(Kind.OUTCOME, outcome)
            writer.flush()


def write_large(path: Path, size: int) -> None:
    path.unlink(missing_ok=True)
    body = os.urandom(size)
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, GENESIS)
        for _ in range(LARGE):
            writer.append(Kind.HOST_RESULT, HostResult(body))


def verify(path: Path, content: ContentStore | None = None) -> None:
    verdict = verify_chain(path, content=content)
    assert verdict.ok, verdict


def recover_from(path: Path, mark: Mark) -> None:
    with ChainFile.open(path) as file:
        recover(file, mark, None)


def read_tail(path: Path) -> None:
    with ChainReader(path) as reader:
        assert len(reader.tail(1000)) == 1000


def measure(folder: Path) -> dict[str, float]:
    chain = folder / "chain"
    figures: dict[str, float] = {}
    figures["append 100 B, entries/s"] = SMALL / best(4, lambda: write_small(chain))
    mark = write_small(chain)
    figures["verify 100 B, entries/s"] = SMALL / best(4, lambda: verify(chain))
    figures["recover at a known mark, ms"] = 1e3 * best(20, lambda: recover_from(chain, mark))
    figures["newest 1000 entries, ms"] = 1e3 * best(20, lambda: read_tail(chain))
    with ChainWriter.open(chain, known=mark) as writer:
        for _ in range(1000):
            writer.append(Kind.HOST_RESULT, HostResult("x" * 50))
    figures["recover 1000 entries behind the mark, ms"] = 1e3 * best(20, lambda: recover_from(chain, mark))
    figures["record a call (4 entries, one write), us"] = 1e6 / 20_000 * best(4, lambda: write_calls(chain, 20_000))
    figures["append 100 B in groups of 64, durable, entries/s"] = (
        SMALL / 10 / best(2, lambda: write_small(chain, "host", SMALL // 10))
    )
    write_large(chain, 65_000)
    figures["verify 64 KiB in line, GB/s"] = chain.stat().st_size / 1e9 / best(4, lambda: verify(chain))
    store = ContentStore(folder / "content")
    data = [os.urandom(1 << 20) for _ in range(64)]
    digests = [store.put(each) for each in data]
    figures["verify content of 1 MiB, GB/s"] = 64 * (1 << 20) / 1e9 / best(4, lambda: [store.check(d) for d in digests])
    small = os.urandom(5000)
    store.put(small)
    figures["put content that is there, us"] = 1e6 / 1000 * best(5, lambda: [store.put(small) for _ in range(1000)])
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    for name, figure in figures.items():
        print(f"{figure:>14,.2f}  {name}" if figure < 100 else f"{figure:>14,.0f}  {name}")


if __name__ == "__main__":
    main()
