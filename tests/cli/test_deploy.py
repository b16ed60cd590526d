"""What a start needs, found and built beside its manifest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from theater.client.deploy import prepare
from theater.core.codec import content_digest, pack
from theater.errors import ComponentError, ManifestError
from theater.store.deployment import read_text
from theater.store.programs import MAGIC

WAT = "(component)"


def write(folder: Path, manifest: str, **files: bytes) -> Path:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    (folder / "manifest.toml").write_text(f'name = "a"\n{manifest}')
    return folder


def quiet(text: str) -> None:
    """Nobody is told."""


def test_a_component_beside_the_manifest_is_found_by_its_digest(tmp_path: Path) -> None:
    ready = prepare(write(tmp_path, 'component = "a.wasm"', a_wasm=b"content"), quiet)
    digest = content_digest(b"content").hex()
    assert (ready.component, ready.program, dict(ready.contents)) == (digest, None, {digest: tmp_path / "a.wasm"})


def test_a_component_in_the_store_needs_no_file(tmp_path: Path) -> None:
    ready = prepare(write(tmp_path, f'component = "store:{"ab" * 32}"'), quiet)
    assert (ready.component, ready.contents) == ("ab" * 32, {})


@pytest.mark.parametrize("manifest", ['init_state_inline = "{}"', 'init_state = "state.json"'])
def test_the_initial_state_comes_along(tmp_path: Path, manifest: str) -> None:
    ready = prepare(write(tmp_path, f'component = "a.wasm"\n{manifest}', a_wasm=b"content", state_json=b"{}"), quiet)
    assert ready.init_state == b"{}"


def test_no_component_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(ComponentError, match=r"there is no component .*/a\.wasm"):
        prepare(write(tmp_path, 'component = "a.wasm"'), quiet)


def test_a_program_brings_its_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEATER_CACHE", str(tmp_path / "cache"))
    runner = content_digest(b"runner").hex()
    runners = tmp_path / "cache" / "runners"
    runners.mkdir(parents=True)
    (runners / f"{runner}.wasm").write_bytes(b"runner")
    program = MAGIC + pack({"runner": runner, "entry": "actor", "modules": {}})
    ready = prepare(write(tmp_path, 'component = "a.program"', a_program=program), quiet)
    digest = content_digest(program).hex()
    assert (ready.component, ready.program) == (runner, digest)
    assert dict(ready.contents) == {digest: tmp_path / "a.program", runner: runners / f"{runner}.wasm"}


@pytest.mark.parametrize("program", [MAGIC, MAGIC + pack({}), MAGIC + pack({"runner": "00" * 32})])
def test_a_program_that_nothing_here_can_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    monkeypatch.setenv("THEATER_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ComponentError, match="build it again"):
        prepare(write(tmp_path, 'component = "a.program"', a_program=program), quiet)


def test_what_is_younger_than_its_source_is_not_built_again(tmp_path: Path) -> None:
    folder = write(tmp_path, '[build]\nlanguage = "wat"\nsource = "actor.wat"\n', actor_wat=b"this is no WAT")
    (folder / "build").mkdir()
    made = folder / "build" / "a.wasm"
    made.write_bytes(b"built")
    os.utime(folder / "actor.wat", (1, 1))
    assert prepare(folder, quiet).component == content_digest(b"built").hex()


def test_what_has_no_source_any_more_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path, '[build]\nlanguage = "wat"\nsource = "actor.wat"\n')
    (folder / "build").mkdir()
    (folder / "build" / "a.wasm").write_bytes(b"built")
    assert prepare(folder, quiet).component == content_digest(b"built").hex()


@pytest.mark.parametrize(("content", "why"), [(b"\xff", "byte 0 is not UTF-8"), (b"#" * (2 << 20), "allowed: 65536")])
def test_what_is_no_manifest_at_all_is_refused_unparsed(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "manifest.toml").write_bytes(content)
    with pytest.raises(ManifestError, match=why):
        read_text(tmp_path / "manifest.toml")
