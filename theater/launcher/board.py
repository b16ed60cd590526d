"""What runs, for people: said anew whenever that changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from theater.launcher.program import Keeping

Announce = Callable[[str, Mapping[str, Any]], None]


class Board:
    """The programs of all actors.

    Args:
        announce: tells people of one actor (`theater.service.office.Office.announce`).
        keeping: of this machine.
    """

    def __init__(self, announce: Announce, keeping: Keeping) -> None:
        self._announce = announce
        self._keeping = keeping
        self._running: dict[str, dict[object, str]] = {}

    def begin(self, actor: str, key: object, words: str) -> None:
        """A program runs. Its arguments are not said: they may be nobody's business."""
        self._running.setdefault(actor, {})[key] = words
        self._say(actor)

    def end(self, actor: str, key: object) -> None:
        """It does not run any more; nothing happens if that is known."""
        running = self._running.get(actor, {})
        if running.pop(key, None) is not None:
            self._say(actor)
        if not running:
            self._running.pop(actor, None)

    def _say(self, actor: str) -> None:
        running = self._running.get(actor, {})
        facts = {"programs": list(running.values()), "kept by": str(self._keeping)} if running else {}
        self._announce(actor, facts)
