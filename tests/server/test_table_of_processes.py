"""The table of children: each end is told once, also to those who ask late, and never to a namesake."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

_PRELUDE = """
import os, signal, sys, time
from theater.server.loop import Loop
from theater.server.processes import Ended, Processes

loop = Loop()
processes = Processes(loop)
told = []

def child(code="pass"):
    command = [sys.executable, "-S", "-c", code]
    return os.posix_spawn(command[0], command, os.environ)

def turn_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, told
        loop.turn()
"""


def run(script: str) -> None:
    """Runs a script in a process of its own, since it reaps every child that there is."""
    text = _PRELUDE + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", "(None, 0)"),
        ("import os; os._exit(7)", "(None, 7)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "(9, None)"),
    ],
)
def test_an_end_is_told_with_signal_or_status(code: str, expected: str) -> None:
    run(f"""
        processes.adopt(child({code!r}), lambda ended: told.append((ended.signal, ended.status)))
        turn_until(lambda: told)
        assert told == [{expected}]
        assert processes.alive == []
    """)


def test_an_end_that_came_before_anybody_asked_is_kept() -> None:
    run("""
        pid = child()
        deadline = time.monotonic() + 20
        while pid not in processes._unclaimed and time.monotonic() < deadline:
            loop.turn()
        processes.adopt(pid, lambda ended: told.append(ended.status))
        assert told == []  # from the loop, never from within the call
        turn_until(lambda: told)
        assert told == [0]
    """)


def test_a_living_child_does_not_get_the_end_of_its_namesake() -> None:
    """The kernel gives numbers again; an end that nobody claimed may be there still."""
    run("""
        pid = child("import time; time.sleep(60)")
        processes.keep(pid, Ended(11, None, 0.0, 0.0, 0))
        processes.adopt(pid, lambda ended: told.append(ended.signal))
        for _ in range(3):
            loop.soon(lambda: None)
            loop.turn()
        assert told == []
        processes.kill(pid)
        turn_until(lambda: told)
        assert told == [9]
    """)


def test_many_ends_at_once_are_all_told() -> None:
    run("""
        for _ in range(40):
            processes.adopt(child(), lambda ended: told.append(ended.status))
        turn_until(lambda: len(told) == 40)
        assert told == [0] * 40
    """)


def test_a_process_that_is_not_in_the_table_is_not_signalled() -> None:
    run("""
        pid = child()
        processes.adopt(pid, lambda ended: told.append(ended))
        turn_until(lambda: told)
        processes.kill(pid)
        processes.kill(1)
    """)


def test_ends_that_nobody_claims_do_not_pile_up() -> None:
    run("""
        for pid in range(10_000_000, 10_010_000):
            processes.keep(pid, Ended(None, 0, 0.0, 0.0, 0))
        assert len(processes._unclaimed) <= 4096
        processes.adopt(10_009_999, lambda ended: told.append(ended.status))
        turn_until(lambda: told)
    """)


def test_alarms_ring_in_their_order_and_not_when_cancelled() -> None:
    run("""
        now = loop.now()
        for delay in (0.03, 0.01, 0.02):
            loop.at(now + delay, lambda delay=delay: told.append(delay))
        loop.at(now + 0.015, lambda: told.append("never")).cancel()
        turn_until(lambda: len(told) == 3)
        assert told == [0.01, 0.02, 0.03]
    """)


def test_a_signal_is_handled_from_the_loop() -> None:
    run("""
        loop.on_signal(signal.SIGUSR1, lambda: told.append("usr1"))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert told == []
        turn_until(lambda: told)
        assert told == ["usr1"]
    """)


def test_an_end_that_is_kept_goes_to_who_has_adopted_the_child_after_its_end() -> None:
    run("""
        pid = child()
        processes.adopt(pid, lambda ended: (processes.adopt(pid, told.append), processes.keep(pid, ended)))
        turn_until(lambda: told)
        assert processes.alive == []
    """)


def test_many_ends_at_once_are_told_in_several_turns_and_all_of_them() -> None:
    run("""
        pids = [child("import time; time.sleep(60)") for _ in range(40)]
        for pid in pids:
            processes.adopt(pid, told.append)
            os.kill(pid, signal.SIGKILL)
        while any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for pid in pids):
            time.sleep(0.01)
        loop.turn()
        assert 0 < len(told) < 40
        turn_until(lambda: len(told) == 40)
        assert processes.alive == []
    """)
