"""The example of a page of docs/handlers, as files and a script, and how it is played against a real server.

Under the heading `## Example` a page has blocks. A block whose first line is a comment that names a file
(`# worker.toml`, `// actor.c`, `;; actor.wat`) is that file; without one, `toml` is manifest.toml and `python` is
actor.py. A `text` block is the script, a line each:

    env NAME VALUE      a variable of the server's environment         file PATH TEXT   a file that nobody else may read
    background FILE     runs a Python file until the end; it says      start MANIFEST   starts an actor; if none does,
                        something when it is ready                                      manifest.toml is started
    to NAME             what follows is with that actor                crash            its process is killed
    request BODY        a request to it                                send BODY        a message to it
    reply BODY          the answer                                     error TEXT       the answer that it failed
    log TEXT            a line of its log, sooner or later             state BODY       its state, sooner or later
    get URL             an HTTP request                                post URL BODY    likewise
    answer STATUS BODY  what came back
    $ COMMAND           a command in the folder of the manifest        prints TEXT      a line of what it writes
    exits N             its exit code, if that is not 0

`...` stands for any text; JSON is compared as such. The ports 8080 to 8089 are replaced by free ones, wherever they
stand. At the end every chain must verify, and its replay do the same without the world.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from house import PATIENCE, House, eventually
from replays import replayed

from theater.build import build
from theater.core.manifest import Manifest, parse
from theater.errors import TheaterError

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"(?:#|//|;;) (\S+\.\w+)\n")
_NAMES = {"toml": "manifest.toml", "python": "actor.py", "c": "actor.c", "wat": "actor.wat"}


@dataclass
class Example:
    """What a page shows.

    Args:
        files: text by path.
        script: lines.
    """

    files: dict[str, str] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)


def read_example(page: str) -> Example:
    """The example of a page's text; free ports are in the place of those that it names."""
    _, found, rest = page.partition("\n## Example\n")
    assert found, "the page has no heading `## Example`"
    example = Example()
    for language, text in _BLOCK.findall(_with_free_ports(rest)):
        if language == "text":
            example.script += text.splitlines()
        else:
            named = _FILE_NAME.match(text)
            example.files[named[1] if named else _NAMES[language]] = text
    return example


