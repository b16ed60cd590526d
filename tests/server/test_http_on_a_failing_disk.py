"""An answer over the network is an effect like any other: whichever write fails, what was answered is in the record."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import machine as machines
import pytest
from house import House, eventually, outcome
from machine import Machine

from theater.build import build
from theater.core.manifest import parse

power, machine = machines.power, machines.machine

CLERK = Path(__file__).parents[1] / "faults" / "actors" / "clerk.py"
MANIFEST = """
name = "clerk"
[build]
language = "python"
source = "clerk.py"
[[handler]]
type = "message-server"
[[handler]]
type = "timers"
[[handler]]
type = "process"
[[handler]]
type = "http-client"
[[handler]]
type = "http-framework"
listen = ["127.0.0.1:*"]
[supervision]
intensity = 100000
period = 1
[chain]
durability = "{durability}"
"""
WRITES = 6


def state(house: House, actor: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(house.client.request(actor, b'{"do": "look"}', 20.0))
    return found


@pytest.mark.parametrize("durability", ["process", "host"])
def test_no_count_is_answered_over_http_that_is_not_in_the_record(machine: Machine, durability: str) -> None:
    house = machine.open()
    shutil.copy(CLERK, house.folder)
    path = house.folder / "manifest.toml"
    path.write_text(MANIFEST.format(durability=durability))
    build(house.folder, parse(path.read_text(), path.name))
    actor = house.client.start(path).id
    port = state(house, actor)["port"]
    for number in range(1, WRITES):
        before = state(house, actor)["count"]
        answered = [before]
        machine.fail(f"actors/{actor}/chain", number, errno.ENOSPC, lasting=True)
        for _ in range(5):
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                request = urllib.request.Request(f"http://127.0.0.1:{port}/count", data=b"")
                with urllib.request.urlopen(request, timeout=3) as answer:
                    answered.append(json.loads(answer.read())["count"])
        assert machine.failed
        machine.repair()
        eventually(lambda: outcome(lambda: house.client.restart(actor)) in ("reply", "WrongState"))
        house.await_row(actor, lambda row: row.state == "running")
        assert state(house, actor)["count"] >= max(answered)
    house.verify()
