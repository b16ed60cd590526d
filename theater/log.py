"""The server's own log: structured, to standard error; for people on a terminal, JSON for programs and journals.

What actors say is not here: it goes to the actor's log in its home (`theater logs`). What is here of an actor says
which one: its id, name and incarnation, and its place in the actor's chain, the number of an entry. Every value is
shortened, and what a terminal would obey is escaped, for names, reasons and tracebacks hold what actors chose. Of what
happens again and again not every line is written, and a line that cannot be written is lost: no log ends a server.
docs/logs.md has the events and their fields.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
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

_BURST = 60
_A_SECOND = 2.0
"""So many lines of one event and one actor are written at once, and then so many a second."""

_KEPT = 1024
"""Events and actors of which it is remembered how many lines there were, those that came last."""

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
            Limiter(time.monotonic),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _identified,
            *([] if is_console else [structlog.processors.format_exc_info]),
            _harmless,
            _console(out) if is_console else _json_line if style == "json" else _journal_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Unfailing(out))),
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


@dataclass(slots=True)
class _Flow:
    """Lines that are alike: how many may still come, and how many were left out since the last."""

    since: float
    room: float = _BURST
    left_out: int = 0


class Limiter:
    """Leaves out lines of what happens too often, and says how many in the next: an actor that fails all the time, or
    whoever sends to nobody, must not fill the disk.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._flows: OrderedDict[tuple[str, str], _Flow] = OrderedDict()

    def __call__(self, logger: Any, method: str, event: _Event) -> _Event:
        now, key = self._clock(), (str(event.get("event")), str(event.get("actor")))
        flow = self._flows.pop(key, None) or _Flow(now)
        self._flows[key] = flow
        if len(self._flows) > _KEPT:
            self._flows.popitem(last=False)
        flow.room = min(_BURST, flow.room + (now - flow.since) * _A_SECOND)
        flow.since = now
        if flow.room < 1:
            flow.left_out += 1
            raise structlog.DropEvent
        flow.room -= 1
        if flow.left_out:
            event["left_out"], flow.left_out = flow.left_out, 0
        return event


class _Unfailing:
    """A stream that takes what it can: its disk may be full, its reader gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _identified(logger: Any, method: str, event: _Event) -> _Event:
    """Says which actor it is about: four fields, of which the line itself may have said some."""
    actor = event.get("actor")
    if not _who or not isinstance(actor, str):
        return event
    try:
        known = {"actor": actor, **_who[0](actor)}
    except Exception as error:  # A line without a name is better than none, and than a server that its log has ended.
        known = {"actor": actor, "name": f"unknown: {error}"}
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
