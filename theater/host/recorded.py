"""The seam of a replay: every host call is answered from the record, and there is nothing else behind it.

What a live guest reaches through `Seam` does not exist here: no interface, no mail, no file, no clock. A host call that
the record does not have ends the replay (theater/core/replay.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from theater.host.base import Recording, ask_recorded


class RecordedSeam:
    """Binds the imports of one guest to a record.

    Attributes:
        recording: who is asked. A guest that was made by the script of its lineage goes on with that of its chain.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def bind(self, interface: str, function: str, signature: Any) -> Callable[..., Any]:
        """The callable that is linked as `interface`'s `function`."""

        def call(*args: Any) -> Any:
            return ask_recorded(self.recording, interface, function, args)

        return call

    def answer(self, interface: str, function: str, args: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """The recorded answer to a question of WASI; nothing is computed."""
        return self.recording.ask(interface, function, args)
