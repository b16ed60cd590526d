"""`theater completion`: teaches a shell the commands and the names of actors."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ..options import App, theater_command
from ..output import line


@theater_command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="SHELL")
def command(app: App, shell: str) -> None:
    """Writes a shell's completion script.

    \b
    bash   eval "$(theater completion bash)"          in ~/.bashrc
    zsh    eval "$(theater completion zsh)"           in ~/.zshrc
    fish   theater completion fish | source           in ~/.config/fish/config.fish
    """
    from ..main import COMPLETE, theater

    kind = get_completion_class(shell)
    assert kind is not None, f"click completes {shell}"
    line(kind(theater, {}, "theater", COMPLETE).source())
