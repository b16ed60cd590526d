"""The process that all workers descend from: it owns nothing and only forks.

A process that has compiled wasm or opened a ZeroMQ context must not fork (D1), so the supervisor executes this
one before it opens anything. The spawner imports everything that a worker needs, opens nothing, and clones
*templates*; a template loads one component and clones *workers*. Every clone is made with CLONE_PARENT, so all
of them are the supervisor's own children: it waits for them itself, and they survive the spawner and the
template. This is the only module that forks.

Protocol, over a SEQPACKET socket pair, msgpack: the supervisor sends a template's order together with the
template's end of a fresh socket pair; the spawner answers {"pid": n}. When the socket closes the spawner ends.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
from typing import NoReturn

from theater.core.codec import pack, unpack
from theater.tether import die_with
from theater.worker import template

_SYS_CLONE = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
_CLONE_PARENT = 0x8000
_LARGEST_ORDER = 1 << 17

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
    die_with(supervisor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = socket.socket(fileno=descriptor)
    gc.collect()
    gc.freeze()
    try:
        orders.send(pack({"ready": os.getpid()}))
        while True:
            data, fds, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, 1)
            if not data:
                os._exit(0)
            _serve(orders, data, fds[0], supervisor)
    except ConnectionError:
        os._exit(0)  # The supervisor has hung up before it read what was said last.


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
