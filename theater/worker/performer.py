"""A script performed: guests are made, called, compared and given up as it says.

This is what a life does (theater/worker/actor.py) without anything that surrounds it. A worker performs the lineage of
a life that goes on with its memory, and then lives on with the guest; a replay performs whole chains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from theater.core import memory_image
from theater.core.chain import Get, Outcome, outcome_trap
from theater.core.codec import Ref, content_digest
from theater.core.felt_limits import FeltLimits, felt_limits
from theater.core.handlers import INIT
from theater.core.life import Life
from theater.core.lineage import Lineage
from theater.core.replay import Script
from theater.core.replay_steps import Compare, Cue, Cut, Failed, Resume
from theater.core.snapshot import Snapshot
from theater.errors import ComponentError, IntegrityError, TheaterError, WrongState
from theater.host.base import Refused
from theater.host.outcomes import concluded, ended_by
from theater.wasm.guest import Guest, Trap


class Maker(Protocol):
    """Makes guests."""

    def make(self, life: Life, script: Script) -> Guest:
        """A guest of this life, loaded, with an image of its memory, and answered by this script. May raise what
        `Guest` does, and IntegrityError."""

    def remember(self, life: Life, lineage: Lineage, script: Script) -> Guest:
        """A guest with the memory of a lineage, answered by this script from now on."""


class Performer:
    """Performs one script.

    Args:
        get: content by its digest.
        maker: see `Maker`.
        timeout: seconds that a call may last; None for any time.
        between: called before each call.

    Attributes:
        guest: the one of the life that was performed last, if there was anything to perform.
    """

    def __init__(
        self,
        script: Script,
        get: Get,
        maker: Maker,
        *,
        timeout: float | None = None,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.guest: Guest | None = None
        self._script = script
        self._get = get
        self._maker = maker
        self._timeout = timeout
        self._between = between
        self._limits: FeltLimits | None = None

    def run(self) -> None:
        """Performs it to its end.

        Raises:
            Diverged: the guest did something else than the record says.
            OtherEngine: it ran on another engine than ours.
            IntegrityError: the record, or what it refers to, is damaged.
        """
        while (step := self._script.next()) is not None:
            match step:
                case Life():
                    self._begin(step)
                case Resume(life, snapshot):
                    self._resume(life, snapshot)
                case Compare(snapshot):
                    self._compare(snapshot)
                case Cue(is_cut=True):
                    self._script.abandon()
                case Cue():
                    self._between()
                    self._play(step)

    # ---- beginnings

    def _begin(self, life: Life) -> None:
        before, self._limits = self._limits, _limits_of(life, self._get)
        if life.begins is None:
            self._give_up()
            if not self._script.life_is_empty:
                self._make(life)
            return
        other = before.difference(self._limits) if before is not None else None
        if other is not None:
            self._script.refuse(f"the memory is that of another guest: {other}")
        if self.guest is not None and self.guest.is_alive:
            return  # It has been through its lineage, and through nothing else.
        self._give_up()
        if not self._script.life_is_empty and self._script.lineage is not None:
            self.guest = self._maker.remember(life, self._script.lineage, self._script)

    def _resume(self, life: Life, snapshot: Snapshot) -> None:
        self._limits = _limits_of(life, self._get)
        self._give_up()
        if not self._script.life_is_empty and snapshot.memory is not None:
            self._make(life)
            assert self.guest is not None
            restore(self.guest, snapshot, self._get)

    def _make(self, life: Life) -> None:
        try:
            self.guest = self._maker.make(life, self._script)
            assert self._limits is not None
            self.guest.limit_memory(self._limits.memory)
        except Cut:
            self._script.abandon()
        except (ComponentError, Trap, Refused) as error:
            self._script.refuse(f"the component did not come to life: {error}")

    def _give_up(self) -> None:
        if self.guest is not None:
            self.guest.close()
            self.guest = None

    # ---- calls

    def _play(self, cue: Cue) -> None:
        try:
            outcome = self._call(cue)
        except Cut:
            self._script.abandon()
        else:
            self._script.conclude(outcome)

    def _call(self, cue: Cue) -> Outcome:
        """How the call ends."""
        guest, limits, script = self.guest, self._limits, self._script
        assert guest is not None
        assert limits is not None
        before = script.state_digest
        if limits.fuel is not None:
            guest.set_fuel(limits.fuel)

        def fuel() -> int | None:
            return guest.fuel_consumed() if limits.fuel is not None else None

        try:
            result = guest.call(cue.interface, cue.function, (script.state, cue.args), self._timeout)
            outcome = concluded(
                result,
                before,
                fuel(),
                state_limit=limits.state,
                message_limit=limits.message,
                commits=limits.keeps_memory and (cue.interface, cue.function) == INIT,
            )
            return outcome._replace(root=guest.state_root()) if script.wants_root else outcome
        except Failed as failed:
            kind, message, backtrace = failed.outcome.value
            return outcome_trap(kind, message, backtrace, before, fuel())
        except IntegrityError:
            raise  # Of the record, not of the guest.
        except Exception as error:
            return ended_by(error, before, fuel())

    # ---- snapshots

    def _compare(self, snapshot: Snapshot) -> None:
        assert self.guest is not None
        memory: Ref | None = None
        if snapshot.memory is not None:
            try:
                memory = memory_image.store(self.guest.keep(), _name_content)
            except WrongState as error:
                self._script.refuse(error.message)
        self._script.confirm(self.guest.state_root() if snapshot.root is not None else None, memory)


def restore(guest: Guest, snapshot: Snapshot, get: Get) -> None:
    """Gives a guest that was loaded anew the memory of a snapshot.

    Raises:
        IntegrityError: it cannot be had, or is not what the snapshot says.
    """
    assert snapshot.memory is not None
    try:
        image = memory_image.load(snapshot.memory, get)
        if image.root != snapshot.root:
            raise IntegrityError("its root is not the one that the snapshot says")
        guest.restore(image)
    except TheaterError as error:
        raise IntegrityError(f"the memory of the snapshot cannot be had: {error.message}") from error


def _limits_of(life: Life, get: Get) -> FeltLimits:
    if life.manifest is None:
        raise IntegrityError(f"entry {life.entry}: a life begins without its manifest", index=life.entry)
    try:
        return felt_limits(get(life.manifest))
    except TheaterError as error:
        raise IntegrityError(f"entry {life.entry}: its manifest cannot be had: {error.message}") from error


def _name_content(content: bytes) -> str:
    """What a content store would call it; nothing is kept."""
    return content_digest(content).hex()
