"""Programs of Python actors, as files: how one is told from a component, and where the runner is that it is for.

theater/build/python.py says what is in a program and makes it; theater/build/runner.py makes runners. Who only starts
an actor needs neither.
"""

from __future__ import annotations

from pathlib import Path

from theater import config
from theater.core.codec import unpack
from theater.errors import ComponentError, WireError

MAGIC = b"theater-program 1\n"
"""What a program begins with."""


def is_program(made: Path) -> bool:
    """Whether a file is a program for the Python runner, and so no component."""
    with made.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def runners(cache: Path) -> Path:
    """The folder of the machine's runners, in its cache."""
    folder = cache / "runners"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def find_runner(cache: Path, component: str) -> Path | None:
    """The runner with a digest, which may be one of an earlier version.

    Args:
        component: blake3 of its content, in hex.
    """
    path = runners(cache) / f"{component}.wasm"
    return path if path.is_file() else None


def runner_of(program: Path) -> Path | None:
    """The component that a program is for; None if this machine does not have it.

    Raises:
        ComponentError: it begins like a program and is none.
    """
    content = program.read_bytes()
    try:
        fields = unpack(content[len(MAGIC) :], max_len=len(content))
        return find_runner(config.cache(), str(fields["runner"]))
    except (WireError, KeyError, TypeError) as error:
        raise ComponentError(f"{program} begins like a program and is none; build it again") from error
