"""An actor at work: its state, its guest, its record, its mail, and the calls that bind them together.

Every call has the same shape: record that it begins, let the guest run, record how it ended, then let its effects
out. An `err` result leaves the state as it was and goes to the caller; a trap ends the life.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from theater.chainlog.actor_log import ActorLog
from theater.chainlog.reader import ChainReader
from theater.chainlog.rereading import head_before
from theater.core.chain import Call, Ending, Entry, Kind, Outcome, state_digest
from theater.core.exit_reason import ExitReason
from theater.core.handlers import HANDLERS, INIT, MESSAGE_SERVER_CLIENT, handled_exports, permissions_of
from theater.core.permissions import Permissions
from theater.core.permissions.filesystem import Filesystem as FilesystemGranted
from theater.core.permissions.random import Random as RandomGranted
from theater.core.permissions.store import Store as StorePermissions
from theater.core.permissions.timers import Timers as TimersGranted
from theater.core.pulse import Pulse
from theater.core.randomness import seeded
from theater.core.secrets import message_digest
from theater.core.snapshot import Answered
from theater.core.values import Err
from theater.errors import (
    ActorFailed,
    DiskFull,
    IntegrityError,
    MessageTooLarge,
    PoisonMessage,
    StartFailed,
    TheaterError,
    TimedOut,
)
from theater.host import catalogue, extensions
from theater.host.outcomes import concluded, ended_by
from theater.host.stores import Stores
from theater.store.content import ContentStore
from theater.store.labels import Labels
from theater.worker.assignment import Assignment
from theater.worker.bonds import Bonds
from theater.worker.channels import Channels
from theater.worker.family import Family
from theater.worker.folders import open_folders
from theater.worker.kept import Kept
from theater.worker.letters import Errand, Letter, News, Opening, Word
from theater.worker.mail import Mail
from theater.worker.paced import Gate, Leisure, PacedChannels, PacedPost
from theater.worker.past import Past
from theater.worker.post import Post
from theater.worker.promises import Promises
from theater.worker.record import Record, Room
from theater.worker.recovery import take_up
from theater.worker.retrace import remember
from theater.worker.seal import seal_worker
from theater.worker.services import Services
from theater.worker.signals import Signals
from theater.worker.snapshots import Snapshots, require_room, snapshot_of
from theater.worker.timers import Timers
from theater.worker.veiled import VeiledRecord, values_of
from theater.worker.warm import Warm

_LETTERS_BETWEEN_LOOKS = 16
_RESTS_BETWEEN_MEASURES = 16
_SLEEP_STEP_S = 0.25
_BIDE_STEP_S = 0.05
_LOOK_BACK = 10_000
"""Newest entries of the chain among which a call is looked for that an earlier life has begun."""
_SECRETS_IN_MEMORY = "it knows secrets, and they stand in its memory as they are"
_LAST_WORDS_S = 1.0
"""How long a worker that ends waits for the supervisor to hear it out."""


class Ended(Exception):
    """The life is over for a reason that is not the guest's failure."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(reason.describe())
        self.reason = reason


@dataclass(slots=True)
class _Circumstances:
    """The message that is being handled."""

    sender: str | None = None
    deadline_ns: int = 0


