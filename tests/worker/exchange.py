"""An actor's mail in this process, and a supervisor's end of its line that a test plays by hand."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theater.bus.links import Link, pair
from theater.core.wire import MAX_FRAME, Found, Lookup, Meet, Message, decode, encode
from theater.worker.mail import Mail
from theater.worker.signals import Signals

PATIENCE = 20.0


class Exchange:
    """The supervisor's ends of lines, and mails at the others.

    As the supervisor does, it gives away the ends of a link with the first `Found` about a life. What it says of
    `other` is about the mail or the life of this name, or if there is none about that of `other2` for its life 2. One
    that is there later is told then who writes to it.

    Args:
        folder: for files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._wakers: list[int] = []
        self._lines: dict[bytes, Link] = {}
        self._links: list[Link] = []
        self._met: set[tuple[bytes, str, int]] = set()
        self._ends: dict[tuple[str, int], list[tuple[str, int]]] = {}
        self._mails: list[Mail] = []
        self._strangers = 0

    def mail(
        self, me: str, *, incarnation: int = 1, mailbox: int = 10, message_limit: int = 1 << 20
    ) -> tuple[Mail, Callable[[], None]]:
        """The mail of actor `me`, and what tells it to stop, as a signal handler would."""
        ours, theirs = pair()
        signals = Signals(Link(theirs, largest=MAX_FRAME, takes_descriptors=True))
        woken, waker = os.pipe2(os.O_NONBLOCK)
        self._wakers += [woken, waker]
        mail = Mail(me, incarnation, signals, message_limit, mailbox, woken)
        self._mails.append(mail)
        self._links.append(signals.link)
        self.attend(me, ours)

        def stop() -> None:
            mail.stopping = True
            os.write(waker, b"\0")

        return mail, stop

    def attend(self, me: str, descriptor: int) -> None:
        """Takes the supervisor's end of the line of a mail or a life that is called `me`."""
        name = me.encode()
        self._lines[name] = Link(descriptor, largest=MAX_FRAME, frames=10_000, size=1 << 28)
        for who in list(self._ends):
            if me in (who[0], f"{who[0]}{who[1]}"):
                for peer, end in self._ends.pop(who):
                    self._meet(name, peer, 1, end)

    def hang_up(self, me: str) -> None:
        """Lets go of a line whose other end is gone."""
        self._lines.pop(me.encode()).close()

    def stranger(self, actor: str, name: str = "x", incarnation: int | None = None) -> Link:
        """A link to an actor, which is told that `name` is at the other end; whoever it is may say anything."""
        link = Link(self.descriptor(actor, name, incarnation), largest=MAX_FRAME)
        self._links.append(link)
        return link

    def descriptor(self, actor: str, name: str, incarnation: int | None = None) -> int:
        """As `stranger`, for another process."""
        self._strangers += 1
        ours, theirs = pair()
        self._meet(actor.encode(), name, self._strangers if incarnation is None else incarnation, theirs)
        return ours

    def impostor(self, actor: str, incarnation: int = 1) -> Link:
        """What was handed out for an actor, at the receiver's end, which a test reads by hand."""
        (_, end), *_ = self._ends.pop((actor, incarnation))
        link = Link(end, largest=MAX_FRAME)
        self._links.append(link)
        return link

    def says_more(self) -> bool:
        """Whether there is a signal that nobody has heard."""
        return self._next() is not None

    def _next(self) -> tuple[bytes, Message] | None:
        for name, line in list(self._lines.items()):
            if (frame := line.receive()) is not None:
                return name, decode(frame)
        return None

    def heard_now(self) -> tuple[bytes, Message] | None:
        """The next signal, and who sent it, if there is one."""
        return self._next()

    def heard(self) -> tuple[bytes, Message]:
        """The next signal, and who sent it."""
        deadline = time.monotonic() + PATIENCE
        while (heard := self._next()) is None:
            assert time.monotonic() < deadline, "nobody says anything"
            time.sleep(0.001)
        return heard

    def asked(self, kind: type = Lookup) -> tuple[bytes, Any]:
        """The next signal, which must be of this kind."""
        peer, message = self.heard()
        assert isinstance(message, kind), message
        return peer, message

    def tell(self, peer: bytes, *messages: Message) -> None:
        for message in messages:
            end = self._introduce(peer, message) if isinstance(message, Found) else None
            self._lines[peer].send(encode(message), PATIENCE, descriptor=end)

    def _introduce(self, peer: bytes, found: Found) -> int | None:
        who = found.actor, found.incarnation
        if (peer, *who) in self._met:
            return None
        self._met.add((peer, *who))
        ours, theirs = pair()
        for name in (f"{found.actor}{found.incarnation}".encode(), found.actor.encode()):
            if name in self._lines:
                self._meet(name, peer.decode(), 1, theirs)
                return ours
        self._ends.setdefault(who, []).append((peer.decode(), theirs))
        return ours

    def _meet(self, receiver: bytes, actor: str, incarnation: int, end: int) -> None:
        self._lines[receiver].send(encode(Meet(actor, incarnation)), PATIENCE, descriptor=end)

    def close(self) -> None:
        for mail in self._mails:
            mail.close()
        for link in (*self._links, *self._lines.values()):
            link.close()
        for fd in self._wakers:
            os.close(fd)
        for ends in self._ends.values():
            for _, end in ends:
                os.close(end)


class Elsewhere:
    """A call that is made in another thread; `result` gives what it returned or raises what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call,))
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._value = call()
        except BaseException as error:
            self._error = error

    @property
    def is_going_on(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call does not end"
        if self._error is not None:
            raise self._error
        return self._value
