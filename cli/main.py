"""The entry: finds the command, runs it, and turns whatever it raises into one line and an exit code.

A person never sees a traceback, unless $THEATER_DEBUG asks for it. Codes are those of theater/errors.py, 2 for a
wrong use of the command line, 130 for Ctrl-C, and 141 when the reader of the output has gone, as a shell
reports a process that SIGPIPE ended. With `--json` the error is also an object on standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

import click

from theater.errors import TheaterError

from . import commands
from .options import App, global_options
from .output import complain, print_json

_USAGE = 2
_INTERRUPTED = 130
_READER_GONE = 141
COMPLETE = "_THEATER_COMPLETE"


class Commands(click.Group):
    """The commands are the files of `commands/`; one is imported when it is named, or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_names())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            near = " or ".join(get_close_matches(args[0], self.list_commands(ctx), 2))
            raise click.UsageError(
                f"there is no command {args[0]!r}" + (f"; did you mean {near}?" if near else ""), ctx
            )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _names():
            return None
        found = import_module(f"{commands.__name__}.{_names()[cmd_name]}").command
        assert isinstance(found, click.Command)
        return found


@cache
def _names() -> dict[str, str]:
    """Each command and its module, which may end with a line where the command's name is a word of Python's."""
    modules = sorted(file.stem for file in Path(*commands.__path__).glob("[!_]*.py"))
    return {module.rstrip("_").replace("_", "-"): module for module in modules}


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"theater {version('theater')}")
        ctx.exit()


@click.group(
    cls=Commands,
    params=global_options(),
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Shows the version."
)
@click.pass_context
def theater(context: click.Context) -> None:
    """Runs WebAssembly actors: sandboxed, deterministic, traceable, supervised.

    An ACTOR is named by its id, a unique beginning of it, or its name; `-` reads ids from standard input.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process.

    Args:
        arguments: instead of those of the process.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if COMPLETE in os.environ:
        sys.exit(_complete(os.environ[COMPLETE]))
    sys.exit(_flushed(run(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns its exit code; what went wrong has been said."""
    try:
        return _run(arguments, App())
    except BrokenPipeError:
        return _READER_GONE


def _run(arguments: Sequence[str], app: App) -> int:
    try:
        with theater.make_context("theater", list(arguments), obj=app) as context:
            result = theater.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except click.UsageError as error:
        return _say_usage(error)
    except TheaterError as error:
        return _say(error, app)
    except Exception as error:
        return _say(_unexpected(error), app)


def _say_usage(error: click.UsageError) -> int:
    complain(error.format_message())
    if error.ctx is not None:
        sys.stderr.write(f"{error.ctx.get_usage()}\nTry `{error.ctx.command_path} --help`.\n")
    return _USAGE


def _say(error: TheaterError, app: App) -> int:
    if app.json:
        print_json(error.to_wire())
    complain(error.message)
    if os.environ.get("THEATER_DEBUG"):
        import traceback

        traceback.print_exception(error)
    return error.exit_code


def _unexpected(error: Exception) -> TheaterError:
    """What was not foreseen as a `TheaterError`: of the system, or a defect of ours."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        wrapped = TheaterError(f"{where}{error.strerror}")
    else:
        wrapped = TheaterError(f"unexpected {type(error).__name__}: {error}; THEATER_DEBUG=1 shows where")
    wrapped.__cause__ = error
    return wrapped


def _flushed(code: int) -> int:
    """Writes out what is left. If nobody takes it, it is thrown away, for the interpreter would complain about it."""
    try:
        sys.stdout.flush()
        return code
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE if isinstance(error, BrokenPipeError) else _say(_unexpected(error), App())


def _complete(instruction: str) -> int:
    from click.shell_completion import shell_complete

    return shell_complete(theater, {"obj": App()}, "theater", COMPLETE, instruction)
