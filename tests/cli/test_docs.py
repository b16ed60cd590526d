"""docs/cli.md and the command line say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from theater_cli.main import theater

from theater import errors

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^### theater ([a-z -]*[a-z])[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
EVERYWHERE = {"--home", "--address", "--server-key", "--client-key", "--help", "-h"}


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(theater)
    for name in theater.list_commands(context):
        command = theater.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {word}", inner) for word, inner in command.commands.items())


def options(command: click.Command) -> set[str]:
    named = {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
    return named - EVERYWHERE


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert set(SECTIONS) == {name for name, _ in commands()}


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_a_section_lists_the_options_of_its_command_and_no_others(name: str, command: click.Command) -> None:
    items = re.findall(r"^- ((?:`-[^`]*`(?:, )?)+)", SECTIONS[name], re.MULTILINE)
    assert {option for item in items for option in re.findall(r"`(--?[a-z-]+)", item)} == options(command)


def test_what_holds_everywhere_is_said_once() -> None:
    general = PAGE.split("## Projects")[0]
    assert all(f"{option}" in general for option in (EVERYWHERE | {"--version"}))


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_arguments_stand_in_the_heading(name: str, command: click.Command) -> None:
    (heading,) = re.findall(rf"^### theater {name}(?: ([^a-z\n].*))?$", PAGE, re.MULTILINE)
    arguments = [each.human_readable_name for each in command.params if isinstance(each, click.Argument)]
    assert re.sub(r"[\[\]]", "", heading) == " ".join(arguments)


def test_every_command_line_in_the_text_exists() -> None:
    known = {name.split()[0] for name, _ in commands()} | {"COMMAND"}
    assert {word for word in re.findall(r"theater ([a-zA-Z-]+)", PAGE) if not word.startswith("-")} <= known


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    def codes(cls: type[errors.TheaterError]) -> set[int]:
        return {cls.exit_code}.union(*map(codes, cls.__subclasses__()))

    listed = {int(code) for code in re.findall(r"\| (\d+) \|", PAGE)}
    assert listed == codes(errors.TheaterError) | {0, 2, 130, 141}
