"""Mail between actors, worker to worker: a link to each receiver, one from each sender, and the wait for an answer.

The supervisor is asked once for a receiver: it makes a link and gives one end to who asked and the other to the
receiver, with who will write there. After that it is not in the way (D5), and nobody else can write there or pretend to
be another. A sender that breaks the rules is hung up on; what it had sent before is handled. What is promised:

* Messages from one actor to another arrive in order. Those that one call sends leave together when it ends, waits
  or sleeps, or when there are many: the record of them all is then written once.
* A mailbox is bounded: a sender may have as many unconfirmed messages with a receiver as that one's mailbox
  holds, and learns at once when there is no room.
* Every request ends in exactly one of reply, error, timeout, down.
* What a dead receiver has not confirmed is reported to the supervisor as dead letters; or, where the receiver's
  manifest keeps its mail, it goes to the next life, which skips what the last one had begun to handle.
* News of another's death comes after every message that it sent (worker/news.py).
* What is said on a channel travels among the sends, in order with them and under the same bound; what a dead receiver
  has not confirmed of it is lost with the channel (worker/channels.py).
* A request that could only be answered after itself is refused: one to oneself, one along a chain of waiting
  actors (every request carries the ids of those who wait for it), and of two actors that ask each other at the
  same time the one with the smaller id refuses the other's.

While an actor waits, its mailbox fills but nothing of it is handled: one call at a time (D4).
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import Any

from theater.bus.ends import Full, Gone
from theater.bus.links import Link, Poll, Sheaf
from theater.core.channels import OUTSIDE, Party
from theater.core.wire import (
    Answer,
    Ask,
    ChildEnded,
    Deliver,
    Demonitor,
    Down,
    Fetched,
    FindLife,
    Forget,
    Found,
    Handled,
    LinkExit,
    LinkTo,
    Lookup,
    Meet,
    Message,
    Missing,
    Monitor,
    MonitorDown,
    Named,
    OfChild,
    OfferChannel,
    OnChannel,
    OpenChannel,
    Pardon,
    Register,
    Send,
    SendAgain,
    ServiceIs,
    Spawn,
    Stop,
    Taken,
    Told,
    Unlink,
    Unregister,
    Whereis,
    decode,
    encode,
)
from theater.errors import (
    ActorDown,
    Deadlock,
    MailboxFull,
    MessageTooLarge,
    TheaterError,
    TimedOut,
    WireError,
    from_wire,
)
from theater.worker.addressee import BATCH_BYTES, CONFIRM_EVERY, ENVELOPE, Addressee
from theater.worker.letters import Asked, Errand, Letter, News, Opening, Word
from theater.worker.news import Heard, Newsroom, peer_name
from theater.worker.signals import Signals

Question = Lookup | FindLife | Whereis | Register | Unregister | Spawn | OfChild | Monitor | Demonitor | LinkTo | Unlink
"""What the supervisor answers."""

_PATIENCE_S = 0.01
"""How long an asker waits for the answer before it looks around."""

_UNSENT_BYTES = 1 << 24
"""Bytes that may wait in this process for a slow receiver, or a slow asker; a single frame may be longer."""

_LINGER_S = 1.0
"""How long what was sent last may take to leave: an answer, a message."""

_WORDS_MOST = 2048
"""Words that a sender may say beyond the bound of a mailbox: the first ones on its channels, and the last."""

_PATH_MOST = 1000
"""Actors that may wait for each other in a row."""

_SLACK_S = 1.0
"""How much later than its deadline the supervisor's own answer to it may come."""

_SEEK_S = 3600.0
"""How long a search for the next life of a receiver lasts before it is begun anew."""

_AGAIN_S = 0.05
"""How often it is tried to send what a queue did not take."""

_NEWS_STEP_S = 0.002
"""How often news that waits is looked at, when nothing else happens."""

_LARGEST_NUMBER = 1 << 62


@dataclass(slots=True, eq=False)
class Sender:
    """A life that may write to this actor: whoever the supervisor said is at the other end of the link.

    Attributes:
        waiting: letters of it that have not been taken.
    """

    link: Link
    actor: str
    incarnation: int
    waiting: int = 0


@dataclass(slots=True)
class _FromMail:
    """Answers an `Ask`."""

    link: Link
    number: int

    def answer(self, value: bytes | None, error: TheaterError | None, cause: bytes) -> None:
        frame = encode(Answer(self.number, cause, value, error.to_wire() if error else None))
        try:
            self.link.send(frame)
        except (Gone, Full):
            pass  # The asker has died or stopped reading: there is nobody to tell.


