"""What faults are done to: a server on a faulty machine, its actors, and clients that ask them."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults import processes
from tests.faults.journal import TOKEN
from tests.faults.machine import Machine
from theater.build import build
from theater.client import Client, Row
from theater.core.manifest import Retention, parse
from theater.core.verification import SUPERVISOR
from theater.errors import TheaterError
from theater.wasm.assemble import assemble

ROOT = Path(__file__).parents[2]
ACTORS = Path(__file__).with_name("actors")
CALL_TIMEOUT_S = 1.0
"""Of the actor that loops for ever."""

_PATIENCE_S = 60.0
_RESTLESS = "[supervision]\nintensity = 100000\nperiod = 1\n"
_LIMITS = '[limits]\nrequest_timeout = "10s"\ncall_timeout = "{}"\n'
_CLERK = """
[build]
language = "python"
source = "clerk.py"
[[handler]]
type = "message-server"
[[handler]]
type = "timers"
[[handler]]
type = "process"
programs = ["sh"]
count = 2
grace = "100ms"
[[handler]]
type = "http-framework"
listen = ["127.0.0.1:*"]
[[handler]]
type = "http-client"
allow = ["GET http://127.0.0.1:{port}/*"]
private = ["127.0.0.1:{port}"]
timeout = "2s"
"""
_COUNTER = """
[build]
language = "c"
source = "counter.c"
[[handler]]
type = "message-server"
"""
_PROBE = 'component = "probe.wasm"\n[[handler]]\ntype = "message-server"\n'
_PARENT = (
    'component = "parent.wasm"\n[[handler]]\ntype = "message-server"\n'
    '[[handler]]\ntype = "supervisor"\n[[handler]]\ntype = "monitors"\n'
)
_FAMILY = '[supervision.children]\nstrategy = "one_for_all"\nintensity = 100000\n'


class NotInTime(Exception):
    """What must come true did not."""


def until(condition: Callable[[], Any], what: str, patience: float = _PATIENCE_S) -> Any:
    """The first true value of `condition`.

    Raises:
        NotInTime: there is none within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {patience:g} s: {what}")
        time.sleep(0.01)
    return value


