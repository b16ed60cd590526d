"""Many chains verified at once, by a process for each processor.

Entries are so short that reading them is Python's work and not the hash function's, which threads could share. A
process costs as much as a hundred thousand entries, so this is for homes that have many times more.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from theater.chainlog.verify import Content, Contents, verify_actor
from theater.core.verification import Checkpoints, Verdict

_PR_SET_PDEATHSIG = 1


class Job(NamedTuple):
    """One chain.

    Args:
        path: its file.
        actor: the id that its genesis must name.
        known: what is known about it from elsewhere.
    """

    path: Path
    actor: str
    known: Checkpoints | None


def verify_abreast(
    jobs: Sequence[Job], contents: Contents, reopen: Callable[[], Content], key: bytes | None, processes: int
) -> Iterator[Verdict]:
    """Verifies chains in several processes; the verdicts come in the order of the jobs.

    Args:
        contents: for this process, which does what is left when somebody ends one of the others.
        reopen: opens the content store in another process; must be picklable.
        key: as for `verify_home`.
        processes: how many.
    """
    apart = multiprocessing.get_context("spawn")
    left = deque(jobs)
    with ProcessPoolExecutor(processes, apart, _begin, (reopen, key, os.getpid())) as pool:
        try:
            for verdict in pool.map(_verify, jobs):
                left.popleft()
                yield verdict
        except BrokenProcessPool:
            for job in left:
                yield verify_actor(job.path, job.actor, job.known, contents, key)


# ---- in the other process


class _Part(NamedTuple):
    contents: Contents
    key: bytes | None


_part: _Part


def _begin(reopen: Callable[[], Content], key: bytes | None, parent: int) -> None:
    global _part
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who waits for the verdicts.
    _part = _Part(Contents(reopen()), key)


def _verify(job: Job) -> Verdict:
    return verify_actor(job.path, job.actor, job.known, _part.contents, _part.key)
