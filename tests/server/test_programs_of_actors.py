"""Programs that actors run: a real launcher, real programs, and nothing left of them."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from house import House, eventually, is_running

from theater.build import build
from theater.core.manifest import parse
from theater.errors import ActorFailed

ACTOR = """
    import theater
    from theater import process

    class Keeper(theater.Actor):
        initial = {"heard": [], "slow": 0}

        def handle_request(self, message):
            what, *args = message
            if what == "look":
                return self.state["heard"]
            if what == "spawn":
                return process.spawn(*args[0], **args[1])
            if what == "write":
                return process.write(*args)
            if what == "status":
                found = process.status(*args)
                return [found.process, found.running, found.status, found.started]
            if what == "signal":
                return process.signal(*args)
            if what == "kill":
                return process.kill(*args)

        def handle_stdout(self, program, data):
            self.state["heard"].append([program, "out", data.decode()])

        def handle_stderr(self, program, data):
            self.state["heard"].append([program, "err", data.decode()])

        def handle_process_exit(self, program, status):
            self.state["heard"].append([program, "exit", status])
"""
MANIFEST = """
name = "{name}"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "process"
{grants}
[actor]
register = true
"""
GRANTS = """programs = ["sh", "cat", "/usr/bin/env", "printf", "sleep", "python3"]
environment = ["APP_*", "TZ"]
cwd = ["work"]
count = 3
grace = "100ms"
"""
FIRST = 1_000_001


class Actor:
    """An actor that keeps programs, in a house."""

    def __init__(self, house: House, name: str, grants: str = GRANTS) -> None:
        self.house, self.name = house, name
        self.folder = house.folder / name
        (self.folder / "work" / "inner").mkdir(parents=True)
        (self.folder / "actor.py").write_text(dedent(ACTOR))
        text = MANIFEST.format(name=name, grants=grants)
        (self.folder / "manifest.toml").write_text(text)
        build(self.folder, parse(text, name))
        house.client.start(self.folder / "manifest.toml")

    def __call__(self, *message: Any) -> Any:
        return json.loads(self.house.client.request(self.name, json.dumps(message).encode()))

    def spawn(self, *command: str, **facts: Any) -> int:
        return int(self("spawn", command, facts))

    def refused(self, *message: Any) -> str:
        with pytest.raises(ActorFailed) as refused:
            self(*message)
        return str(refused.value)

    def heard(self, pid: int) -> list[Any]:
        return [[what, value] for program, what, value in self("look") if program == pid]

    def until_exit(self, pid: int) -> list[Any]:
        """All that it heard of a program, which has ended."""
        eventually(lambda: any(what == "exit" for what, _ in self.heard(pid)), lambda: f"{pid}: {self('look')}")
        return self.heard(pid)


@pytest.fixture(scope="module")
def actor(house: House) -> Actor:
    return Actor(house, "keeper")


@pytest.fixture
def token() -> Iterator[str]:
    token = uuid.uuid4().hex
    yield token
    eventually(lambda: not having(token), "no program is left")


def having(token: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if token.encode() in line and is_running(int(name)):
                found.append(int(name))
    return found


def test_an_actor_hears_what_its_program_writes_and_then_its_end(actor: Actor) -> None:
    pid = actor.spawn("sh", "-c", "echo one; echo two; echo trouble >&2; exit 3")
    heard = actor.until_exit(pid)
    assert [each for each in heard if each[0] == "out"] == [["out", "one\n"], ["out", "two\n"]]
    assert ["err", "trouble\n"] in heard
    assert heard[-1] == ["exit", 3]
    assert actor("status", pid)[:3] == [pid, False, 3]