class Stage:
    """A server, its actors and its clients.

    Args:
        seed: of what the clients do.

    Attributes:
        ids: of the actors, by name.
        fetched: the tokens that the world outside has seen.
        server: its process; None while there is none.
    """

    def __init__(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tf"))
        self.home = self.folder / "h"
        self.machine = Machine(self.folder, self.home)
        self.ids: dict[str, str] = {}
        self.fetched: set[bytes] = set()
        self.server: subprocess.Popen[bytes] | None = None
        self.clients: dict[int, subprocess.Popen[bytes]] = {}
        self._tenders: list[subprocess.Popen[bytes]] = []
        self.starts = 0
        self._seed = seed
        self._client: Client | None = None
        self._outside = self._open_outside()
        (self.folder / "outside").write_text(f"http://127.0.0.1:{self._outside.server_port}/")

    # ---- the server

    @property
    def client(self) -> Client:
        """The harness' own, for its main thread."""
        if self._client is None:
            self._client = Client(home=self.home)
        return self._client

    @property
    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def open(self) -> None:
        """Starts the server, and waits until it answers."""
        self.launch()
        until(self.answers, "the server answers")

    def launch(self) -> None:
        """Starts the server."""
        words = [sys.executable, "-P", "-m", "theater_cli", "--home", str(self.home), "server"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("THEATER_")}
        with (self.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**kept, **self.machine.environment}
            )
        self.starts += 1

    def answers(self) -> bool:
        """Whether the server does.

        Raises:
            NotInTime: it has ended instead.
        """
        assert self.server is not None
        if self.server.poll() is not None:
            raise NotInTime(f"the server ended with {self.server.returncode}:\n{self.log[-2000:]}")
        try:
            return self.client.hello(10.0).pid == self.server.pid
        except TheaterError:
            return False

    def makers(self) -> Mapping[str, Any]:
        """What the server says of its processes; nothing if it cannot say it now."""
        with contextlib.suppress(TheaterError):
            found: dict[str, Any] = self.client.call("hello", {}, 1.0)["processes"]
            return found
        return {"spawner": None, "templates": [], "services": {}}

    def rows(self) -> tuple[Row, ...]:
        """What the server says of its actors; nothing if it cannot say it now."""
        with contextlib.suppress(TheaterError):
            return self.client.list(1.0)
        return ()

    # ---- the actors

    def prepare(self) -> None:
        """Starts the server and all actors."""
        for name in ("probe", "parent"):
            text = (ROOT / "tests" / "actors" / f"{name}.wat").read_text()
            (self.folder / f"{name}.wasm").write_bytes(assemble(text, f"{name}.wat"))
        for name in ("clerk.py", "counter.c"):
            shutil.copy(ACTORS / name, self.folder)
        self.open()
        for number in range(4):
            self._start(f"probe{number}", _PROBE, '[chain]\ndurability = "host"\n' if number == 3 else "")
        self._start("noise0", _PROBE)
        self._start("counter0", _COUNTER)
        self._start("clerk0", _CLERK.format(port=self._outside.server_port), timeout="20s")
        self._start("loop0", _PROBE, timeout=f"{CALL_TIMEOUT_S * 1000:.0f}ms")
        self._start("parent0", _PARENT, _FAMILY)
        self.client.request("parent0", b"nit has a state to go on from")
        for number in range(2):
            path = self._write(f"child{number}", _PROBE)
            self.client.request("parent0", f"S{path.name}".encode())
        asked = {name: id for name, id in self.ids.items() if name not in ("loop0", "parent0")}
        (self.folder / "actors.json").write_text(json.dumps(asked))
        self.find_port()

    def find_port(self) -> None:
        """Tells the clients where the clerk listens."""
        with contextlib.suppress(TheaterError):
            port = json.loads(self.client.request("clerk0", b'{"do": "look"}', 2.0))["port"]
            (self.folder / "port").write_text(str(port))

    def _start(self, name: str, what: str, more: str = "", timeout: str = "5s") -> None:
        path = self._write(name, what, more, timeout)
        if "[build]" in what:
            (self.folder / name).mkdir()
            path = path.rename(self.folder / name / "manifest.toml")
            source = "clerk.py" if "clerk" in what else "counter.c"
            shutil.copy(ACTORS / source, self.folder / name)
            build(path.parent, parse(path.read_text(), name))
        self.ids[name] = self.client.start(path).id

    def _write(self, name: str, what: str, more: str = "", timeout: str = "5s") -> Path:
        path = self.folder / f"{name}.toml"
        limits = _LIMITS.format(timeout)
        path.write_text(f'name = "{name}"\n{what}[actor]\nregister = true\n{_RESTLESS}{limits}{more}')
        return path

    def revive(self) -> bool:
        """Starts those again that had to give up, since the machine was not as it should be; whether all run."""
        rows = self.rows()
        for row in rows:
            if row.state in ("failed", "stopped"):
                with contextlib.suppress(TheaterError):
                    self.client.restart(row.id, 5.0)
        return len(rows) >= len(self.ids) and all(row.state == "running" for row in rows)

    # ---- the clients, and the world

    def start_client(self, number: int) -> None:
        """Starts a client; most of them ask, one is on the network, one never reads."""
        role = ("asker", "asker", "web", "sloth")[number % 4]
        words = [sys.executable, "-m", "tests.faults.client", role, str(self.folder), str(number)]
        path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
        with (self.folder / "clients.log").open("ab") as log:
            self.clients[number] = subprocess.Popen(
                [*words, str(self._seed)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip

    def replace_clients(self) -> None:
        """Starts those anew that have died."""
        for number, client in list(self.clients.items()):
            if client.poll() is not None:
                self.start_client(number)

    def end_clients(self) -> None:
        for client in self.clients.values():
            client.kill()
            client.wait()
        self.clients.clear()

    def tend(self, seconds: float) -> int | None:
        """Starts a process that makes chains smaller, as the server does now and then, and gives it so many seconds.
        Returns its id, or None if it has ended by then."""
        kept = asdict(Retention(entries=1000))
        order = {
            "home": str(self.home),
            "parent": os.getpid(),
            "actors": [SUPERVISOR, *self.ids.values()],
            "kept": kept,
        }
        with (self.folder / "upkeep.log").open("ab") as log:
            tender = subprocess.Popen(
                [sys.executable, "-P", "-m", "theater.server.upkeep"], stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, **self.machine.environment},
            )  # fmt: skip
        self._tenders.append(tender)
        assert tender.stdin is not None
        with contextlib.suppress(BrokenPipeError), tender.stdin:
            tender.stdin.write(json.dumps(order).encode() + b"\n")
        time.sleep(seconds)
        return tender.pid if tender.poll() is None else None

    def tenders_complaints(self) -> list[str]:
        """What those have found broken; that the disk refuses is nothing of theirs."""
        path = self.folder / "upkeep.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [f"upkeep: {line}" for line in lines if "expected" in line or "Traceback" in line][:10]

    def known(self) -> set[int]:
        """Our children whom we have started ourselves."""
        server = {self.server.pid} if self.server is not None else set()
        tenders = {each.pid for each in self._tenders if each.poll() is None}
        return server | tenders | {client.pid for client in self.clients.values()}

    def close(self, keep: bool) -> None:
        """Ends everybody; the folder is left if something was found in it."""
        self.end_clients()
        for tender in self._tenders:
            tender.kill()
            tender.wait()
        if self._client is not None:
            self._client.close()
        if self.server is not None and self.server.poll() is None:
            left = processes.descendants(self.server.pid)
            self.server.kill()
            self.server.wait()
            for each in left:
                processes.seconds_until_gone(each.pid, 2.0)
        for each in processes.reap_strangers(self.known()):
            processes.end(each.pid)
        processes.reap_strangers(self.known())
        self._outside.shutdown()
        self._outside.server_close()
        if keep and self.machine.has_disk:
            shutil.copytree(self.home, self.folder / "kept", symlinks=True, ignore=lambda folder, names: [
                name for name in names if (Path(folder) / name).is_socket()
            ])  # fmt: skip
        self.machine.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _open_outside(self) -> http.server.ThreadingHTTPServer:
        seen = self.fetched

        class Outside(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.update(TOKEN.findall(self.path.encode()))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Outside)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


def no_descriptors(pid: int) -> Callable[[], None]:
    """Leaves a process no descriptor beyond those that it has; returns what takes that back."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (processes.descriptors(pid) + 1, before[1]))

    def again() -> None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    return again
