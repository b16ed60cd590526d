"""How one event of a chain and one line of a log look, for a person; each is one line of text."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from .output import colour, json_text, safe, when

if TYPE_CHECKING:
    from theater.client import Event, LastExit, LogLine

_LONGEST_FACT = 60
_TYPES = {
    "genesis": "cyan",
    "call": "green",
    "host-call": "blue",
    "host-result": "blue",
    "outcome": "green",
    "lifecycle": "yellow",
    "checkpoint": "magenta",
}
_FIRST = {
    name: place for place, name in enumerate(("name", "event", "ending", "interface", "function", "args", "value"))
}
_SIGNALS = frozenset(signal.Signals)
_STREAMS = {"stderr": "red", "system": "yellow"}


def short(actor: str) -> str:
    """The beginning of an id that people are shown."""
    return actor[:8]


def event_line(event: Event) -> str:
    """Number, time, type, what it says, and the beginning of its digest."""
    kind = colour(f"{event.type:<11}", _TYPES.get(event.type, ""))
    return f"{event.seq:>6}  {when(event.time_ns)}  {kind}  {event.digest[:8]}  {facts(event.data)}".rstrip()


def log_line(entry: LogLine) -> str:
    """Time, stream and text."""
    stream = colour(f"{entry.stream:<6}", _STREAMS.get(entry.stream, "dim"))
    return f"{when(entry.time_ns)}  {stream}  {safe(entry.text)}"


def exit_words(end: LastExit) -> str:
    """How an incarnation ended, in a word or two."""
    if end.signal:
        return signal.Signals(end.signal).name if end.signal in _SIGNALS else f"signal {end.signal}"
    return end.reason if end.status is None else f"{end.reason} {end.status}"


def facts(data: Any) -> str:
    """A payload on one line: its fields by name, what it is about first, long ones cut."""
    if not isinstance(data, dict):
        return _fact(data)
    ordered = sorted(data.items(), key=lambda field: _FIRST.get(field[0], len(_FIRST)))
    return " ".join(f"{safe(str(name))}={_fact(value)}" for name, value in ordered if value is not None)


def _fact(value: Any) -> str:
    text = safe(value.hex()[:16] if _is_digest(value) else json_text(value))
    return text if len(text) <= _LONGEST_FACT else text[: _LONGEST_FACT - 1] + "…"


def _is_digest(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) == 32
