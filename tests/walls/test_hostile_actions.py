"""What somebody can do who has taken over a worker: every action is refused, or fatal with a reason that names it.

The worker went the whole normal way: spawner, template, assignment, seal. The actions run in it where its guest calls
the host (tests/walls/hostile_actions.py). Once the server is root's, once nobody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from theater.chainlog.verify import verify_home
from theater.client import Client
from theater.config import Home
from theater.errors import NoServer, TheaterError
from theater.store.content import ContentStore

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "server")]

from hostile_actions import FATAL, REFUSED  # noqa: E402
from house import eventually, manifest  # noqa: E402

NOBODY = 65534
_STARTUP = """
import sys
if "theater.server.spawner" in sys.orig_argv:
    sys.path.append({here!r})
    import hostile_actions
    hostile_actions.install()
"""


_OTHERWISE = {"read-kernel-memory": "ENOENT", "chain-read": "EBADF", "clone3": "ENOSYS"}
"""What is refused with another word than the walls have: not there, not open for that, not known."""


@dataclass
class Site:
    """A server that has two actors, one of which somebody has taken over."""

    home: Path
    folder: Path
    client: Client
    facts: dict[str, Any]
    log: Path

    def do(self, *names: str) -> dict[str, str]:
        """Has the taken-over worker do things; what became of each."""
        at = self.client.logs("bad").next
        self.client.request("bad", b"ldo " + json.dumps({"names": names, "at": self.facts}).encode())
        text = "\n".join(str(line) for line in self.client.logs("bad", at, limit=1 << 20).lines)
        return dict(re.findall(r"([a-z0-9:_-]+) ([A-Z]{4,}[A-Z0-9]*|no call was made[^\n'\"]*)", text))

    @property
    def end(self) -> str:
        return str(self.client.call("inspect", {"actor": "bad"})["last_exit"])

    @property
    def incarnation(self) -> int:
        row = self.client.inspect("bad").row
        return row.incarnation if row.state == "running" else 0


@pytest.fixture(scope="module", params=["root", "nobody"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("nobody but root can run a server of root's")
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if request.param == "nobody" else {}
    if os.geteuid() != 0:
        user = {}  # Whoever runs the tests is nobody enough.
    python = _interpreter(user)
    folder = Path(tempfile.mkdtemp(prefix="tw"))
    for made in (folder / "startup", folder / "h", folder / "cache", Home(folder / "h").secrets):
        made.mkdir(mode=0o700)
    (folder / "startup" / "sitecustomize.py").write_text(_STARTUP.format(here=str(HERE)))
    component = bytes(wasmtime.wat2wasm((HERE.parent / "actors" / "probe.wat").read_text()))
    (folder / "probe.wasm").write_bytes(component)
    often = {"intensity": 100_000, "period": 1}
    for name in ("bad", "good"):
        text = manifest(name, handlers=("message-server",), supervision=often, limits={"log": "8MiB"})
        (folder / f"{name}.toml").write_text(text)
    for path in (folder, *folder.rglob("*")):
        if user:
            os.chown(path, NOBODY, NOBODY)
    sources = _sources(folder / "startup")
    path = os.pathsep.join([str(folder / "startup"), *filter(None, [os.environ.get("PYTHONPATH")]), *sources])
    environment = {**os.environ, "PYTHONPATH": path, "THEATER_CACHE": str(folder / "cache"), "HOME": str(folder)}
    if subprocess.run(
        [python, "-P", "-c", "import theater_cli"], env=environment, capture_output=True, **user
    ).returncode:
        shutil.rmtree(folder)
        pytest.skip("Theater is installed where nobody may not read it")
    log = folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [python, "-P", "-m", "theater_cli", "--home", str(folder / "h"), "server"],
            **{"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out, "env": environment, **user},  # type: ignore[arg-type]
        )
    client = Client(home=folder / "h")
    try:
        eventually(lambda: _answers(client, server, log), "the server answers")
        bad, good = (client.start(folder / f"{name}.toml") for name in ("bad", "good"))
        client.request("good", b"c")
        home = folder / "h"
        facts = {
            "home": str(home),
            "secrets": str(Home(home).secrets),
            "record": str(Home(home).supervisor_chain),
            "own": str(home / "actors" / bad.id),
            "other": str(home / "actors" / good.id),
            "server": server.pid,
            "neighbour": client.inspect("good").row.pid,
            "content": str(next(each for each in (home / "content").rglob("*") if each.is_file())),
            "manifest": str(folder / "bad.toml"),
        }
        yield Site(home, folder, client, facts, log)
    finally:
        client.close()
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(20)
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _interpreter(user: dict[str, Any]) -> str:
    """A Python of this version that the user can reach: that of the tests may be in somebody's home."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([python, "-c", "import encodings"], check=True, capture_output=True, **user)
            return python
    pytest.skip("there is no Python of this version that nobody may execute")


def _sources(folder: Path) -> list[str]:
    """Where everything is; in `folder` the command, which in an editable installation no path leads to."""
    import theater_cli

    import theater

    (folder / "theater_cli").symlink_to(Path(theater_cli.__file__).resolve().parent)
    return [str(Path(theater.__file__).parents[1]), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]


def _answers(client: Client, server: subprocess.Popen[bytes], log: Path) -> bool:
    assert server.poll() is None, log.read_text()[-3000:]
    with contextlib.suppress(NoServer):
        return bool(client.hello().pid)
    return False


def test_every_action_is_refused(site: Site) -> None:
    chains = [Home(site.home).supervisor_chain, *(site.home / "actors").rglob("chain")]
    text = {path: path.read_bytes() for path in chains}
    found = site.do(*REFUSED)
    assert set(found) == set(REFUSED)
    done = {name: what for name, what in found.items() if what == "DONE"}
    assert not done, f"{len(done)} of {len(found)} hostile actions were not refused: {done}"
    odd = {name: what for name, what in found.items() if what not in ("EPERM", "EACCES")}
    assert odd.items() <= _OTHERWISE.items(), odd
    print(f"refused: {len(found) - len(done)} of {len(found)} tried")
    assert all(path.read_bytes().startswith(known) for path, known in text.items()), "what was recorded stands"
    assert verify_home(Home(site.home), ContentStore(Home(site.home).content)).ok


def test_every_fatal_call_ends_the_worker_and_its_reason_names_the_call(site: Site) -> None:
    ended = []
    for call in FATAL:
        before = int(eventually(lambda: site.incarnation, "the worker is there"))
        with contextlib.suppress(TheaterError):
            site.do(call)
        eventually(lambda before=before: site.incarnation > before, f"{call} ended the worker")
        if f"made the system call {call}," in site.end:
            ended.append(call)
    print(f"fatal: {len(ended)} of {len(FATAL)} tried")
    assert ended == FATAL
    assert int.from_bytes(site.client.request("good", b"c"), "little") >= 2
