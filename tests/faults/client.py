"""A client as a process of its own, so that it can be killed: asks actors for ever, and keeps a journal.

    python -m tests.faults.client ROLE HOUSE NUMBER SEED

HOUSE is the folder with the server's home `h`, and `actors.json`: ids by name. Roles: `asker` talks through the control
socket, `web` through HTTP and a websocket, `sloth` asks and never reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.faults.journal import REPLY, Journal
from theater.client import Client
from theater.errors import TheaterError

_TIMEOUT_S = 4.0
_PAUSE_S = 0.01
_GONE_S = 0.1


class Asker:
    """Requests, messages, requests that make an actor ask another, programs, channels."""

    def __init__(self, house: Path, journal: Journal, chance: random.Random) -> None:
        self._actors: dict[str, str] = json.loads((house / "actors.json").read_text())
        self._client = Client(home=house / "h")
        self._journal = journal
        self._chance = chance
        self._outside = (house / "outside").read_text()

    def run(self) -> None:
        while True:
            name = self._chance.choice(sorted(self._actors))
            kind = name.rstrip("0123456789")
            getattr(self, f"_{kind}")(name)
            time.sleep(self._chance.uniform(0, 2 * _PAUSE_S))

    def _probe(self, name: str) -> None:
        other = self._chance.choice([each for each in self._actors if each.startswith("probe") and each != name])
        what = self._chance.choice(("count", "count", "send", "ask", "tell"))
        if what == "count":
            self._note(what, name, lambda token: _number(self._request(name, b"c" + token)))
        elif what == "send":
            self._note(what, name, lambda token: self._client.send(self._actors[name], b"c" + token, _TIMEOUT_S))
        elif what == "ask":
            named = b"a" + other.ljust(8).encode() + b"c"
            self._note(what, name, lambda token: [other, _number(self._request(name, named + token))])
        else:
            named = b"s" + other.ljust(8).encode() + b"c"
            self._note(what, name, lambda token: [other, self._request(name, named + token).hex()])

    def _counter(self, name: str) -> None:
        self._note("count", name, lambda token: json.loads(self._request(name, token))["count"])

    def _clerk(self, name: str) -> None:
        what = self._chance.choice(("count", "count", "count", "send", "run", "fetch", "channel"))
        if what == "channel":
            self._note("channel", name, lambda token: self._talk(name, token))
        elif what == "send":
            self._note(what, name, lambda token: self._client.send(self._actors[name], _json(token=token), _TIMEOUT_S))
        elif what == "fetch":
            self._note(what, name, lambda token: self._clerks(name, token, url=f"{self._outside}?{token.decode()}"))
        else:
            self._note(what, name, lambda token: self._clerks(name, token))

    def _noise(self, name: str) -> None:
        self._note("noise", name, lambda token: len(self._request(name, b"e" + token + bytes(3000))))

    def _request(self, name: str, body: bytes) -> bytes:
        return self._client.request(self._actors[name], body, _TIMEOUT_S)

    def _clerks(self, name: str, token: bytes, **more: str) -> Any:
        return json.loads(self._request(name, _json(do=self._what, token=token, **more)))

    def _talk(self, name: str, token: bytes) -> Any:
        with self._client.open_channel(self._actors[name], _json(opens="a channel"), _TIMEOUT_S) as channel:
            channel.send(_json(token=token), timeout=_TIMEOUT_S)
            channel.receive(_TIMEOUT_S)
            answer = channel.receive(_TIMEOUT_S)
        return json.loads(answer)["count"] if answer is not None else None

    def _note(self, what: str, name: str, ask: Callable[[bytes], object]) -> None:
        self._what = what
        token = self._journal.asked(what, name)
        try:
            value = ask(token.encode())
        except TheaterError as error:
            self._journal.ended(token, type(error).__name__, error.message)
            if type(error).__name__ == "NoServer":
                time.sleep(_GONE_S)
        else:
            self._journal.ended(token, REPLY, value)


def _json(**fields: object) -> bytes:
    return json.dumps(
        {key: each.decode() if isinstance(each, bytes) else each for key, each in fields.items()}
    ).encode()


def _number(answer: bytes) -> int:
    return int.from_bytes(answer, "little")


# ---- over the network


async def _web(house: Path, journal: Journal, chance: random.Random) -> None:
    while True:
        port = int((house / "port").read_text())
        with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError):
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_S)) as session:
                for _ in range(chance.randint(1, 20)):
                    await _post(session, port, journal)
                    await asyncio.sleep(_PAUSE_S)
                async with session.ws_connect(f"http://127.0.0.1:{port}/talk") as line:
                    for _ in range(chance.randint(1, 20)):
                        await _say(line, journal)
                        await asyncio.sleep(_PAUSE_S)
        await asyncio.sleep(_GONE_S)


async def _post(session: aiohttp.ClientSession, port: int, journal: Journal) -> None:
    token = journal.asked("http", "clerk0")
    try:
        async with session.post(f"http://127.0.0.1:{port}/count", data=token) as answer:
            told = await answer.json(content_type=None) if answer.status == 200 else None
            journal.ended(token, REPLY if told else str(answer.status), told and told["count"])
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        journal.ended(token, type(error).__name__)
        raise


async def _say(line: aiohttp.ClientWebSocketResponse, journal: Journal) -> None:
    token = journal.asked("websocket", "clerk0")
    await line.send_str(json.dumps({"token": token}))
    told = await line.receive(_TIMEOUT_S)
    if told.type is not aiohttp.WSMsgType.TEXT:
        journal.ended(token, told.type.name)
        raise aiohttp.ClientConnectionError
    journal.ended(token, REPLY, json.loads(told.data)["count"])


# ---- whoever does not read


def _sloth(house: Path, chance: random.Random) -> None:
    """Asks and asks, through the control socket, a websocket and HTTP, and never reads an answer."""
    actors: dict[str, str] = json.loads((house / "actors.json").read_text())
    kept: list[Any] = []
    while True:
        client = Client(home=house / "h")
        args = {"actor": actors["noise0"], "body": b"e" + bytes(50_000), "request": True, "timeout_ms": 1000}
        with contextlib.suppress(TheaterError):
            for _ in range(50):
                client._link.submit("message", args, 60.0)
                client._link.submit("events", {"actor": actors["noise0"], "since": 0, "limit": 100}, 60.0)
        with contextlib.suppress(OSError, ValueError):
            line = socket.create_connection(("127.0.0.1", int((house / "port").read_text())), 1.0)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.sendall(b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" * chance.randint(1, 2000))
            kept.append(line)
        kept.append(client)
        time.sleep(chance.uniform(1.0, 3.0))
        while len(kept) > 6:
            with contextlib.suppress(OSError):
                kept.pop(0).close()


def main(role: str, folder: str, number: str, seed: str) -> None:
    """Runs until somebody ends it."""
    house, chance = Path(folder), random.Random(f"{seed} {number}")
    if role == "sloth":
        return _sloth(house, chance)
    journal = Journal(house / f"journal.{number}", int(number))
    if role == "web":
        return asyncio.run(_web(house, journal, chance))
    return Asker(house, journal, chance).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
