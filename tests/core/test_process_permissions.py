"""What a manifest grants with the handler `process`, and how much of it a child or a record needs."""

from __future__ import annotations

from typing import Any

import pytest

from theater.core import schema
from theater.core.handlers import PROCESS, permissions_of
from theater.core.permissions import Asked
from theater.core.permissions.process import Process
from theater.core.values import Err
from theater.errors import ManifestError


def may(**keys: Any) -> Process:
    found = permissions_of("process", keys)
    assert isinstance(found, Process)
    return found


def spawn(program: str, *, cwd: str | None = None, env: list[Any] | None = None, answer: Any = 1) -> Asked:
    return Asked(PROCESS, "os-spawn", ({"program": program, "cwd": cwd, "env": env or []},), answer)


def test_nothing_is_granted_by_default() -> None:
    assert (may().programs, may().environment, may().cwd) == ((), (), ())
    assert not may().gives("HOME")


@pytest.mark.parametrize("program", ["", ".", "..", "./a", "a/b", "../a", "/a/", "a\0"])
def test_a_program_is_a_name_or_an_absolute_path(program: str) -> None:
    with pytest.raises(ManifestError, match="a name such as"):
        may(programs=[program])


@pytest.mark.parametrize(
    "keys", [{"environment": ["A-B"]}, {"environment": ["A*B"]}, {"cwd": [".."]}, {"count": 0}, {"program": ["a"]}]
)
def test_a_mistake_in_a_permission_is_an_error(keys: dict[str, Any]) -> None:
    with pytest.raises(ManifestError):
        may(**keys)


def test_permissions_survive_their_plain_form() -> None:
    grant = may(programs=["git"], environment=["A_*"], cwd=["x"], timeout="1min", memory="64MiB", processes=5)
    assert permissions_of("process", schema.plain(grant)) == grant


def test_a_pattern_does_not_grant_a_variable_that_makes_programs_load_something_else() -> None:
    grant = may(environment=["L*", "P*", "G*", "LD_LIBRARY_PATH"])
    assert grant.gives("LINES")
    assert grant.gives("LD_LIBRARY_PATH")
    for name in ("LD_PRELOAD", "PATH", "PYTHONPATH", "GLIBC_TUNABLES", "GIT_SSH_COMMAND", "LINES=x", ""):
        assert not grant.gives(name)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"programs": ["git", "sh"]}, 'run "sh"'),
        ({"environment": ["B"]}, "give programs the variables B"),
        ({"environment": ["A_*", "A*"]}, "give programs the variables A*"),
        ({"cwd": ["data", "."]}, 'run programs in "."'),
        ({"count": 5}, "have count = 5, its parent 4"),
        ({"timeout": "infinity"}, "have timeout = no bound, its parent 1min"),
        ({"memory": "2GiB"}, "have memory = 2GiB, its parent 1GiB"),
    ],
)
def test_a_child_has_no_more_than_its_parent(more: dict[str, Any], words: str) -> None:
    granted = {"programs": ["git"], "environment": ["A_*"], "cwd": ["data"], "timeout": "1min", "memory": "1GiB"}
    assert may(**{**granted, **more}).excess(may(**granted)) == words
    assert may(**granted).excess(may(**granted)) is None
    less = {**granted, "environment": ["A_1"], "cwd": ["data/in"], "timeout": "1s", "memory": "1MiB", "programs": []}
    assert may(**less).excess(may(**granted)) is None


def test_what_was_used_is_what_was_started() -> None:
    grant = may(programs=["git", "sh", "/bin/ls", "cat"], environment=["A_*", "B"], cwd=["one", "two"], count=7)
    calls = [
        spawn("git", env=[("A_1", "x")]),
        spawn("/bin/ls", cwd="two/deep"),
        spawn("sh", answer=Err("no")),
        Asked(PROCESS, "os-kill", (1,), None),
    ]
    used = grant.used(calls)
    assert used == may(programs=["git", "/bin/ls"], environment=["A_1"], cwd=["one", "two"], count=7)
    assert grant.used([]) == may(count=7)
