"""`theater stop`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater
from scripted_server import COUNTER

from theater.errors import NoServer


def test_actors_are_named_as_they_stop(theater: Theater, server: Scripted) -> None:
    assert theater("stop", "counter").text == f"stopped counter {COUNTER}\n"
    assert theater("stop", "counter", "--remove").text == f"removed counter {COUNTER}\n"
    assert json.loads(theater("stop", "counter", "--json").out)["state"] == "stopped"


def test_the_server_is_gone_when_the_command_returns(theater: Theater, server: Scripted) -> None:
    assert theater("stop", "--server").code == 0
    assert server.process.wait(0) == 0
    assert theater("list").code == NoServer.exit_code


def test_either_actors_or_the_server(theater: Theater) -> None:
    assert theater("stop").code == 2
    assert theater("stop", "counter", "--server").code == 2
