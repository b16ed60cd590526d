"""The channels of one life of an actor: how they are opened, spoken on and closed, here and from afar.

What is said on a channel to an actor travels with the sends to it, on the same connection and in the same order, and
counts against its mailbox as they do (theater/worker/mail.py). Each end writes over a link of its own, so the one
that is asked finds out where the opener lives before it decides; from then on both are told if the other's life ends,
behind the last message that it sent (theater/worker/news.py). What a dead end has not taken is no dead letter: it
belonged to a channel that is gone.

A channel with the outside leads through the supervisor. It gives this end room for a number of messages and bytes that
the client has not fetched, so that a client that does not read is an error to the guest, at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from theater.core.channels import OUTSIDE, Party, Table
from theater.core.ids import channel_id
from theater.core.wire import OpenChannel
from theater.errors import ActorDown, ActorFailed, MailboxFull, MessageTooLarge, TheaterError, TimedOut
from theater.host.base import Caused
from theater.worker.letters import Opening, Word
from theater.worker.mail import Mail
from theater.worker.news import peer_name

HANDLE_MESSAGE, HANDLE_CLOSE = "handle-channel-message", "handle-channel-close"

UNFETCHED: Final = 1000
"""Messages on one channel that a client may have to fetch yet."""

UNFETCHED_BYTES: Final = 8 << 20
"""Bytes of them; a single message may be longer."""

_LONGEST_OUTSIDE: Final = 32 << 20
"""Bytes of one message to a client; what is longer does not fit into the frames on its way."""

_FIND_S = 2.0
"""How long it may take to hear where an opener lives; the supervisor answers at once."""


class Channels:
    """The port `theater.host.message_server.Channels`, and what `Actor` asks of it.

    Args:
        mail: carries what goes out, and brings what comes.
        make_way: lets out what was recorded and sent so far.
        origin: digest and number of the entry that records the running host call.
        remaining: seconds that the running call may still take.
        request_timeout: seconds that another actor has to accept a channel.
    """

    def __init__(
        self,
        mail: Mail,
        make_way: Callable[[], None],
        origin: Callable[[], tuple[bytes, int]],
        remaining: Callable[[], float | None],
        request_timeout: float,
    ) -> None:
        self._mail = mail
        self._make_way = make_way
        self._origin = origin
        self._remaining = remaining
        self._request_timeout = request_timeout
        self._table = Table()
        self._unfetched: dict[str, tuple[int, int]] = {}
        mail.on_life_over = self._life_over
        mail.on_fetched = self._fetched

    # ---- what the guest does

    def open(self, to: str, body: bytes) -> Caused:
        """Opens a channel and waits until it is accepted; its id, and the entry that says so.

        Raises:
            Deadlock: the other end is this actor, or waits for it.
            ActorFailed: it was refused; the sentence says why.
            TheaterError: there is no such actor, or it did not answer.
        """
        origin, number = self._origin()
        channel = channel_id(origin, number)
        self._make_way()

        def offer(party: Party, question: int, deadline: int, path: list[str]) -> OpenChannel:
            self._table.opening(channel, party)
            return OpenChannel(question, channel, origin, body, deadline, path)

        left = self._remaining()
        timeout = self._request_timeout if left is None else min(self._request_timeout, left)
        try:
            answer = self._mail.pose(to, body, timeout, offer)
        except TheaterError as error:
            party = self._table.dropped(channel)
            if party is not None and isinstance(error, (TimedOut, ActorDown)):
                # It may be accepted yet; then that end finds it closed.
                self._mail.say(party, channel, None, origin)
            raise
        self._table.accepted(channel)
        return Caused(channel, answer.cause)

    def send(self, channel: str, body: bytes) -> None:
        """Says something on a channel.

        Raises:
            NotFound, WrongState: it is not open.
            MailboxFull, MessageTooLarge: the other end takes no more, or not so much.
            ActorDown: the life at the other end is over.
        """
        party = self._table.other_end(channel)
        if party == OUTSIDE:
            is_time = self._say_outside(channel, body)
        else:
            is_time = self._mail.say(party, channel, body, self._origin()[0])
        if is_time:
            self._make_way()

    def close(self, channel: str) -> None:
        """Closes a channel; the other end is told, behind what was said before.

        Raises:
            NotFound, WrongState: it is not open.
        """
        party = self._table.close(channel)
        if party == OUTSIDE:
            self._unfetched.pop(channel, None)
            self._mail.say_outside(channel, None)
        else:
            self._mail.say(party, channel, None, self._origin()[0])

    # ---- what comes, as calls of the guest

    def offered(self, opening: Opening) -> None:
        """Somebody wants to open a channel, and the guest is about to be asked.

        Raises:
            TheaterError: it cannot be had, and nothing was done.
        """
        if opening.party != OUTSIDE:
            self._mail.meet(opening.party, _FIND_S)
        self._table.offered(opening.channel, opening.party)

    def answered(self, opening: Opening, accept: dict[str, Any], cause: bytes) -> TheaterError | None:
        """The guest has decided; returns why the channel is not open, if it is not.

        Args:
            accept: a `channel-accept`.
            cause: digest of the entry that records the decision, and with it the sending of the first message.
        """
        message = accept["message"]
        if not accept["accepted"]:
            self._table.dropped(opening.channel)
            return ActorFailed(_why_refused(message))
        self._table.accepted(opening.channel)
        if opening.party == OUTSIDE:
            self._unfetched[opening.channel] = (0, 0)
        if message is None:
            return None
        try:
            if opening.party == OUTSIDE:
                self._say_outside(opening.channel, message)
            else:
                self._mail.say(opening.party, opening.channel, message, cause, is_first=True)
        except MessageTooLarge as error:
            self._table.dropped(opening.channel)
            return error
        return None

    def failed(self, opening: Opening) -> None:
        """The guest has answered with an error."""
        self._table.dropped(opening.channel)

    def call_for(self, word: Word) -> tuple[str, tuple[Any, ...]] | None:
        """The call that a word becomes, (function, params); None if it came too late for its channel."""
        if word.body is not None:
            return (HANDLE_MESSAGE, (word.channel, word.body)) if self._table.hears(word.channel, word.sender) else None
        if not self._table.closed_there(word.channel, word.sender):
            return None
        self._unfetched.pop(word.channel, None)
        return HANDLE_CLOSE, (word.channel,)

    def _life_over(self, actor: str, incarnation: int) -> None:
        for channel in self._table.of(Party(actor, incarnation)):
            self._mail.announce(Word(channel, None, actor), peer_name(actor, incarnation))

    # ---- to the outside

    def _say_outside(self, channel: str, body: bytes) -> bool:
        messages, size = self._unfetched[channel]
        if len(body) > _LONGEST_OUTSIDE:
            raise MessageTooLarge(f"the message has {len(body)} bytes, a client takes {_LONGEST_OUTSIDE}")
        if messages >= UNFETCHED or (messages and size + len(body) > UNFETCHED_BYTES):
            raise MailboxFull(
                f"the client at the other end of channel {channel} has {messages} messages of {size} bytes to fetch yet"
            )
        self._unfetched[channel] = messages + 1, size + len(body)
        return self._mail.say_outside(channel, body)

    def _fetched(self, channel: str, messages: int, size: int) -> None:
        if (waiting := self._unfetched.get(channel)) is not None:
            self._unfetched[channel] = max(0, waiting[0] - messages), max(0, waiting[1] - size)


def _why_refused(message: bytes | None) -> str:
    said = f": {message.decode('utf-8', 'backslashreplace')}" if message else ""
    return f"the channel was refused{said}"
