"""What the kernel holds the process of an actor to: resource limits, nice values, and a control group if there is one.

A control group needs one that may be divided: a part of /sys/fs/cgroup of version 2 that root can make here, whichever
controllers it has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from house import House, eventually, is_running

from theater.core.control_groups import own, settings
from theater.core.manifest import Limits
from theater.errors import TheaterError

RESTLESS = {"intensity": 100_000, "period": 1}


def limit_of(pid: int, name: str) -> tuple[str, str]:
    """Soft and hard."""
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith(name))
    soft, hard = line[len(name) :].split()[:2]
    return soft, hard


# ---- resource limits


def test_a_workers_process_is_bounded_a_little_above_its_guest(house: House, name: Callable[[], str]) -> None:
    small = house.start(name(), limits={"memory": "8MiB", "message": "64KiB", "state": "64KiB", "descriptors": 100})
    large = house.start(name(), limits={"memory": "256MiB", "message": "64KiB", "state": "64KiB"})
    assert small.pid is not None
    assert large.pid is not None
    assert limit_of(small.pid, "Max open files") == ("100", "100")
    data, hard = limit_of(small.pid, "Max data size")
    assert data == hard
    more = int(limit_of(large.pid, "Max data size")[0]) - int(data)
    assert abs(more - (248 << 20)) < 16 << 20
    pages = int.from_bytes(house.client.request(large.id, b"m"), "little")
    assert pages > (255 << 20) >> 16, "the guest has all that its manifest says"
    assert house.row(large.id).pid == large.pid


def test_a_weight_is_a_nice_value_where_there_is_no_control_group(house: House, name: Callable[[], str]) -> None:
    light = house.start(name(), limits={"cpu_weight": 10})
    usual = house.start(name())
    assert light.pid is not None
    assert usual.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, light.pid) == 10
    assert os.getpriority(os.PRIO_PROCESS, usual.pid) == os.getpriority(os.PRIO_PROCESS, house.pid)


# ---- control groups


def _top() -> Path | None:
    """A folder of control groups, version 2, in which this user may make new ones."""
    found = own(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    folder = Path(found.folder) if found.folder is not None else None
    return folder if folder is not None and os.access(folder, os.W_OK) and os.geteuid() == 0 else None


@pytest.fixture
def delegated(closed_house: House) -> Iterator[Path]:
    """A control group for a server; it is gone afterwards."""
    top = _top()
    if top is None:
        pytest.skip("no control groups of version 2 in which this user may make one")
    base = top / f"theater-test-{uuid.uuid4().hex[:8]}"
    base.mkdir()
    yield base
    if closed_house.server is not None and closed_house.server.poll() is None:
        closed_house.server.kill()
        closed_house.server.wait()
    (base / "cgroup.kill").write_text("1")
    for folder in sorted((path for path in base.rglob("*") if path.is_dir()), reverse=True):
        eventually(lambda folder=folder: _removed(folder), f"{folder} is empty")
    eventually(lambda: _removed(base))


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def members(group: Path) -> list[int]:
    return [int(line) for line in (group / "cgroup.procs").read_text().split()]


def group_of(house: House, actor: str) -> Path:
    return Path(house.client.inspect(actor).facts["control_group"])


def test_each_life_has_a_group_of_its_own_and_the_server_another(closed_house: House, delegated: Path) -> None:
    house = closed_house.open("--cgroup", str(delegated))
    actor = house.start("a", supervision=RESTLESS)
    assert actor.pid is not None
    group = group_of(house, actor.id)
    assert group == delegated / "actors" / f"{actor.id}.1"
    eventually(lambda: members(group) == [actor.pid], "the worker is in it")
    assert house.pid in members(delegated / "server")
    assert house.client.hello().control_groups.startswith(str(delegated))
    house.kill_worker(actor.id)
    eventually(lambda: not group.exists(), "the group of the life that ended is gone")
    later = house.row(actor.id)
    eventually(lambda: members(delegated / "actors" / f"{actor.id}.2") == [later.pid])
    house.client.stop(actor.id)
    eventually(lambda: not (delegated / "actors" / f"{actor.id}.2").exists())
    assert house.count(house.start("b").id) == 1


def test_whatever_is_left_in_the_group_of_an_actor_ends_with_it(closed_house: House, delegated: Path) -> None:
    house = closed_house.open("--cgroup", str(delegated))
    actor = house.start("a")
    group = group_of(house, actor.id)
    eventually(lambda: members(group) == [actor.pid])
    stray = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    try:
        (group / "cgroup.procs").write_text(str(stray))
        house.client.stop(actor.id)
        _, status = os.waitpid(stray, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        eventually(lambda: not group.exists(), "and then the group is gone")
    finally:
        if is_running(stray):
            os.kill(stray, signal.SIGKILL)


def test_a_killed_servers_groups_are_swept_by_the_next(closed_house: House, delegated: Path) -> None:
    house = closed_house.open("--cgroup", str(delegated))
    actor = house.start("a")
    group = group_of(house, actor.id)
    house.send_signal(signal.SIGKILL)
    house.await_end()
    assert group.exists()
    house.open("--cgroup", str(delegated))
    house.await_incarnation(actor.id, 2)
    assert not group.exists()


@pytest.fixture
def equipped(delegated: Path) -> Path:
    """A control group with all controllers that hold actors; not every machine has any in version 2."""
    if not {"memory", "cpu", "pids"} <= set((delegated / "cgroup.controllers").read_text().split()):
        pytest.skip("the controllers of this machine are not in its control groups of version 2")
    return delegated


def test_limits_stand_in_the_group_of_an_actor(closed_house: House, equipped: Path) -> None:
    house = closed_house.open("--cgroup", str(equipped))
    limits = Limits(memory=8 << 20, cpu=50, cpu_weight=20)
    actor = house.start("a", limits={"memory": "8MiB", "cpu": "50%", "cpu_weight": 20, "state": "1MiB"})
    group = group_of(house, actor.id)
    expected = replace(limits, state=1 << 20)
    for setting in settings(expected, ("memory", "cpu", "pids")):
        assert (group / setting.file).read_text().strip() == setting.value, setting.file
    assert house.client.hello().control_groups == f"{equipped}: memory, cpu, pids"


def test_a_share_of_the_processor_holds_within_a_call(closed_house: House, equipped: Path) -> None:
    house = closed_house.open("--cgroup", str(equipped))
    actor = house.start("a", limits={"cpu": "20%", "call_timeout": "20s"})
    group = group_of(house, actor.id)
    eventually(lambda: members(group) == [actor.pid])
    house.client.send(actor.id, b"b")

    def spent() -> int:
        lines = (group / "cpu.stat").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("usage_usec")))

    began, before = time.monotonic(), spent()
    eventually(lambda: time.monotonic() - began > 3.0)
    assert spent() - before <= 0.2 * (time.monotonic() - began + 0.3) * 1e6


def test_whom_the_kernel_kills_for_its_groups_want_of_memory_is_known(closed_house: House, equipped: Path) -> None:
    """Its group's bound is lowered by hand: what a worker keeps itself does not let it come so far."""
    house = closed_house.open("--cgroup", str(equipped))
    actor = house.start("a", limits={"message": "16MiB"}, supervision={"restart": "temporary"})
    other = house.start("b", supervision={"restart": "temporary"})
    group = group_of(house, actor.id)
    eventually(lambda: members(group) == [actor.pid])
    (group / "memory.max").write_text(str(4 << 20))
    with contextlib.suppress(TheaterError):
        house.client.request(actor.id, b"e" + os.urandom(8 << 20))
    row = house.await_row(actor.id, lambda row: row.last_exit is not None and row.pid is None)
    assert row.last_exit is not None
    assert row.last_exit.reason == "out_of_memory"
    assert other.pid is not None
    house.kill(other.pid)
    row = house.await_row(other.id, lambda row: row.last_exit is not None and row.pid is None)
    assert row.last_exit is not None
    assert row.last_exit.reason == "signal", "and nobody else is blamed"


def test_a_server_without_a_delegated_group_says_why(house: House) -> None:
    said = house.client.hello().control_groups
    assert said is not None
    assert said.startswith("none: ") or str(Path("/sys/fs/cgroup")) in said
    assert "control groups" in house.log_text()
