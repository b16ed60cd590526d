"""Programs that actors run: a real launcher, real programs, and nothing left of them."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from house import House, eventually, is_running
from replays import reproduced

from theater.build import build
from theater.core.manifest import parse
from theater.errors import ActorFailed

ACTOR = """
    import theater
    from theater import process

    class Keeper(theater.Actor):
        initial = {"heard": []}

        def handle_request(self, message):
            what, *args = message
            if what == "look":
                return self.state["heard"]
            if what == "spawn":
                return process.spawn(*args[0], **args[1])
            if what == "write":
                return process.write(*args)
            if what == "end input":
                return process.end_input(*args)
            if what == "status":
                found = process.status(*args)
                return [found.process, found.running, found.status, found.started]
            if what == "signal":
                return process.signal(*args)
            if what == "kill":
                return process.kill(*args)

        def handle_stdout(self, program, data):
            self.state["heard"].append([program, "out", data.decode() if len(data) < 1000 else len(data)])

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


# ---- output and input


def test_output_is_cut_as_the_actor_says(actor: Actor) -> None:
    text = ["printf", r'{"a": 1}\nno json\n\n[2,\n"three"']
    lines = actor.until_exit(actor.spawn(*text, stdout="lines"))
    assert lines == [["out", '{"a": 1}\n'], ["out", "no json\n"], ["out", "\n"], ["out", "[2,\n"], ["out", '"three"'],
                     ["exit", 0]]  # fmt: skip
    values = actor.until_exit(actor.spawn(*text, stdout="json"))
    assert values == [["out", '{"a": 1}'], ["out", '"three"'], ["exit", 0]]
    chunks = actor.until_exit(actor.spawn("printf", "abcdefgh", stdout="chunks", chunk=3))
    assert chunks == [["out", "abc"], ["out", "def"], ["out", "gh"], ["exit", 0]]
    raw = actor.until_exit(actor.spawn("printf", "abcdefgh", stdout="raw", buffer=5))
    assert raw == [["out", "abcde"], ["out", "fgh"], ["exit", 0]]
    cut = actor.until_exit(actor.spawn("printf", r"abcdefgh\nij\n", stdout="lines", buffer=5))
    assert cut == [["out", "abcde"], ["out", "fgh\n"], ["out", "ij\n"], ["exit", 0]]


def test_a_program_reads_what_the_actor_writes_until_it_writes_nothing(actor: Actor) -> None:
    pid = actor.spawn("cat")
    assert actor("write", pid, "hello\n") == 6
    eventually(lambda: actor.heard(pid) == [["out", "hello\n"]])
    assert actor("status", pid)[1:3] == [True, None]
    actor("end input", pid)
    assert actor.until_exit(pid) == [["out", "hello\n"], ["exit", 0]]
    assert "has ended" in actor.refused("write", pid, "more")


def test_a_program_that_does_not_read_takes_no_more_than_its_pipe_holds(actor: Actor) -> None:
    pid = actor.spawn("sleep", "1000")
    assert 0 < actor("write", pid, "x" * 500_000) < 500_000
    assert "does not read" in actor.refused("write", pid, "more")
    actor("kill", pid)
    assert actor.until_exit(pid) == [["exit", -signal.SIGKILL]]


def test_a_program_that_writes_without_end_waits_for_its_actor(house: House) -> None:
    slow = Actor(house, "slow", 'programs = ["yes"]')
    pid = slow.spawn("yes", "x" * 60_000, stdout="raw")
    eventually(lambda: len(slow("look")) > 5, "the actor hears of it")
    launcher = Path(f"/proc/{house.service('launcher')}/status").read_text()
    (resident,) = [int(line.split()[1]) for line in launcher.splitlines() if line.startswith("VmRSS")]
    assert resident < 200_000  # kB
    slow("kill", pid)
    eventually(lambda: not slow("status", pid)[1])
    house.client.stop("slow")


def test_a_program_that_writes_more_than_it_may_is_ended(house: House) -> None:
    bound = Actor(house, "bounded", 'programs = ["yes"]\noutput = "10kB"')
    heard = bound.until_exit(bound.spawn("yes", stdout="chunks", chunk=2000))
    assert sum(size for what, size in heard if what == "out") == 10_000
    assert heard[-1] == ["exit", -signal.SIGKILL]


# ---- what is granted


def test_a_program_that_the_manifest_does_not_name_is_refused(actor: Actor) -> None:
    for program in ("ls", "/bin/ls", "./sh", "../bin/sh", "sh\0", "", "work/x", "//bin/sh/", "/usr/bin/../bin/env"):
        assert "the manifest does not grant" in actor.refused("spawn", [program], {})


def test_a_program_has_what_is_granted_and_a_small_base(actor: Actor) -> None:
    pid = actor.spawn("/usr/bin/env", env={"APP_KEY": "1", "TZ": "UTC"}, cwd="work")
    found = dict(text.strip().split("=", 1) for what, text in actor.until_exit(pid) if what == "out")
    assert found.pop("PATH").startswith("/")
    assert found == {"APP_KEY": "1", "TZ": "UTC", "LANG": "C.UTF-8", "HOME": str(actor.folder / "work")}


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "PATH", "APPLE", "HOME", "APP_=x", "BASH_ENV", "PYTHONPATH", ""])
def test_a_variable_that_the_manifest_does_not_name_is_refused(actor: Actor, variable: str) -> None:
    refused = actor.refused("spawn", ["/usr/bin/env"], {"env": {variable: "x"}})
    assert "the manifest does not grant the variable" in refused


