"""A server that runs: whether it is the one that this client belongs to, and how it fares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from theater.config import Home
from theater.doctor.finding import Finding, note, ok, problem
from theater.errors import ServiceDown, WrongState

_AREA = "server"


def absent(home: Home, why: str) -> Iterator[Finding]:
    """No server answers."""
    says = f"no server answers for {home.root}: {why}"
    yield note(_AREA, "server", says, "`theater server` starts one; what is said above holds for it, too")


def examine(hello: Mapping[str, Any], stuck: Mapping[str, Any] | None, home: Home, version: str) -> Iterator[Finding]:
    """What a server says of itself.

    Args:
        hello, stuck: its answers to the operations `hello` and `why`; None if it does not know the latter.
        home: that is meant.
        version: of this client.
    """
    yield ok(
        _AREA, "server", f"a server answers: process {hello['pid']}, {hello['actors']} actors, home {hello['home']}"
    )
    yield _version(str(hello["version"]), version)
    if Path(str(hello["home"])) != home.root:
        yield note(_AREA, "home", f"it serves {hello['home']}, and {home.root} was looked at", "give --home")
    yield from _walls(hello.get("walls"))
    yield from _services(hello)
    if hello.get("refused"):
        says = f"{hello['refused']} frames were no messages of this protocol"
        yield note(_AREA, "refused", says, "something else talks to its sockets, or a client of another version")
    if stuck is not None:
        yield from _stuck(stuck)


def _version(theirs: str, ours: str) -> Finding:
    if theirs == ours:
        return ok(_AREA, "version", f"it is of version {theirs}, as this command is")
    says = f"it is of version {theirs}, and this command of {ours}"
    return problem(_AREA, "version", says, "restart the server, or use the command that came with it", WrongState)


def _walls(said: Any) -> Iterator[Finding]:
    """Of servers that say which stand."""
    if not isinstance(said, str):
        return
    yield ok(_AREA, "walls", f"walls around its workers: {said}") if said else note(_AREA, "walls", "no walls stand")


def _services(hello: Mapping[str, Any]) -> Iterator[Finding]:
    services = (hello.get("processes") or {}).get("services") or {}
    down = sorted(name for name, facts in services.items() if not facts.get("serving"))
    if down:
        says = f"these services do not serve: {', '.join(down)}"
        yield problem(_AREA, "services", says, "its log says why they end; they are started again", ServiceDown)
    elif services:
        yield ok(_AREA, "services", f"these services serve: {', '.join(sorted(services))}")


def _stuck(said: Mapping[str, Any]) -> Iterator[Finding]:
    suspicious = said.get("suspicious") or ()
    if said.get("circles"):
        says = f"{len(said['circles'])} circles of actors wait for each other"
        yield note(_AREA, "actors", says, "`theater why` names them")
    elif suspicious:
        yield note(_AREA, "actors", f"{len(suspicious)} actors are stuck, or not up", "`theater why` says more")
    else:
        yield ok(_AREA, "actors", "no actor is stuck")
