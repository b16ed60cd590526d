"""The floor of Theater's own carrier: a DEALER and a ROUTER of ZeroMQ over ipc, in two processes, and nothing else.

What a request between two actors takes beyond this is Theater's; what this takes is ZeroMQ's threads and the kernel,
and depends on what else the machine does more than anything else here.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import zmq

from benchmarks.effort import Effort
from benchmarks.figures import Figure, of_samples, rate, times

SMALL, LARGE = b"e" * 100, b"e" * (64 << 10)
_COUNT = b"c" * 100
_TOTAL, _END = b"t", b"q"
_HIGH_WATER = 0  # None: the sender is never refused.


def measure(effort: Effort) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="thb") as folder, _asker(f"ipc://{folder}/s") as asker:
        times(lambda: _ask(asker, SMALL), 100)
        yield of_samples("request-reply", times(lambda: _ask(asker, SMALL), effort.of(3000)))
        yield of_samples("request-64k", times(lambda: _ask(asker, LARGE), effort.of(500)))
        count = effort.of(50_000)
        yield Figure("one-way", rate(count, lambda: _flood(asker, count)), samples=count)


@contextlib.contextmanager
def _asker(address: str) -> Iterator[zmq.Socket[bytes]]:
    """A socket with somebody at its other end who answers."""
    other = subprocess.Popen([sys.executable, "-m", "benchmarks.peers.zeromq", address])
    context = zmq.Context()
    asker = _unbounded(context.socket(zmq.DEALER))
    asker.connect(address)
    try:
        yield asker
        asker.send(_END)
        other.wait(10)
    finally:
        context.destroy(linger=0)
        other.kill()
        other.wait()


def _ask(asker: zmq.Socket[bytes], body: bytes) -> bytes:
    asker.send(body)
    return asker.recv()


def _flood(asker: zmq.Socket[bytes], count: int) -> None:
    for _ in range(count):
        asker.send(_COUNT)
    found = int(_ask(asker, _TOTAL))
    assert found == count, f"{found} of {count} arrived"


def _answer(address: str) -> None:
    answerer = _unbounded(zmq.Context().socket(zmq.ROUTER))
    answerer.bind(address)
    counted = 0
    while (message := answerer.recv_multipart())[1] != _END:
        peer, body = message
        if body == _COUNT:
            counted += 1
        else:
            answerer.send_multipart([peer, b"%d" % counted if body == _TOTAL else body])


def _unbounded(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    socket.set_hwm(_HIGH_WATER)
    return socket


if __name__ == "__main__":
    _answer(sys.argv[1])
