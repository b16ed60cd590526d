"""`theater keys`: keys that let somebody command a server from elsewhere."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theater.errors import InvalidInput, NotFound, TheaterError, WrongState, disk_error

from ..options import App, json_option, theater_command, theater_group
from ..output import complain, is_terminal, line, print_json, table, when

if TYPE_CHECKING:
    from theater.core.authorized_key import AuthorizedKey

_ROLES = ("read", "operate", "admin")


@theater_group("keys")
def command(app: App) -> None:
    """Makes and shows keys for servers elsewhere.

    These keys let somebody in. What signs checkpoints is another key, the home's own.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@theater_command("new", command)
@click.argument("name")
@click.option("--role", type=click.Choice(_ROLES), default="read", show_default=True, help="What the key is to allow.")
@click.option("--expires", metavar="DATE", help="From then on it allows nothing: 2027-01-01, in UTC.")
@click.option("--comment", default="", metavar="TEXT", help="Is kept in the file for the server.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIRECTORY", help="Default: ~/.config/theater/keys.")
@json_option
def new(app: App, name: str, role: str, expires: str | None, comment: str, out: Path | None) -> None:
    """Makes a key pair.

    NAME.key is secret and stays here. NAME.toml is for the admin of the server, who decides about the role in it and
    puts it into the folder of --authorized-keys.
    """
    from theater.client.route import keys_folder
    from theater.config import private_directory
    from theater.core import authorized_key
    from theater.core.authorized_key import AuthorizedKey, check_name
    from theater.core.curve import KEY_SIZE, fingerprint, public_of
    from theater.core.roles import role_of

    folder = private_directory(out or keys_folder())
    secret = os.urandom(KEY_SIZE)
    key = AuthorizedKey(check_name(name), public_of(secret), role_of(role), comment=comment)
    text = authorized_key.write(key, expires)
    authorized_key.read(text, "the new key")  # What a server would refuse is not made.
    secret_file, public_file = folder / f"{name}.key", folder / f"{name}.toml"
    _create(secret_file, f"{secret.hex()}\n", 0o600)
    public_file.unlink(missing_ok=True)
    _create(public_file, text, 0o644)
    if app.json:
        facts = {"name": name, "role": role, "key": key.key.hex(), "fingerprint": fingerprint(key.key)}
        print_json({**facts, "secret": str(secret_file), "public": str(public_file)})
        return
    line(f"made {secret_file}, which is secret, with the fingerprint {fingerprint(key.key)}")
    line(f"put {public_file} into the server's folder of --authorized-keys")


@theater_command("list", command)
@click.option(
    "--authorized-keys",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Those of a server instead.",
)
@json_option
def list_(app: App, authorized_keys: Path | None) -> int:
    """Lists your keys, or those that a server authorizes."""
    from theater.client.route import keys_folder

    folder = authorized_keys or keys_folder()
    if authorized_keys is not None and not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    code, found = 0, []
    for file in sorted(folder.glob("*.toml")):
        try:
            found.append(_read(file))
        except TheaterError as error:
            complain(error.message)
            code = code or error.exit_code
    if app.json:
        print_json([_plain(key) for key in found])
    elif found or not is_terminal():
        table(("NAME", "ROLE", "FINGERPRINT", "EXPIRES", "COMMENT"), map(_row, found))
    else:
        line("there are no keys")
    return code


@theater_command("show", command)
@json_option
def show(app: App) -> None:
    """Shows the public key of the home's server.

    Clients have to be given it, over a way that can be trusted: it is how they know the server.
    """
    from theater.core.curve import fingerprint
    from theater.server.control_key import public_control_key

    home = app.files()
    key = public_control_key(home)
    if key is None:
        raise NotFound(f"the server of {home.root} has no such key yet: it makes one when it is started with --listen")
    if app.json:
        print_json({"key": key.hex(), "fingerprint": fingerprint(key)})
    else:
        line(key.hex())


@theater_command("trust", command)
@click.argument("name")
@click.argument("where")
@json_option
def trust(app: App, name: str, where: str) -> None:
    """Keeps a server elsewhere under a name.

    WHERE is tcp://HOST:PORT, and --server-key what `theater keys show` says there; --client-key is your key for it.
    After that --address NAME means this server.
    """
    from theater.client import route
    from theater.config import private_directory
    from theater.core.authorized_key import check_name
    from theater.core.curve import fingerprint

    words = app.server_key or os.environ.get("THEATER_SERVER_KEY")
    if words is None:
        raise click.UsageError("a server is known by its key: give --server-key")
    key, servers = route.given_public_key(words), route.known_servers()
    if check_name(name) in servers:
        raise WrongState(f"{route.servers_file()} has a server {name!r} already; take that out of it first")
    if app.client_key is not None:
        route.own_key(app.client_key)
    fields = {"address": route.check_tcp(where), "server_key": key.hex()}
    if app.client_key is not None:
        fields["key"] = app.client_key
    private_directory(route.folder())
    section = "".join(f'{field} = "{value}"\n' for field, value in fields.items())
    try:
        with route.servers_file().open("a") as file:
            file.write(f'["{name}"]\n{section}\n')
    except OSError as error:
        raise disk_error(error, f"writing {route.servers_file()}") from error
    if app.json:
        print_json({"name": name, **fields})
    else:
        line(f"{name} is {where}, known by the key {fingerprint(key)}")


def _create(path: Path, text: str, mode: int) -> None:
    """Makes a file that was not there; a key that was is never written over."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w") as file:
            file.write(text)
    except FileExistsError as error:
        raise WrongState(f"{path} is there already: remove it, or choose another name") from error
    except OSError as error:
        raise disk_error(error, f"writing {path}") from error


def _read(file: Path) -> AuthorizedKey:
    from theater.core import authorized_key

    try:
        return authorized_key.read(file.read_text("utf-8", "surrogateescape"), str(file))
    except OSError as error:
        raise InvalidInput(f"cannot read {file}: {error.strerror}") from error


def _row(key: AuthorizedKey) -> tuple[object, ...]:
    from theater.core.curve import fingerprint

    expires = None if key.expires is None else f"{when(int(key.expires * 1e9))}{' (over)' if _is_over(key) else ''}"
    return key.name, key.role.label, fingerprint(key.key), expires, key.comment


def _plain(key: AuthorizedKey) -> dict[str, Any]:
    from theater.core.curve import fingerprint

    return {
        "name": key.name,
        "role": key.role.label,
        "key": key.key.hex(),
        "fingerprint": fingerprint(key.key),
        "expires": key.expires,
        "expired": _is_over(key),
        "comment": key.comment,
    }


def _is_over(key: AuthorizedKey) -> bool:
    return key.is_over(time.time())
