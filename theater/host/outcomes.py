"""What the outcome of a call says: the same in a life and in its replay, from what the guest did and the limits.

An `err` result leaves the state as it was, and so does a result that is over the limits, which becomes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from theater.core.chain import Outcome, outcome_err, outcome_ok, outcome_trap
from theater.core.values import Err, Ok
from theater.errors import LimitExceeded
from theater.wasm.traps import Trap


def concluded(
    result: Ok | Err,
    before: bytes | None,
    fuel: int | None,
    *,
    state_limit: int,
    message_limit: int,
    commits: bool = False,
) -> Outcome:
    """The outcome of a call that returned.

    Args:
        result: of the export: Ok of an array of the state and of what there is beside it, or Err.
        before: digest of the state before.
        fuel: what the call burnt, if that is metered.
        state_limit: bytes that a state may have.
        message_limit: bytes that a reply may have.
        commits: the state is recorded also if it is as before.
    """
    if isinstance(result, Err):
        return outcome_err(result.value, before, fuel)
    state, *more = result.value
    extra = list(more[0]) if more else []
    too_large = _too_large(state, extra, state_limit, message_limit)
    if too_large is not None:
        return outcome_err(too_large, before, fuel)
    return outcome_ok(extra, state, before, fuel, commits=commits)


def ended_by(error: Exception, before: bytes | None, fuel: int | None) -> Outcome:
    """The outcome of a call that ended the guest: by a trap, or by what a host function raised."""
    if isinstance(error, Trap):
        return outcome_trap(error.kind.value, error.message, list(error.backtrace), before, fuel)
    kind = "limit" if isinstance(error, LimitExceeded) else "host"
    return outcome_trap(kind, f"{type(error).__name__}: {error}", [], before, fuel)


def _too_large(state: bytes | None, extra: Sequence[Any], state_limit: int, message_limit: int) -> str | None:
    if state is not None and len(state) > state_limit:
        return f"the new state has {len(state)} bytes, [limits] state is {state_limit}; it was not taken"
    reply = extra[0] if extra else None
    if isinstance(reply, bytes) and len(reply) > message_limit:
        return f"the reply has {len(reply)} bytes, [limits] message is {message_limit}; it was not sent"
    return None