def test_a_program_runs_in_a_granted_folder_and_no_other(actor: Actor) -> None:
    inner = actor.until_exit(actor.spawn("sh", "-c", "pwd", cwd="work/inner"))
    assert inner[0] == ["out", f"{actor.folder / 'work' / 'inner'}\n"]
    assert actor.until_exit(actor.spawn("sh", "-c", "pwd"))[0] == ["out", f"{actor.folder}/work\n"]
    (actor.folder / "work" / "link").symlink_to("/etc")
    for folder, why in {
        "/etc": "does not grant",
        ".": "does not grant",
        "work/../..": "'..'",
        "work/link": "a link stands in the way",
        "work/none": "No such file",
        "work\0": "NUL",
    }.items():
        assert why in actor.refused("spawn", ["sh"], {"cwd": folder})


def test_only_so_many_programs_run_at_once(actor: Actor) -> None:
    pids = [actor.spawn("sleep", "1000") for _ in range(3)]
    assert "3 programs run already" in actor.refused("spawn", ["sleep", "1000"], {})
    for pid in pids:
        actor("kill", pid)
        actor.until_exit(pid)
    assert actor.until_exit(actor.spawn("sh", "-c", "exit 0")) == [["exit", 0]]


def test_what_cannot_be_is_a_sentence(actor: Actor) -> None:
    assert "chunk-size" in actor.refused("spawn", ["cat"], {"stdout": "chunks"})
    assert "NUL" in actor.refused("spawn", ["printf", "a\0b"], {})
    assert "there is no program 7" in actor.refused("status", 7)
    assert "there is no program 7" in actor.refused("kill", 7)


# ---- the end


def test_a_signal_reaches_the_program_and_only_some_may_be_sent(actor: Actor) -> None:
    script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.01; done"
    pid = actor.spawn("sh", "-c", script)
    eventually(lambda: actor.heard(pid))
    for number in (0, 5, 11, 64, 1000):
        assert f"cannot be sent the signal {number}" in actor.refused("signal", pid, number)
    actor("signal", pid, int(signal.SIGUSR1))
    assert actor.until_exit(pid) == [["out", "ready\n"], ["out", "caught\n"], ["exit", 5]]


def test_a_program_that_ignores_sigterm_is_killed_when_its_time_is_over(actor: Actor, token: str) -> None:
    pid = actor.spawn("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done", token, timeout=1)
    assert actor.until_exit(pid) == [["out", "ready\n"], ["exit", -signal.SIGKILL]]
    assert not having(token)


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
os.wait()
print("ready", flush=True)
time.sleep(1000)
"""


def with_daemon(house: House, name: str, token: str) -> tuple[Actor, int]:
    """An actor with a program that has daemonized a child."""
    actor = Actor(house, name)
    pid = actor.spawn("python3", "-S", "-c", DAEMON, token)
    eventually(lambda: actor.heard(pid) == [["out", "ready\n"]], "the daemon runs")
    assert len(having(token)) == 2
    return actor, pid


def test_programs_die_with_the_life_and_the_next_one_knows_nothing_of_them(house: House, token: str) -> None:
    actor, pid = with_daemon(house, "mortal", token)
    house.kill_worker("mortal")
    eventually(lambda: not having(token), "the programs have ended")
    assert f"there is no program {pid}" in actor.refused("status", pid)
    assert actor.spawn("cat") == 2 * 1_000_000 + 1
    assert actor.heard(pid) == [["out", "ready\n"]]


def test_programs_die_with_an_actor_that_is_stopped(house: House, token: str) -> None:
    with_daemon(house, "stopped", token)
    house.client.stop("stopped")
    eventually(lambda: not having(token), "the programs have ended")


def test_programs_die_with_the_launcher_and_the_actor_is_told_once(house: House, token: str) -> None:
    actor, pid = with_daemon(house, "bereft", token)
    first = house.service("launcher")
    house.kill(first)
    eventually(lambda: not having(token), "the programs have ended")
    house.service("launcher", other_than=first)
    assert actor.until_exit(pid) == [["out", "ready\n"], ["exit", -signal.SIGKILL]]
    assert actor("status", pid)[1:3] == [False, -signal.SIGKILL]
    second = actor.spawn("sh", "-c", "exit 4")
    assert second == pid + 1
    assert actor.until_exit(second) == [["exit", 4]]
    next_one = house.service("launcher", other_than=first)
    house.kill(next_one)
    house.service("launcher", other_than=next_one)
    third = actor.spawn("sh", "-c", "exit 0")
    actor.until_exit(third)
    assert len([what for what, _ in actor.heard(pid) if what == "exit"]) == 1
    assert len([what for what, _ in actor.heard(second) if what == "exit"]) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_die_with_the_server(closed_house: House, token: str, number: int) -> None:
    house = closed_house.open()
    with_daemon(house, "orphan", token)
    house.send_signal(number)
    house.await_end()
    eventually(lambda: not having(token), "the programs have ended")


# ---- people, and the record


def test_people_see_what_runs(actor: Actor) -> None:
    pid = actor.spawn("sleep", "1000")
    facts = actor.house.client.inspect(actor.name).facts["services"]["launcher"]
    assert f"sleep ({pid})" in facts["programs"]
    assert facts["kept by"] in ("PID namespace", "subreaper")
    actor("kill", pid)
    actor.until_exit(pid)
    eventually(lambda: "launcher" not in actor.house.client.inspect(actor.name).facts["services"])


def test_a_replay_runs_nothing(house: House, tmp_path: Path) -> None:
    again = Actor(house, "again", 'programs = ["sh"]')
    trace = tmp_path / "trace"
    pid = again.spawn("sh", "-c", f"echo x >> {trace}; echo done")
    assert again.until_exit(pid) == [["out", "done\n"], ["exit", 0]]
    assert trace.read_text() == "x\n"
    house.client.stop("again")
    house.kill(house.service("launcher"))
    reproduced(house, house.row("again").id)
    assert trace.read_text() == "x\n"
