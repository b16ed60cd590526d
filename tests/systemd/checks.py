"""What must hold of the unit, checked from within the container that run.py boots, by root and in this order."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAM = "/opt/theater/bin/theater"
ETC = Path("/etc/theater")
TREE = ETC / "theater.toml"
HOME = Path("/var/lib/theater")
GROUP = Path("/sys/fs/cgroup/system.slice/theater.service")
WATCHDOG_S = 6
ELSEWHERE = "tcp://127.0.0.1:7070"
ALICE = ("--address", ELSEWHERE, "--client-key", "/opt/checks/keys/alice.key")
os.environ["THEATER_ADDRESS"] = "ipc:///run/theater/control"

MANIFEST = """\
name = "{name}"
component = "/etc/theater/probe.wasm"
[[handler]]
type = "message-server"
[actor]
register = true
[supervision]
state = "last"
intensity = 20
period = 10
"""
WEB = """\
name = "web"
[build]
language = "python"
source = "actor.py"
[[handler]]
type = "message-server"
[[handler]]
type = "http-framework"
listen = ["127.0.0.1:8080"]
[[handler]]
type = "process"
programs = ["sh"]
[[handler]]
type = "filesystem"
read = ["/var/lib/private/theater-files"]
write = ["/var/lib/private/theater-files"]
"""
ACTOR = """\
import theater
from theater import files, http, process


class Web(theater.Actor):
    initial = {"heard": []}

    def init(self):
        http.serve(self, port=8080)

    @http.get("/heard")
    def look(self, request):
        return repr(self.state["heard"])

    @http.get("/run")
    def run(self, request):
        files.write("/var/lib/private/theater-files/note", b"kept")
        process.spawn("sh", "-c", "echo it is $(id -u); cat /etc/shadow")
        return "started"

    def handle_stdout(self, program, data):
        self.state["heard"].append(data.decode())

    def handle_process_exit(self, program, status):
        self.state["heard"].append(status)
"""
CHILD = '[[child]]\nname = "{name}"\nmanifest = "{name}.toml"\n'
FIRST = ("anna", "berta", "carla")


# ---- the tools


def eventually(condition: Callable[[], Any], what: str, patience: float = 30.0) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.02)
    return value


def run(*words: str, check: bool = True, patience: float = 60.0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=patience)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}"
    return done


def theater(*words: str, check: bool = True) -> str:
    return run(PROGRAM, *words, check=check).stdout


def shown(name: str) -> str:
    """A property of the unit."""
    return run("systemctl", "show", "--value", f"--property={name}", "theater").stdout.strip()


def main_pid() -> int:
    return int(shown("MainPID"))


def rows() -> dict[str, dict[str, Any]]:
    done = run(PROGRAM, "list", "--json", check=False)
    return {row["name"]: row for row in json.loads(done.stdout)} if done.returncode == 0 else {}


def all_running(*names: str) -> bool:
    found = rows()
    return set(found) == set(names) and all(row["state"] == "running" for row in found.values())


def await_running(*names: str) -> dict[str, dict[str, Any]]:
    try:
        eventually(lambda: all_running(*names), f"{names} run")
    except AssertionError as error:
        raise AssertionError(f"{error}: {run(PROGRAM, 'list', check=False)}") from error
    return rows()


def count(actor: str) -> int:
    """Has an actor count one further, in its state."""
    said = run(PROGRAM, "message", actor, "c", "--request").stdout.encode("utf-8", "surrogateescape")
    return int.from_bytes(said.rstrip(b"\n")[:4], "little")


def processes() -> list[int]:
    """All of the unit's control group."""
    found = []
    for file in [GROUP / "cgroup.procs", *GROUP.rglob("cgroup.procs")]:
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in file.read_text().split()]
    return sorted(set(found))


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def write_tree(*names: str, more: str = "") -> None:
    for name in names:
        (ETC / f"{name}.toml").write_text(MANIFEST.format(name=name))
    TREE.write_text("".join(CHILD.format(name=name) for name in names) + more)


def counts() -> list[int]:
    return [count(name) for name in FIRST]


# ---- the checks, in their order


def install() -> str:
    """`theater systemd install` writes a unit that systemd takes, and `verify` and `security` are content with."""
    ETC.mkdir()
    (ETC / "probe.wasm").write_bytes(Path("/opt/checks/probe.wasm").read_bytes())
    write_tree(*FIRST)
    theater("systemd", "install", "--tree", str(TREE), "--listen", ELSEWHERE)
    run("systemd-analyze", "verify", "/etc/systemd/system/theater.service")
    said = run("systemd-analyze", "security", "--no-pager", "theater.service").stdout
    drop_in = Path("/etc/systemd/system/theater.service.d")
    drop_in.mkdir()
    # The watchdog only so that its check does not take half a minute; the folder as the guide says.
    (drop_in / "override.conf").write_text(f"[Service]\nWatchdogSec={WATCHDOG_S}\nStateDirectory=theater-files\n")
    run("systemctl", "daemon-reload")
    return str(re.findall(r"Overall exposure level[^:]*: ([0-9.]+)", said)[0])


