"""Killed at any step of compressing or dropping, a chain is whole, and the next time brings it to its end.

Run as a script it makes one home after the other, and forks children that kill themselves by SIGKILL between each two
things that they do to the disk. The process of the tests must not fork: it may have threads.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from chains import ACTOR, Living
from long_chains import SIGNER, compress, drop, files, live, records

from theater.chainlog import holes, verify_home
from theater.core.chain import Record
from theater.core.manifest import Retention

_PATIENCE_S = 300.0
_STEPS_MAX = 500
_DEEDS = ("write", "fsync", "fdatasync", "rename", "unlink", "mkdir")
"""What changes the disk, but for the making of an empty file, which the next of these shows as it was left."""


Shrink = Callable[[Living], Any]


def partly(home: Living) -> Any:
    """Drops up to the midst of what is compressed."""
    return drop(home, Retention(entries=110))


def both(home: Living) -> Any:
    return drop(home, Retention(entries=60))


WAYS: dict[str, tuple[Shrink, ...]] = {
    "compress": (compress,),
    "drop": (drop,),
    "drop a part of what was compressed": (compress, partly),
    "drop a second time, and compress": (partly, both),
}
"""What is done before, and last what is killed."""


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_wherever_it_is_killed(way: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__)), way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


# ---- the script


def main(way: str) -> int:
    *before, last = WAYS[way]
    kills = 0
    for step in range(_STEPS_MAX):
        with tempfile.TemporaryDirectory(prefix="tt") as folder:
            home = Living.at(Path(folder) / "home")
            mark = live(home.chain(ACTOR), home.store, 48, 10, 900)
            home.checkpoint(actor1=mark)
            for each in before:
                each(home)
            whole = records(home.chain(ACTOR))
            spare = Path(folder) / "spare"
            shutil.copytree(home.actor(ACTOR), spare)  # reads holes as zeros, and needs them no more
            if not _killed(home, last, step):
                break
            kills += 1
            _require_whole(home, whole)
            last(home)
            _require_whole(home, whole)
            _require_same(home, last, before, spare)
    print(kills)
    return 0


def _require_whole(home: Living, before: list[Record]) -> None:
    """All that was not dropped is there, and verifies."""
    found = verify_home(home, home.store, key=SIGNER.public)
    assert found.ok, found
    left = records(home.chain(ACTOR))
    assert left[0] == before[0]
    assert left[1:] == before[-len(left) + 1 :]


def _require_same(home: Living, last: Shrink, before: list[Shrink], spare: Path) -> None:
    """What is there now is what there would have been without the kill."""
    found = files(home.actor(ACTOR))
    shutil.rmtree(home.actor(ACTOR))
    shutil.copytree(spare, home.actor(ACTOR))
    last(home)
    assert found.keys() == files(home.actor(ACTOR)).keys(), (found.keys(), files(home.actor(ACTOR)).keys())


def _killed(home: Living, shrink: Shrink, step: int) -> bool:
    """Has a child do it that is killed at its deed `step`; returns whether it came that far."""
    child = os.fork()
    if child == 0:
        _die_at(home, shrink, step)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def _die_at(home: Living, shrink: Shrink, step: int) -> NoReturn:
    deeds = 0

    def count() -> None:
        nonlocal deeds
        if deeds == step:
            os.kill(os.getpid(), signal.SIGKILL)
        deeds += 1

    def deadly(deed: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **more: Any) -> Any:
            count()
            return deed(*args, **more)

        return wrapped

    try:
        for name in _DEEDS:
            setattr(os, name, deadly(getattr(os, name)))
        holes.erase = deadly(holes.erase)
        shrink(home)
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
