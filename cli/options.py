"""What several commands share: where the server is, `--json`, and how actors are named.

The options that say where the server is are understood before and after the command's name, because people write both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from theater import config
from theater.errors import InvalidInput, TheaterError

from .output import complain

if TYPE_CHECKING:
    from theater.client import Client

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=click.Command)


@dataclass(slots=True)
class App:
    """What the global options say.

    Args:
        home: `--home`.
        address: `--address`.
        server_key, client_key: `--server-key`, `--client-key`.
        json: whether the command was asked for `--json`.
    """

    home: str | None = None
    address: str | None = None
    server_key: str | None = None
    client_key: str | None = None
    json: bool = False

    def client(self) -> Client:
        """A client of the server that is meant; nothing is opened yet."""
        from theater.client import Client

        return Client(self.address, self.home, self.server_key, self.client_key)

    def files(self) -> config.Home:
        """The home whose files are meant: the one named, or else that of the server whose address is named.

        Raises:
            InvalidInput: that server is on another machine, and so are its files.
        """
        named = self.home or os.environ.get("THEATER_HOME")
        if named or not (self.address or os.environ.get("THEATER_ADDRESS")):
            return config.home(named)
        with self.client() as client:
            if client.is_remote:
                raise InvalidInput(
                    f"this reads the files of a home, and those of {client.address} are on its machine: do it there, "
                    "or name a home of this machine with --home"
                )
            return config.home(client.hello().home)


pass_app = click.make_pass_decorator(App, ensure=True)


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """A callback that keeps an option's value in the App; what stands after the command's name wins."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(App), name, value)

    return callback


def global_options() -> list[click.Parameter]:
    """Those which say where the server is, and by which keys it is reached."""
    return [
        click.Option(
            ["--home"], metavar="DIRECTORY", expose_value=False, callback=_keep("home"),
            help="Where the server keeps its files. Default: $THEATER_HOME, or ~/.local/state/theater.",
        ),
        click.Option(
            ["--address"], metavar="ADDRESS", expose_value=False, callback=_keep("address"),
            help="Where the server is: ipc:///PATH, tcp://HOST:PORT, or the name of a known server. Default: "
            "$THEATER_ADDRESS, or the home's.",
        ),
        click.Option(
            ["--server-key"], metavar="KEY", expose_value=False, callback=_keep("server_key"),
            help="The public key of a server elsewhere, or a file with it. Default: $THEATER_SERVER_KEY, or the kept.",
        ),
        click.Option(
            ["--client-key"], metavar="NAME", expose_value=False, callback=_keep("client_key"),
            help="Your key for a server elsewhere, or a file with it. Default: $THEATER_CLIENT_KEY, or the only one.",
        ),
    ]  # fmt: skip


json_option = click.option(
    "--json", is_flag=True, is_eager=True, expose_value=False, callback=_keep("json"), help="Writes JSON, for programs."
)


def theater_command(name: str, group: click.Group | None = None) -> Callable[[Callable[..., Any]], click.Command]:
    """Declares a command that understands the global options; its function gets the App first.

    Args:
        group: the command that it belongs to.
    """
    declare = click.command if group is None else group.command
    return lambda function: _with_global_options(declare(name)(pass_app(function)))


def theater_group(name: str) -> Callable[[Callable[..., Any]], click.Group]:
    """Declares a command of several words; its function runs before that of the second word, or alone."""
    declare = click.group(name, invoke_without_command=True)
    return lambda function: _with_global_options(declare(pass_app(function)))


def _with_global_options(command: _C) -> _C:
    command.params.extend(global_options())
    return command


def actor_argument(function: _F) -> _F:
    """One ACTOR, or `-` for any number from standard input; the command gets `actor`."""
    return click.argument("actor", shell_complete=complete_actor)(function)


def actors_argument(required: bool = True) -> Callable[[_F], _F]:
    """Any number of ACTORs; the command gets `actors`."""
    return click.argument("actors", nargs=-1, required=required, metavar="ACTOR...", shell_complete=complete_actor)


def named(words: str | Iterable[str]) -> list[str]:
    """The actors that `words` name; each `-` stands for the lines of standard input.

    Raises:
        click.UsageError: standard input names none.
    """
    given = [words] if isinstance(words, str) else list(words)
    found = [actor for word in given for actor in (_from_stdin() if word == "-" else [word])]
    if given and not found:
        raise click.UsageError("standard input has no actor ids")
    return found


def _from_stdin() -> list[str]:
    return [line.strip() for line in sys.stdin if line.strip()]


def for_each(actors: str | Iterable[str], act: Callable[[str], None]) -> int:
    """Does `act` for each actor; one failure does not keep the others from their turn.

    Returns the exit code of the first failure. A single actor's failure is raised.
    """
    everyone = named(actors)
    if len(everyone) == 1:
        act(everyone[0])
        return 0
    code = 0
    for actor in everyone:
        try:
            act(actor)
        except TheaterError as error:
            complain(error.message)
            code = code or error.exit_code
    return code


def read_input(source: str) -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Raises:
        click.UsageError: the file cannot be read.
    """
    try:
        if source == "-":
            return sys.stdin.buffer.read()
        with open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise click.UsageError(f"cannot read {source}: {error.strerror}") from error


def complete_actor(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names and ids of the running server; none if it does not answer at once."""
    try:
        with ctx.ensure_object(App).client() as client:
            rows = client.list(timeout=0.5)
    except TheaterError:
        return []
    words = {row.name: row.id for row in rows} | {row.id: row.name for row in rows}
    return [CompletionItem(word, help=about) for word, about in words.items() if word.startswith(incomplete)]
