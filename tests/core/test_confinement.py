"""A child never has more than its parent has or passes on."""

from __future__ import annotations

import pytest

from theater.core.confinement import excess
from theater.core.manifest import Manifest, canonical, from_canonical, parse
from theater.errors import ManifestError


def actor(*tables: str) -> Manifest:
    """An actor with these handlers; `grant ` in front makes one a grant."""
    text = 'name = "a"\ncomponent = "a.wasm"\n'
    for table in tables:
        kind, rest = ("grant", table.removeprefix("grant ")) if table.startswith("grant ") else ("handler", table)
        name, _, keys = rest.partition(" ")
        text += f'[[{kind}]]\ntype = "{name}"\n{keys}\n'
    return parse(text, "m")


def more(child: Manifest, parent: Manifest) -> str | None:
    return excess(child, "/family/child", parent, "/family")


def test_a_child_may_have_what_its_parent_has() -> None:
    parent = actor("supervisor", "timing", 'environment variables = ["A*"]')
    assert more(actor("timing", 'environment variables = ["AB"]'), parent) is None
    assert more(actor("runtime", "identity"), actor("supervisor")) is None


def test_a_child_may_not_have_a_handler_or_a_permission_that_its_parent_lacks() -> None:
    parent = actor("supervisor", 'environment variables = ["A*"]')
    assert more(actor("timing"), parent) == "have the handler timing"
    wide = actor('environment variables = ["B"]')
    assert more(wide, parent) == "with its handler environment see the variables B"


def test_what_a_parent_passes_on_need_not_be_its_own() -> None:
    parent = actor("supervisor", "grant timing", 'grant environment variables = ["B"]', 'environment variables = ["A"]')
    assert parent.handler_types == {"supervisor", "environment"}
    for variable in "AB":
        assert more(actor("timing", f'environment variables = ["{variable}"]'), parent) is None
    assert more(actor('environment variables = ["C"]'), parent) is not None


def test_a_child_passes_no_more_on_than_it_might_have_had() -> None:
    parent = actor("supervisor", "grant timing")
    assert more(actor("supervisor", "grant timing"), parent) is None
    assert more(actor("supervisor", "grant random"), parent) == "have the handler random"


def test_grants_stand_in_the_plain_form() -> None:
    parent = actor("supervisor", 'grant environment variables = ["B"]')
    assert canonical(parent)["grant"] == [{"type": "environment", "variables": ["B"]}]
    assert from_canonical(canonical(parent)) == parent


def test_grants_without_children_are_a_mistake() -> None:
    with pytest.raises(ManifestError, match="grant: nobody gets it"):
        actor("grant timing")
    with pytest.raises(ManifestError, match=r"^m:4: .*did you mean timing"):
        actor("grant timin", "supervisor")


def test_folders_are_beside_the_manifest_that_names_them() -> None:
    parent = actor("supervisor", 'filesystem read = ["child/data"]')
    assert more(actor('filesystem read = ["data"]'), parent) is None
    assert more(actor('filesystem read = ["child/data"]'), parent) is not None
    assert more(actor('filesystem read = ["/family/child/data/deeper"]'), parent) is None
    served = actor("supervisor", 'http-framework listen = ["127.0.0.1:80"]\ncertificates = ["child/certs"]')
    assert more(actor('http-framework listen = ["127.0.0.1:80"]\ncertificates = ["certs/"]'), served) is None
    assert more(actor('http-framework listen = ["127.0.0.1:80"]\ncertificates = ["child/certs"]'), served) is not None
