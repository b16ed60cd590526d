"""The process of a service: started by the supervisor, ended with it, its desks open in between."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from theater import log
from theater.bus.links import Link
from theater.config import Home
from theater.core.wire import MAX_FRAME
from theater.service.office import Desk, Office
from theater.tether import die_with

Desks = Callable[[Office, Path], Sequence[Desk]]
"""Makes the desks of a service, given the home's folder."""


def run(name: str, desks: Desks, seal: Callable[[Home], None] = lambda home: None) -> int:
    """Serves until SIGTERM. The arguments of the process are those that theater/server/services.py gives.

    Args:
        name: of the service.
        seal: puts up the process' walls, before it has a second thread.
    """
    home, line, parent, style, level = sys.argv[1:6]
    die_with(int(parent))
    log.configure(style, level, sys.stdout if sys.argv[6:7] == [log.TO_STDOUT] else sys.stderr)
    seal(Home(Path(home)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # A terminal sends it to everybody; the supervisor says when to end.
    # uvloop costs half as much; where it is not there, asyncio's own loop does.
    with asyncio.Runner(loop_factory=_best_loop()) as runner:
        runner.run(_serve(name, Path(home), int(line), desks))
    return 0


async def _serve(name: str, home: Path, line: int, desks: Desks) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    os.set_inheritable(line, False)  # It was, to get here; what this process starts is not to have it.
    supervisor = Link(line, largest=MAX_FRAME, takes_descriptors=True)
    office = Office(name, supervisor, log.logger())
    log.identify(lambda actor: _facts(office, actor))
    office.open(*desks(office, home))
    await over.wait()
    await office.close()


def _facts(office: Office, actor: str) -> dict[str, Any]:
    life = office.life(actor)
    return {} if life is None else {"name": life.name, "incarnation": life.incarnation}


def _best_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
