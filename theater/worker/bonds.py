"""The port `theater.host.bonds.Bonds`: monitors and links of one life, by way of the supervisor.

The supervisor keeps the bonds and tells of ends. What has been told and waits in the mailbox is taken back here when
its monitor or link is undone: the supervisor has sent it before it answers, so nothing can come after that.
"""

from __future__ import annotations

from collections.abc import Callable

from theater.core.wire import Demonitor, LinkTo, Monitor, Named, Told, TrapExits, Unlink
from theater.worker.letters import Asked
from theater.worker.mail import Mail

Remaining = Callable[[], float | None]


class Bonds:
    """Monitors are numbered from 1 in each life.

    Args:
        let_out: called before anything is asked: what was recorded and sent until then goes first.
        remaining: seconds that the running call may still take.
    """

    def __init__(self, mail: Mail, let_out: Callable[[], None], remaining: Remaining) -> None:
        self._mail = mail
        self._let_out = let_out
        self._remaining = remaining
        self._made = 0

    def monitor(self, words: str) -> int:
        self._let_out()
        self._made += 1
        ref = self._made
        self._mail.ask_supervisor(Monitor(self._mail.number(), words, ref), self._remaining())
        return ref

    def demonitor(self, monitor: int) -> bool:
        if not 0 < monitor <= self._made:
            return False
        self._let_out()
        answer = self._mail.ask_supervisor(Demonitor(self._mail.number(), monitor), self._remaining())
        was_told = self._mail.take_back(Asked("monitor", monitor))
        return was_told or (type(answer) is Told and answer.value is True)

    def link(self, words: str) -> None:
        self._let_out()
        self._mail.ask_supervisor(LinkTo(self._mail.number(), words), self._remaining())

    def unlink(self, words: str) -> None:
        self._let_out()
        answer = self._mail.ask_supervisor(Unlink(self._mail.number(), words), self._remaining())
        if type(answer) is Named and answer.actor is not None:
            self._mail.take_back(Asked("link", answer.actor))

    def trap_exits(self, trap: bool) -> None:
        self._let_out()
        self._mail.tell_supervisor(TrapExits(trap))
