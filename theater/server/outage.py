"""Whether the machine died under the last server of a home, and what that cost.

The home says under which boot of the machine its server runs, and that it ended in order, if it did: then everything
had been synced. If the kernel has another boot id by now and there was no such end, the machine died: a power cut, a
panic, a reset. Only then may a chain go on that is shorter than what is known of it, after the server has written down
what is missing (core/outage.py). At any other time somebody has cut it, and it is refused.

An actor with `durability = "host"` has lost nothing that it had promised. If its chain has, it is refused all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from theater import durable as disk
from theater.chainlog import outage
from theater.chainlog.outage import Known
from theater.chainlog.signed import signed_marks
from theater.config import Home
from theater.core.ids import is_id
from theater.core.outage import LOST, Loss
from theater.core.verification import SUPERVISOR
from theater.errors import DiskFull, TheaterError, disk_error
from theater.log import Logger
from theater.server.cast import Actor, Cast
from theater.server.ledger import Ledger

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ENDED = "ended"
_TELL_EVERY_S = 1.0
_LOOK_BACK = 10_000
"""Newest entries of the supervisor's chain among which checkpoints are looked for at each start."""


class Machine:
    """The machine on which a home is served, from the server's beginning to its end.

    Args:
        home: that is served.
        key: the home's public key, which has signed the supervisor's chain.
        tell: called with what is being done, every second or so, as long as it takes.

    Attributes:
        died_under: the boot id under which the last server ran, if the machine has died since; else None.
    """

    def __init__(self, home: Home, log: Logger, key: bytes, tell: Callable[[str], None]) -> None:
        self._home = home
        self._log = log
        self._key = key
        self._tell = tell
        self._told_at = time.monotonic()
        self._since: int | None = None
        self._ever: Known | None = None
        self._boot = _boot_id()
        self.died_under = self._who_died()
        self._own_loss: Loss | None = None
        self._known = Known({}, None)

    def prepare(self) -> None:
        """Takes from the supervisor's chain what cannot be read since the machine died, so that it can be opened.

        Raises:
            DiskFull, IntegrityError: the disk does not do it.
        """
        if self.died_under is None:
            return
        path = self._home.supervisor_chain
        self._tell("the machine died: looking for the end of the server's own chain")
        # What was signed last but one was synced before the last was written.
        durable = next(iter(signed_marks(path, self._key, 2)[1:]), None)
        self._since = durable.snapshot_at if durable is not None else None
        left = outage.take_stock(path, (), durable, self._ticker("the server's own chain"))
        if left is not None:
            outage.cut(path, left)
        self._known = self._read_known()
        if left is not None:
            self._own_loss = left.loss(SUPERVISOR, self.died_under, self._known.seen_ns)
            self._log.warning("the supervisor's chain is shorter than it was", lost=str(self._own_loss))

    def take_stock(self, cast: Cast, ledger: Ledger) -> None:
        """Writes down what all chains have lost, and cuts off what is left of it. What cannot be written down now stays
        as it is, and is refused until the next start of a server."""
        if self.died_under is None:
            self._remind(cast, outage.read_known(self._home.supervisor_chain, _LOOK_BACK))
            self._say_running()
            return
        self._log.warning("the machine died while the last server ran", boot=self.died_under)
        known = self._known
        if self._own_loss is not None:
            ledger.event(LOST, self._own_loss.details())
        there = {folder.name for folder in self._home.actors.iterdir() if is_id(folder.name)}
        results = [self._one(name, cast, known, ledger) for name in sorted(there | known.marks.keys())]
        self._remind(cast, self._read_known())
        if all(results) and ledger.commit():
            self._say_running()

    def say_ended(self) -> None:
        """The server has ended in order, and nothing of its actors runs: all that they wrote is made durable."""
        try:
            disk.sync_everything(self._home.root)
            disk.replace(self._home.boot, f"{self._boot} {_ENDED}\n".encode(), mode=0o600)
        except OSError as error:
            self._log.warning("it cannot be noted that the server ended in order", why=error.strerror)

    def _one(self, name: str, cast: Cast, known: Known, ledger: Ledger) -> bool:
        """One actor; returns whether there is nothing left to do for it."""
        actor, marks = cast.get(name), known.marks.get(name, [])
        path = self._home.chain(name)
        if actor is not None and actor.head is not None:
            marks = sorted([*marks, actor.head], key=lambda mark: mark.entries)
        try:
            tick = self._ticker(f"the chain of {name}")
            left = outage.take_stock(path, marks, tick=tick)
            if left is not None and self._since is not None and all(m.entries > left.mark.entries for m in marks):
                # Nothing is known of what is left since the snapshot, and it must be what was there.
                marks = [*self._all_known().marks.get(name, []), *marks]
                left = outage.take_stock(path, marks, tick=tick)
            if left is None or (actor is not None and actor.is_durable and left.known is not None):
                return True
            assert self.died_under is not None
            loss = left.loss(name, self.died_under, known.seen_ns)
            ledger.event(LOST, loss.details())
            if not ledger.commit():
                raise DiskFull("the supervisor's chain takes nothing")
            outage.cut(path, left)
        except TheaterError as error:
            self._log.error("what an actor lost when the machine died cannot be noted", actor=name, why=error.message)
            return False
        self._log.warning("a chain is shorter than it was", actor=name, lost=str(loss))
        ledger.system_line(name, left.mark.incarnation, str(loss))
        if actor is not None:
            actor.head = left.mark if left.mark.entries else None
            return self._keep(actor, cast)
        return True

    def _all_known(self) -> Known:
        """What all of the supervisor's chain says, which takes long; only who has lost very much asks."""
        if self._ever is None:
            tick = self._ticker("what is known of all chains")
            self._ever = outage.read_known(self._home.supervisor_chain, tick=tick)
        return self._ever

    def _read_known(self) -> Known:
        tick = self._ticker("what is known of all chains")
        return outage.read_known(self._home.supervisor_chain, since=self._since, tick=tick)

    def _ticker(self, what: str) -> Callable[[], None]:
        def tick() -> None:
            now = time.monotonic()
            if now - self._told_at >= _TELL_EVERY_S:
                self._told_at = now
                self._tell(f"the machine died: reading {what}")

        return tick

    def _remind(self, cast: Cast, known: Known) -> None:
        """Tells actors how far they were by the newest checkpoints; a server that was killed has not written it into
        their rows, and a chain that was cut since must not pass."""
        for name, marks in known.marks.items():
            actor = cast.get(name)
            if actor is not None and marks and (actor.head is None or actor.head.entries < marks[-1].entries):
                actor.head = marks[-1]

    def _keep(self, actor: Actor, cast: Cast) -> bool:
        try:
            cast.save(actor)
        except OSError as error:
            self._log.error("cannot write the actor's row", actor=actor.id, why=str(error))
            return False
        return True

    def _say_running(self) -> None:
        """What says that it ended in order is true no more.

        Raises:
            DiskFull, IntegrityError: that cannot be written, so no actor may start.
        """
        try:
            disk.replace(self._home.boot, f"{self._boot}\n".encode(), mode=0o600)
        except OSError as error:
            raise disk_error(error, f"writing {self._home.boot}") from error

    def _who_died(self) -> str | None:
        try:
            words = self._home.boot.read_text("ascii", "replace").split()
        except FileNotFoundError:
            return None
        return words[0] if len(words) == 1 and words[0] != self._boot else None


def _boot_id() -> str:
    return _BOOT_ID.read_text("ascii").strip()
