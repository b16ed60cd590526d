"""A `theater server` on a home of its own, with probes (tests/actors/probe.wat) as its actors."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.processes import children
from theater.client import Client, Row
from theater.client.deploy import Deployment, prepare
from theater.config import Home
from theater.errors import NoServer
from theater.wasm.assemble import assemble

PROBE = Path(__file__).parents[2] / "tests" / "actors" / "probe.wat"
PATIENCE_S = 60.0
_PAUSE_S = 0.001
_SOON_S = 0.05


@dataclass(frozen=True, slots=True)
class Tree:
    """Supervisors and probes that a server begins with.

    Args:
        text: of the tree file.
        probes: names of the children; the file names their manifests after them.
    """

    text: str
    probes: Sequence[str]


def supervisor_of_all(strategy: str, names: Sequence[str]) -> Tree:
    """One supervisor that has probes of these names as its children, and never gives up."""
    lines = ["[[supervisor]]", 'name = "family"', 'under = "root"', f'strategy = "{strategy}"']
    lines += ["intensity = 1000000", "period = 1"]
    for name in names:
        lines += ["[[child]]", f'name = "{name}"', 'under = "family"', f'manifest = "{name}.toml"']
    return Tree("\n".join(lines) + "\n", names)


class Server:
    """A running server.

    Args:
        folder: where its home, its actors' components and manifests, and its log are; short, for its sockets.
        tree: the text of a tree file and the names of the probes that are its children.
        environment: variables of its process, beside those of this one.
    """

    def __init__(
        self, folder: Path, tree: Tree | None = None, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.folder = folder
        self._environment = environment
        self.home = Home(folder / "h")
        (folder / "probe.wasm").write_bytes(assemble(PROBE.read_text(), PROBE.name))
        self.client = Client(home=self.home.root)
        self._process = self._open(self._plant(tree) if tree is not None else [])

    @property
    def pid(self) -> int:
        return self._process.pid

    def _plant(self, tree: Tree) -> list[str]:
        for name in tree.probes:
            (self.folder / f"{name}.toml").write_text(_manifest(name, {"actor": {"register": True}}))
        path = self.folder / "theater.toml"
        path.write_text(tree.text)
        return ["--tree", str(path)]

    def _open(self, options: Sequence[str]) -> subprocess.Popen[bytes]:
        here = {**os.environ, **self._environment}
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "theater_cli", "--home", str(self.home.root), "server"]
            return subprocess.Popen(
                [*command, "--log-level", "error", *options],
                env={name: here[name] for name in here if name != "THEATER_ADDRESS"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        """Whether it is up.

        Raises:
            RuntimeError: it has ended.
        """
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended: {(self.folder / 'log').read_text()[-2000:]}")
        try:
            return self.client.hello().pid == self.pid
        except NoServer:
            return False

    def close(self) -> None:
        """Stops it in order, or kills it."""
        with contextlib.suppress(Exception):
            self.client.stop_server()
        self.client.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def prepare(self, name: str, **tables: Mapping[str, Any]) -> Deployment:
        """Writes a probe's manifest, with `tables` as they stand there, and puts what it needs into the store."""
        path = self.folder / f"{name}.toml"
        path.write_text(_manifest(name, tables))
        return self.upload(path)

    def upload(self, manifest: Path) -> Deployment:
        """Prepares any manifest, building what has to be built, and puts it into the server's store."""
        ready = prepare(manifest, lambda said: None)
        for digest in self.client.have(ready.contents):
            self.client.put(ready.contents[digest].read_bytes())
        return ready

    def start(self, name: str, **tables: Mapping[str, Any]) -> Row:
        """Starts a probe that is registered under its name, so that others can send it messages."""
        return self.client.start_prepared(self.prepare(name, actor={"register": True}, **tables))

    def row(self, actor: str) -> Row:
        return self.client.inspect(actor).row

    def spares(self) -> list[int]:
        """Its children that are neither spawner, template, nor an actor's worker: those that wait for work."""
        processes = self.client.call("hello", {})["processes"]
        known = {processes["spawner"], *processes["templates"], *(row.pid for row in self.client.list())}
        return [pid for pid in children(self.pid) if pid not in known]


@contextlib.contextmanager
def server(tree: Tree | None = None, environment: Mapping[str, str] = MappingProxyType({})) -> Iterator[Server]:
    """A server that has nothing to do, or only the tree."""
    folder = Path(tempfile.mkdtemp(prefix="thb"))
    try:
        found = Server(folder, tree, environment)
        try:
            wait_until(found.answers)
            yield found
        finally:
            found.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], Any], pause: float = _PAUSE_S) -> None:
    """Looks again and again until `condition` holds.

    Raises:
        TimeoutError: it did not within `PATIENCE_S`.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_S:g} s: {condition}")
        time.sleep(pause)


def settle() -> None:
    """Lets what an answer leaves behind come to its end (a confirmation, a page of events), outside of any timing."""
    time.sleep(_SOON_S)


def _manifest(name: str, tables: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [f'name = "{name}"', 'component = "probe.wasm"', "[[handler]]", 'type = "message-server"']
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    return json.dumps(value)  # Strings, numbers and booleans are written alike in JSON and TOML.
