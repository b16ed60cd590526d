"""A template: one component, loaded and instantiated, ready to be forked once for each life of an actor.

It is single-threaded and compiles nothing (D1); before anything of the component runs it seals itself
(theater/worker/seal.py). For an actor written in Python the
component is the runner, and the template has also loaded the actor's program into it, so that a worker is born
with everything in memory. It plays short lives until Python has adapted to them (theater/worker/rehearsal.py).
`gc.freeze` before the first fork keeps Python from touching, and so copying, pages
that it shares with its workers.

Protocol, over a SEQPACKET socket pair, msgpack: the template says {"ready": pid} or {"error": ...}. Then each
{"fork": n, "spare": whether nobody waits for it}, which comes with the worker's end of a fresh socket pair, is
answered by {"fork": n, "pid": pid}. When the socket closes the template ends.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from theater.core.codec import pack, unpack
from theater.core.handlers import handler_granting
from theater.errors import ComponentError, TheaterError
from theater.host import extensions
from theater.host.base import Seam
from theater.host.wasi import GuestHost
from theater.tether import die_with
from theater.wasm.artefacts import ArtefactCache
from theater.wasm.guest import Guest, Trap
from theater.worker import confine, life, program
from theater.worker.rehearsal import learn_by_heart
from theater.worker.seal import seal_template
from theater.worker.warm import Warm

_LARGEST_ORDER = 65536


def serve(orders: socket.socket, order: Mapping[str, Any], supervisor: int, fork: Callable[[], int]) -> NoReturn:
    """Loads what `order` names, then forks on demand. Never returns: this is the whole life of the process.

    Args:
        orders: this template's end of its socket pair with the supervisor.
        order: cache (of artefacts), component (its digest, hex), fuel (whether it is counted), program (path of the
            program in the store, or None), stages (folder in which spares rehearse), home, folders (that the manifest
            grants: path, whether it may be changed, number).
        supervisor: process id of the supervisor.
        fork: the spawner's fork; returns 0 in the child.
    """
    try:
        die_with(supervisor)
        confine.own_nothing_but(orders.fileno())
        confine.default_signals()
        warm = _load(order)
        stages = Path(order["stages"])
        learn_by_heart(warm, stages)
        gc.collect()
        gc.freeze()
        orders.send(pack({"ready": os.getpid()}))

        def birth(line: int, spare: bool) -> NoReturn:
            life.run(line, warm, supervisor, stages, spare=spare)

        while True:
            data, fds, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, 1)
            if not data:
                os._exit(0)
            wish = unpack(data, max_len=_LARGEST_ORDER)
            _fork(orders, wish["fork"], fds[0], fork, partial(birth, spare=wish["spare"]))
    except TheaterError as error:
        orders.send(pack(error.to_wire()))
    except ConnectionError:
        os._exit(0)  # The supervisor has hung up before it read what was said last: it ends.
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    os._exit(1)


def _fork(
    orders: socket.socket, number: int, line: int, fork: Callable[[], int], birth: Callable[[int], NoReturn]
) -> None:
    try:
        pid = fork()
    except OSError as error:
        # The supervisor has a successor made, or hears from the spawner that there can be none.
        print(f"a template cannot fork, and ends: {error.strerror or error}", file=sys.stderr)
        os._exit(1)
    if pid == 0:
        birth(line)
    os.close(line)
    try:
        orders.send(pack({"fork": number, "pid": pid}))
    except BrokenPipeError:
        os._exit(0)  # Hung up meanwhile; what was born just now sees that its own line has no other end.


def _load(order: Mapping[str, Any]) -> Warm:
    seam = Seam()
    host = GuestHost(seam)
    try:
        artefact = ArtefactCache(Path(order["cache"])).find(order["component"], order["fuel"])
        if artefact is None:
            raise ComponentError("its compiled form is gone from the cache; start it again")
        extensions.offer()
        for interface in {name for name, _ in artefact.meta.imports}:
            handler_granting(interface)  # A package that brings it is loaded once here, and not in every life.
        content = Path(order["program"]).read_bytes() if order["program"] is not None else b""
        guest = Guest(artefact, host, before_running=partial(seal_template, order))
        if order["program"] is not None:
            # Without a deadline: its timer would have a thread (theater/wasm/deadline.py). The nursery kills who hangs.
            program.load(guest, content)
        guest.keep_image()
    except Trap as trap:
        raise ComponentError(f"the component ended while it was instantiated: {trap.kind}: {trap.message}") from trap
    return Warm(guest, host, seam, artefact)
