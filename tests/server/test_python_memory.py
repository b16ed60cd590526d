"""An actor in Python that goes on with its memory: from snapshots, over kills and restarts of the server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from textwrap import dedent
from typing import Any

from house import House
from replays import reproduced

from theater.build import build
from theater.core.chain import INCARNATION, SNAPSHOT, Lifecycle, Outcome, Payload
from theater.core.manifest import parse

SOURCE = """
    import random

    import theater

    def squares():
        number = 0
        while True:
            yield number * number
            number += 1

    SQUARES = squares()

    class Hoarder(theater.Actor):
        initial = {"calls": 0}

        def handle_request(self, message):
            self.state["calls"] += 1
            if message == "print":
                print("this opens standard output, and leaves it open")
            if message == "grow":
                self.hoard = bytearray(4 << 20)
            return [next(SQUARES), random.random()]
"""
MANIFEST = """
    name = "hoarder"
    [build]
    language = "python"
    source = "hoarder.py"
    [[handler]]
    type = "message-server"
    [supervision]
    state = "replay"
    [chain]
    state_root = "call"
    snapshot = { entries = 10 }
"""


def write(folder: Path) -> Path:
    """Writes and builds the actor; returns its manifest."""
    (folder / "hoarder.py").write_text(dedent(SOURCE))
    path = folder / "hoarder.toml"
    path.write_text(dedent(MANIFEST))
    build(folder, parse(path.read_text(), str(path)))
    return path


def ask(house: House, actor: str, message: object) -> Any:
    return json.loads(house.client.request(actor, json.dumps(message).encode()))


def details(payloads: list[Payload], event: str) -> list[Any]:
    return [each.details for each in payloads if isinstance(each, Lifecycle) and each.event == event]


def test_python_goes_on_with_its_memory_from_a_snapshot(own_house: House) -> None:
    house = own_house
    actor = house.client.start(write(house.folder)).id
    answers = [ask(house, actor, message) for message in ["print", "grow", *[None] * 13]]
    house.kill_worker(actor)
    answers += [ask(house, actor, None) for _ in range(5)]
    house.send_signal(signal.SIGTERM)
    assert house.await_end() == 0
    house.open()
    answers += [ask(house, actor, None) for _ in range(5)]
    assert [square for square, _ in answers] == [number**2 for number in range(25)]
    assert len({drawn for _, drawn in answers}) == 25, "nor does chance begin anew"
    payloads = reproduced(house, actor)
    assert all(each.root for each in payloads if isinstance(each, Outcome))
    snapshots = details(payloads, SNAPSHOT)
    assert len(snapshots) >= 2
    assert [each.get("why") for each in snapshots] == [None] * len(snapshots)
    assert all(each["memory"] and each["root"] for each in snapshots)
    lives = details(payloads, INCARNATION)
    assert [each["state"] for each in lives] == ["replay", "replay"]
    assert all(each["from"] > 0 for each in lives), "each begins at a snapshot"
    house.verify()
