"""`theater inspect`."""

from __future__ import annotations

import json

from commandline import Scripted, Theater


def test_a_person_sees_names_and_values(theater: Theater, server: Scripted) -> None:
    shown = dict(line.split(None, 1) for line in theater("inspect", "counter").text.splitlines() if "  " in line)
    assert shown["id"] == "c0000000-0000-4000-8000-000000000001"
    assert shown["memory"] == "3.0 MiB"
    assert shown["registered"] == "counter"


def test_what_services_do_for_an_actor_is_shown(theater: Theater, server: Scripted) -> None:
    (shown,) = (text for text in theater("inspect", "counter").text.splitlines() if text.startswith("gateway:"))
    assert shown.split(None, 2) == ["gateway:", "listens", "127.0.0.1:8080, 127.0.0.1:8443"]


def test_json_is_one_object_with_all_facts(theater: Theater, server: Scripted) -> None:
    found = json.loads(theater("inspect", "c0", "--json").out)
    assert (found["name"], found["pid"], found["supervision"]) == ("counter", 4242, {"restart": "permanent"})


def test_the_last_exit_says_why(theater: Theater, server: Scripted) -> None:
    assert "SIGKILL: it did not stop" in theater("inspect", "f0").text
