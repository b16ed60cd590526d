"""One life of an actor in a process of its own, whose supervisor a test plays by hand.

Run as a script it is what a template forks: it loads a component and waits on its line for the assignment.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from exchange import PATIENCE, Exchange

from theater.build.compiled import ensure_compiled
from theater.bus.links import Link, pair
from theater.chainlog.reader import ChainReader
from theater.config import Home
from theater.core.chain import Call, Entry
from theater.core.codec import content_digest, pack
from theater.core.pulse import SIZE, Pulse
from theater.core.wire import MAX_FRAME, Deliver, Handled, Message, Ready
from theater.errors import TheaterError, from_wire
from theater.worker.assignment import Assignment, Limits

ACTOR = "11111111-1111-4111-8111-111111111111"
EVERYTHING = ("identity", "message-server", "monitors", "runtime", "supervisor")
_MIB = 1 << 20


class Life:
    """The supervisor's end.

    Args:
        exchange: where the worker's signals arrive.
        cache: for compiled components.
        component: the file of the component.
        handlers: types that the manifest grants.
        incarnation: which life it is; the chain of those before must be there.
        call_timeout: seconds that one call may last.
        facts: other fields of its assignment.
    """

    def __init__(
        self,
        exchange: Exchange,
        cache: Path,
        component: Path,
        *,
        handlers: tuple[str, ...] = EVERYTHING,
        incarnation: int = 1,
        call_timeout: float | None = 30.0,
        **facts: Any,
    ) -> None:
        self.exchange = exchange
        home = Home(exchange.folder)
        self.folder = home.actor(ACTOR)
        for folder in (home.own(ACTOR), home.content, home.labels, home.secrets, home.run):
            folder.mkdir(parents=True, exist_ok=True)
        self._heard: list[Message] = []
        self._number = 0
        ensure_compiled(cache, component)
        digest = content_digest(component.read_bytes()).hex()
        order = {
            "cache": str(cache),
            "component": digest,
            "fuel": False,
            "program": None,
            "home": str(home.root),
            "folders": [],
            "stages": str(exchange.folder),
        }
        ours, theirs = pair()
        from ready_commands import Command  # Here, since the script that is started there finds no such module.

        words = json.dumps(order), str(theirs)
        self._process = Command[bytes](words, script=Path(__file__), pass_fds=[theirs])
        os.close(theirs)
        self.name = f"{ACTOR}{incarnation}"
        page = os.memfd_create("pulse")
        os.truncate(page, SIZE)
        self._pulse = mmap.mmap(page, SIZE)
        assignment = replace(self._assignment(digest, handlers, incarnation, call_timeout), **facts)
        line = Link(os.dup(ours), largest=MAX_FRAME)
        line.send(pack(assignment.to_plain()), PATIENCE, descriptor=page)
        line.close()
        exchange.attend(self.name, ours)

    def _assignment(
        self, component: str, handlers: tuple[str, ...], incarnation: int, call_timeout: float | None
    ) -> Assignment:
        limits = Limits(
            memory=64 * _MIB,
            call_timeout=call_timeout,
            request_timeout=5.0,
            fuel=None,
            mailbox=1000,
            state=_MIB,
            message=_MIB,
            record=16 * _MIB,
            log=_MIB,
        )
        return Assignment(
            actor=ACTOR,
            name="one",
            parent=None,
            incarnation=incarnation,
            folder=str(self.folder),
            content=str(Home(self.exchange.folder).content),
            labels=str(Home(self.exchange.folder).labels),
            handlers=handlers,
            state_policy="last",
            durability="process",
            limits=limits,
            known=None,
            manifest_digest=bytes(32),
            randomness=bytes(16),
            component=component,
            program=None,
            init_state=None,
            poison=(),
        )

    # ---- the supervisor's part

    def await_ready(self) -> Life:
        self.heard(Ready)
        return self

    def tell(self, *messages: Message) -> None:
        self.exchange.tell(self.name.encode(), *messages)

    def heard(self, kind: type) -> Any:
        """The next signal of this kind; others wait to be heard later."""
        while True:
            for message in self._heard:
                if isinstance(message, kind):
                    self._heard.remove(message)
                    return message
            peer, message = self.exchange.heard()
            assert peer == self.name.encode()
            self._heard.append(message)

    def deliver(self, body: bytes) -> int:
        """Brings it a request from outside; returns its number."""
        self._number += 1
        self.tell(Deliver(self._number, True, body, time.monotonic_ns() + 20_000_000_000))
        return self._number

    def answer(self, number: int) -> bytes | TheaterError | None:
        """What came of a request."""
        handled = self.heard(Handled)
        assert handled.number == number
        return handled.value if handled.error is None else from_wire(handled.error)

    def request(self, body: bytes) -> bytes | TheaterError | None:
        return self.answer(self.deliver(body))

    def notes(self) -> list[str]:
        """What the actor has noted in its state (tests/actors/parent.wat)."""
        state = self.request(b"g")
        assert isinstance(state, bytes)
        return state.decode().splitlines()

    def await_call(self, function: str, count: int) -> None:
        """Waits until its chain shows so many calls of a function begun."""
        deadline = time.monotonic() + PATIENCE
        while sum(call.function == function for call in self.recorded(Call)) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    # ---- what is left of it

    def entries(self) -> list[Entry]:
        with ChainReader(self.folder / "chain") as reader:
            return list(reader.tail(10_000))

    def recorded(self, kind: type) -> list[Any]:
        """All entries of this kind."""
        return [payload for entry in self.entries() if isinstance(payload := entry.read(), kind)]

    def log(self) -> str:
        return (self.folder / "own" / "log").read_text()

    def last_words(self) -> dict[str, object] | None:
        """Why it ended, once it has."""
        self._process.wait(PATIENCE)
        return Pulse(memoryview(self._pulse)).read_last_words()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    close = kill


def _play() -> None:
    """The script: a template that forks nothing."""
    from theater.worker import life, template

    order, line = json.loads(sys.argv[1]), int(sys.argv[2])
    warm = template._load(order)
    life.run(line, warm, os.getppid(), Path(order["stages"]), spare=False)


if __name__ == "__main__":
    _play()
