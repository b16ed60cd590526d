"""docs/operating.md: its commands exist, its figures of the unit are systemd's, its lines of the log are logged."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from theater_cli import unit_file
from theater_cli.main import theater
from theater_cli.unit_file import Wanted

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "operating.md").read_text()
LOGS = (ROOT / "docs" / "logs.md").read_text()
DROP_INS = re.findall(r"^\| (none|`[A-Z][^|]*`) \| ([0-9.]+) \|", GUIDE, re.MULTILINE)

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def _lines() -> list[str]:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL))
    return re.findall(r"^theater .*", blocks, re.MULTILINE) + re.findall(r"`(theater [^`]*)`", GUIDE)


@pytest.mark.parametrize("line", sorted(set(_lines())))
def test_every_command_in_the_guide_exists_with_its_options(line: str) -> None:
    words = line.split()[1:]
    command: click.Command = theater
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None and command is not theater:
            break
        assert found is not None, line
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-") and not re.fullmatch(r"-\d+", word)} <= known, line


@needs_systemd
@pytest.mark.parametrize(("drop_in", "exposure"), DROP_INS)
def test_systemd_takes_each_drop_in_and_measures_what_the_guide_says(
    tmp_path: Path, drop_in: str, exposure: str
) -> None:
    unit = unit_file.text(Wanted(program=Path("/usr/bin/env"), code=(Path("/usr"),)))
    more = "".join(f"{setting}\n" for setting in re.findall(r"`([^`]*)`", drop_in))
    path = tmp_path / "theater.service"
    path.write_text(unit.partition("[Install]")[0] + more)
    verified = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=60)
    assert (verified.returncode, verified.stderr) == (0, "")
    measured = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    (said,) = re.findall(r"Overall exposure level[^:]*: ([0-9.]+)", measured.stdout)
    assert float(said) <= float(exposure)


def test_there_are_drop_ins() -> None:
    assert len(DROP_INS) >= 6


def test_the_lines_to_be_woken_by_are_those_of_the_log() -> None:
    (sentence,) = re.findall(r"to be woken by: (.*?)\n\n", GUIDE, re.DOTALL)
    for event in re.findall(r"`([^`]*)`", sentence.replace("\n", " ")):
        assert f" {event} |" in LOGS, event


def test_the_folders_of_the_guide_are_those_of_the_unit() -> None:
    unit = unit_file.text(Wanted(program=Path("/usr/bin/env"), code=(Path("/usr"),)))
    for place in ("/var/lib/theater", "/var/cache/theater", "/run/theater/control", "/etc/theater/environment"):
        assert place in unit
        assert place in GUIDE
    assert int(re.findall(r"Silent for (\d+) s", GUIDE)[0]) == unit_file.WATCHDOG_S
