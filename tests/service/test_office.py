"""The office of a service: whom it serves, what it answers, and how everything ends with a life."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from theater import log
from theater.bus.ends import Gone
from theater.bus.links import Link, pair
from theater.core.wire import (
    MAX_FRAME,
    Admit,
    Announce,
    Dismiss,
    Given,
    Invoke,
    Message,
    Returned,
    Serving,
    Want,
    decode,
    encode,
)
from theater.errors import ActorDown, ActorFailed, InvalidInput, MailboxFull, TimedOut
from theater.service.admitted import Admitted
from theater.service.office import Office, Operation

ACTOR = "50777ea9-99af-41ab-8e84-6d8c348b749f"
PATIENCE = 20.0


class Counter:
    """A desk that counts, waits and refuses."""

    def __init__(self) -> None:
        self.admissions: list[int] = []
        self.dismissals: list[tuple[int, bool]] = []
        self.cancelled = self.waiting = self.most_waiting = 0
        self.is_closed = False

    @property
    def ops(self) -> Mapping[str, Operation]:
        return {"count": self.count, "wait": self.wait, "refuse": self.refuse, "break": self.fall_over}

    async def count(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        return [life.name, sum(args)]

    async def wait(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1

    async def refuse(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        raise InvalidInput("not this")

    async def fall_over(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        raise ZeroDivisionError("of its own")

    def admitted(self, life: Admitted) -> None:
        self.admissions.append(life.incarnation)

    def dismissed(self, life: Admitted, for_good: bool) -> None:
        self.dismissals.append((life.incarnation, for_good))

    async def close(self) -> None:
        self.is_closed = True


class Scene:
    """An office with a scripted supervisor, and workers."""

    def __init__(self) -> None:
        self.desk = Counter()
        ours, theirs = pair()
        self.supervisor = Link(ours, largest=MAX_FRAME)
        self.office = Office("counter", Link(theirs, largest=MAX_FRAME, takes_descriptors=True), log.logger())
        self.office.open(self.desk)
        self._workers: list[Link] = []

    async def hears(self, receive: Callable[[], bytes | None]) -> Message:
        """The next message that arrives."""
        async with asyncio.timeout(PATIENCE):
            while (frame := receive()) is None:
                await asyncio.sleep(0.001)
        return decode(frame)

    async def supervisor_hears(self) -> Message:
        return await self.hears(self.supervisor.receive)

    def say(self, message: Message, descriptor: int | None = None) -> None:
        self.supervisor.send(encode(message), descriptor=descriptor)

    def admit(self, incarnation: int = 1, mailbox: int = 10, actor: str = ACTOR) -> Link:
        """Admits a life; returns its worker's end of the link."""
        limits = {"message": 1 << 20, "mailbox": mailbox, "request_timeout": PATIENCE, "call_timeout": None}
        ours, theirs = pair()
        self.say(Admit(actor, incarnation, "counter", "/m.toml", "/home", {"timing": {}}, limits), theirs)
        worker = Link(ours, largest=MAX_FRAME)
        self._workers.append(worker)
        return worker

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)

    async def asks(self, worker: Link, op: str, *args: Any, seconds: float = PATIENCE) -> Given:
        worker.send(encode(Want(1, op, list(args), bytes(32), time.monotonic_ns() + int(seconds * 1e9))))
        given = await self.hears(worker.receive)
        assert isinstance(given, Given)
        return given

    async def is_called(self, worker: Link) -> list[Any]:
        """The next call of an actor."""
        message = await self.hears(worker.receive)
        assert isinstance(message, Invoke)
        (call,) = message.calls
        return list(call)

    async def close(self) -> None:
        await self.office.close()
        self.supervisor.close()
        for worker in self._workers:
            worker.close()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    try:
        assert await made.supervisor_hears() == Serving("counter")
        yield made
    finally:
        await made.close()
    assert made.desk.is_closed


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with scene() as made:
            await act(made)

    asyncio.run(whole())


def test_a_want_of_an_admitted_life_is_carried_out() -> None:
    async def act(scene: Scene) -> None:
        worker = scene.admit()
        assert await scene.asks(worker, "count", 1, 2) == Given(1, ["counter", 3], None)

    play(act)


def test_what_a_worker_wants_before_the_service_knows_of_it_waits_for_that() -> None:
    """Both ends of a link are handed out at once; whoever is first has to wait for nobody."""

    async def act(scene: Scene) -> None:
        ours, theirs = pair()
        worker = Link(ours, largest=MAX_FRAME)
        worker.send(encode(Want(1, "count", [5], bytes(32), time.monotonic_ns() + 10**10)))
        limits = {"message": 1 << 20, "mailbox": 10, "request_timeout": PATIENCE, "call_timeout": None}
        scene.say(Admit(ACTOR, 1, "counter", "/m.toml", "/home", {"timing": {}}, limits), theirs)
        assert await scene.hears(worker.receive) == Given(1, ["counter", 5], None)
        worker.close()

    play(act)


def test_what_cannot_be_done_is_answered_with_a_sentence() -> None:
    async def act(scene: Scene) -> None:
        worker = scene.admit()
        for op, error in {
            "refuse": "not this",
            "dance": "the counter does not know 'dance'",
            "break": "the counter has a defect: ZeroDivisionError: of its own",
        }.items():
            given = await scene.asks(worker, op)
            assert given.error is not None
            assert given.error["message"] == error
        late = await scene.asks(worker, "wait", seconds=0.05)
        assert late.error is not None
        assert late.error["error"] == "TimedOut"

    play(act)


