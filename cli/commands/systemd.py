"""`theater systemd`: the unit that runs a server from the machine's start on, shown, installed or taken away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from theater.errors import Conflict, NotFound, TheaterError

from .. import retention, unit_file
from ..options import App, theater_command, theater_group
from ..output import line
from ..unit_file import Wanted

_SYSTEM = Path("/etc/systemd/system")


@theater_group("systemd")
def command(app: App) -> None:
    """The service of a server under systemd."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _which(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which unit is meant."""
    for option in (
        click.option("--user", is_flag=True, help="A unit of your own, which your user manager runs."),
        click.option("--name", default="theater", show_default=True, metavar="NAME", help="The unit's name."),
    ):
        function = option(function)
    return function


def _what(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is to stand in it."""
    absolute = click.Path(path_type=Path, resolve_path=True)
    for option in (
        click.option(
            "--authorized-keys", type=absolute, metavar="DIRECTORY", help="Default: /etc/NAME/authorized-keys."
        ),
        click.option("--listen", multiple=True, metavar="ADDRESS", help="As of `theater server`; may be repeated."),
        click.option(
            "--retention",
            multiple=True,
            metavar="entries=N|bytes=SIZE|age=TIME",
            help="As of `theater server`; may be repeated.",
        ),
        click.option("--user-name", metavar="ACCOUNT", help="The account it runs under. Default: one made by systemd."),
        click.option("--tree", type=absolute, metavar="FILE", help="Runs the tree of FILE; a reload applies it again."),
    ):
        function = option(function)
    return _which(function)


@theater_command("print", command)
@_what
def print_(app: App, **facts: Any) -> None:
    """Shows the unit."""
    line(unit_file.text(_wanted(app, facts)).rstrip("\n"))


@theater_command("install", command)
@_what
@click.option("--force", is_flag=True, help="Also over a unit that was changed by hand.")
def install(app: App, force: bool, **facts: Any) -> None:
    """Writes the unit where systemd looks for it, and has systemd read it.

    A unit that somebody has changed is left alone; changes belong into `systemctl edit`, which keeps them apart. It
    starts nothing, and says what to type.
    """
    wanted = _wanted(app, facts)
    text = unit_file.text(wanted)
    path = _place(wanted)
    found = _read(path)
    if found is not None and not force and not unit_file.is_untouched(found):
        raise Conflict(f"{path} was changed by hand; move its changes to `{_systemctl(wanted)} edit`, or say --force")
    _write(path, text)
    _have_it_read(wanted)
    systemctl = _systemctl(wanted)
    line(f"{'wrote' if found is None else 'replaced'} {path}")
    line("now, and at each start of the machine:")
    line(f"  {systemctl} enable --now {wanted.name}")
    line(f"  {systemctl} status {wanted.name}")
    line(f"  export THEATER_ADDRESS={_shown_address(wanted)}    # for `theater list` and all other commands")


@theater_command("uninstall", command)
@_which
@click.option("--force", is_flag=True, help="Also a unit that was changed by hand.")
def uninstall(app: App, user: bool, name: str, force: bool) -> None:
    """Stops the server and takes the unit away. Its home and its cache stay."""
    wanted = Wanted(name=name, user=user)
    path = _place(wanted)
    found = _read(path)
    if found is None:
        raise NotFound(f"there is no unit {path}")
    if not force and not unit_file.is_untouched(found):
        raise Conflict(f"{path} was changed by hand; --force removes it all the same")
    _run(wanted, "disable", "--now", wanted.file_name)
    path.unlink()
    _have_it_read(wanted)
    line(f"removed {path}")
    line("its home is left as it is" if wanted.user else f"the home {wanted.state} is left as it is")


def _wanted(app: App, facts: dict[str, Any]) -> Wanted:
    home = None if app.home is None else Path(os.path.abspath(app.home))
    retention.read(facts["retention"])  # Now, and not when the server is to start.
    return Wanted(home=home, **facts)


def _place(wanted: Wanted) -> Path:
    if not wanted.user:
        return _SYSTEM / wanted.file_name
    above = os.environ.get("XDG_CONFIG_HOME")
    return (Path(above) if above else Path.home() / ".config") / "systemd" / "user" / wanted.file_name


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and readable by everybody, as all units are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.chmod(0o644)
    os.replace(fresh, path)


def _have_it_read(wanted: Wanted) -> None:
    _run(wanted, "daemon-reload")


def _run(wanted: Wanted, *words: str) -> None:
    """Has systemctl do something, where systemd runs; in an image that is being made there is nothing to be done."""
    if not _runs(wanted):
        line(f"systemd does not run here, so nobody was told: {_systemctl(wanted)} {' '.join(words)}")
        return
    done = subprocess.run([*_systemctl(wanted).split(), *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise TheaterError(f"{_systemctl(wanted)} {' '.join(words)}: {done.stderr.strip() or done.returncode}")


def _runs(wanted: Wanted) -> bool:
    """Whether there is a manager to be told: the system's (sd_booted(3)), or the user's."""
    if not wanted.user:
        return Path("/run/systemd/system").is_dir()
    return (Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / "systemd" / "private").exists()


def _systemctl(wanted: Wanted) -> str:
    return "systemctl --user" if wanted.user else "systemctl"


def _shown_address(wanted: Wanted) -> str:
    return wanted.address.replace("%t", "$XDG_RUNTIME_DIR")