def _with_free_ports(text: str) -> str:
    ports = {name: free_port() for name in set(re.findall(r"\b808[0-9]\b", text))}
    return re.sub(r"\b808[0-9]\b", lambda found: str(ports[found[0]]), text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Scene:
    """Plays an example in a house that is not open yet."""

    def __init__(self, house: House, example: Example) -> None:
        self._house = house
        self._lines = list(example.script)
        self._folder = house.folder / "example"
        self._folder.mkdir()
        self._background: list[subprocess.Popen[bytes]] = []
        self._to = ""
        self._told: tuple[str, str] = "", ""
        for path, text in example.files.items():
            file = self._folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def play(self) -> None:
        try:
            self._open()
            if not any(line.startswith("start ") for line in self._lines):
                self._start("manifest.toml")
            while self._lines:
                self._step(self._lines.pop(0))
            self._check_records()
        finally:
            for process in self._background:
                process.kill()
                process.communicate()

    # ---- before

    def _open(self) -> None:
        environment: dict[str, str] = {}
        while self._lines and self._lines[0].partition(" ")[0] in ("env", "file", "background"):
            what, _, rest = self._lines.pop(0).partition(" ")
            name, _, value = rest.partition(" ")
            if what == "env":
                environment[name] = value
            elif what == "file":
                self._write_secretly(name, value)
            else:
                self._run_in_background(name)
        for path in sorted(self._folder.rglob("*.toml")):
            manifest = parse(path.read_text(), str(path))
            if manifest.build is not None:
                build(path.parent, manifest)
        self._house.server = self._house.popen(**environment)
        self._house.await_server()

    def _write_secretly(self, name: str, value: str) -> None:
        file = self._folder / name
        file.write_text(value + "\n")
        file.chmod(0o600)

    def _run_in_background(self, name: str) -> None:
        process = subprocess.Popen([sys.executable, "-u", name], cwd=self._folder, stdout=subprocess.PIPE)
        self._background.append(process)
        assert process.stdout is not None
        assert process.stdout.readline(), f"{name} said nothing"

    def _start(self, path: str) -> None:
        row = self._house.client.start(self._folder / path)
        self._to = self._to or row.id

    # ---- one line after the other

    def _step(self, line: str) -> None:
        what, _, rest = line.partition(" ")
        actions: dict[str, Callable[[str], None]] = {
            "start": self._start,
            "to": self._turn_to,
            "request": self._request,
            "send": self._send,
            "crash": self._crash,
            "log": self._await_log,
            "state": self._await_state,
            "get": lambda url: self._fetch(url, None),
            "post": lambda given: self._fetch(*given.split(" ", 1)),
            "$": self._run,
        }
        assert what in actions, f"the script has {line!r} here"
        actions[what](rest)

    def _turn_to(self, name: str) -> None:
        self._to = name

    def _request(self, body: str) -> None:
        try:
            answer = "reply", self._house.client.request(self._to, body.encode(), timeout=PATIENCE).decode()
        except TheaterError as error:
            answer = "error", error.message
        self._expect(answer)

    def _expect(self, found: tuple[str, str]) -> None:
        what, text = found
        line = self._lines.pop(0)
        assert line.partition(" ")[0] == what, f"{line!r} was expected, found {what} {text}"
        assert fits(line.partition(" ")[2], text), f"{line!r} was expected, found {what} {text}"

    def _send(self, body: str) -> None:
        self._house.client.send(self._to, body.encode())

    def _crash(self, _: str) -> None:
        self._house.kill_worker(self._to)

    def _await_log(self, text: str) -> None:
        def said() -> bool:
            return any(fits(text, line.text.rstrip("\n")) for line in self._house.client.read_logs(self._to))

        eventually(said, lambda: f"log {text}; found {[line.text for line in self._house.client.read_logs(self._to)]}")

    def _await_state(self, body: str) -> None:
        def state() -> str:
            return (self._house.client.state(self._to).state or b"").decode()

        eventually(lambda: fits(body, state()), lambda: f"state {body}; found {state()}")

    def _fetch(self, url: str, body: str | None) -> None:
        data = None if body is None else body.encode()
        try:
            with urllib.request.urlopen(url, data, timeout=PATIENCE) as answer:
                found = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                found = error.code, error.read()
        self._expect(("answer", f"{found[0]} {found[1].decode()}".rstrip()))

    def _run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", 'theater() { "$PYTHON" -m theater_cli "$@"; }\n' + command],
            cwd=self._folder,
            env={**os.environ, "PYTHON": sys.executable, "THEATER_HOME": str(self._house.home), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        written = (done.stdout + done.stderr).splitlines()
        while self._lines and self._lines[0].startswith("prints "):
            wanted = self._lines.pop(0).removeprefix("prints ")
            found = next((number for number, line in enumerate(written) if fits(wanted, line)), None)
            assert found is not None, f"$ {command}: {wanted!r} is not among {written}"
            written = written[found + 1 :]
        code = int(self._lines.pop(0).split()[1]) if self._lines and self._lines[0].startswith("exits ") else 0
        assert done.returncode == code, f"$ {command}: exit code {done.returncode}: {written}"

    # ---- afterwards

    def _check_records(self) -> None:
        self._house.verify()
        for row in self._house.client.list():
            verdict = replayed(self._house, row.id)
            assert verdict.ok, verdict.error


def fits(shown: str, text: str) -> bool:
    """Whether a text is what a page shows: `...` is any text, JSON is the same with other spaces."""
    if "..." in shown:
        pattern = ".*".join(map(re.escape, shown.split("...")))
        return re.fullmatch(pattern, text, re.DOTALL) is not None
    return shown == text or _json(shown) == _json(text) != _NO_JSON


_NO_JSON = object()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return _NO_JSON


def manifest_of(example: Example) -> Manifest:
    """The manifest of the example's first actor."""
    return parse(example.files["manifest.toml"], "manifest.toml")
