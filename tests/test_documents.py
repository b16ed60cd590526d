"""What the documents say is there."""

from __future__ import annotations

import re
from pathlib import Path

import click
from theater_cli.main import theater

from theater import errors
from theater.server.operations import Operations

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTROL = (ROOT / "docs" / "control.md").read_text()


def test_every_operation_of_the_control_socket_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", CONTROL, re.MULTILINE))
    assert documented == {name[1:] for name in vars(Operations) if name in _handlers()}


def _handlers() -> set[str]:
    return {f"_{name}" for name in Operations.table(Operations.__new__(Operations))}


def test_every_command_in_the_readme_exists() -> None:
    blocks = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL))
    used = set(re.findall(r"(?:^|&& |\| )theater ([a-z-]+)", blocks, re.MULTILINE))
    assert {"create", "build", "server", "start", "list", "message", "logs", "subscribe", "verify"} <= used
    assert used <= set(theater.list_commands(click.Context(theater)))


def test_the_exit_codes_of_the_readme_are_those_of_the_error_tree() -> None:
    (sentence,) = re.findall(r"Exit codes: (.*?)\n\n", README, re.DOTALL)
    documented = {int(code) for code in re.findall(r"\b(\d+) ", sentence)}
    classes = [errors.TheaterError, *_below(errors.TheaterError)]
    assert documented - {0, 2} == {cls.exit_code for cls in classes}


def _below(cls: type[errors.TheaterError]) -> list[type[errors.TheaterError]]:
    return [found for sub in cls.__subclasses__() for found in (sub, *_below(sub))]


def test_every_file_that_a_document_links_to_exists() -> None:
    for page in (ROOT / "README.md", ROOT / "theater" / "README.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[a-z-]+)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_file_that_the_map_names_exists() -> None:
    text = (ROOT / "theater" / "README.md").read_text()
    for name in re.findall(r"\b((?:core|server|worker|host|wasm|build)/[a-z_]+\.py)\b", text):
        assert (ROOT / "theater" / name).exists(), name


def test_every_test_that_the_security_page_names_exists() -> None:
    named = set(re.findall(r"tests/[a-z_/]+\.py", (ROOT / "SECURITY.md").read_text()))
    assert "tests/walls/test_hostile_actions.py" in named
    assert all((ROOT / name).exists() for name in named), named
