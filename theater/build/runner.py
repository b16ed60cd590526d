"""The Python runner: one component, made once per machine, that runs every Python actor.

Making a component of CPython takes seconds and compiling it more, so actors share one, and an actor's build is its
source alone (theater/build/python.py). In the cache directory:

    runners/<digest>.wasm     the component, under the blake3 of its content
    runners/<key>.made        the digest of the component that was made from these sources by this componentize-py
    runners/lock              locked (flock(2)) while a runner is being made

Two runs of componentize-py on the same sources differ in their bytes, since CPython draws a seed for its hashes. So
there are two names: the key finds the runner of this version, the digest says which runner a program was built for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from theater.build.componentize import GUEST, INTERFACES, componentize, version
from theater.build.progress import Progress, silent
from theater.core.codec import content_digest, digest, pack
from theater.errors import BuildFailed, DiskFull
from theater.store.programs import runners

_WORLD = "theater:python/runner"
_APPLICATION = "theater_runner"
_KEY_TAG = b"theater.python-runner"
_PACKAGE = Path(__file__).parent.parent
_SUFFIXES = (".py", ".wit")
_MAKERS = (_PACKAGE / "build" / "componentize.py", _PACKAGE / "build" / "mend.py")


def runner(cache: Path, progress: Progress = silent) -> Path:
    """The runner of this version of Theater, made if this machine has none yet.

    Args:
        cache: the machine's cache (theater/config.py).
        progress: told what is being done, if it takes time.

    Returns:
        Its file, whose name without `.wasm` is the blake3 of its content.

    Raises:
        BuildFailed: it could not be made.
        DiskFull: there is no room for it.
    """
    folder = runners(cache)
    key = _key()
    found = _made(folder, key)
    if found is not None:
        return found
    with _locked(folder, progress):
        return _made(folder, key) or _make(folder, key, progress)


def _made(folder: Path, key: str) -> Path | None:
    try:
        path = folder / f"{(folder / f'{key}.made').read_text()}.wasm"
    except FileNotFoundError:
        return None
    return path if path.is_file() else None


def _make(folder: Path, key: str, progress: Progress) -> Path:
    progress("building the Python runner, once for this machine")
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as scratch:
            fresh = Path(scratch) / "runner.wasm"
            componentize(
                _APPLICATION,
                fresh,
                lambda text: progress(f"building the Python runner, once for this machine: {text}"),
                world=_WORLD,
                wit=(*INTERFACES, GUEST / "wit"),
                modules={},
                packages=False,
            )
            return _publish(folder, key, fresh)
    except OSError as error:
        raise _translated(error, folder) from error


def _publish(folder: Path, key: str, fresh: Path) -> Path:
    name = content_digest(fresh.read_bytes()).hex()
    made = fresh.with_name("made")
    made.write_text(name)
    path = folder / f"{name}.wasm"
    # The component first: a name never stands for a file that is not there.
    os.replace(fresh, path)
    os.replace(made, folder / f"{key}.made")
    return path


def _translated(error: OSError, folder: Path) -> BuildFailed | DiskFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no room for the Python runner in {folder}: {error.strerror}")
    return BuildFailed(f"the Python runner could not be written to {folder}: {error}")


def _key() -> str:
    """A digest of all that the runner is made from."""
    files = (path for root in (GUEST, *INTERFACES) for path in sorted(root.rglob("*")) if path.suffix in _SUFFIXES)
    sources = {str(path.relative_to(_PACKAGE)): path.read_bytes() for path in (*files, *_MAKERS)}
    return digest(pack({"componentize-py": version(), "sources": sources}), _KEY_TAG).hex()


@contextlib.contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that builds the Python runner")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
