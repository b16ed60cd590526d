"""`theater build`."""

from __future__ import annotations

import json

import pytest
from commandline import Theater

from theater.errors import BuildFailed, ManifestError


@pytest.fixture
def project(theater: Theater) -> Theater:
    assert theater("create", "my-actor", "--language", "wat").code == 0
    return theater


def test_it_says_what_was_built(project: Theater) -> None:
    done = project("build", "my-actor")
    assert done.code == 0
    assert done.text.startswith("built my-actor/build/my-actor.wasm (")
    assert (project.home / "my-actor/build/my-actor.wasm").read_bytes()[:4] == b"\0asm"


def test_the_manifest_may_be_named_itself(project: Theater) -> None:
    made = json.loads(project("build", "my-actor/manifest.toml", "--json").out)
    assert made["path"] == "my-actor/build/my-actor.wasm"
    assert made["size"] == (project.home / made["path"]).stat().st_size


def test_a_source_that_is_wrong_ends_with_13(project: Theater) -> None:
    (project.home / "my-actor/actor.wat").write_text("(component")
    done = project("build", "my-actor")
    assert done.code == BuildFailed.exit_code
    assert done.err.startswith("theater: ")
    assert done.err.splitlines()[1:] == ["      (component", "                ^"]  # below the sentence, the place


def test_no_manifest_is_a_manifest_error(theater: Theater) -> None:
    done = theater("build")
    assert (done.code, done.err) == (
        ManifestError.exit_code,
        "theater: cannot read manifest.toml: No such file or directory\n",
    )


def test_a_terminal_sees_that_it_works_and_a_pipe_does_not(project: Theater) -> None:
    assert b"building my-actor" in project.on_terminal("build", str(project.home / "my-actor")).out
    assert project("build", "my-actor").err == ""
