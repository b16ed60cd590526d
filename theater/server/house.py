"""The server put together: what it consists of, what it does from time to time, and how it ends."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from theater import config
from theater import log as logs
from theater.bus.sockets import Context
from theater.chainlog import keys
from theater.config import Home
from theater.errors import (
    DiskFull,
)
from theater.log import Logger
from theater.server import adoption, caretaker, ledger, vigil
from theater.server.bonds import Registrar
from theater.server.caretaker import Caretaker
from theater.server.cast import Actor, Cast, State
from theater.server.cgroups import Groups
from theater.server.channels import Channels
from theater.server.control import Control
from theater.server.dead_letters import DeadLetters
from theater.server.gate import Gate
from theater.server.graft import Grafts
from theater.server.grove import Ground, Grove
from theater.server.kept_tree import KeptTree
from theater.server.larder import Larder
from theater.server.ledger import Ledger
from theater.server.lives import Lives
from theater.server.loop import Loop
from theater.server.nursery import Nursery
from theater.server.outage import Machine
from theater.server.overheard import Overheard
from theater.server.parenthood import Parenthood
from theater.server.processes import Processes
from theater.server.records import Records
from theater.server.reload import Reload
from theater.server.services import Services
from theater.server.stage import Stage
from theater.server.switchboard import Switchboard
from theater.server.tree_view import TreeView
from theater.server.vault import Vault
from theater.server.view import View
from theater.server.vigil import Vigil
from theater.server.watch import Watch
from theater.server.why import Why
from theater.server.wishes import Application
from theater.server.workshop import Workshop
from theater.store.content import ContentStore
from theater.wasm.artefacts import ArtefactCache
from theater.worker.assignment import REHEARSAL

_TIDY_EVERY_S = 10.0


class House:
    """Everything that one server consists of."""

    def __init__(
        self, home: Home, log: Logger, cgroup: Path | None = None, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self.home = home
        self.log = log
        self.version = importlib.metadata.version("theater")
        self.started_ms = time.time_ns() // 1_000_000
        self.loop = Loop()
        self.reload = Reload()
        self.processes = Processes(self.loop)
        self.processes.overheard = Overheard(self.loop, log)
        self.nursery = Nursery(self.loop, self.processes, log)
        self.groups = Groups.prepare(cgroup)  # Before anybody descends from this process, who would be left behind.
        log.info("control groups", have=self.groups.text)
        self.nursery.start()  # Before any ZeroMQ context exists: the spawner must not inherit one.
        self.content = ContentStore(home.content)
        adoption.finish(home)
        self.cast = Cast(home)
        self.cast.load()
        for row in self.cast.unreadable:
            log.error("an actor of this home cannot be read and is left alone", row=row)
        # The secret is read after the spawner was executed, so that no worker inherits it.
        signer = keys.open_signer(home)
        self.machine = Machine(home, log, signer.public, tell)
        self.machine.prepare()
        self.ledger = Ledger(home, log, self.version, signer)
        self.machine.take_stock(self.cast, self.ledger)
        self.dead_letters = DeadLetters(home.dead_letters, log, Vault(home, os.environ).veil)
        self.watch = Watch(self.loop, self.cast)
        self.workshop = Workshop(
            self.loop, self.processes, ArtefactCache(config.cache() / "artefacts"), self.content.path, log
        )
        self.stage = Stage(home, self.content, self.loop, self.processes, self.nursery, self.cast, self.ledger, log)
        self.stage.groups = self.groups
        self.context = Context()
        self.switchboard = Switchboard(self.loop, self.cast, self.stage, self.dead_letters, log)
        self.stage.switchboard = self.switchboard
        self.channels = Channels(self.loop, self.switchboard)
        self.services = Services(home, self.loop, self.processes, self.ledger, log)
        self.services.switchboard = self.switchboard
        self.stage.services = self.services
        self.stage.on_ready = self._on_ready
        self.switchboard.on_grown = self.watch.changed
        self.registrar = Registrar(self.cast, self.stage, self.switchboard)
        self.ledger.on_change = self.watch.changed
        self.lives = Lives(
            self.loop, self.cast, self.stage, self.switchboard, self.workshop, self.content, self.ledger, log
        )
        self.records = Records(home, self.content, self.stage)
        self.parenthood = Parenthood(
            self.cast,
            self.stage,
            self.switchboard,
            self.lives,
            Larder(self.content),
            self.records,
            self.content,
            log,
        )
        self.grove = Grove(
            Ground(
                self.loop,
                self.cast,
                self.stage,
                self.lives,
                self.workshop,
                self.content,
                self.switchboard.directory,
                self.ledger,
                KeptTree(home),
                log,
            )
        )
        self.grafts = Grafts(self.grove)
        self.vigil = Vigil(self.loop, self.cast, self.processes, self.switchboard, self.ledger)
        self.view = View(self.cast, self.stage, self.switchboard, self.services, self.dead_letters)
        self.why = Why(
            home,
            self.cast,
            self.stage,
            self.switchboard,
            self.services,
            self.registrar,
            self.dead_letters,
            self.loop.now,
        )
        self.tree_view = TreeView(self.loop, self.cast, self.view, self.grove)
        self.caretaker = Caretaker(home, self.loop, self.processes, self.cast, self.ledger, log)
        self.processes.overheard.redact = self._redact
        logs.identify(self._facts)
        self.control: Control | None = None
        self.gate: Gate | None = None
        self._every(caretaker.EVERY_S, self.caretaker.look)
        self._every(vigil.EVERY_S, self.vigil.look)
        self._every(_TIDY_EVERY_S, self._tidy)
        self._every(ledger.SIGN_EVERY_S, self.ledger.sign)

    def refused(self) -> int:
        """Frames on both sockets that were no message."""
        return self.switchboard.refused + (self.control.refused if self.control is not None else 0)

    def find(self, words: str) -> Actor:
        """The actor that a user means; raises UnknownActor or AmbiguousActor."""
        return self.cast.get(words) or self.cast.find(words, self.switchboard.directory.by_owner())

    def put(self, content: bytes) -> str:
        """Keeps content; returns its digest, hex.

        Raises:
            DiskFull: the disk does not take it.
        """
        try:
            return self.content.put(content)
        except OSError as error:
            raise DiskFull(f"the content store cannot take {len(content)} bytes: {error.strerror}") from error

    def revive(self, wished: Application | None) -> None:
        """Starts the actors that this home had, with their last state, and the tree.

        Args:
            wished: the tree to run; None for the one that the home keeps.

        Raises:
            IntegrityError: the home keeps a tree that cannot be read.
        """
        self.grove.recall(wished)
        for actor in list(self.cast):
            if actor.parent is not None:
                self._leave_to_parent(actor)
                continue
            if actor.wanted and actor.state is not State.FAILED and not self.grove.holds(actor):
                self.lives.revive(actor)
        self.grove.grow(anew=wished is not None)

    def _leave_to_parent(self, child: Actor) -> None:
        """A child comes back with its parent, unless the server was killed while it forgot the two of them."""
        if self.cast.get(child.id) is child and self.cast.get(child.parent or "") is None:
            self.lives.forget(child)

    # ---- the end

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Ends all actors in reverse order of their start, one after the other, then every process."""
        self.lives.stopping = self.registrar.stopping = True
        self.caretaker.close()
        self.watch.end_all()

        def next_one(_: object = None) -> None:
            if not self.lives.tops:
                self._end_processes(on_stopped)
                return
            branch = self.lives.tops[-1]
            before = branch.on_ended

            def ended(command: Any) -> None:
                if before is not None:
                    before(command)
                if branch in self.lives.tops:
                    self.lives.tops.remove(branch)
                next_one()

            if branch.ended is not None:
                self.lives.tops.remove(branch)
                next_one()
            else:
                branch.on_ended = ended
                branch.stop()

        next_one()

    def _end_processes(self, on_stopped: Callable[[], None]) -> None:
        self.ledger.checkpoint(list(self.cast))
        self.nursery.close()
        self.workshop.close()
        self.services.close()
        deadline = self.loop.now() + 5.0

        def look() -> None:
            if not self.processes.alive or self.loop.now() > deadline:
                on_stopped()
                return
            if self.loop.now() > deadline - 3.0:
                for pid in self.processes.alive:
                    self.processes.kill(pid)
            self.loop.after(0.01, look)

        look()

    def close(self) -> None:
        """Lets go of sockets and files."""
        self.ledger.event("server-stopped", {})
        self.ledger.close()
        if not self.processes.alive:
            self.machine.say_ended()
        self.groups.close()
        self.switchboard.close()
        self.services.close_lending()
        self.context.close()
        logs.identify(None)
        if self.processes.overheard is not None:
            self.processes.overheard.close()
        self.loop.close()

    # ---- small things

    def _facts(self, actor: str) -> dict[str, Any]:
        """What a line of the log about an actor says of it."""
        found = self.cast.get(actor)
        if found is None:
            return {}
        self.stage.current_mark(found)
        return found.facts()

    def _redact(self, actor: str, text: str) -> str:
        """What a worker printed, with names in place of its actor's secrets."""
        veil = Vault(self.home, os.environ).veil(actor)
        return text if veil is None else str(veil.redact(text))

    def _on_ready(self, actor: Actor) -> None:
        self.watch.attend(actor.id)
        self.parenthood.restore(actor)

    def _every(self, seconds: float, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.loop.after(seconds, again)

        self.loop.after(seconds, again)

    def _tidy(self) -> None:
        self.stage.oom_kills.forget()
        self.groups.tidy()
        self._clear_stages_of_the_dead()
        self.nursery.sweep(self.stage.breeds_in_use())
        self.watch.tidy()

    def _clear_stages_of_the_dead(self) -> None:
        """Removes what a worker leaves that is killed in the middle of its rehearsal."""
        alive = {f"{REHEARSAL}{pid}" for pid in self.processes.alive}
        for folder in self.home.run.glob(f"{REHEARSAL}*"):
            if folder.name not in alive:
                shutil.rmtree(folder, ignore_errors=True)
