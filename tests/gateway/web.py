"""Actors behind HTTP, and clients of theirs that know no manners: bytes on a socket."""

from __future__ import annotations

import json
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Self

from house import PATIENCE, House, eventually


@dataclass
class Answer:
    """What came back.

    Args:
        status: 0 if nothing did.
        headers: in lower case.
        body: as long as its length said.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """A connection."""

    def __init__(self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str = "") -> None:
        line = socket.create_connection((host, port), timeout=PATIENCE)
        self.socket: socket.socket = tls.wrap_socket(line, server_hostname=name or host) if tls is not None else line
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        self._rest += data
        return bool(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer; its status is 0 if the connection ended instead."""
        while b"\r\n\r\n" not in self._rest:
            if not self._more():
                return Answer(0, {}, self._rest)
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if head_only else int(headers.get("content-length", 0))
        while len(self._rest) < length and self._more():
            pass
        body, self._rest = self._rest[:length], self._rest[length:]
        return Answer(int(first.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Waits for the other end to close; fails if it says something instead."""
        while self._more():
            pass
        return True


@dataclass
class Web:
    """An actor of tests/gateway/web_actor.py that has been started.

    Args:
        port: of its first server.
    """

    house: House
    name: str
    port: int

    @staticmethod
    def python(name: str, more: str = "", handlers: str = "", limits: str = "") -> str:
        """The manifest of the talkative actor; `more` are permissions of its handler `http-framework`."""
        return _manifest(name, '[build]\nlanguage = "python"\nsource = "web_actor.py"\n', more, handlers, limits)

    @staticmethod
    def plain(name: str, more: str = "", handlers: str = "", limits: str = "") -> str:
        """The manifest of the fast actor."""
        return _manifest(name, 'component = "http.wasm"\n', more, handlers, limits)

    @classmethod
    def started(cls, house: House, name: str, more: str = "", *, fast: bool = False, **tables: str) -> Self:
        """Starts one, and waits until it is known where it listens."""
        path = house.folder / f"{name}.toml"
        path.write_text((cls.plain if fast else cls.python)(name, more, **tables))
        house.client.start(path)
        return cls(house, name, port_of(house, name))

    def tell(self, do: str, **facts: Any) -> Any:
        """Has it do something."""
        return json.loads(self.house.client.request(self.name, json.dumps({"do": do, **facts}).encode()) or b"null")

    def line(self, port: int | None = None) -> Line:
        return Line(port or self.port)

    def ask(self, method: str, target: str, body: bytes = b"", port: int | None = None, **headers: str) -> Answer:
        """One request on a connection of its own."""
        with self.line(port) as line:
            return line.send(request(method, target, body, **headers)).answer(head_only=method == "HEAD")

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, **headers)


def _manifest(name: str, what: str, more: str, handlers: str, limits: str) -> str:
    listen = "" if "listen" in more else 'listen = ["127.0.0.1:*"]\n'
    return (
        f'name = "{name}"\n{what}[[handler]]\ntype = "message-server"\n[[handler]]\ntype = "timing"\n{handlers}'
        f'[[handler]]\ntype = "http-framework"\n{listen}{more}\n[actor]\nregister = true\n'
        f"[supervision]\nintensity = 100000\nperiod = 1\n[limits]\n{limits}"
    )


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; `_` in names of headers is `-`."""
    given = {"host": "localhost", **({"content-length": str(len(body))} if body else {}), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


def listens(house: House, name: str) -> list[str]:
    """Where an actor listens, as `theater inspect` says."""
    services = house.client.inspect(name).facts["services"]
    return list(services.get("gateway", {}).get("listens", []))


def port_of(house: House, name: str) -> int:
    """The port of an actor's first server, once it is announced."""
    found = eventually(lambda: listens(house, name), f"{name} is announced")
    return int(re.search(r":(\d+) ", found[0])[1])  # type: ignore[index]
