"""`theater validate`."""

from __future__ import annotations

import json

import pytest
from commandline import Done, Theater
from wasmtime import wat2wasm

from theater.errors import BuildFailed, ComponentError, ManifestError, UnknownContent

NEEDS_THE_STORE = """
(component (import "theater:simple/store"
    (instance (export "new" (func (result (result string (error string))))))))
"""


@pytest.fixture
def project(theater: Theater) -> Theater:
    assert theater("create", "my-actor", "--language", "wat").code == 0
    assert theater("build", "my-actor").code == 0
    return theater


def validate(project: Theater, *options: str) -> Done:
    return project("validate", "my-actor", *options, THEATER_CACHE=str(project.home / "cache"))


def change(project: Theater, old: str, new: str) -> None:
    manifest = project.home / "my-actor" / "manifest.toml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


def test_a_project_that_fits_is_valid(project: Theater) -> None:
    done = validate(project)
    assert (done.code, done.text.splitlines()) == (
        0,
        ["my-actor/manifest.toml is valid: my-actor 0.1.0", "my-actor/build/my-actor.wasm fits it"],
    )
    assert json.loads(validate(project, "--json").out)["ok"] is True


def test_a_wrong_key_names_the_line_and_what_is_allowed(project: Theater) -> None:
    change(project, "version", "verzion")
    done = validate(project)
    assert done.code == ManifestError.exit_code
    assert "my-actor/manifest.toml:2:" in done.err
    assert "version" in done.err


def test_an_import_that_is_not_granted_is_named(project: Theater) -> None:
    change(project, '[[handler]]\ntype = "message-server"\n', "")
    (project.home / "my-actor/build/my-actor.wasm").write_bytes(wat2wasm(NEEDS_THE_STORE))
    done = validate(project)
    assert done.code == ComponentError.exit_code
    assert (
        'imports theater:simple/store, which the manifest does not grant; add a [[handler]] with type = "store"'
        in done.err
    )


def test_a_component_that_is_none_is_refused(project: Theater) -> None:
    (project.home / "my-actor/build/my-actor.wasm").write_bytes(b"not wasm")
    assert validate(project).code == ComponentError.exit_code


def test_a_component_that_is_not_built_yet_is_said_to_be_so(project: Theater) -> None:
    (project.home / "my-actor/build/my-actor.wasm").unlink()
    done = validate(project)
    assert (done.code, done.text.splitlines()[1]) == (0, "its component is not built yet; `theater build` builds it")
    assert json.loads(validate(project, "--json").out)["component"] is None


def test_a_component_in_the_store_is_looked_for_there(project: Theater) -> None:
    digest = project("store", "put", "my-actor/build/my-actor.wasm").text.strip()
    change(project, "[build]", f'component = "store:{digest}"\n[build]')
    assert validate(project).code == 0
    change(project, digest, "0" * 64)
    assert validate(project).code == UnknownContent.exit_code


def test_a_python_actors_source_is_checked(theater: Theater) -> None:
    theater("create", "my-actor")
    assert validate(theater).code == 0
    (theater.home / "my-actor/actor.py").write_text("def f(:\n")
    done = validate(theater)
    assert done.code == BuildFailed.exit_code
    assert "actor.py:1" in done.err
