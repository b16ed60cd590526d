"""Commands that actors run and wait for: `execute-command` and `execute-nix-command` of the handler `filesystem`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from house import House, eventually
from replays import reproduced
from test_programs_of_actors import having

from theater.build import build
from theater.core.manifest import parse
from theater.errors import ActorFailed

ACTOR = """
    from theater import Actor, files

    class Worker(Actor):
        def handle_request(self, message):
            folder, *command = message
            if command[0] == "nix:":
                ran = files.run_nix(command[1], folder=folder)
            else:
                ran = files.run(*command, folder=folder)
            return [ran.stdout, ran.stderr, ran.status]
"""
MANIFEST = """
name = "{name}"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "filesystem"
{grants}
[actor]
register = true
"""
GRANTS = """read = ["data"]
commands = ["sh", "pwd", "env", "none"]
command_timeout = "2s"
command_output = "1kB"
"""


class Worker:
    def __init__(self, house: House, name: str, grants: str = GRANTS) -> None:
        self.house, self.name = house, name
        self.folder = house.folder / name
        (self.folder / "data" / "in").mkdir(parents=True)
        (self.folder / "actor.py").write_text(dedent(ACTOR))
        text = MANIFEST.format(name=name, grants=grants)
        (self.folder / "manifest.toml").write_text(text)
        build(self.folder, parse(text, name))
        house.client.start(self.folder / "manifest.toml")

    def __call__(self, *message: Any) -> Any:
        return json.loads(self.house.client.request(self.name, json.dumps(message).encode()))

    def refused(self, *message: Any) -> str:
        with pytest.raises(ActorFailed) as refused:
            self(*message)
        return str(refused.value)


@pytest.fixture(scope="module")
def worker(house: House) -> Worker:
    return Worker(house, "worker")


def test_a_command_runs_in_its_folder_and_says_everything(worker: Worker) -> None:
    assert worker("data/in", "pwd") == [f"{worker.folder}/data/in\n", "", 0]
    script = 'printf "%s|" "$@"; echo bad >&2; exit 3'
    assert worker("data", "sh", "-c", script, "sh", "a b", "*") == ["a b|*|", "bad\n", 3]
    assert worker("data", "sh", "-c", r"printf '\377x'") == ["\ufffdx", "", 0]
    assert worker("data", "sh", "-c", "kill -9 $$")[2] == -9
    found = dict(line.split("=", 1) for line in worker("data", "env")[0].splitlines())
    assert set(found) == {"PATH", "LANG", "HOME"}


def test_a_command_reads_an_empty_input(worker: Worker) -> None:
    assert worker("data", "sh", "-c", "cat; echo end") == ["end\n", "", 0]


def test_what_is_not_granted_is_refused(worker: Worker) -> None:
    assert '"ls"' in worker.refused("data", "ls")
    assert "grant" in worker.refused(".", "pwd") or "may" in worker.refused(".", "pwd")
    assert "'..'" in worker.refused("data/../..", "pwd")
    (worker.folder / "data" / "link").symlink_to("/etc")
    assert "link" in worker.refused("data/link", "pwd")
    assert "there is no program" in worker.refused("data", "none")
    assert "nix" in worker.refused("data", "nix:", "true")


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(worker: Worker) -> None:
    script = (
        "trap '' TERM; sleep 1000 & setsid sh -c 'trap \"\" TERM; while :; do sleep 0.01; done' MARK-of-a-command &"
    )
    assert "did not end within 2s" in worker.refused("data", "sh", "-c", script + " wait")
    eventually(lambda: not having("MARK-of-a-command"), "nothing of it is left")


def test_what_a_command_leaves_running_ends_with_it(worker: Worker) -> None:
    script = "setsid sh -c 'while :; do sleep 0.01; done' MARK-left-by-a-command & echo started"
    assert worker("data", "sh", "-c", script) == ["started\n", "", 0]
    assert not having("MARK-left-by-a-command")


@pytest.mark.parametrize("stream", [1, 2])
def test_a_command_that_writes_too_much_is_ended(worker: Worker, stream: int) -> None:
    assert "wrote more than" in worker.refused("data", "sh", "-c", f"yes >&{stream}")


def test_nix_is_a_sentence_where_it_is_not(house: House) -> None:
    nixer = Worker(house, "nixer", 'read = ["data"]\nnix = true')
    if any(os.access(Path(folder) / "nix", os.X_OK) for folder in os.environ["PATH"].split(":")):
        pytest.skip("there is Nix here")
    assert "there is no Nix on this machine" in nixer.refused("data", "nix:", "true")


def test_nix_is_called_with_the_line_and_gives_what_it_writes(closed_house: House, tmp_path: Path) -> None:
    fake = tmp_path / "nix"
    fake.write_text('#!/bin/sh\nprintf "%s|" "$@"; pwd\n')
    fake.chmod(0o755)
    closed_house.server = closed_house.popen(PATH=f"{tmp_path}:{os.environ['PATH']}")
    closed_house.await_server()
    nixer = Worker(closed_house, "nixed", 'read = ["data"]\nnix = true')
    stdout, _, status = nixer("data", "nix:", "make all")
    assert stdout.endswith(f"develop|--command|sh|-c|make all|{nixer.folder}/data\n")
    assert status == 0
    assert '"nix"' in nixer.refused("data", "nix", "run", "anything")


def test_a_replay_runs_no_command(house: House) -> None:
    again = Worker(house, "again", GRANTS)
    assert again("data", "sh", "-c", "echo x >> trace") == ["", "", 0]
    house.client.stop("again")
    reproduced(house, house.row("again").id)
    assert (again.folder / "data" / "trace").read_text() == "x\n"
