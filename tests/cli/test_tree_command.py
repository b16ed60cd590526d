"""`theater tree` and `theater tree apply`; what applying does is in tests/server/test_tree_apply.py."""

from __future__ import annotations

import json

import pytest
from commandline import Scripted, Theater
from theater_cli.commands.tree import _actor, _supervisor

from theater.client import Member, Supervisor
from theater.errors import ManifestError, StartFailed

EXIT = {"reason": "killed", "detail": None, "signal": 9, "status": None, "commanded": False}
ROW = {"id": "c0000000-0000-4000-8000-000000000001", "name": "counter", "state": "running", "incarnation": 1}
ROW |= {"restarts": 0, "pid": 7, "parent": None, "supervisor": "root", "mailbox": 0, "head": "", "entries": 1}
ROW |= {"last_exit": None}
POOL = {"name": "pool", "state": "running", "children": [], "strategy": "one_for_all", "intensity": 3, "period": 5}


def test_children_stand_below_their_supervisor(theater: Theater, server: Scripted) -> None:
    assert theater("tree").text.splitlines() == [
        "root  one_for_one  3 in 5 s  running",
        "├─ counter  c0000000  running  pid 4242",
        "└─ pool  one_for_all  3 in 5 s  running",
        "   └─ ping\\u001b[31mer  f0000000  failed  last: SIGKILL",
    ]


def test_json_is_nested(theater: Theater, server: Scripted) -> None:
    root = json.loads(theater("tree", "--json").out)
    assert [child["name"] for child in root["children"]] == ["counter", "pool"]
    assert root["children"][1]["children"][0]["last_exit"]["signal"] == 9


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "counter  c0000000  running  pid 7"),
        ({"incarnation": 2}, "counter  c0000000  running  pid 7  life 2"),
        ({"incarnation": 3, "restarts": 2}, "counter  c0000000  running  pid 7  life 3, 2 restarts"),
        ({"state": "restarting", "pid": None, "last_exit": EXIT}, "counter  c0000000  restarting  last: SIGKILL"),
        ({"last_exit": EXIT | {"commanded": True}}, "counter  c0000000  running  pid 7"),
        ({"due": True}, "counter  c0000000  running  pid 7  changed, not restarted"),
    ],
)
def test_an_actor_shows_what_is_not_as_in_the_beginning(more: dict[str, object], expected: str) -> None:
    assert _actor(Member.read(ROW | more)) == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"incarnation": 1, "restarts": 0, "recent": 0}, "pool  one_for_all  3 in 5 s  running"),
        (
            {"incarnation": 2, "restarts": 1, "recent": 1},
            "pool  one_for_all  3 in 5 s  running  life 2, 1 restart  1 of 3 used",
        ),
        (
            {"backoff": {"initial": 100, "max": 30_000, "jitter": 0.2}},
            "pool  one_for_all  3 in 5 s  running  backs off 100 ms to 30 s",
        ),
        ({"state": "failed", "last_exit": EXIT}, "pool  one_for_all  3 in 5 s  failed  last: SIGKILL"),
    ],
)
def test_a_supervisor_shows_how_it_has_fared(more: dict[str, object], expected: str) -> None:
    assert _supervisor(Supervisor.read(POOL | more)) == expected


# ---- apply


@pytest.fixture
def tree(theater: Theater) -> str:
    (theater.home / "a.wasm").write_bytes(b"a component, to a server that looks at none")
    (theater.home / "a.toml").write_text('name = "a"\ncomponent = "a.wasm"\n')
    (theater.home / "theater.toml").write_text('[[child]]\nname = "first"\nmanifest = "a.toml"\n')
    return "theater.toml"


def test_apply_says_what_was_done_with_each_row_that_is_not_as_before(
    theater: Theater, server: Scripted, tree: str
) -> None:
    assert theater("tree", "apply", tree).text.splitlines() == [
        "changed    supervisor root  (intensity, period)",
        "added      first under pool",
        "kept       old",
    ]


def test_prune_is_passed_on_and_a_dry_run_says_that_it_was_one(theater: Theater, server: Scripted, tree: str) -> None:
    done = theater("tree", "apply", tree, "--prune", "--dry-run")
    assert done.text.splitlines()[-2:] == ["pruned     old", "nothing of this was done"]


def test_json_has_every_row(theater: Theater, server: Scripted, tree: str) -> None:
    applied = json.loads(theater("tree", "apply", tree, "--json").out)
    assert applied["dry_run"] is False
    assert [row["done"] for row in applied["rows"]] == ["changed", "added", "unchanged", "kept"]
    assert applied["rows"][0]["changed"] == ["intensity", "period"]


def test_what_did_not_start_is_complained_of_and_gives_the_exit_code(
    theater: Theater, server: Scripted, tree: str
) -> None:
    done = theater("tree", "apply", tree, "--restart-changed")
    assert (done.code, done.err) == (StartFailed.exit_code, "theater: fails: its init failed\n")
    assert "added      fails under root" in done.text


def test_nothing_to_do_is_said(theater: Theater, server: Scripted) -> None:
    (theater.home / "theater.toml").write_text("")
    assert theater("tree", "apply", "theater.toml").text == "nothing to do\n"


def test_a_file_that_is_wrong_is_refused_with_its_line(theater: Theater, server: Scripted, tree: str) -> None:
    (theater.home / tree).write_text('[[child]]\nname = "first"\n')
    done = theater("tree", "apply", tree)
    assert done.code == ManifestError.exit_code
    assert done.err.startswith("theater: theater.toml:1: ")
