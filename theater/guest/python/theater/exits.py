"""Why an actor ended."""

import json
from dataclasses import dataclass
from typing import Any

_NORMAL = ("normal", "shutdown", "gave-up")


@dataclass(frozen=True, slots=True)
class ExitReason:
    """Why the life of an actor ended.

    Attributes:
        kind: normal, shutdown, trap, error, signal, status, out-of-memory, deadline, start-failed, gave-up, killed or
            no-process.
        detail: for people; of a trap its class, its message, and one line for each frame.
        signal: the signal that killed its process.
        status: the exit status of its process, where that is all that is known.
        commanded: whether somebody had asked for this end.
    """

    kind: str
    detail: str | None = None
    signal: int | None = None
    status: int | None = None
    commanded: bool = False

    @property
    def is_normal(self) -> bool:
        """Whether it ended in order: normally, shut down, or because its children were restarted too often."""
        return self.kind in _NORMAL


def of_record(record: Any) -> ExitReason:
    """From the record of theater:otp/exits."""
    kind = record.kind.name.lower().replace("_", "-")
    return ExitReason(kind, record.detail, record.signal, record.status, record.commanded)


def of_child_error(error: Any) -> ExitReason:
    """From the `wit-actor-error` of theater:simple/types, whose data is the whole reason as JSON."""
    try:
        facts = json.loads(error.data or b"")
        kind = facts["reason"].replace("_", "-")
        return ExitReason(kind, facts["detail"], facts["signal"], facts["status"], facts["commanded"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ExitReason("error", error.error_type.name.lower().replace("_", "-"))
