"""The seam of a replay: every host call is answered from the record, and there is nothing else behind it.

What a live guest reaches through `Seam` does not exist here: no interface, no mail, no file, no clock. A host call that
the record does not have ends the replay (theater/core/replay.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from theater.host.base import no_place


class Recording(Protocol):
    """What is asked (`theater.core.replay.Script`)."""

    def ask(self, interface: str, function: str, args: tuple[Any, ...]) -> Any:
        """What the host answered to this host call when it was recorded."""


class RecordedSeam:
    """Binds the imports of one guest to a record."""

    def __init__(self, recording: Recording) -> None:
        self._ask = recording.ask

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any]:
        """The callable that is linked as `interface`'s `function`."""
        ask = self._ask

        def call(*args: Any) -> Any:
            try:
                return ask(interface, function, args)
            except (TypeError, ValueError) as error:
                raise no_place(function, error) from error

        return call

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """The recorded answer to a question of WASI; nothing is computed."""
        return self._ask(interface, function, args)
