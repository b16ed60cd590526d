"""`theater tree`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


def test_children_stand_below_their_supervisor(theater: Theater, server: Scripted) -> None:
    assert theater("tree").text.splitlines() == [
        "root  one_for_one  3 in 5 s  running",
        "├─ counter  c0000000  running  pid 4242",
        "└─ pool  one_for_all  3 in 5 s  running",
        "   └─ ping\\u001b[31mer  f0000000  failed",
    ]


def test_json_is_nested(theater: Theater, server: Scripted) -> None:
    root = json.loads(theater("tree", "--json").out)
    assert [child["name"] for child in root["children"]] == ["counter", "pool"]
    assert root["children"][1]["children"][0]["last_exit"]["signal"] == 9