class Actor:
    """One incarnation.

    Args:
        assignment: who it is.
        warm: its component.
        pulse: the page it shares with the supervisor.
        signals: its line to the supervisor.
    """

    def __init__(self, assignment: Assignment, warm: Warm, pulse: Pulse, signals: Signals) -> None:
        self._is = assignment
        self._limits = assignment.limits
        self._guest = warm.guest
        self._pulse = pulse
        self._seam = warm.seam
        self._now = _Circumstances()
        self._call_until: float | None = None
        self._rests = 0
        self._memory = 0
        self._ending: ExitReason | None = None
        self._leisure = Leisure(self._limits.messages_per_second, self._limits.cpu)
        self._poison = set(assignment.poison)
        _tidy(assignment.own())
        self._log = ActorLog(assignment.own("log"), self._limits.log)
        durable = assignment.durability == "host"
        content = ContentStore(assignment.content, durable=durable, drafts=assignment.own())
        self.signals = signals
        limit = self._limits.chain
        self._room = Room(assignment.path(""), limit) if limit is not None else None
        put = self._room.counted(content.put) if self._room is not None else None
        beginning = take_up(assignment, warm.artefact.meta, content, put)
        if self._room is not None:
            self._room.require(beginning.writer.offset)
        self._writer, self._state, self._begun = beginning.writer, beginning.state, beginning.goes_on
        self._warm, self._content, self._life, self._past = warm, content, beginning.life, beginning.past
        self._loaded: Sequence[Answered] = list(warm.seam.asked)
        self._root_every, self._concluded = assignment.state_root, 0
        self._is_committed = beginning.goes_on and beginning.writer.mark.state_at is not None
        self._snapshots = self._expect_snapshots()
        if beginning.torn_bytes:
            self._say_system(
                f"cut a torn tail of {beginning.torn_bytes} bytes from the chain; nothing of it was acknowledged"
            )
        self._state_digest = state_digest(self._state)
        self._veil = beginning.veil
        self._record = self._new_record(durable)
        limits = self._limits
        self._woken = wake = _wake_on_signals()
        who = assignment.actor, assignment.incarnation
        self._mail = Mail(*who, self.signals, limits.message, limits.mailbox, wake)
        self._mail.on_pardon = self._poison.discard
        self._mail.handled_before = self._handled_before
        self._promises = Promises(self._release_answer)
        self._channels = Channels(self._mail, self._make_way, self._origin, self._remaining, limits.request_timeout)
        moment = assignment.own("timers"), _wall_ms, self._recorded_origin
        catch_up = assignment.granted(TimersGranted).catch_up
        self._timers = Timers(
            *moment, self._veil, durable=durable, catch_up=catch_up, up_until_ms=self._newest_entry_ms
        )
        self._servers = Kept(assignment.own("servers"), self._record.release, self._veil, durable=durable)
        if beginning.why_not is not None:
            self._say_system(f"goes on with its state and not with its memory: {beginning.why_not}")
        granted = assignment.granted(FilesystemGranted)
        self._folders = open_folders(assignment, granted, self._record.release, self._remaining)
        if self._past is None:
            self._attach(warm, content)

    def seal(self) -> None:
        """Gives up all rights that the guest is not to find, should it get out of its sandbox. What needs one of them
        has been done, or is done now."""
        self._guest.prepare_deadlines()
        if self._is.state_root:
            self._guest.prepare_state_roots()
        seal_worker(self._is, self._writer.fileno(), self._folders.places)

    def _expect_snapshots(self) -> Snapshots:
        at = self._writer.recovery.mark.snapshot_at
        last = (head_before(self._is.path("chain"), at).entries, at) if at is not None else (0, 0)
        return Snapshots(self._is.snapshot, last, (self._writer.head.entries, self._writer.offset))

    def _say_system(self, text: str) -> None:
        self._log.write(time.time_ns(), self._is.incarnation, "system", text)

    def _new_record(self, durable: bool) -> Record:
        args = self._writer, self._pulse, self.signals, self._limits.record, durable, self._room
        return Record(*args) if self._veil is None else VeiledRecord(self._veil, self._state, *args)

    def _attach(self, warm: Warm, content: ContentStore) -> None:
        """Gives the guest its limits and its host."""
        self._attached = True
        self._post = post = Post(self._mail, self._record, warm.seam, self._limits, self._remaining)
        labels = Labels(self._is.labels, content, self._record.release)
        family = Family(self._mail, self._make_way, self._origin, self._remaining)
        bonds = Bonds(self._mail, self._make_way, self._remaining)
        self._services = Services(
            self._is.services,
            self._mail,
            self._make_way,
            lambda: self._seam.origin,
            self._remaining,
            self._limits.request_timeout,
            lambda text: self.say("system", text),
        )
        self._mail.on_service = self._services.changed
        secrets = values_of(self._is, self._veil)
        seed = self._is.granted(RandomGranted).seed
        source = os.urandom if seed is None else seeded(seed, self._is.name, self._is.incarnation)
        permissions = {name: permissions_of(name, plain) for name, plain in self._is.permissions.items()}
        granted_stores = permissions.get("store")
        store_permissions = granted_stores if isinstance(granted_stores, StorePermissions) else StorePermissions()
        outgoing = Gate(self._limits.messages_per_second)
        ports = catalogue.Ports(
            life=self,
            post=PacedPost(post, outgoing),
            later=self._promises,
            circumstances=self,
            directory=self._mail,
            clockwork=self._timers,
            stores=Stores(labels, self._is.actor, store_permissions),
            folders=self._folders,
            family=family,
            bonds=bonds,
            secrets=secrets,
            services=self._services,
            permissions=permissions,
            bed=self,
            randomness=source,
            environment=self._is.environment,
            channels=PacedChannels(self._channels, outgoing),
            servers=self._servers,
        )
        interfaces = {**catalogue.build(ports), **self._extensions(permissions)}
        granted = frozenset(name for kind in self._is.handlers for name in HANDLERS[kind].imports)
        denied = {name: catalogue.why_denied(name) for name in interfaces if name not in granted}
        self._guest.limit_memory(self._limits.memory)
        if self._guest.memory_bytes() > self._limits.memory:
            raise StartFailed(
                f"the component needs {self._guest.memory_bytes()} bytes of memory from the start, "
                f"[limits] memory is {self._limits.memory}"
            )
        warm.seam.attach(self._record, {name: interfaces[name] for name in granted if name in interfaces}, denied)
        warm.host.wasi.attach(self, source if seed is not None else None)
        handled = handled_exports(frozenset(self._is.handlers))
        self._handles = frozenset(export for export in self._guest.exports if export[0] in handled)

    def _extensions(self, permissions: Mapping[str, Permissions]) -> dict[str, object]:
        """What answers the interfaces that handlers of packages grant."""
        who = self._is.actor, self._is.name, self._is.incarnation
        folder = self._is.own()
        return extensions.interfaces(self._is.handlers, who, folder, permissions, self._record.release, self._remaining)

    # ---- the life

    def begin(self) -> None:
        """Lets the actor initialise itself, unless it goes on from a state that it had."""
        if self._past is not None:
            self._remember(self._past)
        if self._begun:
            self._record.release()
            return
        self._timers.clear()
        self._servers.put(None)
        self._initialises_memory = self._is.state_policy == "replay"
        result = self._call(*INIT, (self._is.actor,), None, None, None)
        self._initialises_memory = False
        if isinstance(result, Err):
            self._record.release()
            raise Ended(ExitReason.error(f"init answered with an error: {result.value}"))
        self._record.release()

    def _remember(self, past: Past) -> None:
        """Gives the guest the memory that it had, and then its host."""
        self._record.release()  # Whatever comes of it, this life has begun.
        began, lineage = time.monotonic(), past.lineage
        self._guest, self._loaded = remember(
            past, self._warm, self._program, self._limits.call_timeout, self._end_if_asked
        )
        self._attach(self._warm, self._content)
        took = time.monotonic() - began
        left_out = f", without those of the entries {', '.join(map(str, lineage.left_out))}" if lineage.left_out else ""
        self._say_system(f"executed {lineage.calls} calls from entry {lineage.begins} on in {took:.2f} s{left_out}")

    def _program(self) -> bytes | None:
        return self._content.get(self._is.program) if self._is.program is not None else None

    def _end_if_asked(self) -> None:
        if self._mail.stopping:
            raise Ended(ExitReason.shutdown())

    def rehearse(self, letter: Letter) -> None:
        """Does all that a life does around one message, and lets go of everything. The guest is an understudy's part
        (theater/worker/rehearsal.py)."""
        self.begin()
        self._timers.take_due()
        self._mail.next_letter()
        self._mail.take_one()
        self._handle(letter)
        self._rest(0.0)
        self._record.close()
        self._mail.close()
        os.close(signal.set_wakeup_fd(-1))
        os.close(self._woken)

    def serve(self) -> NoReturn:
        """Takes what comes, one at a time, until something ends the life."""
        mail, timers, writer, snapshots = self._mail, self._timers, self._writer, self._snapshots
        handled = 0
        while True:
            if writer.offset >= snapshots.look_at:
                self._look_for_snapshot()
            if self._services.needs_tending:
                self._services.tend()
            if self._ending is not None:
                raise Ended(self._ending)
            if mail.stopping:
                raise Ended(ExitReason.shutdown())
            if (wait := self._leisure.left()) > 0.0:
                self._bide(wait)
                continue
            timer = timers.take_due()
            if timer is not None:
                self._handle(Letter(timer.msg, self._is.actor, timer.cause))
            letter = mail.next_letter()
            if letter is not None:
                if isinstance(letter, Letter):
                    self._leisure.took()
                    self._handle(letter)
                elif isinstance(letter, Word):
                    self._leisure.took()
                    self._follow(letter)
                elif isinstance(letter, Errand):
                    self._run(letter)
                else:
                    self._hear(letter)
                handled += 1
                if handled % _LETTERS_BETWEEN_LOOKS == 0:
                    mail.take_signals()
                    mail.look_around()
            elif not mail.take_one() and not self._services.needs_tending:
                self._rest(timers.next_due())

    def _look_for_snapshot(self) -> None:
        """Writes down what the actor is, if that is due; whoever waits for an answer gets it before."""
        if not self._snapshots.is_due(self._writer.head.entries, self._writer.offset) or self._ending is not None:
            return
        self._make_way()
        try:
            taken = snapshot_of(
                self._guest,
                self._state,
                self._is_committed,
                self._life,
                self._loaded,
                self._content.put,
                _SECRETS_IN_MEMORY if self._veil is not None else None,
            )
            require_room(self._writer.fileno())
            self._record.lifecycle(taken.event, dict(taken.details))
            self._snapshots.taken(self._writer.head.entries, self._writer.offset)
            self._make_way()
        except (DiskFull, IntegrityError, MessageTooLarge) as error:
            self._snapshots.failed(self._writer.head.entries, self._writer.offset)
            self._say_system(f"no snapshot could be made, and one will be tried later: {error.message}")

    def _rest(self, timeout: float | None) -> None:
        """Nothing waits: lets out what was kept back to go together, and sleeps until something comes."""
        self._make_way()
        self._mail.confirm()
        self._rests += 1
        if self._rests % _RESTS_BETWEEN_MEASURES == 1:
            self._memory = self._guest.memory_bytes()
        self._pulse.gauges(len(self._mail.letters), self._memory, len(self._state or b""))
        self._mail.wait(timeout)

    def _bide(self, seconds: float) -> None:
        """Takes nothing for a while but what the supervisor says; what others send stays where it waits."""
        self._make_way()
        self._mail.confirm()
        time.sleep(min(seconds, _BIDE_STEP_S))
        self._mail.take_signals()

    def redact(self, text: str) -> str:
        """What anybody may read of a text about this life."""
        return text if self._veil is None else self._veil.redact(text)

    def on_sigterm(self, *_: object) -> None:
        """The handler of SIGTERM: end in order, at once when nothing is done but waiting."""
        self._mail.stopping = True

    def close(self, reason: ExitReason) -> None:
        """Writes the end into the record and lets go of everything.

        Who waits for this actor is told by the supervisor, when the process has ended: who asks again then waits for
        the next life instead of meeting the end of this one.
        """
        self._mail.close()
        is_recorded = False
        try:
            said = {} if self._said is None else {"data": self._said}
            self._record.lifecycle("ended", {**reason.to_dict(), **said})
            self._record.close()
            is_recorded = True
        except TheaterError as error:
            print(f"actor {self._is.actor}: its end is not in its chain: {error}", file=sys.stderr)
        if self._attached:
            if is_recorded:  # Else the ends of calls may not be either, and nobody may hear of what is not recorded.
                self._services.post()
            self._services.close()
        self._mail.settle(_LAST_WORDS_S)
        self.signals.link.let_out(_LAST_WORDS_S)
        self._log.close()

    # ---- one call

    def _handle(self, letter: Letter) -> None:
        refusal = self._refusal(letter)
        if refusal is not None:
            self._refuse(letter, refusal)
            return
        if letter.opening is not None:
            self._decide(letter, letter.opening)
            return
        self._now = _Circumstances(letter.sender, letter.deadline_ns)
        self._mail.path = letter.path
        request = f"request-{self._record.next_entry}" if letter.reply is not None else None
        params = (letter.body,) if request is None else (request, letter.body)
        try:
            result = self._call(
                MESSAGE_SERVER_CLIENT, letter.function, params, letter, letter.cause, letter.sender, request
            )
        finally:
            self._now = _Circumstances()
            self._mail.path = ()
        if letter.reply is not None and request is not None:
            self._reply(letter, request, result)

    def _decide(self, letter: Letter, opening: Opening) -> None:
        """Lets the guest accept a channel, or refuse it."""
        assert letter.reply is not None
        try:
            self._channels.offered(opening)
        except TheaterError as error:
            self._refuse(letter, error)
            return
        self._now = _Circumstances(letter.sender, letter.deadline_ns)
        self._mail.path = letter.path
        try:
            params = opening.channel, letter.body
            result = self._call(MESSAGE_SERVER_CLIENT, letter.function, params, letter, letter.cause, letter.sender)
        finally:
            self._now = _Circumstances()
            self._mail.path = ()
        refusal: TheaterError | None
        if isinstance(result, Err):
            self._channels.failed(opening)
            refusal = ActorFailed(str(result.value))
        else:
            refusal = self._channels.answered(opening, result[0], self._last)
        self._record.release()
        letter.reply.answer(None, refusal, self._last)
        self._mail.post()

    def _follow(self, word: Word) -> None:
        """Tells the guest what was said on a channel, or that it is closed."""
        call = self._channels.call_for(word)
        letter = Letter(word.body or b"", word.sender, word.cause, taken=word.taken)
        if call is None or not self._can_follow(word, call[0]):
            if word.taken is not None:
                word.taken(None)
            return
        self._now = _Circumstances(word.sender)
        try:
            self._call(MESSAGE_SERVER_CLIENT, *call, letter, word.cause, word.sender)
        finally:
            self._now = _Circumstances()

    def _can_follow(self, word: Word, function: str) -> bool:
        if len(word.body or b"") > self._limits.message:
            why = f"has {len(word.body or b'')} bytes, {self._limits.message} are accepted ([limits] message)"
        elif self._poison and word.body is not None and message_digest(word.body, self._veil) in self._poison:
            why = "ended this actor before; it is a dead letter now"
            self.signals.report(
                [[word.sender, self._is.actor, word.body, word.cause or b"", f"on a channel: it {why}"]]
            )
        elif (MESSAGE_SERVER_CLIENT, function) not in self._handles:
            why = f"came, and the component does not export {function}"
        else:
            return True
        self.say("system", f"a message on channel {word.channel} {why}; it was left out")
        return False

    def _hear(self, news: News) -> None:
        """Tells the guest of an end. Nobody waits for its answer: an error goes to the log and nowhere else."""
        if (news.interface, news.function) in self._handles:
            self._call(news.interface, news.function, news.params, None, None, None)
        else:
            self.say("system", f"{_told(news)}; the component does not export {news.interface}, so it was not told")

    def _run(self, errand: Errand) -> None:
        """Does what a service wants done."""
        if (errand.interface, errand.function) not in self._handles:
            error: TheaterError = ActorFailed(
                f"{self._is.name} cannot be asked for {errand.function}: its component does not export "
                f"{errand.interface}, or its manifest does not grant the handler"
            )
            errand.returned(None, error, b"")
            return
        if errand.deadline_ns < time.monotonic_ns():
            errand.returned(None, TimedOut(f"{self._is.name} had not begun when the time was over"), b"")
            return
        self._now = _Circumstances(None, errand.deadline_ns)
        try:
            params = self._guest.shaped(errand.interface, errand.function, errand.params)
            result = self._call(errand.interface, errand.function, params, None, None, None)
        finally:
            self._now = _Circumstances()
        # It leaves when the next call has begun, or the actor rests: what records both goes to the disk together.
        if isinstance(result, Err):
            errand.returned(None, ActorFailed(str(result.value)), self._last)
        else:
            errand.returned(list(result), None, self._last)

    def _reply(self, letter: Letter, request: str, result: Any) -> None:
        assert letter.reply is not None
        if isinstance(result, Err):
            self._record.release()
            letter.reply.answer(None, ActorFailed(str(result.value)), self._last)
            return
        (reply,) = result
        if reply is None:
            self._promises.promise(request, letter.reply, letter.deadline_ns)
            return
        self._record.release()
        letter.reply.answer(reply, None, self._last)

    def _refusal(self, letter: Letter) -> TheaterError | None:
        """Why this letter is not handled, if it is not."""
        if len(letter.body) > self._limits.message:
            return MessageTooLarge(
                f"the message has {len(letter.body)} bytes, {self._is.name} accepts {self._limits.message}"
            )
        if letter.deadline_ns and letter.deadline_ns < time.monotonic_ns():
            return TimedOut(f"{self._is.name} had not taken the message when its sender's time was over")
        if (MESSAGE_SERVER_CLIENT, letter.function) not in self._handles:
            what, needs = "messages", MESSAGE_SERVER_CLIENT
            if letter.opening is not None:
                what, needs = "channels", f"{letter.function} of {MESSAGE_SERVER_CLIENT}"
            return ActorFailed(
                f'{self._is.name} takes no {what}: its manifest needs [[handler]] type = "message-server", and its '
                f"component must export {needs}"
            )
        if self._poison and message_digest(letter.body, self._veil) in self._poison:
            return PoisonMessage(f"{self._is.name} was ended by this very message before; it is a dead letter now")
        return None

    def _refuse(self, letter: Letter, error: TheaterError) -> None:
        """Tells whoever sent it; a message that nobody answers for, and one that is poison, becomes a dead letter."""
        if letter.reply is not None:
            letter.reply.answer(None, error, b"")
        told = letter.reply is not None or (letter.taken is not None and letter.taken(error))
        if not told or isinstance(error, PoisonMessage):
            self.signals.report([[letter.sender, self._is.actor, letter.body, letter.cause or b"", error.message]])

    def _call(
        self,
        interface: str,
        function: str,
        params: tuple[Any, ...],
        letter: Letter | None,
        cause: bytes | None,
        sender: str | None,
        request: str | None = None,
    ) -> Any:
        """Calls a handler of the guest.

        Returns:
            the extra result (a tuple) if it succeeded, else an Err.
        """
        record = self._record
        if letter is not None and letter.delivery:
            self._pulse.takes(letter.delivery, self._writer.offset)
        record.call(interface, function, params, cause, sender, request)
        if self._services.owes:
            self._services.post()  # What was still to be recorded of them is on the disk with this call's beginning.
        if letter is not None and letter.taken is not None:
            letter.taken(None)
        if self._limits.fuel is not None:
            self._guest.set_fuel(self._limits.fuel)
        timeout = self._limits.call_timeout
        self._leisure.begins()
        self._call_until = time.monotonic() + timeout if timeout is not None else None
        try:
            result = self._guest.call(interface, function, (self._state, params), timeout)
            value = self._conclude(result)
            self._post.let_out()
            return value
        except (DiskFull, IntegrityError):
            raise  # The chain takes nothing any more, so this is not in it: its last entry is the call.
        except Exception as error:
            self._last = record.outcome(ended_by(error, self._state_digest, self._fuel()))
            record.release()
            self._mail.post()
            raise
        finally:
            self._pulse.end()
            self._leisure.ends()

    def _conclude(self, result: Any) -> Any:
        """Records what the handler returned and takes over its state."""
        limits = self._limits
        outcome = concluded(
            result,
            self._state_digest,
            self._fuel(),
            state_limit=limits.state,
            message_limit=limits.message,
            commits=self._initialises_memory,
        )
        if self._root_every:
            outcome = self._rooted(outcome)
        self._last = self._record.outcome(outcome)
        if outcome.ending == Ending.ERR:
            self.say("system", f"a handler answered with an error: {outcome.value}")
            return Err(outcome.value)
        if outcome.state:
            (self._state,) = outcome.state
            self._state_digest = outcome.state_digest
            self._is_committed = True
        return tuple(outcome.value)

    def _rooted(self, outcome: Outcome) -> Outcome:
        """With what the memory is now, if this call is one of those that say so."""
        self._concluded += 1
        return outcome if self._concluded % self._root_every else outcome._replace(root=self._guest.state_root())

    def _fuel(self) -> int | None:
        return self._guest.fuel_consumed() if self._limits.fuel is not None else None

    def _newest_entry_ms(self) -> int:
        """Until when the life before this one is known to have been up; this one has written nothing yet."""
        with ChainReader(self._is.path("chain")) as reader:
            newest = reader.tail(1)
        return newest[0].time_ns // 1_000_000 if newest else _wall_ms()

    def _remaining(self) -> float | None:
        """Seconds that the running call may still take."""
        return self._call_until - time.monotonic() if self._call_until is not None else None

    def _release_answer(self) -> bytes:
        self._record.release()
        return self._writer.head.digest

    def _origin(self) -> tuple[bytes, int]:
        """Digest and number of the entry that records the running host call."""
        return self._seam.origin, self._record.next_entry - 1

    def _recorded_origin(self) -> bytes:
        """Digest of the entry that records the running host call, which is on the disk when this returns: what will be
        beside the chain in a moment must not name an entry that is lost."""
        self._record.release()
        return self._seam.origin

    def _make_way(self) -> None:
        """What has been recorded is on the disk, and what has been sent has left, when this returns."""
        self._record.release()
        self._mail.post()
        if self._services.owes:
            self._services.post()

    def _handled_before(self) -> Set[bytes]:
        """The causes of the calls that the newest entries of the chain record: letters that have been handled, or whose
        handling was the end of a life."""
        self._record.release()
        with ChainReader(self._is.path("chain")) as reader:
            calls = [entry.read() for entry in reader.tail(_LOOK_BACK) if entry.kind is Kind.CALL]
        return frozenset(call.cause for call in calls if isinstance(call, Call) and call.cause is not None)

    # ---- what the guest reaches through its host (ports of theater/host)

    def say(self, stream: str, text: str) -> None:
        """Appends to the actor's log; it has been recorded before."""
        self._record.release()
        self._log.write(time.time_ns(), self._is.incarnation, stream, self.redact(text))

    def write(self, stream: str, data: bytes) -> None:
        """Standard output of the guest."""
        said = data if self._veil is None else self._veil.redact_bytes(data)
        self.say(stream, said.decode("utf-8", "backslashreplace"))

    def sleep(self, seconds: float) -> None:
        """Sleeps as long as the call may last, and wakes up early when the actor is to end."""
        self._make_way()  # That it sleeps is on the disk, so that whoever wonders what it does can read it.
        left = self._remaining()
        until = time.monotonic() + (seconds if left is None else min(seconds, left + 0.001))
        while (rest := until - time.monotonic()) > 0 and not self._mail.stopping:
            self._mail.wait(min(rest, _SLEEP_STEP_S))

    def remaining(self) -> float | None:
        return self._remaining()

    def is_stopping(self) -> bool:
        return self._mail.stopping

    def end(self, data: bytes | None) -> None:
        self._said = data
        self._ending = ExitReason.normal() if data is None else _with_words(data)

    def newest_entries(self, limit: int) -> list[Entry]:
        self._record.release()
        with ChainReader(self._is.path("chain")) as reader:
            return list(reader.tail(limit))

    def me(self) -> dict[str, Any]:
        return {
            "id": self._is.actor,
            "name": self._is.name,
            "parent": self._is.parent,
            "incarnation": self._is.incarnation,
        }

    def sender(self) -> str | None:
        return self._now.sender

    def deadline_ms(self) -> int | None:
        if not self._now.deadline_ns:
            return None
        return _wall_ms() + (self._now.deadline_ns - time.monotonic_ns()) // 1_000_000

    _attached = False
    _initialises_memory = False
    _last = b""
    _said: bytes | None = None


def _told(news: News) -> str:
    """What has happened, for a person."""
    who = next(param for param in news.params if isinstance(param, str))
    return f"news of actor {who} came for {news.function}"


def _tidy(own: Path) -> None:
    """Removes the drafts of a life that was killed while it wrote one."""
    os.makedirs(own, mode=0o700, exist_ok=True)
    for name in os.listdir(own):
        if name.startswith("."):
            os.unlink(own / name)


def _wake_on_signals() -> int:
    """A descriptor that can be read once a signal has been handled."""
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    return woken


def _with_words(data: bytes) -> ExitReason:
    """A normal end whose last words are for people."""
    from dataclasses import replace

    return replace(ExitReason.normal(), detail=data.decode("utf-8", "backslashreplace"))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
