"""What the README of each example shows, done in a copy of its folder with a real server.

In a block of the language `console` a line after `$` is a command, and the lines below it are what it prints: `...` is
any text, alone on a line any lines. Ports from 8080 to 8089 are replaced by free ones in all files of the copy. What is
shown of a log comes sooner or later; everything else is so at once. At the end every chain must verify, and a replay do
the same without the world.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from house import PATIENCE, House, eventually, make_house
from page_example import free_port
from replays import replayed

EXAMPLES = Path(__file__).parents[2] / "examples"
WITH_A_SCRIPT = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md") if "```console" in path.read_text())
BACKGROUND = {"proxy": "weather.py"}

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl, which is not installed")


@dataclass(frozen=True)
class Step:
    """A command and what it prints."""

    command: str
    prints: str

    def fits(self, text: str) -> bool:
        lines = [r"(?:.*\n)*" if line == "..." else _pattern(line) for line in self.prints.splitlines()]
        return re.fullmatch("".join(lines), text if text.endswith("\n") or not text else text + "\n") is not None


def _pattern(line: str) -> str:
    return ".*".join(map(re.escape, line.split("..."))) + r"\n"


def steps(readme: str) -> Iterator[Step]:
    for block in re.findall(r"^```console\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, prints = part.partition("\n")
            yield Step(command, prints)


class Copy:
    """An example's folder, with ports of its own."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self.folder = house.folder / name
        shutil.copytree(EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("build", "__pycache__"))
        self.ports = {f"808{digit}": str(free_port()) for digit in range(10)}
        for file in filter(Path.is_file, self.folder.rglob("*")):
            file.write_text(re.sub(r"\b808[0-9]\b", lambda found: self.ports[found[0]], file.read_text()))

    def readme(self) -> str:
        return (self.folder / "README.md").read_text()

    def run(self, command: str) -> str:
        shell = 'theater() { "$PYTHON" -m theater_cli "$@"; }\npython() { "$PYTHON" "$@"; }\nset -o pipefail\n'
        done = subprocess.run(
            ["bash", "-c", shell + command],
            cwd=self.folder,
            env={**os.environ, "PYTHON": sys.executable, "THEATER_HOME": str(self.house.home), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}: exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, step: Step) -> None:
        if step.command.startswith("theater logs"):
            eventually(lambda: step.fits(self.run(step.command)), lambda: f"$ {step.command}\n{step.prints}")
        else:
            found = self.run(step.command)
            shown = not step.prints or step.fits(found)
            assert shown, f"$ {step.command}\nshown:\n{step.prints}\nfound:\n{found}"


@pytest.fixture
def copy_of() -> Iterator[Callable[[str], Copy]]:
    """Makes a copy of an example, beside a server that runs."""
    house = make_house(b"")
    background: list[subprocess.Popen[bytes]] = []

    def make(name: str) -> Copy:
        copy = Copy(house, name)
        if name in BACKGROUND:
            command = [sys.executable, "-u", BACKGROUND[name]]
            background.append(subprocess.Popen(command, cwd=copy.folder, stdout=subprocess.PIPE))
            assert background[0].stdout is not None
            assert background[0].stdout.readline() == b"ready\n"
        house.open()
        return copy

    try:
        yield make
    finally:
        for process in background:
            process.kill()
            process.communicate()
        house.close()


@needs_curl
@pytest.mark.parametrize("name", WITH_A_SCRIPT)
def test_an_example_does_what_its_readme_shows(copy_of: Callable[[str], Copy], name: str) -> None:
    copy = copy_of(name)
    for step in steps(copy.readme()):
        copy.follow(step)
    copy.house.verify()
    for row in copy.house.client.list():
        verdict = replayed(copy.house, row.id)
        assert verdict.ok, verdict.error


def test_every_example_has_a_readme() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {
        path.parent.name for path in EXAMPLES.glob("*/README.md")
    }


def test_what_a_readme_shows_may_leave_something_open() -> None:
    assert Step("c", "a...c\n").fits("abbc\n")
    assert Step("c", "...\nlast\n").fits("first\nsecond\nlast\n")
    assert Step("c", "...\nlast\n").fits("last")
    assert not Step("c", "first\n").fits("first\nsecond\n")
