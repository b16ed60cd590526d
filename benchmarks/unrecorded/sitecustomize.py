"""Workers that record nothing: what a request costs without its record, for comparison, and for nothing else.

Python imports a module of this name by itself when its folder is on the path; benchmarks/theater_rows/recording.py puts
it on the path of one server. Its spawner then makes workers in which everything is as it is, except that no entry is
made, digested or written: a message names nothing as its cause. The entries that begin a life are written as ever, for
a server would not take an actor without a chain for one that is alive.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

_SPAWNER = "theater.server.spawner"
_NOTHING = bytes(32)

if _SPAWNER in sys.orig_argv:
    from theater.core.chain import Outcome
    from theater.worker import record

    class Unrecorded(record.Record):
        """Numbers calls, as their requests are named after their entries, and does nothing else."""

        number = 0

        @property
        def next_entry(self) -> int:
            return self.number

        def call(
            self,
            interface: str,
            function: str,
            args: Sequence[Any],
            cause: bytes | None,
            sender: str | None,
            request: Any,
        ) -> bytes:
            self.number += 1
            self._pulse.begin(time.monotonic_ns(), 0)
            return _NOTHING

        def host_call(self, interface: str, function: str, args: Sequence[Any]) -> bytes:
            self.number += 1
            return _NOTHING

        def host_result(self, value: Any, cause: bytes | None) -> None:
            pass

        def outcome(self, outcome: Outcome) -> bytes:
            return _NOTHING

    record.Record = Unrecorded  # type: ignore[misc]
