"""The office of a service: whom it serves, what it answers, and how everything ends with a life."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from theater import log
from theater.bus.sockets import Context, Dealer, Router
from theater.core.wire import (
    Admit,
    Announce,
    Dismiss,
    Enter,
    Entered,
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
TOKEN = b"0123456789abcdef"
PATIENCE = 20.0


class Counter:
    """A desk that counts, waits and refuses."""

    def __init__(self) -> None:
        self.admissions: list[int] = []
        self.dismissals: list[tuple[int, bool]] = []
        self.cancelled = 0
        self.is_closed = False

    @property
    def ops(self) -> Mapping[str, Operation]:
        return {"count": self.count, "wait": self.wait, "refuse": self.refuse, "break": self.fall_over}

    async def count(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        return [life.name, sum(args)]

    async def wait(self, life: Admitted, args: Sequence[Any], deadline: float) -> Any:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

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

    def __init__(self, folder: Path, context: Context) -> None:
        self.context = context
        self.desk = Counter()
        self.endpoint = f"ipc://{folder / 'counter'}"
        self.supervisor: Router = context.router(f"ipc://{folder / 'services'}")
        self.office = Office("counter", context, self.endpoint, f"ipc://{folder / 'services'}", log.logger())
        self.office.open(self.desk)
        self._dealers: list[Dealer] = []

    async def hears(self, receive: Callable[[], bytes | None]) -> Message:
        """The next message that arrives."""
        async with asyncio.timeout(PATIENCE):
            while (frame := receive()) is None:
                await asyncio.sleep(0.001)
        return decode(frame)

    async def supervisor_hears(self) -> Message:
        def frame() -> bytes | None:
            received = self.supervisor.receive()
            return received[1] if received is not None else None

        return await self.hears(frame)

    def say(self, message: Message) -> None:
        self.supervisor.send(b"counter", encode(message))

    def admit(self, incarnation: int = 1, mailbox: int = 10) -> None:
        limits = {"message": 1 << 20, "mailbox": mailbox, "request_timeout": PATIENCE, "call_timeout": None}
        self.say(Admit(ACTOR, incarnation, TOKEN, "counter", "/m.toml", "/home", {"timing": {}}, limits))

    def worker(self, incarnation: int = 1, token: bytes = TOKEN) -> Dealer:
        dealer = self.context.dealer(self.endpoint, identity=f"w{len(self._dealers)}".encode())
        self._dealers.append(dealer)
        dealer.send(encode(Enter(ACTOR, incarnation, token)))
        return dealer

    async def entered(self, incarnation: int = 1) -> Dealer:
        dealer = self.worker(incarnation)
        assert await self.hears(dealer.receive) == Entered("counter")
        return dealer

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)

    async def asks(self, worker: Dealer, op: str, *args: Any, seconds: float = PATIENCE) -> Given:
        worker.send(encode(Want(1, op, list(args), bytes(32), time.monotonic_ns() + int(seconds * 1e9))))
        given = await self.hears(worker.receive)
        assert isinstance(given, Given)
        return given

    async def is_called(self, worker: Dealer) -> list[Any]:
        """The next call of an actor."""
        message = await self.hears(worker.receive)
        assert isinstance(message, Invoke)
        (call,) = message.calls
        return list(call)

    async def close(self) -> None:
        await self.office.close()
        self.supervisor.close()
        for dealer in self._dealers:
            dealer.close()


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    context = Context()
    with tempfile.TemporaryDirectory(prefix="th") as folder:
        made = Scene(Path(folder), context)
        try:
            assert await made.supervisor_hears() == Serving("counter")
            yield made
        finally:
            await made.close()
            context.end(0)
    assert made.desk.is_closed


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with scene() as made:
            await act(made)

    asyncio.run(whole())


def test_a_want_of_an_admitted_life_is_carried_out() -> None:
    async def act(scene: Scene) -> None:
        scene.admit()
        worker = await scene.entered()
        assert await scene.asks(worker, "count", 1, 2) == Given(1, ["counter", 3], None)

    play(act)


def test_a_worker_that_comes_before_its_admission_is_served_when_that_comes() -> None:
    async def act(scene: Scene) -> None:
        worker = scene.worker()
        worker.send(encode(Want(1, "count", [5], bytes(32), time.monotonic_ns() + 10**10)))
        await asyncio.sleep(0.05)  # The other order is the other test; here only one of the two orders may happen.
        scene.admit()
        assert await scene.hears(worker.receive) == Entered("counter")
        assert await scene.hears(worker.receive) == Given(1, ["counter", 5], None)

    play(act)


@pytest.mark.parametrize(("incarnation", "token"), [(1, b"another-token---"), (2, TOKEN)])
def test_a_worker_with_another_token_or_of_another_life_is_not_served(
    incarnation: int, token: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("theater.service.office._STRANGE_S", 0.05)

    async def act(scene: Scene) -> None:
        scene.admit()
        await scene.until(lambda: scene.desk.admissions)
        worker = scene.worker(incarnation, token)
        worker.send(encode(Want(1, "count", [5], bytes(32), time.monotonic_ns() + 10**10)))
        given = await scene.hears(worker.receive)
        assert isinstance(given, Given)
        assert given.error is not None
        assert given.error["error"] == "UnknownActor"

    play(act)


def test_what_cannot_be_done_is_answered_with_a_sentence() -> None:
    async def act(scene: Scene) -> None:
        scene.admit()
        worker = await scene.entered()
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
        scene.admit()
        worker = await scene.entered()
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


def test_a_call_waits_for_a_worker_that_has_not_connected_yet() -> None:
    async def act(scene: Scene) -> None:
        scene.admit()
        await scene.until(lambda: scene.office.life(ACTOR))
        call = asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", []))
        worker = await scene.entered()
        invoke = await scene.is_called(worker)
        worker.send(encode(Returned([[invoke[0], [], None, b""]])))
        assert await call == []

    play(act)


def test_the_end_of_a_life_ends_all_that_waits_for_it_and_all_that_it_wants() -> None:
    async def act(scene: Scene) -> None:
        scene.admit()
        worker = await scene.entered()
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
        scene.admit()
        old = await scene.entered()
        scene.admit(2)
        await scene.until(lambda: scene.desk.admissions == [1, 2])
        new = await scene.entered(2)
        call = asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", []))
        invoke = await scene.is_called(new)
        old.send(encode(Returned([[invoke[0], ["false"], None, b""]])))
        new.send(encode(Returned([[invoke[0], ["true"], None, b""]])))
        assert await call == ["true"]

    play(act)


def test_no_more_calls_wait_than_the_mailbox_holds_and_none_longer_than_it_may() -> None:
    async def act(scene: Scene) -> None:
        scene.admit(mailbox=3)
        await scene.entered()
        calls = [asyncio.ensure_future(scene.office.invoke(ACTOR, "a:b/c", "f", [], timeout=0.2)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(MailboxFull):
            await scene.office.invoke(ACTOR, "a:b/c", "f", [])
        for call in calls:
            with pytest.raises(TimedOut):
                await call

    play(act)


def test_what_is_announced_and_what_is_no_message() -> None:
    async def act(scene: Scene) -> None:
        scene.admit()
        worker = await scene.entered()
        scene.office.announce(ACTOR, {"listens": ["127.0.0.1:1"]})
        assert await scene.supervisor_hears() == Announce("counter", ACTOR, {"listens": ["127.0.0.1:1"]})
        for frame in (b"", b"TH\x01", b"nonsense", encode(Serving("counter"))):
            worker.send(frame)
        assert await scene.asks(worker, "count", 1) == Given(1, ["counter", 1], None)
        assert scene.office.refused == 4

    play(act)
