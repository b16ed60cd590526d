"""An actor's mail in this process, and a supervisor's end of its signals that a test plays by hand."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theater.bus.sockets import Context, Dealer, Router
from theater.core.wire import Lookup, Message, decode, encode
from theater.worker.mail import Mail
from theater.worker.signals import Signals

PATIENCE = 20.0


class Exchange:
    """The supervisor's socket, and mails that are connected to it.

    Args:
        folder: for sockets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context = Context()
        self.router = self.context.router(f"ipc://{folder}/signals")
        self._wakers: list[int] = []
        self._kept: list[object] = []

    def mail(
        self, me: str, *, incarnation: int = 1, mailbox: int = 10, message_limit: int = 1 << 20
    ) -> tuple[Mail, Callable[[], None]]:
        """The mail of actor `me`, and what tells it to stop, as a signal handler would."""
        signals = Signals(self.context.dealer(f"ipc://{self.folder}/signals", identity=me.encode()))
        inbox = self.context.router(self.endpoint(me), queue=mailbox + 1)
        woken, waker = os.pipe2(os.O_NONBLOCK)
        self._wakers += [woken, waker]
        mail = Mail(self.context, me, incarnation, inbox, signals, message_limit, mailbox, woken)
        self._kept.append(mail)

        def stop() -> None:
            mail.stopping = True
            os.write(waker, b"\0")

        return mail, stop

    def stranger(self, actor: str) -> Dealer:
        """A socket that is connected to an actor's inbox and may say anything."""
        dealer = self.context.dealer(self.endpoint(actor), queue=100)
        self._kept.append(dealer)
        return dealer

    def impostor(self, actor: str) -> Router:
        """An inbox that a test reads by hand."""
        router = self.context.router(self.endpoint(actor))
        self._kept.append(router)
        return router

    def endpoint(self, me: str) -> str:
        return f"ipc://{self.folder}/{me}"

    def heard(self) -> tuple[bytes, Message]:
        """The next signal, and who sent it."""
        deadline = time.monotonic() + PATIENCE
        while (received := self.router.receive()) is None:
            assert time.monotonic() < deadline, "nobody says anything"
            time.sleep(0.001)
        return received[0], decode(received[1])

    def asked(self, kind: type = Lookup) -> tuple[bytes, Any]:
        """The next signal, which must be of this kind."""
        peer, message = self.heard()
        assert isinstance(message, kind), message
        return peer, message

    def tell(self, peer: bytes, *messages: Message) -> None:
        for message in messages:
            self.router.send(peer, encode(message))

    def close(self) -> None:
        self.context.end(0)
        for fd in self._wakers:
            os.close(fd)


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
