"""The life of a server process: lock the home, put the house together, run, end in order."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from theater import log
from theater.config import Home
from theater.core.manifest import Retention
from theater.durable import sync_folder
from theater.errors import InvalidInput
from theater.host import extensions
from theater.server.authority import keep_descendants
from theater.server.control import Control
from theater.server.crowd import MOST
from theater.server.gate import Gate, Remote
from theater.server.heartbeat import Heartbeat
from theater.server.house import House
from theater.server.lock import locked
from theater.server.notify import Notifier
from theater.server.operations import Operations
from theater.server.wishes import Application
from theater.walls import privileges

_DESCRIPTORS = 1 << 20
_STEP_S = 60.0
"""What a service manager is asked to allow each time that it is told what the server is at while it begins."""


def serve(
    home: Home,
    address: str,
    application: Callable[[House], Application] | None = None,
    on_up: Callable[[House], None] = lambda house: None,
    notifier: Notifier | None = None,
    remote: Remote | None = None,
    max_actors: int = MOST,
    kept: Retention | None = None,
    cgroup: Path | None = None,
) -> int:
    """Runs a server until it is told to stop.

    Args:
        home: where it keeps everything; made if it is missing.
        address: of the control socket.
        application: called once the home is open; gives the tree to run, instead of the one that the home keeps.
        on_up: called when the control socket answers.
        remote: who may command it from elsewhere; None for nobody.
        notifier: the service manager that started this process; the one that its environment names, if there is any.
        max_actors: living actors that it may have.
        kept: how much of its own chain; None for all of it.
        cgroup: a control group that is the server's to divide, in place of the one that it is in.

    Returns:
        the exit code of the process.

    Raises:
        HomeInUse: another server runs on this home.
        InvalidInput: the home cannot be used.
    """
    notifier = notifier or Notifier.from_environment(os.environ)
    faulthandler.enable()  # A watchdog ends what hangs by SIGABRT: its log tells where that was.
    # Its memory holds the key that signs; and whatever it executes gains no right by that.
    privileges.hide_memory()
    privileges.gain_no_more()
    extensions.offer()
    home.create()
    _make_durable(home)
    _use_all_descriptors()
    with locked(home):
        _sweep(home)
        house = House(home, log.logger(), cgroup, partial(_tell_of_beginning, notifier))
        house.lives.crowd.most = max_actors
        house.caretaker.kept = kept
        try:
            return _Server(house, address, application, on_up, notifier, remote).run()
        finally:
            house.close()
            notifier.close()


class _Server:
    def __init__(
        self,
        house: House,
        address: str,
        application: Callable[[House], Application] | None,
        on_up: Callable[[House], None],
        notifier: Notifier,
        remote: Remote | None,
    ) -> None:
        self._house = house
        self._heartbeat = Heartbeat(house, notifier)
        self._on_up = on_up
        self._application = application(house) if application is not None else None
        self._asked = 0
        operations = Operations(house, self._stop)
        keep_descendants()
        self._gate = Gate(house.home, address, remote, house.context, house.loop, house.ledger, house.log)
        house.gate = self._gate
        house.reload.add("authorized keys", self._gate.authority.look)
        self._control = Control(house.loop, self._gate.doors, operations.table(), self._gate.commands, house.log)
        house.control = self._control
        house.grove.on_failure = self._stop

    def run(self) -> int:
        house = self._house
        for number in (signal.SIGINT, signal.SIGTERM):
            house.loop.on_signal(number, self._stop)
        house.loop.on_signal(signal.SIGHUP, self._reload)
        house.reload.on_begin = self._heartbeat.reloading
        house.reload.on_end = self._heartbeat.reloaded
        house.log.info("serving", home=str(house.home.root), pid=os.getpid(), version=house.version)
        try:
            house.revive(self._application)
            self._on_up(house)
            house.loop.soon(self._heartbeat.begin)
            house.loop.run()
        finally:
            self._gate.close()
            self._control.close()
        house.log.info("stopped")
        return house.grove.failure.exit_code if house.grove.failure is not None else 0

    def _reload(self) -> None:
        """By a signal there is nobody to answer to but the log."""
        for step in self._house.reload.carry_out():
            if step.error is None:
                self._house.log.info("read again", what=step.what)
            else:
                self._house.log.error("not read again: what was in force still is", what=step.what, why=step.error)

    def _stop(self) -> None:
        """Ends in order; whoever asks a second time is in a hurry, and everything is killed."""
        self._asked += 1
        house = self._house
        if self._asked == 1:
            house.log.info("stopping")
            self._heartbeat.stopping()
            house.stop(house.loop.stop)
        else:
            house.log.warning("killing everything: asked to stop a second time")
            for branch in list(house.lives.tops):
                branch.kill()


def _tell_of_beginning(notifier: Notifier, text: str) -> None:
    """What takes long before the server can serve, and that it goes on."""
    notifier.status(text)
    notifier.extend(_STEP_S)


def _make_durable(home: Home) -> None:
    """Whatever is acknowledged as durable is in these folders, whose own names must be."""
    try:
        for folder in (home.root, home.root.parent):
            sync_folder(folder)
    except OSError as error:
        raise InvalidInput(f"cannot use the directory {home.root}: {error.strerror}") from error


def _use_all_descriptors() -> None:
    """Raises the soft limit of open files to the hard one: each actor takes two, and 1,024 are soon gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else _DESCRIPTORS
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _sweep(home: Home) -> None:
    """Removes the sockets, and whatever else of a moment, that a killed server has left."""
    for path in home.run.iterdir():
        with contextlib.suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
