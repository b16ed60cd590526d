"""A real `theater server` for tests: on a home of its own, with a client, and with nobody left behind.

Every process of a house carries a mark in its environment, which descendants inherit whatever becomes of their
parents, so /proc shows all of them at any time: workers, templates, spares, the spawner, compile children.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wasmtime
from ready_commands import HELPER, Command

from theater.chainlog.verify import verify_home
from theater.client import Client, Row
from theater.config import Home
from theater.errors import NoServer, TheaterError
from theater.store.content import ContentStore

PATIENCE = 30.0
"""Seconds after which a condition that did not come true is a failure; the machine may be busy."""

_MARK = "THEATER_TEST_HOUSE"
_SLEEP = 0.002
RESTLESS = {"intensity": 100_000, "period": 1}
"""[supervision] of an actor that may be killed as often as a test likes."""


# ---- conditions


def eventually(condition: Callable[[], Any], what: str | Callable[[], str] = "", patience: float = PATIENCE) -> Any:
    """The first true value of `condition`; fails when there is none in time, and says `what` was waited for."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what() if callable(what) else what or condition}")
        time.sleep(_SLEEP)
    return value


# ---- processes


@dataclass(frozen=True)
class Process:
    """A process as /proc shows it."""

    pid: int
    parent: int
    state: str
    session: int
    name: str


def process(pid: int) -> Process | None:
    """What /proc says of `pid`; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    before, _, behind = text.rpartition(")")
    state, parent, _, session = behind.split()[:4]
    return Process(pid, int(parent), state, int(session), before.partition("(")[2])


def is_running(pid: int) -> bool:
    """Whether `pid` lives, and is no zombie."""
    found = process(pid)
    return found is not None and found.state not in "ZX"


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def marked(mark: str) -> list[int]:
    """All processes, zombies apart, that carry `mark`."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") and is_running(pid):
                found.append(pid)
    return found


def children(pid: int) -> list[Process]:
    """The children of a process, zombies too."""
    return [found for other in _pids() if (found := process(other)) is not None and found.parent == pid]


# ---- manifests


