"""Answers for which a client that does not read has no room."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import PATIENCE

from theater.bus.doors import Porter, local_door
from theater.bus.sockets import Context, Dealer
from theater.core.wire import MAX_FRAME, Failure, Joint, Reply, Request, decode, encode
from theater.errors import LimitExceeded, from_wire
from theater.log import logger
from theater.server.commands import Pass
from theater.server.control import Arguments, Bounds, Caller, Control
from theater.server.loop import Loop

ANSWERS = 200
SIZE = 64 * 1024


class Everybody:
    """A guard who lets everything pass."""

    def enter(self, user: str, address: str, request: Request) -> Pass:
        return Pass(lambda: True)


class Desk:
    """A control socket of short queues, whose one operation counts how often it was done and answers at length."""

    def __init__(self, folder: Path) -> None:
        self.done = 0
        self.context = Context()
        self.loop = Loop()
        address = f"ipc://{folder / 'c'}"
        bounds = Bounds(queue=2, answers=ANSWERS, size=1 << 30)
        self.porter = Porter(self.context, lambda knock: "everybody")
        self.loop.drain(self.porter.fileno(), self.porter.answer)
        door = local_door(self.context, "test", address, largest=MAX_FRAME, queue=bounds.queue)
        door.bind()
        self.control = Control(self.loop, [door], {"do": self._do}, Everybody(), logger(), bounds)
        self.client: Dealer = self.context.dealer(address, queue=1)
        self.joint = Joint()

    def _do(self, arguments: Arguments, caller: Caller) -> None:
        self.done += 1
        caller.progress("begun")
        caller.reply([self.done, bytes(SIZE)])

    def ask(self, number: int) -> None:
        """Asks, and has the server serve it, whose answer nobody reads."""
        seen = self.done + self.control.refused
        self.client.send(encode(Request(number, "do", {}, 0)), patience=5.0)
        while self.done + self.control.refused == seen:
            self.loop.turn()

    def read(self, count: int) -> list[Reply | Failure]:
        """So many answers, in their order."""
        found: list[Reply | Failure] = []
        deadline = time.monotonic() + PATIENCE
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} answers came"
            frame = self.client.receive()
            if frame is None:
                self.loop.turn()
            elif isinstance(message := self.joint.take(decode(frame)), Reply | Failure):
                found.append(message)
        return found

    def close(self) -> None:
        self.client.close()
        self.control.close()
        self.porter.close()
        self.context.close()
        self.loop.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="tc") as folder:
        made = Desk(Path(folder))
        try:
            yield made
        finally:
            made.close()


def test_a_client_that_reads_late_gets_every_answer_in_order(desk: Desk) -> None:
    for number in range(ANSWERS // 2):
        desk.ask(number)
    answers = desk.read(ANSWERS // 2)
    assert [answer.id for answer in answers] == list(range(ANSWERS // 2))
    assert [answer.value[0] for answer in answers if isinstance(answer, Reply)] == list(range(1, ANSWERS // 2 + 1))


def test_who_asks_without_reading_is_refused_and_nothing_is_done_without_an_answer(desk: Desk) -> None:
    asked = 0
    while not desk.control.refused:
        desk.ask(asked)
        asked += 1
    assert desk.done == asked - 1 >= ANSWERS
    answers = desk.read(asked)
    assert [answer.id for answer in answers] == list(range(asked))
    assert all(isinstance(answer, Reply) for answer in answers[:-1])
    assert isinstance(answers[-1], Failure)
    error = from_wire(answers[-1].error)
    assert isinstance(error, LimitExceeded)
    assert "'do' was not done: read them" in error.message


def test_who_has_read_is_served_again(desk: Desk) -> None:
    asked = 0
    while not desk.control.refused:
        desk.ask(asked)
        asked += 1
    desk.read(asked)
    desk.ask(asked)
    (answer,) = desk.read(1)
    assert isinstance(answer, Reply)
    assert answer.id == asked
