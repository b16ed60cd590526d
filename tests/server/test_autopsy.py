"""What a dead worker's chain says, also when the worker has lied about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import effort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from theater.chainlog import ChainWriter
from theater.core.chain import Call, Genesis, Kind, Mark, outcome_ok
from theater.core.codec import content_digest
from theater.core.exit_reason import ExitReason
from theater.core.handlers import MESSAGE_SERVER_CLIENT
from theater.server import autopsy

NUMBERS = st.integers(0, 2**64 - 1)


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A chain with one message that was handled and one that was not."""
    path = tmp_path / "chain"
    with ChainWriter.open(path) as writer:
        writer.append(Kind.GENESIS, Genesis("a", "a", None, None, None, {}))
        for body in (b"first", b"second"):
            writer.append(Kind.CALL, Call(MESSAGE_SERVER_CLIENT, "handle-send", [body], None, None, None))
            if body == b"first":
                writer.append(Kind.OUTCOME, outcome_ok([], b"state", None))
    return path


def test_the_end_of_the_chain_and_the_last_message_are_found(chain: Path) -> None:
    found = autopsy.examine(chain, None, None)
    assert found.mark is not None
    assert (found.mark.entries, found.mark.offset) == (4, chain.stat().st_size)
    assert found.last_message == content_digest(b"second")


def test_what_is_known_is_not_read_again(chain: Path) -> None:
    whole = autopsy.examine(chain, None, None).mark
    assert whole is not None
    assert autopsy.examine(chain, whole, None) == autopsy.Findings(whole, None)
    assert autopsy.examine(chain, whole, whole.call_at).last_message == content_digest(b"second")


def test_there_may_be_no_chain(tmp_path: Path) -> None:
    assert autopsy.examine(tmp_path / "none", None, None) == autopsy.Findings(None, None)


def test_a_torn_tail_ends_the_reading(chain: Path) -> None:
    whole = autopsy.examine(chain, None, None)
    with chain.open("ab") as file:
        file.write(chain.read_bytes()[-50:-10])
    assert autopsy.examine(chain, None, None) == whole


@settings(max_examples=effort(60, 400), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    known=st.none()
    | st.builds(Mark, NUMBERS, st.binary(min_size=32, max_size=32), NUMBERS, st.none() | NUMBERS, NUMBERS, st.none()),
    last_call=st.none() | NUMBERS,
)
def test_nothing_that_a_worker_says_of_itself_raises(chain: Path, known: Mark | None, last_call: int | None) -> None:
    autopsy.examine(chain, known, last_call)


@pytest.mark.parametrize(
    ("reason", "guilty"),
    [
        (ExitReason.trap("unreachable", "x"), True),
        (ExitReason.trap("limit", "x"), True),
        (ExitReason.deadline("x"), True),
        (ExitReason.out_of_memory("x"), True),
        (ExitReason.by_status(1), True),
        (ExitReason.by_signal(11), True),
        (ExitReason.by_signal(9), False),
        (ExitReason.by_signal(15), False),
        (ExitReason.normal(), False),
        (ExitReason.error("disk full"), False),
        (ExitReason.trap("unreachable", "x").as_commanded(), False),
    ],
)
def test_whose_doing_an_end_was(reason: ExitReason, guilty: bool) -> None:
    assert autopsy.is_guests_doing(reason) is guilty
