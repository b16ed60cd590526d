"""Programs of actors behind their walls: what is refused, and what goes on working, as root and as another user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
NEEDED = {
    "read a file of the machine",
    "write into its own folder",
    "write a temporary file",
    "remove it",
    "write to nobody",
    "a socket of the network",
    "a process",
}
SHOWN_WITHOUT_NAMESPACE = {"list the actors", "list the cache"}
"""Landlock keeps contents, not names, from a program that may read all the rest of a disk."""

THEATER = (
    "__init__.py",
    "errors.py",
    "launcher/__init__.py",
    "launcher/program.py",
    "launcher/keeper.py",
    "launcher/walls.py",
    *(f"walls/{path.name}" for path in (ROOT / "theater/walls").glob("*.py")),
)
PROGRAM = Path(__file__).with_name("hostile_program.py")
STORY = """
import asyncio, os, sys
from theater.launcher.program import STDOUT, STDERR, Keeping, Order, start
from theater.launcher.walls import ProgramWalls, seal

home, cache, own, other, program, namespace = sys.argv[1:]

async def main():
    walls = ProgramWalls.of_this_machine([home, cache])
    keeping = Keeping(namespace=namespace == "yes", adopts=True, walls=walls)
    order = Order(sys.executable, ["python", program, home, cache, own, other], {}, writable=[own])
    folder = os.open(own, os.O_PATH)
    running = await start(order, folder, keeping)
    said = b""
    while part := await running.read(STDOUT, 65536):
        said += part
    wrong = await running.read(STDERR, 65536)
    code = await running.ended
    await running.gone(10)
    running.close()
    sys.stderr.write(wrong.decode())
    print(keeping)
    print(said.decode())
    sys.exit(code)

seal()
asyncio.run(main())
"""
"""The launcher without its office."""


Found = dict[str, str]


def outcome(folder: Path, interpreter: str, user: int, *, namespace: bool) -> tuple[str, Found]:
    """How programs of `user` are kept, and how each attempt ended."""
    for name in ("home/actors", "home/run", "cache", "own", "other"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("home/key", "home/supervisor.chain"):
        (folder / name).write_text("secret")
    program = folder / PROGRAM.name
    shutil.copyfile(PROGRAM, program)
    for name in THEATER:
        copy = folder / "theater" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "theater" / name, copy)
    os.chmod(folder, 0o755)
    if user != os.geteuid():
        subprocess.run(["chown", "-R", str(user), str(folder)], check=True)
    arguments = [str(folder / name) for name in ("home", "cache", "own", "other", PROGRAM.name)]
    done = subprocess.run(
        [interpreter, "-B", "-c", STORY, *arguments, "yes" if namespace else "no"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        **({"user": user, "group": user, "extra_groups": []} if user != os.geteuid() else {}),
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    how, said = done.stdout.splitlines()[:2]
    return how, json.loads(said)


def python_of_everybody() -> str | None:
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    return found if found and subprocess.run([found, "-c", code], check=False).returncode == 0 else None


@pytest.fixture(params=["own", "nobody"])
def who(request: pytest.FixtureRequest) -> tuple[str, int]:
    """An interpreter, and a user that executes it."""
    if request.param == "own":
        return sys.executable, os.geteuid()
    interpreter = python_of_everybody()
    if os.geteuid() != 0 or interpreter is None:
        pytest.skip("nobody else can run Python here")
    return interpreter, NOBODY


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below /tmp, where programs may write."""
    folder = Path(tempfile.mkdtemp(prefix="theater-rooms-", dir=Path.home() if os.geteuid() else "/var/lib"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("namespace", [True, False], ids=["namespace", "subreaper"])
def test_whatever_a_program_tries_is_refused_and_what_it_needs_works(
    folder: Path, who: tuple[str, int], namespace: bool
) -> None:
    how, found = outcome(folder, *who, namespace=namespace)
    done = {name for name, how in found.items() if how == "done"}
    assert done == NEEDED | (set() if how == "PID namespace" else SHOWN_WITHOUT_NAMESPACE)