@dataclass(slots=True)
class _FromOutside:
    """Answers a `Deliver` through the supervisor."""

    signals: Signals
    number: int

    def answer(self, value: bytes | None, error: TheaterError | None, cause: bytes) -> None:
        self.signals.tell(Handled(self.number, value, error.to_wire() if error else None))


class Mail:
    """All of an actor's correspondence.

    Args:
        me: own actor id.
        incarnation: which life of it this is.
        signals: the line to the supervisor.
        message_limit: largest body that is accepted, bytes.
        mailbox: most letters that wait here.
        wake: a descriptor that ends every wait; whoever makes it readable has set `stopping`.

    Attributes:
        letters: what waits.
        on_pardon: told of messages that may be tried again.
        on_service: told that a service has ended, or is there, with the link to it.
        on_life_over: told which life of which actor that was reached from here is over.
        on_fetched: told of a channel that its client has fetched so many messages, of so many bytes.
        handled_before: the causes of messages that earlier lives have begun to handle.
    """

    def __init__(
        self,
        me: str,
        incarnation: int,
        signals: Signals,
        message_limit: int,
        mailbox: int,
        wake: int | None = None,
    ) -> None:
        self.me = me
        self.incarnation = incarnation
        self.letters: deque[Letter | Word | News | Errand] = deque()
        self.stopping = False
        self.path: tuple[str, ...] = ()
        self._inbox = Sheaf(self._sender_is_gone)
        self._senders: dict[bytes, Sender] = {}
        self._sender_of: dict[Link, Sender] = {}
        self._signals = signals
        self._message_limit = message_limit
        self._mailbox = mailbox
        self._links: dict[str, Addressee] = {}
        self._names: dict[str, str] = {}
        self._asking = 0
        self._reply: Message | None = None
        self._kept: dict[str, list[tuple[bytes, bytes]]] = {}
        self._seeking: dict[int, str] = {}
        self._news = Newsroom(self._hear_out, time.monotonic_ns)
        self._handled_before: Set[bytes] | None = None
        self._confirm: dict[Sender, int] = {}
        self._outgoing: list[Addressee] = []
        self._outside: dict[str, list[bytes | None]] = {}
        self._waiting_for: str | None = None
        self._is_asking = False
        self._poll = Poll(self._inbox, signals.link, wake=wake)
        signals.link.on_unsent = self._poll.let_out
        self._listening = True
        self._is_closed = False
        self.refused = 0
        self._others: dict[Link, Callable[[], object]] = {}
        self.on_pardon: Callable[[bytes], object] = lambda digest: None
        self.on_service: Callable[[str, bool, int | None], object] = _no_service
        self.on_life_over: Callable[[str, int], object] = lambda actor, incarnation: None
        self.on_fetched: Callable[[str, int, int], object] = lambda channel, messages, size: None
        self.handled_before: Callable[[], Set[bytes]] = frozenset

    # ---- sending

    def send(self, to: str, body: bytes, cause: bytes, timeout: float) -> bool:
        """Takes `body` for its receiver; it goes out with the next `post`, together with what is sent until then.

        Args:
            to: actor id or registered name.
            cause: digest of the entry that records the send.
            timeout: seconds to wait for a receiver that is being restarted.

        Returns:
            whether so much has been taken that it is time for `post`.

        Raises:
            UnknownActor, ActorDown, TimedOut: there is no such receiver, now or in time.
            MessageTooLarge, MailboxFull: the receiver does not take it.
        """
        link = self._link(to, _deadline(timeout))
        if link is None:
            self._send_to_myself(body, cause)
            return False
        self._check_size(link, body)
        self._check_room(link, to)
        self._put(link, [cause, body])
        return link.is_due

    def say(self, party: Party, channel: str, body: bytes | None, cause: bytes, *, is_first: bool = False) -> bool:
        """Takes what is said on a channel to another actor, as `send` does; in order with what is sent to it.

        Args:
            body: None closes the channel. That needs no room, and nobody at the other end.
            is_first: it comes with the channel's being accepted, and needs no room either.

        Raises: as `send`.
        """
        link = self._links.get(party.actor or "")
        if link is None or link.incarnation != party.incarnation or link.down is not None:
            if body is None or is_first:
                return False
            raise ActorDown(f"the life of {party.actor} to which channel {channel} belonged is over")
        if body is not None:
            self._check_size(link, body)
            if not is_first:
                self._check_room(link, link.actor)
        self._put(link, [cause, body, channel])
        return link.is_due

    def say_outside(self, channel: str, body: bytes | None) -> bool:
        """Takes what is said on a channel to a client; it goes out with the next `post`.

        Returns: as `send`.
        """
        said = self._outside.setdefault(channel, [])
        said.append(body)
        return len(said) >= CONFIRM_EVERY or (body is not None and len(body) > BATCH_BYTES)

    def _check_room(self, link: Addressee, to: str) -> None:
        is_full = len(link.unconfirmed) >= link.mailbox
        if is_full or link.sent % CONFIRM_EVERY == 0:
            link.drain()
            if len(link.unconfirmed) >= link.mailbox:
                raise MailboxFull(f"the mailbox of {to} is full: {link.mailbox} of your messages wait there already")

    def _put(self, link: Addressee, letter: list[Any]) -> None:
        if not link.outbox:
            self._outgoing.append(link)
        link.put(letter)

    @property
    def has_outgoing(self) -> bool:
        """Whether there are messages for `post`."""
        return bool(self._outgoing or self._outside)

    def post(self) -> None:
        """Sends what `send` has taken. The entries that record it must be on the disk."""
        if self._poll.has_unsent:
            self._poll.flush()
        outgoing, self._outgoing = self._outgoing, []
        for link in outgoing:
            if returned := link.post():
                self._return_to_sender(link, returned)
        if self._outside:
            outside, self._outside = self._outside, {}
            for channel, bodies in outside.items():
                self._signals.tell(OnChannel(channel, 0, bodies))

    def _return_to_sender(self, link: Addressee, returned: list[list[Any]]) -> None:
        """The queue to a receiver takes no more, although its mailbox should: what was meant for it is dead. What was
        said on a channel waits, for a channel has no gaps."""
        self._report(link.actor, _sends(returned), "its receiver's queue was full")
        for _ in returned:
            link.unconfirmed.pop()
        for letter in returned:
            if _is_said(letter):
                self._put(link, letter)

    def ask(self, to: str, body: bytes, cause: bytes, timeout: float) -> Answer:
        """Sends `body` and waits for its answer, whose `value` is then the reply.

        Args:
            timeout: seconds, the whole time including the wait for a receiver that is being restarted.

        Raises:
            Deadlock: the receiver is this actor, or waits for it.
            TimedOut, ActorDown: no answer in time; the receiver, or this actor, ended first.
            TheaterError: what the receiver answered instead of a reply.
        """

        def question(link: Addressee, number: int, deadline: int, path: list[str]) -> Ask:
            return Ask(number, cause, body, deadline, path)

        return self._pose(to, body, timeout, question)

    def pose(
        self, to: str, body: bytes, timeout: float, question: Callable[[Party, int, int, list[str]], OpenChannel]
    ) -> Answer:
        """As `ask`, with another question, made of the life that is asked, a number, its deadline and its path."""

        def ask(link: Addressee, *rest: Any) -> OpenChannel:
            return question(Party(link.actor, link.incarnation), *rest)

        return self._pose(to, body, timeout, ask)

    def _pose(
        self, to: str, body: bytes, timeout: float, question: Callable[[Addressee, int, int, list[str]], Message]
    ) -> Answer:
        deadline = _deadline(timeout)
        link = self._link(to, deadline)
        path = [*self.path, self.me]
        if link is None or link.actor in path:
            raise Deadlock(f"{to} waits for the answer to this very call; a request to it could never be answered")
        self._check_size(link, body)
        number = link.asked = link.sent = link.sent + 1
        try:
            link.link.send(encode(question(link, number, deadline, path)))
        except Gone:
            pass  # What became of it, the news of its end says.
        except Full:
            raise MailboxFull(f"the mailbox of {to} is full: its queue takes no more") from None
        answer = self._await_answer(to, link, number, deadline)
        if answer.error is not None:
            raise from_wire(answer.error)
        return answer

    def _await_answer(self, to: str, link: Addressee, number: int, deadline: int) -> Answer:
        self._waiting_for, self._is_asking = link.actor, True
        self._refuse_circles()
        try:
            while True:
                # Most answers come soon, and waiting for one socket costs least. What else may end the wait is
                # looked at in between: whether a letter closes a circle, a death, an order to stop.
                if not link.wait_one(min(_PATIENCE_S, _seconds_until(deadline))):
                    self.wait(min(_PATIENCE_S, _seconds_until(deadline)) if link.link.ended else 0.0)
                if (answer := link.answer) is not None:
                    return answer
                if link.down is not None:
                    raise ActorDown(f"{to} went down before it answered: {link.down}")
                if self.stopping:
                    raise ActorDown(f"this actor is being stopped and does not wait for {to} any longer")
                if time.monotonic_ns() >= deadline:
                    raise TimedOut(f"{to} did not answer in time")
        finally:
            self._waiting_for, self._is_asking = None, False
            link.asked, link.answer = 0, None
            if link.down is not None:
                self._drop(link)

    def _send_to_myself(self, body: bytes, cause: bytes) -> None:
        if len(self.letters) >= self._mailbox:
            raise MailboxFull(f"the mailbox of this actor is full: {len(self.letters)} messages wait there already")
        self.letters.append(Letter(body, self.me, cause))

    def _check_size(self, link: Addressee, body: bytes) -> None:
        if len(body) > link.message_limit:
            raise MessageTooLarge(
                f"the message has {len(body)} bytes, {link.actor} accepts {link.message_limit} ([limits] message)"
            )

    # ---- the directory

    def register(self, name: str) -> None:
        """Takes a name, or raises NameTaken."""
        self.ask_supervisor(Register(self._signals.number(), name))

    def unregister(self, name: str) -> None:
        self.ask_supervisor(Unregister(self._signals.number(), name))

    def whereis(self, name: str) -> str | None:
        """The id of the actor that is registered as `name`."""
        answer = self.ask_supervisor(Whereis(self._signals.number(), name))
        return answer.actor if type(answer) is Named else None

    def number(self) -> int:
        """The number of the next question to the supervisor."""
        return self._signals.number()

    def tell_supervisor(self, message: Message) -> None:
        """Says what needs no answer."""
        self._signals.tell(message)

    def ask_supervisor(self, question: Question, timeout: float | None = None, *, about: str | None = None) -> Message:
        """The answer to `question`; the supervisor always gives one, so that only its death ends a wait without end.

        Args:
            timeout: seconds; None for any time.
            about: the actor that cannot go on before the answer is there: what waits for it is refused meanwhile.

        Raises:
            TimedOut, ActorDown: no answer in time; this actor is told to stop.
            TheaterError: what the supervisor answered instead.
        """
        deadline = None if timeout is None else _deadline(timeout)
        self._asking, self._reply = question.number, None
        self._waiting_for = about
        if about is not None:
            self._refuse_circles()
        self._signals.tell(question)
        try:
            while (answer := self._reply) is None:
                if self.stopping:
                    raise ActorDown("this actor is being stopped")
                if deadline is not None and time.monotonic_ns() > deadline:
                    raise TimedOut("the supervisor did not answer in time")
                self.wait(0.1 if deadline is None else min(0.1, _seconds_until(deadline) + 0.001))
        finally:
            self._asking, self._reply = 0, None
            self._waiting_for = None
        if type(answer) is Missing:
            raise from_wire(answer.error)
        return answer

    def _link(self, to: str, deadline: int) -> Addressee | None:
        """The link to `to`; None if that is this actor itself."""
        actor = self._names.get(to, to)
        if actor == self.me:
            return None
        link = self._links.get(actor)
        if link is not None and link.down is None:
            return link
        found = self._look_up(to, deadline)
        self._names[to] = found.actor
        return None if found.actor == self.me else self._connect(found)

    def _connect(self, found: Found) -> Addressee:
        """The link to a life that has been found; it came with the first answer that named it.

        Raises:
            ActorDown: there is none: it has been lost.
        """
        known = self._links.get(found.actor)
        if known is None or known.down is not None or known.incarnation != found.incarnation:
            raise ActorDown(
                f"there is no way to {found.actor}: no link to it was to be had; it may be one too many for this actor "
                "([limits] descriptors)"
            )
        return known

    def _adopt(self, found: Found, descriptor: int) -> None:
        """Takes the link to a life; what was kept for it goes first."""
        largest = self._message_limit + ENVELOPE
        size = max(_UNSENT_BYTES, found.message_limit + ENVELOPE)
        link = Link(descriptor, largest=largest, frames=found.mailbox + 1, size=size)
        link.on_unsent = self._poll.let_out
        self._links[found.actor] = addressee = Addressee(
            found.actor, found.incarnation, link, found.message_limit, found.mailbox, found.keep
        )
        for cause, body in self._kept.pop(found.actor, ()):
            addressee.put([cause, body])
        if addressee.outbox:
            addressee.again = len(addressee.outbox)
            self._outgoing.append(addressee)

    def meet(self, party: Party, timeout: float) -> None:
        """Sees to it that what is said to a life of an actor has a way.

        Raises:
            ActorDown: that life is over.
            TimedOut: the supervisor did not say in time.
        """
        known = self._links.get(party.actor or "")
        if known is not None and known.down is None and known.incarnation == party.incarnation:
            return
        question = FindLife(self._signals.number(), party.actor or "", party.incarnation)
        found = self.ask_supervisor(question, timeout)
        if type(found) is not Found:
            raise ActorDown(f"{party.actor} went down while it waited")
        self._connect(found)

    def _look_up(self, to: str, deadline: int) -> Found:
        """Where `to` lives, asked again if it has died before the answer was read."""
        while True:
            question = Lookup(self._signals.number(), to, deadline)
            found = self.ask_supervisor(question, _seconds_until(deadline) + _SLACK_S)
            if type(found) is Found:
                return found
            if time.monotonic_ns() >= deadline:
                raise TimedOut(f"{to} went down as soon as it was up")

    def _drop(self, link: Addressee) -> None:
        """Forgets a dead receiver; what it did not confirm is kept for its next life, or becomes dead letters."""
        link.drain()
        if link in self._outgoing:
            self._outgoing.remove(link)
        if self._links.get(link.actor) is link:
            del self._links[link.actor]
        unconfirmed = _sends(letter for _, letter in link.unconfirmed)
        link.unconfirmed.clear()
        self._poll.give_up(link.link)
        link.link.close()
        if unconfirmed and link.keep:
            self._kept[link.actor] = unconfirmed
            self._seek(link.actor)
        else:
            self._report(link.actor, unconfirmed, f"its receiver went down before confirming it: {link.down}")

    def _report(self, receiver: str, letters: Iterable[tuple[bytes, bytes]], why: str) -> None:
        """Tells of dead letters."""
        dead = [[self.me, receiver, body, cause, why] for cause, body in letters]
        if dead:
            self._signals.report(dead)

    def _seek(self, actor: str) -> None:
        """Asks where the next life of `actor` is, and does not wait for the answer."""
        number = self._signals.number()
        self._seeking[number] = actor
        self._signals.tell(Lookup(number, actor, _deadline(_SEEK_S)))

    def _sought(self, actor: str, answer: Message) -> None:
        """What was kept for `actor` goes to its next life, or is dead if there is none."""
        if actor not in self._kept:
            return  # It went with the link, when that came.
        error = from_wire(answer.error) if type(answer) is Missing else ActorDown("it is unknown")
        if type(error) is TimedOut:
            self._seek(actor)
        else:
            self._report(actor, self._kept.pop(actor), f"its receiver did not come back: {error.message}")

    # ---- receiving

    def wait(self, timeout: float | None) -> None:
        """Takes in whatever arrives within `timeout` seconds, at once if something does."""
        if self._outgoing:
            timeout = _AGAIN_S if timeout is None else min(timeout, _AGAIN_S)
        if self._news:
            timeout = _NEWS_STEP_S if timeout is None else min(timeout, _NEWS_STEP_S)
        for ready in self._poll.wait(timeout):
            self._take_in(ready)
        self._tell_news()

    def confirm(self) -> None:
        """Tells every sender how far its messages have been taken."""
        for peer, number in self._confirm.items():
            try:
                peer.link.send(encode(Taken(number)))
            except (Gone, Full):
                pass  # A dead sender needs no confirmation; a busy one gets the next.
        self._confirm.clear()

    def attend(self, link: Link, take_in: Callable[[], object]) -> None:
        """Has every wait end when something comes by `link` too, and `take_in` called for it."""
        self._others[link] = take_in
        self._poll.add(link)
        link.on_unsent = self._poll.let_out

    def neglect(self, link: Link) -> None:
        """Ends `attend`; must come before the link is closed."""
        if self._others.pop(link, None) is not None:
            self._poll.remove(link)
            self._poll.give_up(link)

    def look_around(self) -> None:
        """Takes in what has come by links that are attended to, and sends what has waited: a busy actor does not wait,
        so it would not know."""
        if self._poll.has_unsent:
            self._poll.flush()
        for take_in in list(self._others.values()):
            take_in()

    def _take_in(self, ready: Link | Sheaf) -> None:
        if ready is self._inbox:
            self.take_one()
        elif ready is self._signals.link:
            self.take_signals()
        elif type(ready) is Link and (take_in := self._others.get(ready)) is not None:
            take_in()

    def next_letter(self) -> Letter | Word | News | Errand | None:
        """Takes the oldest letter out of the mailbox."""
        if not self.letters:
            return None
        letter = self.letters.popleft()
        if not self._listening and len(self.letters) < self._mailbox:
            self._poll.add(self._inbox)
            self._listening = True
        return letter

    def take_one(self) -> bool:
        """Takes one message out of the inbox into the mailbox; False if none is there."""
        received = self._inbox.receive()
        if received is None:
            return False
        link, frame = received
        self._take_frame(self._sender_of[link], frame)
        if self._listening and len(self.letters) >= self._mailbox:
            # The rest stays with the kernel, whose queues are bounded too, until there is room.
            self._poll.remove(self._inbox)
            self._listening = False
        return True

    def _take_meet(self, message: Meet, descriptor: int | None) -> None:
        """Somebody will write to this actor."""
        if descriptor is None:
            self.refused += 1  # It was lost on its way: there are too few descriptors.
            return
        largest = self._message_limit + ENVELOPE
        link = Link(descriptor, largest=largest, size=largest)  # Who asks waits for one answer at a time.
        link.on_unsent = self._poll.let_out
        sender = Sender(link, message.actor, message.incarnation)
        self._senders[peer_name(message.actor, message.incarnation)] = self._sender_of[link] = sender
        self._inbox.add(link)

    def _sender_is_gone(self, link: Link) -> None:
        """All that a sender had said has been taken in, or it has broken the rules."""
        if link.fault is not None:
            self.refused += 1
        sender = self._sender_of.pop(link)
        name = peer_name(sender.actor, sender.incarnation)
        if self._senders.get(name) is sender:
            del self._senders[name]
        self._confirm.pop(sender, None)
        self._poll.give_up(link)
        link.close()

    def _take_frame(self, sender: Sender, frame: bytes) -> None:
        try:
            message = decode(frame)
            if type(message) is Send:
                self._take_send(sender, message, frozenset())
            elif type(message) is SendAgain:
                self._take_send(sender, message, self._begun_before())
            elif type(message) is Ask:
                self._take_ask(sender, message)
            elif type(message) is OpenChannel:
                self._take_open(sender, message)
            else:
                raise WireError(f"a sender does not say {type(message).__name__}")
        except WireError as error:
            sender.link.hang_up(error.message)

    def _take_send(self, sender: Sender, message: Send | SendAgain, skipped: Set[bytes]) -> None:
        if not 0 < message.number < _LARGEST_NUMBER:
            raise WireError(f"letters cannot be counted from {message.number} on")
        if sender.waiting + len(message.letters) > 2 * self._mailbox + _WORDS_MOST:
            raise WireError(f"more letters than the mailbox holds: {sender.waiting} wait there")
        for number, letter in enumerate(message.letters, message.number):
            match letter:
                case [bytes() as cause, bytes()] if cause in skipped:
                    self._confirm[sender] = number
                case [bytes() as cause, bytes() as body]:
                    taken = self._confirmation(sender, number)
                    self.letters.append(Letter(body, sender.actor, cause, taken=taken))
                case [bytes() as cause, bytes() | None as body, str() as channel]:
                    taken = self._confirmation(sender, number)
                    self.letters.append(Word(channel, body, sender.actor, cause, taken=taken))
                case _:
                    raise WireError("what stands among letters is none")

    def _begun_before(self) -> Set[bytes]:
        """As `handled_before`, which reads a good part of the chain, once in a life."""
        if self._handled_before is None:
            self._handled_before = self.handled_before()
        return self._handled_before

    def _confirmation(self, sender: Sender, number: int) -> Callable[[TheaterError | None], bool]:
        sender.waiting += 1

        def taken(error: TheaterError | None) -> bool:
            sender.waiting -= 1
            if not sender.link.ended:
                self._confirm[sender] = number
                if number % CONFIRM_EVERY == 0:
                    self.confirm()
            return False

        return taken

    def _take_ask(self, sender: Sender, message: Ask) -> None:
        reply = _FromMail(sender.link, message.number)
        path = _path(message.path)
        letter = Letter(message.body, sender.actor, message.cause, reply, message.deadline_ns, path)
        if not self._refused_as_circle(letter):
            self.letters.append(letter)

    def _take_open(self, sender: Sender, message: OpenChannel) -> None:
        reply = _FromMail(sender.link, message.number)
        opening = Opening(message.channel, Party(sender.actor, sender.incarnation))
        path = _path(message.path)
        letter = Letter(message.body, sender.actor, message.cause, reply, message.deadline_ns, path, opening=opening)
        if not self._refused_as_circle(letter):
            self.letters.append(letter)

    def _refuse_circles(self) -> None:
        """Refuses what has arrived before the wait began and can only be answered after it."""
        waiting = [letter for letter in self.letters if type(letter) is Letter and letter.path]
        for letter in waiting:
            if self._refused_as_circle(letter):
                self.letters.remove(letter)

    def _refused_as_circle(self, letter: Letter) -> bool:
        awaited = self._waiting_for
        if awaited is None or letter.reply is None or awaited not in letter.path:
            return False
        # Two that ask each other both see the circle; one refusal breaks it, so that the other's request succeeds.
        if self._is_asking and letter.sender == awaited and self.me > awaited:
            return False
        letter.reply.answer(None, Deadlock(f"{self.me} waits for {awaited}, which waits for this answer"), b"")
        return True

    def take_signals(self) -> None:
        """Takes in all that the supervisor has said."""
        while (message := self._signals.receive()) is not None:
            match message:
                case Deliver():
                    self.letters.append(self._letter_of_delivery(message))
                case OnChannel():
                    self._take_from_outside(message)
                case OfferChannel():
                    reply = _FromOutside(self._signals, message.number)
                    opening = Opening(message.channel, OUTSIDE)
                    self.letters.append(
                        Letter(message.body, reply=reply, deadline_ns=message.deadline_ns, opening=opening)
                    )
                case Fetched():
                    self.on_fetched(message.channel, message.messages, message.size)
                case Meet():
                    self._take_meet(message, self._signals.take_descriptor())
                case Found() | Missing() | Named() | Told():
                    self._take_answer(message)
                case MonitorDown() | LinkExit() | ChildEnded():
                    self._take_ending(message)
                case Down():
                    self._take_down(message)
                case Forget():
                    self._names.pop(message.name, None)
                case Stop():
                    self.stopping = True
                case Pardon():
                    self.on_pardon(message.digest)
                case ServiceIs():
                    self.on_service(message.service, message.up, self._signals.take_descriptor())
                case _:
                    self.refused += 1
        if self._signals.link.ended:
            self.stopping = True  # There is no supervisor any more.
            self._poll.remove(self._signals.link)
        self._tell_news()

    def _take_answer(self, message: Found | Missing | Named | Told) -> None:
        """Takes what the supervisor answered; nobody waits for an answer that comes too late, but a link that comes
        with one comes only once."""
        if type(message) is Found and (descriptor := self._signals.take_descriptor()) is not None:
            self._adopt(message, descriptor)
        sought = self._seeking.pop(message.number, None)
        if sought is not None:
            self._sought(sought, message)
        elif message.number == self._asking:
            self._reply = message

    def _letter_of_delivery(self, message: Deliver) -> Letter:
        reply = _FromOutside(self._signals, message.number)
        if message.ask:
            return Letter(message.body, reply=reply, deadline_ns=message.deadline_ns)

        def taken(error: TheaterError | None) -> bool:
            reply.answer(None, error, b"")
            return True

        return Letter(message.body, taken=taken, delivery=message.number)

    def _take_from_outside(self, message: OnChannel) -> None:
        """Words of a client's; the last of them says that all have been taken."""

        def taken(error: TheaterError | None) -> bool:
            self._signals.tell(Handled(message.number, None, None))
            return True

        last = len(message.bodies) - 1
        for at, body in enumerate(message.bodies):
            if type(body) is bytes or body is None:
                self.letters.append(Word(message.channel, body, None, taken=taken if at == last else None))
            else:
                self.refused += 1

    def _take_down(self, message: Down) -> None:
        reply = self._reply
        if type(reply) is Found and (reply.actor, reply.incarnation) == message[:2]:
            self._reply = message  # It died before there was a link to it: whoever asked asks again.
        self.on_life_over(message.actor, message.incarnation)
        link = self._links.get(message.actor)
        if link is None or link.incarnation != message.incarnation:
            return
        link.drain()  # Everything that it sent came before its death was announced.
        link.down = message.reason
        if self._waiting_for != link.actor:
            self._drop(link)

    # ---- news of deaths

    def announce(self, word: Word, peer: bytes) -> None:
        """Puts a word into the mailbox, behind all that `peer` had sent, whose life is over."""
        self._news.announce(word, peer)
        self._tell_news()

    def take_back(self, asked: Asked) -> bool:
        """Forgets news that is not wanted any more, wherever it waits; whether there was any."""
        found = self._news.take_back(asked)
        for letter in [letter for letter in self.letters if type(letter) is News and letter.asked == asked]:
            self.letters.remove(letter)
            found = True
        return found

    def _take_ending(self, message: MonitorDown | LinkExit | ChildEnded) -> None:
        try:
            self._news.add(message)
        except WireError:
            self.refused += 1
        self._tell_news()  # Now, if it need not wait: what the supervisor says next came later.

    def _tell_news(self) -> None:
        """Puts news that may be told behind all letters that have arrived."""
        while self._news and not self._is_closed and (news := self._news.take()) is not None:
            self.letters.append(news)

    def _hear_out(self, peer: bytes) -> Heard:
        """Reads all that a dead peer's link has delivered, as far as it is known to have ended; over the bound of the
        mailbox if need be, since it is no more than the kernel held for it."""
        sender = self._senders.get(peer)
        if sender is None:
            return Heard.ENDED  # It has been read to its end, or nothing was ever to come.
        while (frame := sender.link.receive()) is not None:
            self._take_frame(sender, frame)
        if not sender.link.ended:
            return Heard.OPEN
        self._inbox.remove(sender.link)
        self._sender_is_gone(sender.link)
        return Heard.ENDED

    # ---- the end

    def settle(self, timeout: float) -> None:
        """Waits until the supervisor has heard all that was said to it: it answers a question in its turn.

        What has only left this process may be read after the news of its end.
        """
        question = Whereis(self._signals.number(), self.me)
        self._signals.tell(question)
        deadline = _deadline(timeout)
        poll = Poll(self._signals.link)
        self._asking, self._reply = question.number, None
        while self._reply is None and time.monotonic_ns() < deadline:
            for _ in poll.wait(_seconds_until(deadline)):
                self.take_signals()

    def close(self) -> None:
        """Lets go of all links but the supervisor's. What this actor had sent to itself has no other sender who could
        report it."""
        if self._is_closed:
            return
        self.confirm()
        own = [letter for letter in self.letters if type(letter) is Letter and letter.sender == self.me]
        why = "the actor ended before it took this message of its own"
        self._report(self.me, [(letter.cause or b"", letter.body) for letter in own if letter.reply is None], why)
        for actor, letters in self._kept.items():
            self._report(actor, letters, "its sender ended while it waited for the next life of its receiver")
        until = time.monotonic() + _LINGER_S
        for link in (*(each.link for each in self._links.values()), *self._sender_of):
            if link.has_unsent:
                link.let_out(max(0.0, until - time.monotonic()))
        for each in self._links.values():
            each.link.close()
        self._poll.remove(self._inbox)
        self._inbox.close()
        # The supervisor may go on talking (`settle`): about others, who are of no concern any more.
        self._links.clear()
        self._senders.clear()
        self._sender_of.clear()
        self._kept.clear()
        self._is_closed = True


def _path(actors: list[Any]) -> tuple[str, ...]:
    """Who waits for an answer.

    Raises:
        WireError: what was said of that is none.
    """
    if len(actors) > _PATH_MOST or any(type(actor) is not str for actor in actors):
        raise WireError("what stands among those who wait is no actor")
    return tuple(actors)


def _no_service(service: str, up: bool, descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _deadline(timeout: float) -> int:
    return time.monotonic_ns() + int(timeout * 1_000_000_000)


def _is_said(letter: list[Any]) -> bool:
    """Whether it was said on a channel."""
    return len(letter) > 2


def _sends(letters: Iterable[list[Any]]) -> list[tuple[bytes, bytes]]:
    """Those that were not said on a channel, as (cause, body)."""
    return [(letter[0], letter[1]) for letter in letters if not _is_said(letter)]


def _seconds_until(deadline_ns: int) -> float:
    return max(0.0, (deadline_ns - time.monotonic_ns()) / 1_000_000_000)


__all__ = ["Mail", "Question"]