def manifest(
    name: str,
    *,
    component: str = "probe.wasm",
    handlers: Sequence[str] = ("message-server",),
    register: bool = True,
    supervision: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    more: str = "",
) -> str:
    """The text of a manifest."""
    lines = [f'name = "{name}"', f'component = "{component}"', more]
    lines += [f'[[handler]]\ntype = "{kind}"' for kind in handlers]
    lines += ["[actor]", f"register = {'true' if register else 'false'}"]
    for table, values in (("supervision", supervision), ("limits", limits)):
        lines.append(f"[{table}]")
        lines += [f"{key} = {_toml(value)}" for key, value in (values or {}).items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


# ---- what the probe does (tests/actors/probe.wat)


def asking(name: str, body: bytes) -> bytes:
    """Makes a probe ask the actor `name` and answer what that answers."""
    return b"a" + name.ljust(8).encode() + body


def sending(name: str, body: bytes) -> bytes:
    """Makes a probe send `body` to the actor `name`."""
    return b"s" + name.ljust(8).encode() + body


def flooding(name: str, times: int, body: bytes) -> bytes:
    """Makes a probe send `body` to the actor `name` so many times within one call."""
    return b"f" + name.ljust(8).encode() + times.to_bytes(4, "little") + body


def count(answer: bytes) -> int:
    """The number in the answer to b"c"."""
    return int.from_bytes(answer, "little")


def bare_actor(more: str = "", init: str = "(i32.const 64)") -> bytes:
    """A component that does nothing: it only has an init, of this body. `more` goes into its core module."""
    return bytes(
        wasmtime.wat2wasm(
            f"""(component (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                (func (export "init") (param i32 i32 i32 i32 i32) (result i32) {init}) {more})
              (core instance $m (instantiate $m))
              (alias core export $m "memory" (core memory $memory))
              (alias core export $m "realloc" (core func $realloc))
              (type $state (option (list u8)))
              (func $init (param "state" $state) (param "params" (tuple string))
                (result (result (tuple $state) (error string)))
                (canon lift (core func $m "init") (memory $memory) (realloc $realloc) string-encoding=utf8))
              (instance $actor (export "init" (func $init)))
              (export "theater:simple/actor" (instance $actor)))"""
        )
    )


# ---- the house


@dataclass
class House:
    """A server process and everything around it.

    Args:
        folder: short, since sockets are in it; has the components and manifests of the house too.
    """

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    server: Command[bytes] | None = None
    clients: list[Client] = field(default_factory=list)
    on_close: list[Callable[[], None]] = field(default_factory=list)
    before_removal: Callable[[], object] = lambda: None
    kept: list[object] = field(default_factory=list)
    may_have_defects: bool = False

    @property
    def home(self) -> Path:
        return self.folder / "h"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        assert self.server is not None
        return self.server.pid

    @property
    def client(self) -> Client:
        """The client of the test's own thread."""
        return self.clients[0] if self.clients else self.connect()

    def connect(self) -> Client:
        """One more client, for another thread."""
        client = Client(home=self.home)
        self.clients.append(client)
        return client

    # ---- the server's life

    def popen(self, *options: str, home: Path | None = None, **environment: str) -> Command[bytes]:
        """A server process on `home`; its log is added to the house's."""
        kept = {name: value for name, value in os.environ.items() if name not in ("THEATER_HOME", "THEATER_ADDRESS")}
        with self.log.open("ab") as log:
            return Command[bytes](
                ["--home", str(home or self.home), "server", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, _MARK: self.mark, **environment},
            )

    def open(self, *options: str) -> House:
        """Starts the server and waits until it answers."""
        self.server = self.popen(*options)
        self.await_server()
        return self

    def await_server(self) -> None:
        server = self.server
        assert server is not None

        def answers() -> bool:
            assert server.poll() is None, f"the server ended with {server.returncode}: {self.log_text()[-3000:]}"
            try:
                return self.client.hello().pid == server.pid
            except NoServer:
                return False

        eventually(answers, "the server answers")

    def send_signal(self, number: int) -> None:
        assert self.server is not None
        self.server.send_signal(number)

    def await_end(self, patience: float = PATIENCE) -> int:
        """The exit code of the server, when nobody of the house lives any more."""
        assert self.server is not None
        code = self.server.wait(patience)
        eventually(lambda: not self.processes(), "no process is left", 2.0)
        return code

    def close(self) -> None:
        """Ends the server and asserts that nobody is left, and that the server has met no defect of its own."""
        for action in self.on_close:
            action()
        for client in self.clients:
            client.close()
        if self.server is not None and self.server.poll() is None:
            self.server.kill()
            self.server.wait()
        left: list[int] = []
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self.processes(), patience=2.0)
        for pid in self.processes():
            left.append(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        text = self.log_text()
        self.before_removal()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, f"processes were left: {left}"
        if not self.may_have_defects:
            for word in ("Traceback", "defect"):
                assert word not in text, text[max(0, text.index(word) - 2000) :][:5000]

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # ---- its processes

    def processes(self) -> list[int]:
        """All living processes of the house."""
        return marked(self.mark)

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Signals a process of the house, and no other; one that has just died is dead enough."""
        if is_running(pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if self._is_ours(pid):
                    os.kill(pid, number)

    def _is_ours(self, pid: int) -> bool:
        return f"{_MARK}={self.mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")

    def spawner(self) -> int:
        """The spawner, once there is one: it may just be being replaced."""
        return int(eventually(lambda: self.client.call("hello", {})["processes"]["spawner"], "there is a spawner"))

    def templates(self) -> list[int]:
        return [int(pid) for pid in self.client.call("hello", {})["processes"]["templates"]]

    def spares(self) -> list[int]:
        """Children of the server that are neither spawner, template, nor the worker of an actor."""
        found = [child.pid for child in children(self.pid) if child.name != HELPER]
        makers = self.client.call("hello", {})["processes"]
        services = {service["pid"] for service in makers["services"].values()}
        known = {makers["spawner"], *makers["templates"], *services, *(row.pid for row in self.client.list())}
        return [pid for pid in found if pid not in known and is_running(pid)]

    def services(self) -> dict[str, Any]:
        """What the server says of its services, by name."""
        found: dict[str, Any] = self.client.call("hello", {})["processes"]["services"]
        return found

    def service(self, name: str, other_than: int | None = None) -> int:
        """The process of a service, once it serves."""

        def pid() -> int | None:
            found = self.services().get(name)
            return found["pid"] if found is not None and found["serving"] and found["pid"] != other_than else None

        return int(eventually(pid, f"the {name} serves"))

    def zombies(self) -> list[int]:
        return [child.pid for child in children(self.pid) if child.state == "Z"]

    # ---- its actors

    def write(self, name: str, **facts: Any) -> Path:
        """Writes a manifest into the house."""
        path = self.folder / f"{name}.toml"
        path.write_text(manifest(name, **facts))
        return path

    def start(self, name: str, *, init_state: bytes | None = None, **facts: Any) -> Row:
        """Starts a probe."""
        return self.client.start(self.write(name, **facts), init_state=init_state)

    def row(self, actor: str) -> Row:
        return self.client.inspect(actor).row

    def count(self, actor: str) -> int:
        """Has a probe count one further."""
        return count(self.client.request(actor, b"c"))

    def await_row(self, actor: str, condition: Callable[[Row], bool], what: str = "") -> Row:
        """The row of an actor once `condition` holds for it."""

        def look() -> Row | None:
            row = self.row(actor)
            return row if condition(row) else None

        found: Row = eventually(look, what or (lambda: f"{actor}: {self.row(actor)}"))
        return found

    def await_incarnation(self, actor: str, number: int) -> Row:
        return self.await_row(actor, lambda row: row.state == "running" and row.incarnation >= number)

    def kill_worker(self, actor: str, number: int = signal.SIGKILL) -> Row:
        """Kills an actor's worker and waits for its successor; returns the row from before."""
        before = self.row(actor)
        assert before.pid is not None
        self.kill(before.pid, number)
        self.await_incarnation(actor, before.incarnation + 1)
        return before

    def history(self, actor: str = "supervisor") -> list[tuple[str, dict[str, Any]]]:
        """The lifecycle entries of a chain: (event, details)."""
        return [
            (event.data["event"], event.data["details"])
            for event in self.client.read_events(actor, types=["lifecycle"])
        ]

    def verify(self) -> None:
        """Asserts that all chains of the home verify."""
        home = Home(self.home)
        report = verify_home(home, ContentStore(home.content))
        assert report.ok, report


def outcome(ask: Callable[[], Any]) -> str:
    """How a request ended: `reply`, or the name of the error's class."""
    try:
        ask()
    except TheaterError as error:
        return type(error).__name__
    return "reply"


def make_house(probe: bytes) -> House:
    """A house that is not open yet, with the probe in it."""
    folder = Path(tempfile.mkdtemp(prefix="th"))
    (folder / "probe.wasm").write_bytes(probe)
    return House(folder)
