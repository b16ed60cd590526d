"""News of deaths: what each becomes in the mailbox, and when it may get there.

A dead actor's last messages and the news of its death come by different ways, its own link and the supervisor's. The
news must come last, as in OTP (1.13, 8). Here it waits until everything that came over the dead one's link has been
read; `Mail` reads, and says how far it is. The ends of a dead process were closed by the kernel before anybody could
know of its death, and its link was handed over before the news of it, so the wait is short. It is bounded, because a
process may outlive its own SIGKILL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from theater.core.exit_reason import ExitReason
from theater.core.handlers import MONITOR_HANDLERS, SUPERVISOR_HANDLERS
from theater.core.wire import ChildEnded, LinkExit, MonitorDown
from theater.host.bonds import exit_record
from theater.host.supervisor import child_error
from theater.worker.letters import Asked, News, Word

Ending = MonitorDown | LinkExit | ChildEnded

PATIENCE_NS: Final = 1_000_000_000
"""How long news waits for a link that does not end."""


class Heard(Enum):
    """What is known of a dead actor's link to this one."""

    OPEN = "open"
    """It has not ended yet."""
    ENDED = "ended"
    """It has ended, and all of it has been read; or there was none."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    news: News | Word
    peer: bytes
    since_ns: int


class Newsroom:
    """News that waits for the last words of those whom it is about, in the order of its arrival.

    Args:
        hear_out: reads what there is from a peer, and says what is known then.
        now_ns: the monotonic clock.
    """

    def __init__(self, hear_out: Callable[[bytes], Heard], now_ns: Callable[[], int]) -> None:
        self._hear_out = hear_out
        self._now_ns = now_ns
        self._waiting: deque[_Waiting] = deque()

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    def add(self, ending: Ending) -> None:
        """Takes what the supervisor has said.

        Raises:
            WireError: its reason is none.
        """
        actor = ending.child if isinstance(ending, ChildEnded) else ending.actor
        peer = peer_name(actor, ending.incarnation) if ending.spoke else b""
        self._waiting.append(_Waiting(news_of(ending), peer, self._now_ns()))

    def announce(self, word: Word, peer: bytes) -> None:
        """Has a word told behind all that `peer`, whose life is over, has sent."""
        self._waiting.append(_Waiting(word, peer, self._now_ns()))

    def take(self) -> News | Word | None:
        """The oldest news, if it may be told now."""
        if not self._waiting or not self._is_ripe(self._waiting[0]):
            return None
        return self._waiting.popleft().news

    def take_back(self, asked: Asked) -> bool:
        """Forgets news that is not wanted any more; whether there was any."""
        kept = [waiting for waiting in self._waiting if not _answers(waiting.news, asked)]
        found = len(kept) < len(self._waiting)
        self._waiting = deque(kept)
        return found

    def _is_ripe(self, waiting: _Waiting) -> bool:
        if not waiting.peer:
            return True
        if self._hear_out(waiting.peer) is Heard.ENDED:
            return True
        return self._now_ns() - waiting.since_ns >= PATIENCE_NS


def _answers(news: News | Word, asked: Asked) -> bool:
    return isinstance(news, News) and news.asked == asked


def peer_name(actor: str, incarnation: int) -> bytes:
    """What a life of an actor is called among those who have a link to this one."""
    return f"{actor}.{incarnation}".encode()


def news_of(ending: Ending) -> News:
    """The call that an ending becomes.

    Raises:
        WireError: its reason is none.
    """
    reason = ExitReason.from_dict(ending.reason)
    match ending:
        case MonitorDown(ref=ref, actor=actor):
            return News(MONITOR_HANDLERS, "handle-down", (ref, actor, exit_record(reason)), Asked("monitor", ref))
        case LinkExit(actor=actor):
            return News(MONITOR_HANDLERS, "handle-exit", (actor, exit_record(reason)), Asked("link", actor))
        case ChildEnded(child=child, how="error"):
            return News(SUPERVISOR_HANDLERS, "handle-child-error", (child, child_error(reason)))
        case ChildEnded(child=child, how="exit", data=data):
            return News(SUPERVISOR_HANDLERS, "handle-child-exit", (child, data))
        case ChildEnded(child=child):
            return News(SUPERVISOR_HANDLERS, "handle-child-external-stop", (child,))
