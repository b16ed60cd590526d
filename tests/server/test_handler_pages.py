"""Each page of docs/handlers: its headings, its table of permissions, and its example, played against a real server.

tests/server/page_example.py says what an example looks like.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from house import House
from page_example import Scene, fits, manifest_of, read_example

from theater.core import schema
from theater.core.handlers import GRANTED_TO_ALL, HANDLERS, OWN_TYPES
from theater.wasm.wit import known_interfaces

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [pytest.param(page, id=page.stem) for page in sorted(DOCS.glob("handlers/*.md")) if page.stem in OWN_TYPES]
HEADINGS = ["What it does", "Permissions", "Limits", "Errors", "What is recorded", "Example"]


def test_every_handler_has_a_page() -> None:
    assert {page.stem for page in DOCS.glob("handlers/*.md")} == OWN_TYPES | {"your-own"}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_every_function(page: Path) -> None:
    """In backticks, with its parameters or without: what actors may call, and what is called in them.

    Of an interface that several handlers have, the page of the first one tells.
    """
    told = {quoted.partition("(")[0] for quoted in re.findall(r"`([^`\n]+)`", page.read_text())}
    teller = {each: kind for kind, row in reversed(HANDLERS.items()) for each in row.imports | row.exports}
    its_own = [each for each, kind in teller.items() if kind == page.stem]
    wanted = {function for each in its_own for function in known_interfaces()[each].functions}
    assert sorted(wanted - told) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_its_headings(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# `{page.stem}`\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("page", PAGES)
def test_a_page_tells_every_permission_and_no_other(page: Path) -> None:
    """In a table with a row for each key: `| `key` | default | meaning |`."""
    section = page.read_text().partition("\n## Permissions\n")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    assert told == list(schema.keys(HANDLERS[page.stem].permissions))


@pytest.mark.parametrize("page", PAGES)
def test_an_example_does_what_its_page_says(page: Path, closed_house: House) -> None:
    example = read_example(page.read_text())
    assert page.stem in manifest_of(example).handler_types | GRANTED_TO_ALL
    Scene(closed_house, example).play()


@pytest.mark.parametrize("page", PAGES)
def test_the_manual_of_manifests_links_to_the_page(page: Path) -> None:
    assert f"(handlers/{page.name})" in (DOCS / "manifest.md").read_text()


def test_what_a_page_shows_may_leave_something_open() -> None:
    assert fits("reply of ... bytes", "reply of 12 bytes")
    assert fits('{"a": 1}', '{"a":1}')
    assert not fits("1", "2")
    assert not fits("a...", "b")
