"""Where a process' control group is, whether it may be divided, and what is written into those of actors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from theater.core.control_groups import Setting, Signs, kills, own, settings, text, why_not_ours
from theater.core.manifest import Limits
from theater.core.process_bounds import margin, nice

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
HYBRID = (
    "31 23 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "42 23 0:41 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
SIGNS = Signs("/g", is_root=False, is_top=False, is_writable=True, is_marked=True, is_owned=False)


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "folder"),
    [
        ("0::/system.slice/theater.service\n", UNIFIED, "/sys/fs/cgroup/system.slice/theater.service"),
        ("1:cpu:/x\n0::/a\n", HYBRID, "/sys/fs/cgroup/unified/a"),
        ("0::/\n", UNIFIED, "/sys/fs/cgroup"),
        ("0::/docker/c/inner\n", UNIFIED.replace(" / ", " /docker/c ", 1), "/sys/fs/cgroup/inner"),
        ("0::/a b\n", UNIFIED.replace("/sys/fs/cgroup", "/c\\040g"), "/c g/a b"),
    ],
)
def test_a_group_is_found_below_its_mount(cgroup: str, mountinfo: str, folder: str) -> None:
    assert own(cgroup, mountinfo).folder == folder


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "why"),
    [
        ("1:cpu:/\n", UNIFIED, "this kernel has no control groups of version 2"),
        ("0::/a\n", "", "no control groups of version 2 are mounted"),
        ("0::/other\n", UNIFIED.replace(" / ", " /docker/c ", 1), "is not among those that are mounted"),
    ],
)
def test_why_there_is_none_is_said(cgroup: str, mountinfo: str, why: str) -> None:
    found = own(cgroup, mountinfo)
    assert found.folder is None
    assert why in found.why


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        (SIGNS, None),
        (replace(SIGNS, is_marked=False, is_owned=True), None),
        (replace(SIGNS, is_marked=False, is_top=True), None),
        (replace(SIGNS, is_marked=False), "not delegated"),
        (replace(SIGNS, is_writable=False), "not writable"),
        (replace(SIGNS, is_root=True), "root of all control groups"),
    ],
)
def test_only_what_is_delegated_is_divided_even_by_root(signs: Signs, why: str | None) -> None:
    found = why_not_ours(signs)
    assert found is None if why is None else why in (found or "")


def test_limits_become_what_the_kernel_takes() -> None:
    limits = Limits(memory=8 << 20, cpu=150, cpu_weight=50)
    assert settings(limits, {"memory", "cpu", "pids"}) == (
        Setting("memory.max", str((8 << 20) + margin(limits))),
        Setting("memory.swap.max", "0"),
        Setting("memory.oom.group", "1"),
        Setting("cpu.max", "150000 100000"),
        Setting("cpu.weight", "50"),
        Setting("pids.max", "64"),
    )
    assert settings(Limits(), {"cpu"})[0] == Setting("cpu.max", "max 100000")
    assert settings(limits, ()) == ()


def test_the_kernels_kills_are_read() -> None:
    assert kills("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n") == 3
    assert kills("") == 0


def test_what_is_missing_is_said_with_why() -> None:
    assert text(None, (), "no mount") == "none: no mount"
    assert text("/g", ("memory", "cpu", "pids"), "") == "/g: memory, cpu, pids"
    assert text("/g", ("cpu",), "none offered") == "/g: cpu; without memory, pids: none offered"


def test_a_weight_is_the_nearest_nice_value() -> None:
    assert [nice(weight) for weight in (1, 10, 50, 80, 100, 125, 10_000)] == [19, 10, 3, 1, 0, -1, -20]
