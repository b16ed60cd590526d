"""Answers that are given later: each exactly once."""

from __future__ import annotations

import time

import pytest

from theater.errors import ActorFailed, TheaterError
from theater.host.base import Refused
from theater.worker.promises import Promises

LATER = 2**63


class Asker:
    """Somebody who waits, and what he was told."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes | None, TheaterError | None, bytes]] = []

    def answer(self, value: bytes | None, error: TheaterError | None, cause: bytes) -> None:
        self.told.append((value, error, cause))


@pytest.fixture
def promises() -> Promises:
    return Promises(lambda: b"digest")


def test_a_promise_is_kept_once(promises: Promises) -> None:
    asker = Asker()
    promises.promise("request-1", asker, LATER)
    promises.respond("request-1", b"yes")
    assert asker.told == [(b"yes", None, b"digest")]
    with pytest.raises(Refused, match="'request-1'"):
        promises.respond("request-1", b"again")
    with pytest.raises(Refused):
        promises.cancel("request-1")
    assert len(asker.told) == 1


def test_a_cancelled_request_ends_with_an_error(promises: Promises) -> None:
    asker = Asker()
    promises.promise("request-1", asker, LATER)
    promises.cancel("request-1")
    ((value, error, _),) = asker.told
    assert value is None
    assert isinstance(error, ActorFailed)


def test_outstanding_requests_are_listed_oldest_first(promises: Promises) -> None:
    for number in (3, 1, 2):
        promises.promise(f"request-{number}", Asker(), LATER)
    assert promises.outstanding() == ["request-3", "request-1", "request-2"]


def test_who_waits_no_longer_is_not_outstanding(promises: Promises) -> None:
    promises.promise("late", Asker(), time.monotonic_ns() - 1)
    promises.promise("waiting", Asker(), LATER)
    assert promises.outstanding() == ["waiting"]
    with pytest.raises(Refused):
        promises.respond("late", b"")


def test_what_is_on_the_disk_before_an_answer_leaves() -> None:
    order: list[str] = []

    class Listener(Asker):
        def answer(self, value: bytes | None, error: TheaterError | None, cause: bytes) -> None:
            order.append("answered")

    def release() -> bytes:
        order.append("released")
        return b""

    promises = Promises(release)
    promises.promise("request-1", Listener(), LATER)
    promises.respond("request-1", b"")
    assert order == ["released", "answered"]


def test_promises_that_nobody_asks_for_do_not_pile_up(promises: Promises) -> None:
    """A guest that never looks at its outstanding requests must not fill its worker's memory."""
    for number in range(20_000):
        promises.promise(f"request-{number}", Asker(), 1)
    assert len(promises._open) < 5_000
