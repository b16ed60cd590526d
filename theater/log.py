"""The server's own log: structured, to standard error; for people on a terminal, JSON otherwise when asked.

What actors say is not here: it goes to the actor's log in its home (`theater logs`).
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO, cast

import structlog

Logger = structlog.typing.FilteringBoundLogger


def configure(style: str = "console", level: str = "info", stream: TextIO | None = None) -> None:
    """Sets the form of the log of this process.

    Args:
        style: `console` for people, `json` for a journal.
        level: the lowest level shown: debug, info, warning or error.
        stream: where lines go; standard error unless given.
    """
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
