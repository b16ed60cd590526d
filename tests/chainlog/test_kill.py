"""Forty kills at random instants: what a writer has acknowledged is in the file, and the file is good.

Run as a script it is the nursery that forks the writers. The process of the tests must not fork: it may have threads,
of other tests, and a child that waits for what one of them holds waits for ever.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import chains
import pytest

from theater.chainlog import ChainReader, ChainWriter, verify_chain
from theater.core.chain import Call, HostCall, HostResult, Kind, outcome_ok
from theater.store import ContentStore

KILLS = 40
_PATIENCE_S = 30.0
_LINE = 4096


@pytest.fixture
def nursery() -> Iterator[socket.socket]:
    """The line to the nursery: it takes a folder's path, a chain's path and a pipe, and says the writer's pid; told
    `reap`, it says how the writer ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(_PATIENCE_S)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
    with theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment) as process:
        theirs.close()
        with ours:
            yield ours
        assert process.wait(_PATIENCE_S) == 0


def test_a_killed_writer_has_written_all_that_it_acknowledged(tmp_path: Path, nursery: socket.socket) -> None:
    content = ContentStore(tmp_path / "content")
    dice = random.Random(4)
    at_work = 0
    for trial in range(KILLS):
        path = tmp_path / f"chain-{trial // 4}"
        chains.write(path, "")
        acknowledged = _write_and_kill(nursery, path, content, dice.random() * 0.02)
        verdict = verify_chain(path, content=content)
        assert verdict.ok
        assert verdict.entries > acknowledged
        at_work += verdict.entries > acknowledged + 1 or verdict.torn_bytes > 0
        with ChainReader(path) as reader:
            reader.seek(acknowledged)
            (entry,) = reader.read(1)
            assert entry.payload[2][0] == acknowledged
        with ChainWriter.open(path, get=content.get) as successor:
            assert successor.recovery.torn_bytes == verdict.torn_bytes
            assert successor.recovery.state == _last_state(path)
    assert at_work > 0


def _last_state(path: Path) -> bytes | None:
    """The last committed state, found by looking at everything."""
    with ChainReader(path) as reader:
        outcomes = [entry.payload for entry in reader.read(1 << 40) if entry.kind is Kind.OUTCOME]
    states: list[bytes] = [payload[3][0] for payload in outcomes if payload[3]]
    return states[-1] if states else None


def _write_and_kill(nursery: socket.socket, path: Path, content: ContentStore, after: float) -> int:
    """Has a child write, and kills it; returns the number of the last entry that it acknowledged."""
    ours, theirs = os.pipe()
    socket.send_fds(nursery, [f"{content.root}\n{path}".encode()], [theirs])
    os.close(theirs)
    child = int(nursery.recv(_LINE))
    with os.fdopen(ours, "rb") as pipe:
        first = pipe.read(8)
        time.sleep(after)  # the instant of the kill, and nothing that the test waits for
        os.kill(child, signal.SIGKILL)
        nursery.send(b"reap")
        assert os.WTERMSIG(int(nursery.recv(_LINE))) == signal.SIGKILL
        numbers = first + pipe.read()
    return int.from_bytes(numbers[-8:], "big")


# ---- the nursery


def _serve(line: socket.socket) -> None:
    """Forks writers until nobody asks for any."""
    while (order := socket.recv_fds(line, _LINE, 1))[0]:
        told, descriptors = order[:2]
        content, path = told.decode().split("\n")
        child = os.fork()
        if child == 0:
            _write_until_killed(Path(path), ContentStore(content), descriptors[0])
        os.close(descriptors[0])
        line.send(str(child).encode())
        assert line.recv(_LINE) == b"reap"
        line.send(str(os.waitpid(child, 0)[1]).encode())


def _write_until_killed(path: Path, content: ContentStore, pipe: int) -> NoReturn:
    """A worker: records each call before it is carried out, and what came of it before that is let out."""
    try:
        writer = ChainWriter.open(path, put=content.put, get=content.get)
        before = writer.recovery.state_digest
        while True:
            seq = writer.head.entries
            writer.append(Kind.CALL, Call("i", "f", (seq, "x" * (seq % 6000))))
            writer.flush()
            os.write(pipe, seq.to_bytes(8, "big"))
            writer.append(Kind.HOST_CALL, HostCall("i", "g", ()))
            writer.append(Kind.HOST_RESULT, HostResult(seq))
            outcome = outcome_ok(None, b"state of %d" % (seq // 1000), before)
            before = outcome.state_digest
            writer.append(Kind.OUTCOME, outcome)
            writer.flush()
    finally:
        os._exit(1)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
