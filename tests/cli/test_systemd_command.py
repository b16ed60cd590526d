"""`theater systemd`, and the unit it writes as systemd's own checks see it; real ones run in tests/systemd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from commandline import Done, Theater
from theater_cli import unit_file
from theater_cli.unit_file import Wanted, is_untouched

from theater.errors import Conflict, InvalidInput, NotFound

MOST_EXPOSED = 15
"""Tenths, as `systemd-analyze security` counts: 100 is a service without any wall."""
PROGRAM, CODE = Path("/usr/bin/env"), (Path("/usr"), Path("/opt/theater"))
"""A program where distributions put theirs; what the unit says of homes depends on where it is."""

WANTED = {
    "alone": Wanted(program=PROGRAM, code=CODE),
    "with a tree": Wanted(program=PROGRAM, code=CODE, tree=Path("/etc/theater/theater.toml")),
    "with an account": Wanted(program=PROGRAM, code=CODE, user_name="daemon", home=Path("/srv/theater")),
    "that listens": Wanted(program=PROGRAM, code=CODE, listen=("tcp://0.0.0.0:7070", "tcp://[::1]:7070")),
    "of another name": Wanted(program=PROGRAM, code=CODE, name="second", home=Path("/var/lib/2")),
}

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def analyze(tmp_path: Path, wanted: Wanted, *words: str) -> subprocess.CompletedProcess[str]:
    unit = tmp_path / wanted.file_name
    unit.write_text(unit_file.text(wanted))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["systemd-analyze", *words, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


@needs_systemd
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path, wanted: Wanted) -> None:
    done = analyze(tmp_path, wanted, "verify")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_the_unit_is_exposed_no_more_than_promised(tmp_path: Path, wanted: Wanted) -> None:
    done = analyze(tmp_path, wanted, "security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}")
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_systemd_finds_nothing_to_say_about_the_unit_of_a_user(tmp_path: Path) -> None:
    done = analyze(tmp_path, Wanted(user=True, program=PROGRAM, code=CODE), "verify", "--user")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_a_unit_knows_whether_it_was_changed_by_hand(wanted: Wanted) -> None:
    text = unit_file.text(wanted)
    assert is_untouched(text)
    assert not is_untouched(text.replace("Restart=on-failure", "Restart=no"))
    assert not is_untouched("[Service]\nExecStart=/bin/true\n")


def test_a_program_in_somebodys_home_is_seen_and_no_other_file_of_it() -> None:
    text = unit_file.text(
        Wanted(program=Path("/home/ada/venv/bin/theater"), code=(Path("/home/ada/venv"), Path("/usr")))
    )
    assert "ProtectHome=tmpfs\nBindReadOnlyPaths=/home/ada/venv\n" in text


def test_the_folders_of_the_unit_and_of_the_server_are_the_same() -> None:
    text = unit_file.text(WANTED["of another name"])
    assert "StateDirectory=2\n" in text
    assert "Environment=THEATER_HOME=/var/lib/2 THEATER_CACHE=/var/cache/second\n" in text
    assert "Environment=THEATER_ADDRESS=ipc:///run/second/control\n" in text


def test_who_listens_has_a_folder_for_the_keys_that_are_authorized() -> None:
    text = unit_file.text(WANTED["that listens"])
    assert "ConfigurationDirectory=theater theater/authorized-keys\n" in text
    assert (
        " --listen tcp://0.0.0.0:7070 --listen tcp://[::1]:7070 --authorized-keys /etc/theater/authorized-keys\n"
        in text
    )


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted(authorized_keys=Path("/etc/k"), program=PROGRAM, code=CODE), "--listen says where"),
        (Wanted(user=True, listen=("tcp://[::1]:1",), program=PROGRAM, code=CODE), "--authorized-keys says where"),
        (Wanted(name="a\nb", program=PROGRAM, code=CODE), "cannot stand in a unit"),
        (Wanted(name="a/b", program=PROGRAM, code=CODE), "is no name of a unit"),
        (Wanted(tree=Path("/a b.toml"), program=PROGRAM, code=CODE), "cannot stand in a unit"),
        (Wanted(tree=Path("/a%b.toml"), program=PROGRAM, code=CODE), "cannot stand in a unit"),
        (Wanted(home=Path("/srv/theater"), program=PROGRAM, code=CODE), "would belong to nobody"),
        (Wanted(user=True, user_name="daemon", program=PROGRAM, code=CODE), "runs under that user"),
    ],
)
def test_what_cannot_stand_in_a_unit_is_refused(wanted: Wanted, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        unit_file.text(wanted)


# ---- the command, where it writes into a folder of the test: as the unit of a user


class Installed:
    def __init__(self, theater: Theater) -> None:
        self._theater = theater
        self.path = theater.home / "systemd" / "user" / "theater.service"

    def __call__(self, word: str, *more: str) -> Done:
        here = str(self._theater.home)  # Where no manager runs that could be told.
        return self._theater("systemd", word, "--user", *more, XDG_CONFIG_HOME=here, XDG_RUNTIME_DIR=here)


@pytest.fixture
def systemd(theater: Theater) -> Installed:
    return Installed(theater)


def test_a_unit_is_installed_replaced_and_taken_away(systemd: Installed) -> None:
    first = systemd("install")
    assert first.code == 0, first.err
    assert "systemctl --user enable --now theater" in first.text
    assert is_untouched(systemd.path.read_text())
    assert systemd.path.stat().st_mode & 0o777 == 0o644
    assert systemd("install", "--tree", "/etc/theater/theater.toml").code == 0
    assert "tree apply /etc/theater/theater.toml" in systemd.path.read_text()
    assert systemd("uninstall").code == 0
    assert not systemd.path.exists()


@pytest.mark.parametrize("word", ["install", "uninstall"])
def test_a_unit_that_was_changed_by_hand_is_left_alone(systemd: Installed, word: str) -> None:
    systemd("install")
    systemd.path.write_text(changed := systemd.path.read_text() + "# mine\n")
    done = systemd(word)
    assert (done.code, "changed by hand" in done.err) == (Conflict.exit_code, True)
    assert systemd.path.read_text() == changed
    assert systemd(word, "--force").code == 0


def test_what_is_not_installed_cannot_be_taken_away(systemd: Installed) -> None:
    assert systemd("uninstall").code == NotFound.exit_code


def test_what_is_printed_is_what_is_installed(systemd: Installed) -> None:
    systemd("install")
    assert systemd("print").text == systemd.path.read_text()


def test_a_tree_is_named_by_its_whole_path(theater: Theater) -> None:
    done = theater("systemd", "print", "--user", "--tree", "theater.toml")
    assert re.findall(r"^ExecStart=\S+ server --tree (\S+)$", done.text, re.MULTILINE) == [
        str(theater.home.resolve() / "theater.toml")
    ]
