"""Monitors and links between workers: their wishes in, news and kills out. What follows from what, core/bonds.py says.

A life that has ended is announced here after everything that it had said has been taken in, and before its supervisor
decides about the next. Who asks for one of its names then is answered after that decision (switchboard.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from theater.core.bonds import Bonds, Consequence, Down, Exit, Kill, Peer, Standing
from theater.core.exit_reason import ExitReason
from theater.core.wire import (
    Demonitor,
    LinkExit,
    LinkTo,
    Missing,
    Monitor,
    MonitorDown,
    Named,
    Told,
    TrapExits,
    Unlink,
)
from theater.errors import TheaterError
from theater.server.cast import COMING, Actor, Cast
from theater.server.stage import Stage, Worker
from theater.server.switchboard import Switchboard


class Registrar:
    """Keeps the register of all bonds.

    Attributes:
        stopping: the server ends all actors in order, so none of them ends another one before its turn.
    """

    def __init__(self, cast: Cast, stage: Stage, switchboard: Switchboard) -> None:
        self._bonds = Bonds()
        self._cast = cast
        self._stage = stage
        self._switchboard = switchboard
        self.stopping = False
        switchboard.on(Monitor, self._on_monitor)
        switchboard.on(Demonitor, self._on_demonitor)
        switchboard.on(LinkTo, self._on_link)
        switchboard.on(Unlink, self._on_unlink)
        switchboard.on(TrapExits, self._on_trap_exits)
        switchboard.on_up = self._on_up
        switchboard.on_dead = self._on_dead
        switchboard.on_down = self._on_down

    def bonds_of(self, actor: str) -> dict[str, list[str]]:
        """Those that an actor is linked to, and those that monitor it, by id."""
        return {"linked": self._bonds.linked(actor), "monitored_by": self._bonds.watchers(actor)}

    # ---- what workers ask for

    def _on_monitor(self, worker: Worker, message: Monitor) -> None:
        peer = self._peer(message.words)
        self._bind(worker, message.number, peer, lambda: self._bonds.monitor(worker.actor.id, message.ref, peer))

    def _on_link(self, worker: Worker, message: LinkTo) -> None:
        peer = self._peer(message.words)
        self._bind(worker, message.number, peer, lambda: self._bonds.link(worker.actor.id, peer))

    def _bind(self, worker: Worker, number: int, peer: Peer, make: Callable[[], list[Consequence]]) -> None:
        """Makes a bond and answers; what follows at once comes after the answer."""
        try:
            consequences = make()
        except TheaterError as error:
            self._switchboard.tell(worker, Missing(number, error.to_wire()))
            return
        self._switchboard.tell(worker, Named(number, peer.actor))
        self._carry_out(consequences)

    def _on_demonitor(self, worker: Worker, message: Demonitor) -> None:
        was_to_come = self._bonds.demonitor(worker.actor.id, message.ref)
        self._switchboard.tell(worker, Told(message.number, was_to_come))

    def _on_unlink(self, worker: Worker, message: Unlink) -> None:
        peer = self._peer(message.words)
        self._bonds.unlink(worker.actor.id, peer.actor)
        self._switchboard.tell(worker, Named(message.number, peer.actor))

    def _on_trap_exits(self, worker: Worker, message: TrapExits) -> None:
        self._bonds.trap_exits(worker.actor.id, message.trap)

    def _peer(self, words: str) -> Peer:
        actor = self._switchboard.find(words)
        if actor is None:
            return Peer(words, Standing.DOWN)
        return Peer(actor.id, _standing(actor), actor.incarnation, actor.last_exit)

    # ---- what happens to actors

    def _on_up(self, actor: Actor) -> None:
        self._bonds.is_up(actor.id)

    def _on_dead(self, worker: Worker, reason: ExitReason) -> None:
        self._carry_out(self._bonds.ended(worker.actor.id, worker.incarnation, reason))

    def _on_down(self, actor: Actor) -> None:
        reason = actor.last_exit or ExitReason.no_process()
        self._carry_out(self._bonds.stays_down(actor.id, actor.incarnation, reason))

    # ---- what follows

    def _carry_out(self, consequences: Iterable[Consequence]) -> None:
        for consequence in consequences:
            match consequence:
                case Down(watcher, ref, over):
                    spoke = self._switchboard.directory.had_asked(over.actor, watcher)
                    news = MonitorDown(ref, over.actor, over.incarnation, over.reason.to_dict(), spoke)
                    self._tell(watcher, news)
                case Exit(receiver, over):
                    spoke = self._switchboard.directory.had_asked(over.actor, receiver)
                    self._tell(receiver, LinkExit(over.actor, over.incarnation, over.reason.to_dict(), spoke))
                case Kill():
                    self._kill(consequence)

    def _tell(self, actor: str, news: MonitorDown | LinkExit) -> None:
        receiver = self._cast.get(actor)
        if receiver is not None and receiver.worker is not None:
            self._switchboard.tell(receiver.worker, news)

    def _kill(self, kill: Kill) -> None:
        victim = self._cast.get(kill.victim)
        if victim is not None and victim.worker is not None and not self.stopping:
            self._stage.end_with(victim.worker, ExitReason.linked(self._name(kill.over.actor), kill.over.reason))

    def _name(self, actor: str) -> str:
        """What a person calls an actor."""
        found = self._cast.get(actor)
        return f"{found.manifest.name} ({found.id})" if found is not None else repr(actor)


def _standing(actor: Actor) -> Standing:
    if actor.worker is not None and actor.worker.ready:
        return Standing.UP
    return Standing.COMING if actor.worker is not None or actor.state in COMING else Standing.DOWN
