"""`theater server`: the process in which everything begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import App, theater_command
from ..output import progress

if TYPE_CHECKING:
    from theater.server.gate import Remote

_STEP_S = 900.0
"""What a service manager is asked to allow for one step of preparing a tree: the longest is building a component."""


@theater_command("server")
@click.option("--tree", type=click.Path(path_type=Path), metavar="FILE", help="Starts the supervision tree of FILE.")
@click.option(
    "--log-format",
    type=click.Choice(("console", "json", "journal")),
    help="For people, programs, or a journal. Default: what fits to standard error.",
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="The lowest level that is logged.",
)
@click.option(
    "--listen", multiple=True, metavar="ADDRESS", help="Takes commands from elsewhere, at tcp://HOST:PORT; repeatable."
)
@click.option(
    "--authorized-keys",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Who may command from elsewhere: a file for each key, as `theater keys new` makes it.",
)
@click.option(
    "--max-actors",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Living actors that there may be.",
)
@click.option(
    "--retention",
    multiple=True,
    metavar="entries=N|bytes=SIZE|age=TIME",
    help="How much is kept of the server's own chain, who commanded what; repeatable. Default: all.",
)
@click.option("--require-walls", is_flag=True, help="Refuses to run where one of the walls around workers is missing.")
@click.option(
    "--speculation-controls",
    is_flag=True,
    help="All processes of the server give up speculation that has leaked memory; what they do takes longer.",
)
@click.option(
    "--cgroup",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="A control group (v2) for the server to divide, in place of the one it is in.",
)
def command(
    app: App,
    tree: Path | None,
    log_format: str | None,
    log_level: str,
    listen: tuple[str, ...],
    authorized_keys: Path | None,
    max_actors: int,
    retention: tuple[str, ...],
    require_walls: bool,
    speculation_controls: bool,
    cgroup: Path | None,
) -> int:
    """Runs a server in the foreground.

    It starts the actors of its home again, with their last state. Ctrl-C, SIGTERM and `theater stop --server` end
    it in order; asked a second time, it kills everything. SIGHUP is `theater reload`. Its own log goes to standard
    error; what actors say is shown by `theater logs`. What it tells a service manager is sd_notify(3).
    """
    import os

    from theater import config, log
    from theater.server.main import serve
    from theater.server.notify import Notifier

    from .. import retention as retentions
    from ..application import application

    kept = retentions.read(retention)
    if require_walls:
        from theater.server.required_walls import require_all

        require_all()
    if speculation_controls:
        from theater.server.required_walls import stop_speculating

        stop_speculating()
    remote = _remote(listen, authorized_keys)
    log.configure(log_format or log.fitting(), log_level)
    notifier = Notifier.from_environment(os.environ)
    home = app.files()
    if tree is None:
        return serve(
            home,
            config.address(app.address, home),
            notifier=notifier,
            remote=remote,
            max_actors=max_actors,
            kept=kept,
            cgroup=cgroup,
        )
    with progress(f"preparing {tree}") as say:

        def tell(text: str) -> None:
            notifier.status(text)
            notifier.extend(_STEP_S)
            say(text)

        tell(f"preparing {tree}")
        planned = application(tree, tell)
    return serve(
        home,
        config.address(app.address, home),
        planned,
        notifier=notifier,
        remote=remote,
        max_actors=max_actors,
        kept=kept,
        cgroup=cgroup,
    )


def _remote(listen: tuple[str, ...], authorized_keys: Path | None) -> Remote | None:
    """Who may command from elsewhere; nobody, unless both options say who, and where."""
    from theater.client.route import check_listen
    from theater.server.gate import Remote

    if not listen and authorized_keys is None:
        return None
    if not listen or authorized_keys is None:
        raise click.UsageError("--listen and --authorized-keys go together: where to listen, and who may command there")
    return Remote(tuple(map(check_listen, listen)), authorized_keys)
