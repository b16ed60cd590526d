"""Exit reasons tell the truth, whoever ended the actor: the kernel, the watchdog, the guest, or somebody's order.

What SIGKILL does not say itself is found out: a watchdog's kill has its own reason, the kernel's a counter.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import RESTLESS, House, eventually, outcome

from theater.core.quantities import MIB
from theater.server.oom import OomKills

Name = Callable[[], str]

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


def last_reason(house: House, actor: str) -> tuple[str, int | None, bool]:
    last = house.row(actor).last_exit
    assert last is not None
    return last.reason, last.signal, last.commanded


# ---- the watchdog


def test_a_stopped_worker_with_mail_is_killed_by_its_watchdog(house: House, name: Name) -> None:
    """(1.24) A watchdog that goes by progress."""
    row = house.start(name(), supervision={**RESTLESS, "watchdog": "300ms"}, limits={"call_timeout": "infinity"})
    house.kill(row.pid or 0, signal.SIGSTOP)
    assert outcome(lambda: house.client.request(row.id, b"e")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    assert last_reason(house, row.id) == ("deadline", None, False)
    last = house.row(row.id).last_exit
    assert last is not None
    assert "made no progress" in (last.detail or "")
    assert "watchdog" in (last.detail or "")
    assert house.client.request(row.id, b"e") == b"e"


def test_a_stopped_worker_without_mail_is_left_in_peace(house: House, name: Name) -> None:
    """Whoever has nothing to do is not hung; its first message finds out."""
    idle = house.start(name(), supervision={**RESTLESS, "watchdog": "100ms"})
    busy = house.start(name(), supervision={**RESTLESS, "watchdog": "100ms"}, limits={"call_timeout": "infinity"})
    for row in (idle, busy):
        house.kill(row.pid or 0, signal.SIGSTOP)
    assert outcome(lambda: house.client.request(busy.id, b"e")) == "ActorDown"
    assert house.row(idle.id).incarnation == 1
    house.kill(idle.pid or 0, signal.SIGCONT)
    assert house.client.request(idle.id, b"e") == b"e"


def test_a_call_that_loops_for_ever_is_ended_by_the_watchdog(house: House, name: Name) -> None:
    row = house.start(name(), supervision={**RESTLESS, "watchdog": "300ms"}, limits={"call_timeout": "infinity"})
    assert outcome(lambda: house.client.request(row.id, b"b", timeout=20.0)) == "ActorDown"
    assert last_reason(house, row.id) == ("deadline", None, False)


def test_a_long_call_that_does_something_is_not_hung(house: House, name: Name) -> None:
    """It logs until its time is over, ten times as long as the watchdog allows to do nothing."""
    limits = {"call_timeout": "3s", "record": "1GiB", "log": "64KiB"}
    row = house.start(name(), supervision={**RESTLESS, "watchdog": "300ms"}, limits=limits)
    assert outcome(lambda: house.client.request(row.id, b"Lline", timeout=20.0)) == "ActorDown"
    last = house.row(row.id).last_exit
    assert last is not None
    assert "call_timeout" in (last.detail or "")


# ---- the kernel


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with 8 MiB of memory."""
    group = MEMORY_GROUPS / f"theater-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(8 * MIB))
        with contextlib.suppress(OSError):
            (group / "memory.memsw.limit_in_bytes").write_text(str(8 * MIB))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_a_worker_that_the_kernel_took_for_want_of_memory_ran_out_of_memory(
    house: House, name: Name, small_group: Path
) -> None:
    """(1.24, 1.25) SIGKILL does not say whose it was."""
    row = house.start(name(), supervision=RESTLESS, limits={"message": "32MiB", "memory": "128MiB"})
    (small_group / "cgroup.procs").write_text(str(row.pid))
    assert outcome(lambda: house.client.request(row.id, b"e" + bytes(31 * MIB), timeout=20.0)) == "ActorDown"
    house.await_incarnation(row.id, 2)
    assert last_reason(house, row.id) == ("out_of_memory", signal.SIGKILL, False)
    last = house.row(row.id).last_exit
    assert last is not None
    assert "want of memory" in (last.detail or "")
    house.kill_worker(row.id)
    assert last_reason(house, row.id) == ("signal", signal.SIGKILL, False), "the next kill is not the kernel's"


def test_each_kill_of_the_kernel_is_blamed_once(tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 3\noom_kill 3\noom_group_kill 0\n")
    kills = OomKills(counter)
    assert not kills.claim()
    counter.write_text("low 0\noom 5\noom_kill 5\noom_group_kill 0\n")
    assert [kills.claim() for _ in range(3)] == [True, True, False]
    counter.write_text("oom_kill 9\n")
    kills.forget()
    assert not kills.claim()


@pytest.mark.parametrize("text", ["", "oom_kill", "oom_kill x", "nothing 1"])
def test_a_counter_that_cannot_be_read_blames_nobody(tmp_path: Path, text: str) -> None:
    counter = tmp_path / "events"
    kills = OomKills(counter)
    counter.write_text(text)
    assert not kills.claim()


# ---- where an end is told


def test_an_end_is_told_with_what_it_used_in_every_place(house: House, name: Name) -> None:
    row = house.start(name(), supervision=RESTLESS)
    assert outcome(lambda: house.client.request(row.id, b"u")) == "ActorDown"
    house.await_incarnation(row.id, 2)
    facts = house.client.inspect(row.id)
    assert facts.row.last_exit is not None
    assert facts.row.last_exit.reason == "trap"
    usage = facts.plain()["last_usage"]
    assert usage["max_rss"] > MIB
    assert usage["user_ms"] >= 0
    ends = [details for event, details in house.history() if event == "exited" and details["actor"] == row.id]
    assert [(end["reason"], end["commanded"], end["max_rss"]) for end in ends] == [("trap", False, usage["max_rss"])]
    own = [details for event, details in house.history(row.id) if event == "ended"]
    assert [end["reason"] for end in own] == ["trap"]
    eventually(
        lambda: any(line.text.startswith("ended: trapped (unreachable") for line in house.client.logs(row.id).lines)
    )
    eventually(lambda: "ended" in house.log_text() and row.id in house.log_text())


def test_an_end_that_was_asked_for_says_so(house: House, name: Name) -> None:
    row = house.start(name())
    house.client.stop(row.id)
    assert last_reason(house, row.id) == ("shutdown", None, True)
    row = house.start(name(), supervision={"shutdown": "brutal_kill"})
    house.client.stop(row.id)
    assert last_reason(house, row.id)[0::2] == ("killed", True)
