"""How one event of a chain and one line of a log look, for a person; each is one line of text."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .output import colour, json_text, safe, when

if TYPE_CHECKING:
    from theater.client import Event, LastExit, LogLine

_ID_LENGTH = 36
_DIGEST_SIZE = 32
_TYPES = {
    "genesis": "cyan",
    "call": "green",
    "host-call": "blue",
    "host-result": "blue",
    "outcome": "green",
    "lifecycle": "yellow",
    "checkpoint": "magenta",
}
_SIGNALS = frozenset(signal.Signals)
_STREAMS = {"stderr": "red", "system": "yellow"}


def short(party: str) -> str:
    """The beginning of an id, which is all of it that people are shown; a name stays whole."""
    return party[:8] if len(party) == _ID_LENGTH else party


def event_line(event: Event) -> str:
    """Number, time, type, what it says, and the beginning of its digest."""
    show = _SHOWN.get(event.type, facts)
    kind = colour(f"{event.type:<11}", _TYPES.get(event.type, ""))
    return f"{event.seq:>6}  {when(event.time_ns)}  {kind}  {event.digest[:8]}  {show(event.data)}".rstrip()


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
    """A payload's fields on one line, by name; long ones are cut, those that hold nothing left out."""
    return " ".join(f"{safe(str(name))}={cut(value)}" for name, value in data.items() if value not in (None, [], ""))


def cut(value: Any, longest: int = 60) -> str:
    """A value in at most so many characters; bytes stand as the text that they are, else in hex, a digest in part."""
    text = _text(value) if isinstance(value, bytes) else value if isinstance(value, str) else json_text(value)
    return safe(text if len(text) <= longest else text[: longest - 1] + "…")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.hex()[:16] if len(data) == _DIGEST_SIZE else data.hex()


def _genesis(data: dict[str, Any]) -> str:
    return facts({name: data.get(name) for name in ("name", "actor", "parent", "component", "manifest")})


def _call(data: dict[str, Any]) -> str:
    interface = str(data.get("interface")).partition("/")[2].partition("@")[0]
    sender = f" from {short(data['sender'])}" if data.get("sender") else ""
    return f"{safe(interface)}.{safe(str(data.get('function')))}({', '.join(map(cut, data.get('args', ())))}){sender}"


def _result(data: dict[str, Any]) -> str:
    return "" if data.get("value") is None else cut(data["value"])


def _outcome(data: dict[str, Any]) -> str:
    value = data.get("value")
    said = " ".join(map(cut, value)) if isinstance(value, list) else "" if value is None else cut(value)
    changed = f"state {cut(data.get('state_digest') or '-')}" if data.get("state") else ""
    return "  ".join(part for part in (str(data.get("ending")), said, changed) if part)


def _lifecycle(data: dict[str, Any]) -> str:
    return f"{safe(str(data.get('event')))} {facts(data.get('details') or {})}".rstrip()


_SHOWN: dict[str, Callable[[Any], str]] = {
    "genesis": _genesis,
    "call": _call,
    "host-call": _call,
    "host-result": _result,
    "outcome": _outcome,
    "lifecycle": _lifecycle,
}
