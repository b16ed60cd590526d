"""The server's own log: structured, to standard error; for people on a terminal, JSON for programs and journals.

What actors say is not here: it goes to the actor's log in its home (`theater logs`). What is here of an actor says
which one: its id, name and incarnation, and its place in the actor's chain, the number of an entry. Every value is
shortened, and what a terminal would obey is escaped, for names, reasons and tracebacks hold what actors chose.
docs/logs.md has the events and their fields.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from types import ModuleType
from typing import Any, Final, TextIO, cast

from theater.core.printable import safe, shortened


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

STYLES: Final = ("console", "json", "journal")
"""For people; an object on each line; the same with the priority before it that sd-daemon(3) defines."""

LEVELS: Final = ("debug", "info", "warning", "error")
"""What happens all the time; what an operator may want to know; what is not as it should be and was dealt with; what
somebody must look after."""

TO_STDOUT: Final = "log to stdout"
"""The argument, behind the others, of a process whose log goes to its standard output."""

_PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_LONGEST = 4000
"""Characters of one value that are shown."""

_chosen = ["console", "info"]


def chosen() -> tuple[str, str]:
    """Style and level, for a process that is to log as this one does."""
    style, level = _chosen
    return style, level


def fitting(environment: Mapping[str, str] | None = None, stream: TextIO | None = None) -> str:
    """The style that fits to whom a stream leads: a journal, a terminal, or whatever else reads it.

    Args:
        environment: has $JOURNAL_STREAM if a service manager has connected a journal (systemd.exec(5)).
        stream: standard error unless given.
    """
    out = stream or sys.stderr
    if _is_journal((os.environ if environment is None else environment).get("JOURNAL_STREAM", ""), out):
        return "journal"
    return "console" if out.isatty() else "json"


def _is_journal(told: str, stream: TextIO) -> bool:
    """Whether a stream is still the one that the service manager meant: the variable is inherited, descriptors are
    replaced."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


def configure(style: str = "console", level: str = "info", stream: TextIO | None = None) -> None:
    """Sets the form of the log of this process.

    Args:
        style: one of `STYLES`.
        level: the lowest level shown, one of `LEVELS`.
        stream: where lines go; standard error unless given.
    """
    _chosen[:] = style, level
    out = stream or sys.stderr
    is_console = style == "console"
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _identified,
            *([] if is_console else [structlog.processors.format_exc_info]),
            _harmless,
            _console(out) if is_console else _json_line if style == "json" else _journal_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )


def logger(**facts: object) -> Logger:
    """A logger that adds `facts` to each of its lines."""
    return cast(Logger, structlog.get_logger(**facts))


Who = Callable[[str], Mapping[str, Any]]
"""What is known of the actor of an id: name, incarnation, entry (the number of the newest of its chain)."""

_who: list[Who] = []


def identify(who: Who | None) -> None:
    """Has every line of this process that has an `actor` say, too, what `who` knows of it; None ends that."""
    _who[:] = [] if who is None else [who]


# ---- lines

_Event = MutableMapping[str, Any]


def _identified(logger: Any, method: str, event: _Event) -> _Event:
    """Says which actor it is about: four fields, of which the line itself may have said some."""
    actor = event.get("actor")
    if not _who or not isinstance(actor, str):
        return event
    known = {"actor": actor, **_who[0](actor)}
    return {"event": event.pop("event"), **{name: event.pop(name, value) for name, value in known.items()}, **event}


def _harmless(logger: Any, method: str, event: _Event) -> _Event:
    """Leaves out what is not known, shortens what is long, escapes what a terminal would obey."""
    return {
        name: _plain(value) for name, value in event.items() if value is not None and name not in _LEFT_AS_THEY_ARE
    } | {name: event[name] for name in _LEFT_AS_THEY_ARE & event.keys()}


_LEFT_AS_THEY_ARE: Final = frozenset({"exc_info", "exception"})
"""Escaped line by line where they are shown."""


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    return safe(shortened(value if isinstance(value, str) else str(value), _LONGEST))


def _console(out: TextIO) -> structlog.typing.Processor:
    # Not the default formatter: it shows local variables, and among those are messages of actors.
    return structlog.dev.ConsoleRenderer(colors=out.isatty(), sort_keys=False, exception_formatter=_traceback)


def _traceback(out: TextIO, exc_info: Any) -> None:
    import io

    told = io.StringIO()
    structlog.dev.plain_traceback(told, exc_info)
    out.write("\n".join(safe(line) for line in told.getvalue().split("\n")))


_render = structlog.processors.JSONRenderer()


def _json_line(logger: Any, method: str, event: _Event) -> str:
    return cast(str, _render(logger, method, event))


def _journal_line(logger: Any, method: str, event: _Event) -> str:
    return f"<{_PRIORITY.get(str(event.get('level')), 6)}>{_json_line(logger, method, event)}"
