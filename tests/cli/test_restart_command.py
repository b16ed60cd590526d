"""`theater restart`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater
from scripted_server import COUNTER


def test_actors_are_named_as_they_restart(theater: Theater, server: Scripted) -> None:
    done = theater("restart", "counter", "c0")
    assert done.text == f"restarted counter {COUNTER}\n" * 2
    assert json.loads(theater("restart", "counter", "--json").out)["restarts"] == 1
