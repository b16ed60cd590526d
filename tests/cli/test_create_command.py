"""`theater create`."""

from __future__ import annotations

import json

import pytest
from commandline import Theater
from theater_cli.commands.create import LANGUAGES, TEMPLATES

from theater.build.templates import languages, templates
from theater.core.manifest import parse
from theater.errors import InvalidInput, WrongState


def test_it_offers_the_languages_and_templates_that_there_are() -> None:
    assert sorted(LANGUAGES) == languages()
    assert sorted(TEMPLATES) == templates("python") == templates("c")
    assert templates("wat") == ["basic", "message-server"]


@pytest.mark.parametrize(("language", "template"), [(one, kind) for one in LANGUAGES for kind in templates(one)])
def test_a_project_has_a_manifest_that_is_right(theater: Theater, language: str, template: str) -> None:
    done = theater("create", "sub/my-actor", "--language", language, "--template", template)
    assert (done.code, done.text) == (0, "created sub/my-actor\n")
    manifest = (theater.home / "sub/my-actor/manifest.toml").read_text()
    assert parse(manifest, "manifest.toml").name == "my-actor"


def test_json_says_where(theater: Theater) -> None:
    made = json.loads(theater("create", "my-actor", "--json").out)
    assert made == {"directory": "my-actor", "name": "my-actor", "language": "python", "template": "basic"}


def test_a_folder_with_something_in_it_is_left_alone(theater: Theater) -> None:
    theater("create", "my-actor")
    assert theater("create", "my-actor").code == WrongState.exit_code


def test_what_a_language_has_no_template_for_is_refused(theater: Theater) -> None:
    assert theater("create", "a", "--language", "wat", "--template", "http-server").code == InvalidInput.exit_code


def test_a_name_that_no_actor_can_have_is_refused(theater: Theater) -> None:
    assert theater("create", "my actor").code == InvalidInput.exit_code
    assert theater("create", "a", "--language", "cobol").code == 2
