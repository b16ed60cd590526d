"""The process that all workers descend from: it owns nothing and only forks.

A process that has compiled wasm or opened a ZeroMQ context must not fork (D1), so the supervisor executes this
one before it opens anything. The spawner imports everything that a worker needs, opens nothing, and clones
*templates*; a template loads one component and clones *workers*. Every clone is made with CLONE_PARENT, so all
of them are the supervisor's own children: it waits for them itself, and they survive the spawner and the
template. This is the only module that forks.

Before it serves it gives up what none of its descendants will ever need, which inherit that (theater/walls/rooms.py).

Protocol, over a SEQPACKET socket pair, msgpack: the spawner says {"ready": its pid, "walls": which stand}, and sends
with it the listener that tells of hostile calls, if there is one. The supervisor sends a template's order together with
the template's end of a fresh socket pair; the spawner answers {"pid": n}. When the socket closes the spawner ends.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
from typing import NoReturn

from theater.chainlog import segments
from theater.core.codec import pack, unpack
from theater.tether import die_with
from theater.walls import namespaces, privileges, rooms, standing
from theater.walls.standing import Standing
from theater.worker import template

_SYS_CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
_CLONE_PARENT = 0x8000
_LARGEST_ORDER = 1 << 17
_INSIDE = "inside"
"""Third argument of a spawner that is in its namespaces already."""

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
for _hook in ("PyOS_BeforeFork", "PyOS_AfterFork_Child", "PyOS_AfterFork_Parent"):
    getattr(ctypes.pythonapi, _hook).restype = None


def clone() -> int:
    """Forks; the child's parent is this process' own parent (clone(2), CLONE_PARENT).

    Returns:
        0 in the child, its process id in this process.
    """
    ctypes.pythonapi.PyOS_BeforeFork()
    zero = ctypes.c_long(0)
    flags = ctypes.c_long(_CLONE_PARENT | signal.SIGCHLD)
    pid = int(_libc.syscall(ctypes.c_long(_SYS_CLONE), flags, zero, zero, zero, zero))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, f"clone: {os.strerror(error)}")
    return pid


def main(descriptor: int, supervisor: int) -> NoReturn:
    """Serves template orders until the supervisor closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = socket.socket(fileno=descriptor)
    segments.load()  # Now: a sealed worker may have to read a chain that was compressed.
    walls, listener = _enter_room()
    die_with(supervisor)  # Not before: a change of who a process is clears this.
    gc.collect()
    gc.freeze()
    try:
        said = pack({"ready": os.getpid(), "walls": walls.to_plain()})
        socket.send_fds(orders, [said], [] if listener is None else [listener])
        if listener is not None:
            os.close(listener)  # Who is reported by it must not hold it.
        while True:
            data, fds, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, 1)
            if not data:
                os._exit(0)
            _serve(orders, data, fds[0], supervisor)
    except ConnectionError:
        os._exit(0)  # The supervisor has hung up before it read what was said last.


def _enter_room() -> tuple[Standing, int | None]:
    is_inside = sys.argv[3:] == [_INSIDE]
    refusal = None if is_inside else namespaces.leave_the_network()
    if refusal is None and not is_inside:
        _require_no_capabilities()
    listener = rooms.enter(rooms.SPAWNER, report=True)
    return Standing((*standing.offered().walls, standing.namespaces(refusal))), listener


def _require_no_capabilities() -> None:
    """A new namespace of users brings all capabilities in it. Where a service manager does not let them be given up,
    executing this program once more takes them: who is not root there has none behind that (capabilities(7))."""
    try:
        privileges.drop_capabilities()
    except PermissionError:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "theater.server.spawner", *sys.argv[1:3], _INSIDE])


def _serve(orders: socket.socket, data: bytes, line: int, supervisor: int) -> None:
    try:
        pid = clone()
    except OSError as error:
        orders.send(pack({"error": str(error)}))
    else:
        if pid == 0:
            orders.close()
            template.serve(socket.socket(fileno=line), unpack(data, max_len=_LARGEST_ORDER), supervisor, clone)
        orders.send(pack({"pid": pid}))
    os.close(line)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