def test_an_actor_is_called_and_its_answer_or_its_error_comes_back() -> None:
    async def act(scene: Scene) -> None:
        worker = scene.admit()
        await scene.until(lambda: scene.office.life(ACTOR))
        call = asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", [1, b"x"]))
        invoke = await scene.is_called(worker)
        assert invoke[1:4] == ["a:b/c", "f", [1, b"x"]]
        worker.send(encode(Returned([[invoke[0], [{"status": 200}], None, bytes(32)]])))
        assert await call == [{"status": 200}]
        call = asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", []))
        invoke = await scene.is_called(worker)
        worker.send(encode(Returned([[invoke[0], None, ActorFailed("no").to_wire(), b""]])))
        with pytest.raises(ActorFailed, match=r"^no$"):
            await call

    play(act)


def test_a_call_waits_for_a_worker_that_does_not_listen_yet() -> None:
    async def act(scene: Scene) -> None:
        worker = scene.admit()
        await scene.until(lambda: scene.office.life(ACTOR))
        call = asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", []))
        invoke = await scene.is_called(worker)
        worker.send(encode(Returned([[invoke[0], [], None, b""]])))
        assert await call == []

    play(act)


def test_the_end_of_a_life_ends_all_that_waits_for_it_and_all_that_it_wants() -> None:
    async def act(scene: Scene) -> None:
        worker = scene.admit()
        await scene.until(lambda: scene.office.life(ACTOR))
        calls = [asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", [])) for _ in range(5)]
        worker.send(encode(Want(1, "wait", [], bytes(32), time.monotonic_ns() + 10**11)))
        together = await scene.hears(worker.receive)
        assert isinstance(together, Invoke)
        assert len(together.calls) == len(calls)
        scene.say(Dismiss(ACTOR, 1, False))
        for call in calls:
            with pytest.raises(ActorDown):
                await call
        await scene.until(lambda: scene.desk.cancelled == 1)
        assert scene.desk.dismissals == [(1, False)]
        with pytest.raises(ActorDown):
            await scene.office.invoke(ACTOR, "a:b/c", "f", [])
        scene.say(Dismiss(ACTOR, 1, True))
        await scene.until(lambda: scene.desk.dismissals == [(1, False), (1, True)])

    play(act)


def test_the_next_life_is_another_one() -> None:
    async def act(scene: Scene) -> None:
        old = scene.admit()
        new = scene.admit(2)
        await scene.until(lambda: scene.desk.admissions == [1, 2])
        call = asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", []))
        invoke = await scene.is_called(new)
        with pytest.raises(Gone):
            old.send(encode(Returned([[invoke[0], ["false"], None, b""]])))
        new.send(encode(Returned([[invoke[0], ["true"], None, b""]])))
        assert await call == ["true"]

    play(act)


def test_no_more_calls_wait_than_the_mailbox_holds_and_none_longer_than_it_may() -> None:
    async def act(scene: Scene) -> None:
        scene.admit(mailbox=3)
        await scene.until(lambda: scene.office.life(ACTOR))
        calls = [asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", [], timeout=0.2)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(MailboxFull):
            await scene.office.invoke(ACTOR, "a:b/c", "f", [])
        for call in calls:
            with pytest.raises(TimedOut):
                await call

    play(act)


def test_what_is_done_for_an_actor_is_announced() -> None:
    async def act(scene: Scene) -> None:
        scene.office.announce(ACTOR, {"listens": ["127.0.0.1:1"]})
        assert await scene.supervisor_hears() == Announce("counter", ACTOR, {"listens": ["127.0.0.1:1"]})

    play(act)


OTHER = "11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100,
        b"\x7f\xff\xff\xff" + b"long",
        b"\0\0\0\0" * 1000,
        b"\0\0\0\x08nonsense",
        b"\x80\0\0\x08nonsense",
        len(encode(Serving("counter"))).to_bytes(4, "big") + encode(Serving("counter")),
        b"\0\0\x10\x04TH\x01\x4d" + b"\x91" * 4096,
    ],
    ids=["http", "descriptor", "length", "nothing", "nonsense", "no descriptor", "direction", "depth"],
)
def test_who_says_what_no_worker_says_is_hung_up_on_and_others_are_served(noise: bytes) -> None:
    async def act(scene: Scene) -> None:
        hostile, other = scene.admit(), scene.admit(actor=OTHER)
        os.write(hostile.fileno(), noise)
        await scene.until(lambda: scene.office.refused)
        await scene.until(lambda: hostile.receive() is None and hostile.ended)
        assert await scene.asks(other, "count", 1) == Given(1, ["counter", 1], None)
        assert scene.office.refused == 1

    play(act)


def test_half_a_frame_keeps_nobody_waiting() -> None:
    async def act(scene: Scene) -> None:
        hostile, other = scene.admit(), scene.admit(actor=OTHER)
        os.write(hostile.fileno(), (1 << 26).to_bytes(4, "big") + bytes(1000))
        for _ in range(20):
            assert await scene.asks(other, "count", 1) == Given(1, ["counter", 1], None)
        assert scene.office.refused == 0

    play(act)


def test_who_wants_too_much_at_once_is_not_heard_until_it_has_got_some() -> None:
    async def act(scene: Scene) -> None:
        hostile, other = scene.admit(), scene.admit(actor=OTHER)
        want = encode(Want(1, "wait", [], bytes(32), time.monotonic_ns() + 10**9))
        while not hostile.has_unsent:
            hostile.send(want)
        assert await scene.asks(other, "count", 1) == Given(1, ["counter", 1], None)
        await scene.until(lambda: scene.desk.waiting >= 1000)
        assert scene.desk.most_waiting <= 1000

    play(act)
