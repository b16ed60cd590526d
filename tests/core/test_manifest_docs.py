"""docs/manifest.md and the manifest say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from theater.core import manifest, tree_file
from theater.core.handlers import HANDLERS
from theater.core.manifest import canonical, parse

PAGE = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text()
SECTIONS = dict(re.findall(r"^## `?\[{0,2}([a-z. A-Z]+?)\]{0,2}`?\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLE = """
name = "a"
[build]
language = "c"
source = "a.c"
flags = ["-O2"]
[supervision.children]
backoff = {}
"""
PLAIN = canonical(parse(EXAMPLE, "example"))


def documented(section: str) -> set[str]:
    return set(re.findall(r"^\| `([a-z_-]+)` \|", SECTIONS[section], re.MULTILINE))


def test_the_top_of_a_manifest_is_documented_key_by_key() -> None:
    scalars = set(PLAIN) - {"build", "handler", "grant", "actor", "supervision", "limits", "chain", "secrets"}
    assert documented("The actor") == scalars


@pytest.mark.parametrize("table", ["build", "actor", "limits", "chain"])
def test_every_key_of_a_table_is_documented_and_no_other(table: str) -> None:
    assert documented(table) == set(PLAIN[table])


def test_the_keys_of_supervision_are_documented_on_both_levels() -> None:
    assert documented("supervision") == set(PLAIN["supervision"]) - {"children"}
    assert documented("supervision.children") == set(PLAIN["supervision"]["children"])


def test_every_type_of_handler_is_documented_and_no_other() -> None:
    assert documented("handler") - {"type"} == set(HANDLERS)


@pytest.mark.parametrize("table", ["supervision", "limits", "chain", "actor"])
def test_the_documented_defaults_are_the_defaults(table: str) -> None:
    """Each default, put into a manifest as it stands in the page, changes nothing."""
    rows = re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|", SECTIONS[table], re.MULTILINE)
    assert rows
    text = f"[{table}]\n" + "\n".join(f"{name} = {value}" for name, value in rows)
    plain = manifest.parse('name = "a"\ncomponent = "a.wasm"\n', "plain")
    assert manifest.parse(f'name = "a"\ncomponent = "a.wasm"\n{text}\n', "page") == plain


def test_the_grants_of_the_page_are_some() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", SECTIONS["grant"], re.DOTALL)
    (grant,) = manifest.parse(f'name = "a"\ncomponent = "a.wasm"\n{example}', "page").grants
    assert grant.type == "environment"


def test_the_tree_file_of_the_page_is_one() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.partition("# The tree file\n")[2], re.DOTALL)
    tree = tree_file.parse(example, "docs/manifest.md")
    assert [row.name for row in tree.rows] == ["pool", "a"]


def test_the_secrets_of_the_page_are_some() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", SECTIONS["secrets"], re.DOTALL)
    found = manifest.parse(f'name = "a"\ncomponent = "a.wasm"\n{example}', "page").secrets
    assert [(secret.name, secret.env, secret.file) for secret in found] == [
        ("api-key", "SHOP_API_KEY", None),
        ("db-password", None, "/run/secrets/db"),
    ]
