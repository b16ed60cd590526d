"""The server's own log: structured, to standard error; for people on a terminal, JSON otherwise when asked.

What actors say is not here: it goes to the actor's log in its home (`theater logs`).
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TextIO, cast


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """For a package that imports another one if that is there: it is not, for so long."""
    was = sys.modules.get(name)
    sys.modules[name] = cast(ModuleType, None)
    try:
        yield
    finally:
        del sys.modules[name]
        if was is not None:
            sys.modules[name] = was


# Rich is for a formatter of tracebacks that is not used below, and its import takes as long as all others of a server.
with _without("rich"):
    import structlog

Logger = structlog.typing.FilteringBoundLogger


_chosen = ["console", "info"]


def chosen() -> tuple[str, str]:
    """Style and level, for a process that is to log as this one does."""
    style, level = _chosen
    return style, level


def configure(style: str = "console", level: str = "info", stream: TextIO | None = None) -> None:
    """Sets the form of the log of this process.

    Args:
        style: `console` for people, `json` for a journal.
        level: the lowest level shown: debug, info, warning or error.
        stream: where lines go; standard error unless given.
    """
    _chosen[:] = style, level
    out = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        # Not the default formatter: it shows local variables, and among those are messages of actors.
        else structlog.dev.ConsoleRenderer(
            colors=out.isatty(), sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if style == "json" else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )


def logger(**facts: object) -> Logger:
    """A logger that adds `facts` to each of its lines."""
    return cast(Logger, structlog.get_logger(**facts))
