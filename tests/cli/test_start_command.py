"""`theater start`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Scripted, Theater

from theater.errors import ComponentError, ManifestError, NoServer


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "manifest.toml").write_text('name = "a"\ncomponent = "a.wasm"\ninit_state = "state.json"\n')
    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    (tmp_path / "state.json").write_bytes(b"{}")
    return tmp_path


def test_it_says_name_and_id(theater: Theater, server: Scripted, project: Path) -> None:
    done = theater("start", str(project / "manifest.toml"))
    assert done.text == "started started 50000000-0000-4000-8000-000000000003\n"


def test_id_only_is_the_id_and_nothing_else(theater: Theater, server: Scripted, project: Path) -> None:
    done = theater("start", str(project), "--id-only", "--name", "x")
    assert (done.text, done.err) == ("50000000-0000-4000-8000-000000000003\n", "")


def test_json_is_the_row(theater: Theater, server: Scripted, project: Path) -> None:
    assert json.loads(theater("start", str(project), "--name", "x", "--json").out)["name"] == "x"


def test_what_was_started_can_be_subscribed_to(theater: Theater, server: Scripted, project: Path) -> None:
    started = theater("start", str(project), "--id-only")
    with theater.running("subscribe", "-", "--json") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(started.text)
        process.stdin.close()
        assert json.loads(process.stdout.readline())["type"] == "genesis"


@pytest.mark.parametrize("missing", ["manifest.toml", "state.json"])
def test_a_file_that_is_not_there_is_a_manifest_error(
    theater: Theater, server: Scripted, project: Path, missing: str
) -> None:
    (project / missing).unlink()
    done = theater("start", str(project / "manifest.toml"))
    assert done.code == ManifestError.exit_code
    assert f"{missing}: No such file" in done.err


def test_a_component_that_is_not_there_says_where_it_should_be(
    theater: Theater, server: Scripted, project: Path
) -> None:
    (project / "a.wasm").unlink()
    done = theater("start", str(project))
    assert done.code == ComponentError.exit_code
    assert str(project / "a.wasm") in done.err


def test_without_a_server_nothing_is_built_and_nothing_read(theater: Theater) -> None:
    assert theater("start", "/nowhere").code == NoServer.exit_code
