"""Workers that attack the server and its actors, all at once: what it costs the others, in figures.

python tests/hostile/flood.py [--workers 50] [--seconds 10] [--only ATTACK ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wasmtime

sys.path.append(str(Path(__file__).parent))
from attacks import BOLD, ON_ACTORS, PATIENT

from theater.client.client import Client
from theater.errors import NoServer, TheaterError

ROOT = Path(__file__).parents[2]
_MANIFEST = """
name = "{name}"
component = "probe.wasm"
[[handler]]
type = "message-server"
[actor]
register = true
[supervision]
restart = "temporary"
[limits]
mailbox = {mailbox}
"""


class Besieged:
    """A server of its own, with attackers among its workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = folder / "home"
        source = (ROOT / "tests" / "actors" / "probe.wat").read_text()
        (folder / "probe.wasm").write_bytes(bytes(wasmtime.wat2wasm(source)))
        path = os.pathsep.join([str(Path(__file__).parent), *(each for each in sys.path if each)])
        environment = {**os.environ, "PYTHONPATH": path, "THEATER_HOME": str(self._home)}
        environment.pop("THEATER_ADDRESS", None)
        command = [sys.executable, "-c", "from theater_cli.main import main; main()", "server"]
        with (folder / "log").open("wb") as log:
            self._server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.client = Client(f"ipc://{self._home}/run/control")
        deadline = time.monotonic() + 30.0
        while not self._answers():
            if time.monotonic() > deadline:
                self.close()
                raise AssertionError(self.log())
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return self.client.hello().pid == self._server.pid
        except NoServer:
            return False

    def start(self, name: str, mailbox: int = 1000) -> Any:
        """An actor that answers what it is asked; one that is called `hostile-ATTACK-...` attacks when it is up."""
        manifest = self._folder / f"{name}.toml"
        manifest.write_text(_MANIFEST.format(name=name, mailbox=mailbox))
        return self.client.start(manifest)

    def row(self, actor: str) -> Any:
        """What a listing says of an actor."""
        return next(row for row in self.client.list() if row.id == actor)

    @property
    def resident(self) -> int:
        """Bytes of memory that the server's process has."""
        return resident(self._server.pid)

    def log(self) -> str:
        return (self._folder / "log").read_text()

    def close(self) -> None:
        self.client.close()
        self._server.terminate()
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def besieged() -> Iterator[Besieged]:
    folder = Path(tempfile.mkdtemp(prefix="th"))
    made = Besieged(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def flood(attacks: Sequence[str], workers: int, seconds: float) -> dict[str, Any]:
    """Has so many workers attack, these attacks in turn; returns figures.

    Returns:
        `grown`: most bytes that the server had above what it had before; `victim_grown`: likewise of the actor that is
        attacked; `answered` and `failed`: requests of a client to an actor that nobody attacks; `worst`: seconds that
        one of them took.
    """
    with besieged() as house:
        house.start("bystander")
        victim = house.start("victim")
        for _ in range(50):
            house.client.request("bystander", b"e")
        before, before_victim = house.resident, resident(victim.pid)
        for number in range(workers):
            house.start(f"hostile-{attacks[number % len(attacks)]}-{number}")
        most = most_victim = worst = 0.0
        answered = failed = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            begun = time.monotonic()
            try:
                house.client.request("bystander", b"e", timeout=10.0)
                answered += 1
            except TheaterError:
                failed += 1
            worst = max(worst, time.monotonic() - begun)
            most = max(most, house.resident - before)
            most_victim = max(most_victim, resident(victim.pid) - before_victim)
        return {
            "grown": int(most),
            "victim_grown": int(most_victim),
            "answered": answered,
            "failed": failed,
            "worst": worst,
            "refused": house.client.hello().refused,
        }


def main() -> int:
    """Prints the figures; the exit code says whether they are within the bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=sorted(PATIENT | ON_ACTORS | BOLD))
    options = parser.parse_args()
    figures = flood(options.only, options.workers, options.seconds)
    for name, value in figures.items():
        print(f"{name:14} {value / (1 << 20):.1f} MiB" if name.endswith("grown") else f"{name:14} {value}")
    return int(figures["grown"] > 64 << 20 or figures["failed"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