def start() -> str:
    """It starts, says READY when it serves, and its status text counts the actors."""
    run("systemctl", "enable", "--now", "theater")
    assert shown("ActiveState") == "active"
    await_running(*FIRST)
    text = eventually(lambda: _status_with("3 running"), "the status text")
    assert counts() == [1, 1, 1]
    return str(text)


def _status_with(words: str) -> str | None:
    text = shown("StatusText")
    return text if words in text else None


def account() -> str:
    """Nothing of it is root or can become so, and nobody but root and it may enter its home and its socket."""
    for pid in processes():
        status = status_of(pid)
        assert "0" not in status["Uid"].split(), status
        assert status["NoNewPrivs"] == "1"
        assert not any(int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb")), status
    for folder in (Path("/var/lib/private/theater"), Path("/run/theater")):
        assert folder.stat().st_mode & 0o077 == 0, folder
        assert folder.stat().st_uid != 0
    user = status_of(main_pid())["Uid"].split()[0]
    return f"user {user}, {len(processes())} processes"


def walls() -> str:
    """Theater's own walls stand within those of the unit: workers are filtered, and in an empty network."""
    outside = os.readlink(f"/proc/{main_pid()}/ns/net")
    for row in rows().values():
        assert status_of(row["pid"])["Seccomp"] == "2"
        assert int(status_of(row["pid"])["Seccomp_filters"]) > int(status_of(main_pid())["Seccomp_filters"])
        assert os.readlink(f"/proc/{row['pid']}/ns/net") != outside
    said = [line.strip() for line in theater("inspect", "anna").splitlines() if line.startswith("walls")]
    return said[0] if said else "a network of their own"


def journal() -> str:
    """Its log is in the journal, line by line, with the priority of each."""
    lines = run("journalctl", "--unit=theater", "--output=json", "--no-pager").stdout.splitlines()
    said = [json.loads(line) for line in lines]
    ours = [row for row in said if row.get("_PID") == str(main_pid())]
    assert any("serving" in str(row["MESSAGE"]) for row in ours), said
    assert {row["PRIORITY"] for row in ours if '"running"' in str(row["MESSAGE"])} == {"6"}
    return f"{len(ours)} lines"


def reload() -> str:
    """A reload applies the tree file again: a new child starts, and no process of the others is another one."""
    before = rows()
    write_tree(*FIRST, "dora")
    run("systemctl", "reload", "theater")
    after = await_running(*FIRST, "dora")
    assert all(after[name]["pid"] == before[name]["pid"] for name in FIRST)
    assert shown("ActiveState") == "active"
    assert shown("NRestarts") == "0"
    return "dora was started"


def bad_reload() -> str:
    """A reload of a file that cannot be right fails, says why, and changes nothing."""
    before = rows()
    write_tree(*FIRST, "dora", more="[[child]]\nname = 3\n")
    done = run("systemctl", "reload", "theater", check=False)
    assert done.returncode != 0
    assert {name: row["pid"] for name, row in rows().items()} == {name: row["pid"] for name, row in before.items()}
    assert shown("ActiveState") == "active"
    write_tree(*FIRST, "dora")
    run("systemctl", "reload", "theater")
    return "refused"


def from_elsewhere() -> str:
    """It takes commands over the network from whom a key authorizes, and from nobody else."""
    theater("keys", "new", "alice", "--role", "read", "--out", "/opt/checks/keys")
    server_key = theater("keys", "show", "--json")
    words = (*ALICE, "--server-key", json.loads(server_key)["key"], "list", "--json")
    before = run(PROGRAM, *words, check=False)
    assert before.returncode == 14, before
    keys = ETC / "authorized-keys"
    (keys / "alice.toml").write_bytes(Path("/opt/checks/keys/alice.toml").read_bytes())
    run("systemctl", "reload", "theater")
    assert {row["name"] for row in json.loads(theater(*words))} == {*FIRST, "dora"}
    return "alice reads"


def worker_killed() -> str:
    """A worker that is killed comes back with its state, and nobody else notices."""
    before = rows()
    began = time.monotonic()
    os.kill(before["anna"]["pid"], signal.SIGKILL)
    eventually(lambda: rows().get("anna", {}).get("incarnation", 0) > before["anna"]["incarnation"], "a next life")
    took = time.monotonic() - began
    after = await_running(*FIRST, "dora")
    assert after["berta"]["pid"] == before["berta"]["pid"]
    assert count("anna") == 2
    assert shown("NRestarts") == "0"
    return f"back within {took:.1f} s"


def granted() -> str:
    """What an actor may be granted works behind these walls: an actor in Python listens for HTTP and runs a program."""
    folder = Path("/opt/checks/web")
    folder.mkdir()
    (folder / "manifest.toml").write_text(WEB)
    (folder / "actor.py").write_text(ACTOR)
    run(PROGRAM, "start", str(folder), patience=300.0)
    assert _get("run") == "started"
    heard = eventually(lambda: (said := _get("heard")) and said.endswith("1]") and said, "the program has ended")
    user = status_of(main_pid())["Uid"].split()[0]
    assert f"it is {user}" in heard, heard
    assert "root:" not in heard, heard
    assert Path("/var/lib/private/theater-files/note").read_bytes() == b"kept"
    theater("stop", "web", "--remove")
    return f"a program of user {user}"


def _get(path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:8080/{path}", timeout=10) as answer:
        return str(answer.read().decode())


def _back_after(restarts: int, began: float) -> str:
    eventually(lambda: shown("NRestarts") == str(restarts) and shown("ActiveState") == "active", "systemd's restart")
    await_running(*FIRST, "dora")
    return f"back within {time.monotonic() - began:.1f} s"


def root_killed() -> str:
    """The server itself is killed: systemd starts it again, all actors go on with their states, all chains verify."""
    before, others = counts(), set(processes())
    began = time.monotonic()
    os.kill(main_pid(), signal.SIGKILL)
    said = _back_after(1, began)
    assert counts() == [each + 1 for each in before]
    assert not others & set(processes()), "a process outlived the server"
    theater("verify", "--home", str(HOME))
    return said


def root_stopped() -> str:
    """The server hangs: its watchdog finds out, systemd ends it and starts it again, and the actors go on."""
    before, old = counts(), main_pid()
    began = time.monotonic()
    os.kill(old, signal.SIGSTOP)
    eventually(lambda: main_pid() not in (0, old), "another server", WATCHDOG_S * 2 + 30.0)
    said = _back_after(2, began)
    assert counts() == [each + 1 for each in before]
    log = run("journalctl", "--unit=theater", "--no-pager").stdout
    assert "Watchdog timeout" in log
    assert "most recent call first" in log[log.index("Fatal Python error: Aborted") :], "it says where it hung"
    theater("verify", "--home", str(HOME))
    return said


def stop() -> str:
    """It ends in order, and nothing is left: no process, no socket, no folder of the moment, no account."""
    user = int(status_of(main_pid())["Uid"].split()[0])
    began = time.monotonic()
    run("systemctl", "stop", "theater")
    took = time.monotonic() - began
    assert shown("ActiveState") == "inactive", shown("ActiveState")
    assert shown("Result") == "success"
    assert not processes()
    assert not Path("/run/theater").exists()
    assert not list(Path("/var/lib/private/theater/run").iterdir())
    alive = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_of(pid, user)]
    assert not alive, alive
    theater("verify", "--home", str(HOME))
    return f"in {took:.1f} s"


def _is_of(pid: int, user: int) -> bool:
    try:
        return str(user) in status_of(pid)["Uid"].split()
    except (OSError, KeyError):
        return False


def once_more() -> str:
    """Started again it goes on where it stopped; its record says that all had ended in reverse order of their start."""
    run("systemctl", "start", "theater")
    found = await_running(*FIRST, "dora")
    assert counts()[0] > 3
    names = {row["id"]: name for name, row in found.items()}
    said = json.loads(theater("events", "supervisor", "--json", "--type", "lifecycle"))
    lives = [row["data"] for row in said]
    stopped = max(at for at, life in enumerate(lives) if life["event"] == "server-stopped")
    exits = [life["details"]["actor"] for life in lives[:stopped] if life["event"] == "exited"]
    ended = [names[actor] for actor in exits[-4:]]
    assert ended == ["dora", *reversed(FIRST)], ended
    return shown("StatusText")


def uninstall() -> str:
    """`theater systemd uninstall` stops it and takes the unit away; the home stays."""
    theater("systemd", "uninstall")
    assert not Path("/etc/systemd/system/theater.service").exists()
    assert not processes()
    assert (Path("/var/lib/private/theater") / "supervisor.chain").exists()
    return "the home is left"


CHECKS = (
    install, start, account, walls, journal, reload, bad_reload, granted, from_elsewhere,
    worker_killed, root_killed, root_stopped, stop, once_more, uninstall,
)  # fmt: skip


def main() -> int:
    """Each builds on those before it, so the first that fails is the last."""
    for check in CHECKS:
        name, about = check.__name__.replace("_", " "), " ".join((check.__doc__ or "").split())
        began = time.monotonic()
        try:
            said = check()
        except Exception:
            print(f"FAILED  {name:14} {time.monotonic() - began:5.1f} s  {about}\n{traceback.format_exc()[-3000:]}")
            return 1
        print(f"passed  {name:14} {time.monotonic() - began:5.1f} s  {about} [{said}]")
    print("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
